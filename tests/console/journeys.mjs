// Journeys of people through the console, in a real browser.
//
// Its argument names a JSON file: where the servers are, a token, where Chromium is, and where pictures
// go. What has to happen outside is asked for by a line on stdout and done when a line comes back. Ends
// badly where anything is not as it should be.

import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const outside = async (what) => {
  process.stdout.write(`${JSON.stringify({ do: what })}\n`);
  await answers.next();
};

const must = (holds, what) => {
  if (!holds) throw new Error(what);
};

const browser = await chromium.launch({
  executablePath: settings.chromium,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
});

/** What no page may do, whatever it shows: complain, or ask anybody else. */
const watched = [];
const problems = [];
const opened = async (options = {}) => {
  // axe is put in by the test; the page itself stays under its policy, which is tested elsewhere.
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(30000);
  const page = await context.newPage();
  page.on('console', (message) => {
    const isProblem = ['error', 'warning'].includes(message.type());
    if (isProblem && !page.expected?.test(message.text())) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`error: ${error.stack}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`violates ${event.violatedDirective}: ${event.blockedURI}`));
  });
  page.on('request', (request) => {
    const { origin } = new URL(request.url());
    const isOwn = [settings.open, settings.guarded].some((url) => new URL(url).origin === origin);
    if (!isOwn && !request.url().startsWith('data:')) problems.push(`asks ${request.url()}`);
  });
  watched.push(page);
  return page;
};

const picture = (page, name) => page.screenshot({ path: join(settings.pictures, `${name}.png`), fullPage: true });

/** Barriers, as axe finds them. Evaluated by the debugger, which the page's policy does not hold. */
const withoutBarriers = async (page, what) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
  );
  const found = violations.map((v) => `${v.id}: ${v.help}\n    ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join('\n    ')}`);
  must(found.length === 0, `${what} has barriers:\n  ${found.join('\n  ')}`);
};

const fits = async (page, what) => {
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  must(wide[0] <= wide[1], `${what} is ${wide[0]} wide where there is room for ${wide[1]}`);
};

const go = async (page, view, title) => {
  await page.goto(`${settings.open}#${view}`);
  await page.getByRole('heading', { level: 1, name: title ?? undefined }).first().waitFor();
};

// The page comes up, and shows what is in force.
const page = await opened();
await page.goto(settings.open);
await page.locator('#revision').filter({ hasText: /^1\s*revision/ }).waitFor();
await page.getByText('Ready, revision 1').waitFor();

// Why was a request denied? From the stream to the policy and its rule.
{
  await page.getByRole('link', { name: 'Live decisions' }).click();
  await page.getByRole('status').filter({ hasText: /^Live$/ }).waitFor();
  await outside('traffic');
  await page.locator('tbody tr').nth(4).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await outside('traffic');
  await page.locator('#counts').filter({ hasText: '5 shown of 10 seen; 5 events waiting' }).waitFor();
  must((await page.locator('tbody tr').count()) === 5, 'a pause is none');
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.locator('tbody tr').nth(9).waitFor();
  await page.getByLabel('Outcome').selectOption('deny');
  await page.getByLabel('Path begins with').fill('/admin');
  await page.getByText('Waiting for a decision that fits').waitFor();
  await page.getByRole('status').filter({ hasText: /^Live$/ }).waitFor();
  await outside('traffic');
  await outside('denied');
  const row = page.locator('tbody tr');
  await row.first().waitFor();
  must((await row.count()) === 1, 'the filter lets others through');
  const text = await row.innerText();
  must(/deny rule/.test(text) && /\/admin\/users/.test(text) && /no-admin/.test(text), `the row is ${text}`);
  must(!/hunter2|secret/.test(await page.content()), 'a query is shown');
  await picture(page, 'live-decisions');
  await row.getByRole('button', { name: /^Explain GET \/admin\/users/ }).click();
  await page.locator('.verdict').filter({ hasText: 'DENY' }).waitFor();
  must((await page.getByLabel('Workload').inputValue()) === 'shop/cart', 'the form has another workload');
  must((await page.getByLabel('Path, with its query').inputValue()) === '/admin/users', 'the form has another path');
  await page.locator('#decided-by').filter({ hasText: 'AuthorizationPolicy/shop/no-admin rules[1]' }).waitFor();
  await page.getByText(/shop\.yaml:\d+:\d+/).first().waitFor();
  await picture(page, 'explain-denied');
  await page.locator('#decided-by').getByRole('link').click();
  await page.getByRole('heading', { level: 1, name: 'AuthorizationPolicy/shop/no-admin' }).waitFor();
  const rule = page.locator('.rule').filter({ hasText: 'rules[1]' });
  await rule.getByText('path is').waitFor();
  must(/request\.headers\[x-team\] is not ops/.test(await rule.innerText()), `the rule says ${await rule.innerText()}`);
  await page.locator('#covered').filter({ hasText: '1 of ' }).waitFor();
  await picture(page, 'policy');
}

// The form, filled by hand: an allowed request, what came nearest to it, a bad one, and a token.
{
  await go(page, 'explain', 'Explain');
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByLabel('Workload').fill('shop/cart');
  await page.getByLabel('Path, with its query').fill('/cart');
  await page.getByLabel('Names in the caller').fill('spiffe://cluster.local/ns/web/sa/front');
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await page.locator('.verdict').filter({ hasText: 'ALLOW' }).waitFor();
  await page.getByLabel('Method').fill('POST');
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await page.getByText('What came nearest to allowing it').waitFor();
  await picture(page, 'explain-nearest');
  await page.getByLabel('Token', { exact: true }).fill('no.token.atall');
  must((await page.getByLabel('Token', { exact: true }).getAttribute('type')) === 'password', 'the token can be read');
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await page.locator('.verdict').filter({ hasText: 'jwt' }).waitFor();
  await page.getByLabel('Caller’s address').fill('nowhere');
  page.expected = /400/;
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'is not an IP address' }).waitFor();
  page.expected = undefined;
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('link', { name: 'Explain' }).click();
  must((await page.getByLabel('Token', { exact: true }).inputValue()) === '', 'the token was kept');
}

// Which policy covers a workload, and how it comes by its mode?
{
  await go(page, 'workloads', 'Workloads');
  await page.getByText(`${settings.workloads.toLocaleString('en')} workloads`).waitFor();
  must((await page.locator('tbody tr').count()) === 50, 'a page is 50');
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('Page 2 of').waitFor();
  await picture(page, 'workloads');
  await page.getByLabel('Filter').fill('shop cart');
  await page.getByText(/^1 of /).waitFor();
  await page.getByRole('link', { name: 'shop/cart' }).click();
  const peer = page.getByRole('region', { name: 'Effective PeerAuthentication' });
  await peer.getByText('STRICT', { exact: true }).first().waitFor();
  await peer.getByRole('link', { name: 'PeerAuthentication/shop/cart' }).first().waitFor();
  await peer.getByRole('rowheader', { name: '9090' }).waitFor();
  const names = await page.locator('ol > li.item h3').allInnerTexts();
  must(names.join() === ['cart-next', 'no-admin', 'cart-callers'].map((n) => `AuthorizationPolicy/shop/${n}`).join(), `they stand as ${names}`);
  await page.getByText('dry run: changes nothing').waitFor();
  await page.getByText('https://login.shop.example').first().waitFor();
  await picture(page, 'workload');
  await peer.getByRole('link', { name: 'PeerAuthentication/istio-system/default' }).click();
  await page.locator('#covered').filter({ hasText: `${settings.workloads.toLocaleString('en')} of ` }).waitFor();
}

// Is a key set stale, and what is refused?
{
  await go(page, 'overview', 'Overview');
  const keys = page.getByRole('region', { name: 'Key sets' });
  await keys.getByText('✓ fresh').waitFor();
  await outside('break policies');
  const rejected = page.getByRole('region', { name: 'Rejected resources' });
  await rejected.getByText('AuthorizationPolicy/shop/offices').waitFor();
  await rejected.getByText(/broken\.yaml:9:\d+/).waitFor();
  await rejected.getByText('is not a usable ip block').waitFor();
  await outside('stop keys');
  await outside('traffic');
  await keys.getByText('! stale').waitFor();
  await keys.getByText('The newest attempt failed; the keys of an older one are in use.').waitFor();
  must(/cannot connect|refused/.test(await keys.innerText()), await keys.innerText());
  await picture(page, 'overview');
  await page.setViewportSize({ width: 1180, height: 700 });
  await page.screenshot({ path: join(settings.pictures, 'first-sight.png') });
  await page.setViewportSize({ width: 1280, height: 900 });
}

// Where do routes lead?
{
  await go(page, 'topology', 'Topology');
  await page.getByRole('img', { name: /routes of shop/ }).waitFor();
  await page.getByRole('row', { name: /front cart 90 %/ }).waitFor();
  await picture(page, 'topology');
  await page.getByLabel('Namespace').fill('nowhere');
  await page.getByText('No VirtualService of this namespace').waitFor();
}

// No barriers, no matter which view and scheme; nothing sticks out of a small screen.
const views = {
  overview: 'Overview', workloads: 'Workloads', 'workloads/shop/cart': 'shop/cart', policies: 'Policies',
  'policies/AuthorizationPolicy/shop/no-admin': 'AuthorizationPolicy/shop/no-admin', decisions: 'Live decisions',
  explain: 'Explain', topology: 'Topology',
};
/** Until all that a view asks for is there. */
const whole = async (other, view) => {
  if (view === 'overview') await other.locator('#revision').waitFor();
  else if (view === 'decisions') {
    await other.getByRole('status').filter({ hasText: /^Live$/ }).waitFor();
    await outside('traffic');
    await other.locator('tbody tr').first().waitFor();
  } else if (view === 'explain') {
    await other.getByRole('button', { name: 'Explain', exact: true }).click();
    await other.locator('.verdict').waitFor();
  } else await other.locator('table').first().waitFor();
};
for (const colorScheme of ['light', 'dark']) {
  for (const [width, height] of [[1280, 900], [360, 740]]) {
    const other = await opened({ colorScheme, viewport: { width, height } });
    for (const [view, title] of Object.entries(views)) {
      await other.goto(`${settings.open}#${view}`);
      await other.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
      await whole(other, view);
      await withoutBarriers(other, `${view} (${colorScheme}, ${width})`);
      await fits(other, `${view} (${width})`);
      const name = view.split('/').filter((part, i, all) => i === 0 || i === all.length - 1).join('-');
      await picture(other, `${name}-${colorScheme}-${width}`);
    }
    await other.context().close();
  }
}

// The theme can be chosen against the system's, and stays.
{
  const other = await opened({ colorScheme: 'light' });
  await other.goto(settings.open);
  const ground = () => other.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await other.getByRole('button', { name: 'Theme: system' }).click();
  must((await ground()) === light, 'light is not light');
  await other.getByRole('button', { name: 'Theme: light' }).click();
  must((await ground()) !== light, 'dark is light');
  await other.reload();
  await other.getByRole('button', { name: 'Theme: dark' }).waitFor();
  must((await ground()) !== light, 'the choice is forgotten');
  await other.context().close();
}

// With the keyboard alone: past the links, through the views, into the form.
{
  const other = await opened();
  await other.goto(settings.open);
  await other.locator('#revision').waitFor();
  const press = (key) => other.keyboard.press(key);
  const focused = () => other.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.name || document.activeElement.tagName);
  const isSeen = () => other.evaluate(() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  });
  await press('Tab');
  must((await focused()) === 'Skip to the content', `first is ${await focused()}`);
  await press('Enter');
  must((await other.evaluate(() => document.activeElement.id)) === 'main', 'the link leads elsewhere');
  await other.reload();
  await other.locator('#revision').waitFor();
  await press('Tab');
  for (const name of ['Overview', 'Workloads', 'Policies', 'Live decisions', 'Explain', 'Topology']) {
    await press('Tab');
    must((await focused()) === name, `${await focused()} stands where ${name} should`);
    must(await isSeen(), `${name} has no visible focus`);
  }
  await press('Shift+Tab');
  await press('Enter');
  await other.getByRole('heading', { level: 1, name: 'Explain' }).waitFor();
  await other.waitForFunction(() => document.activeElement.tagName === 'H1');
  for (let i = 0; (await focused()) !== 'path'; i += 1) {
    must(i < 10, 'the form cannot be reached');
    await press('Tab');
  }
  await press('End');
  await other.keyboard.type('cart');
  await press('Control+Enter');
  await other.locator('.verdict').waitFor();
  await other.context().close();
}

// Who has no token is asked for one; a server that is gone is said to be.
{
  const other = await opened();
  other.expected = /401/;
  await other.goto(settings.guarded);
  await other.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
  await other.waitForFunction(() => document.activeElement.name === 'token');
  await withoutBarriers(other, 'sign-in');
  await picture(other, 'sign-in');
  await other.getByLabel('Token').fill('not.a.token');
  await other.getByRole('button', { name: 'Sign in' }).click();
  await other.getByRole('alert').filter({ hasText: 'not good here' }).waitFor();
  await other.getByLabel('Token').fill(settings.token);
  await other.keyboard.press('Enter');
  await other.locator('#revision').waitFor();
  other.expected = undefined;
  await other.getByRole('link', { name: 'Live decisions' }).click();
  await other.getByRole('status').filter({ hasText: /^Live$/ }).waitFor();
  const kept = await other.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie]));
  must(!kept.includes(settings.token), 'the token is kept beside the page');
  await other.getByRole('link', { name: 'Overview' }).click();
  await other.locator('#revision').waitFor();
  other.expected = /ERR_|Failed to load|503/;
  await outside('stop server');
  await other.getByRole('alert').filter({ hasText: 'The server does not answer' }).waitFor();
  await withoutBarriers(other, 'a server that is gone');
  await picture(other, 'server-gone');
  await other.getByRole('button', { name: 'Sign out' }).click();
  await other.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
}

await browser.close();
must(problems.length === 0, `pages complain, or ask others:\n  ${problems.join('\n  ')}`);
process.stdout.write(`${JSON.stringify({ do: 'end' })}\n`);
process.exit(0);
