// How the server stands: rates from differences of its counters, and what is wrong.

import { histogram, quantile, sparkline } from './charts.js';
import { badge, duration, el, facts, head, outcomeBadge, plural, prose, replace, short, table } from './dom.js';

const MOST = 90;
const changed = new EventTarget();

let newest = null;
let lost = null;
let history = [];

const total = (seen, outcome) =>
  seen.counts.decisions.filter((d) => d.outcome === outcome).reduce((sum, d) => sum + d.count, 0);

/** Takes in what the server said. */
export const learn = (seen) => {
  const before = newest;
  lost = null;
  newest = seen;
  if (before) {
    const seconds = seen.atSeconds - before.atSeconds;
    const rate = (outcome) => (total(seen, outcome) - total(before, outcome)) / seconds;
    const [allow, deny] = [rate('allow'), rate('deny')];
    // Counters that fall back are those of another process.
    if (seconds > 0 && allow >= 0 && deny >= 0) history.push({ allow, deny, before });
    else if (seconds > 0) history = [];
    if (history.length > MOST) history.shift();
  }
  changed.dispatchEvent(new Event('change'));
};

/** The server said nothing of use. */
export const lose = (problem) => {
  lost = problem;
  changed.dispatchEvent(new Event('change'));
};

export const forget = () => {
  newest = null;
  lost = null;
  history = [];
};

const number = (rate) => (rate === undefined ? '–' : rate >= 100 ? Math.round(rate).toLocaleString('en') : rate.toFixed(1));

const rateTile = (title, outcome) => {
  const values = history.map((h) => h[outcome]);
  const now = values.at(-1);
  const peak = values.length ? Math.max(...values) : 0;
  return el(
    'section',
    { class: 'card tile' },
    el('h2', {}, title),
    el('p', { class: 'big' }, number(now), el('small', {}, 'per second')),
    el('p', { class: 'hint' }, `${plural(total(newest, outcome), 'decision')} since the start`),
    sparkline(values, `${title} per second: now ${number(now)}, at most ${number(peak)} in the time shown`, outcome),
  );
};

const tiles = (seen) => {
  const { snapshot, readiness, resources } = seen;
  const policies = Object.values(resources).reduce((a, b) => a + b, 0);
  return el(
    'div',
    { class: 'tiles' },
    rateTile('Allowed', 'allow'),
    rateTile('Denied', 'deny'),
    el(
      'section',
      { class: 'card tile' },
      el('h2', {}, 'Policies in force'),
      el('p', { class: 'big', id: 'revision' }, `${snapshot.revision}`, el('small', {}, 'revision')),
      el('p', { class: 'hint' }, snapshot.publishedAt
        ? ['published ', el('time', { datetime: snapshot.publishedAt }, `${duration(snapshot.ageSeconds)} ago`), `, compiled in ${short(snapshot.compileSeconds)}`]
        : 'none published yet'),
      el('p', {}, el('a', { href: '#policies' }, plural(policies, 'resource')), ' for ', el('a', { href: '#workloads' }, plural(seen.workloads, 'workload'))),
    ),
    el(
      'section',
      { class: 'card tile' },
      el('h2', {}, 'Readiness'),
      el('p', { class: 'big' }, readiness.ready ? 'Ready' : 'Not ready'),
      readiness.waitingFor && el('p', {}, readiness.waitingFor),
      el('ul', { class: 'plain close hint' }, readiness.checks.map((c) => el('li', {}, `${c.passed ? '✓' : '✕ not yet:'} ${c.name}`))),
    ),
  );
};

const latency = (seen) => {
  const all = seen.counts.durations.buckets;
  const name = (le) => (le === null ? 'more' : short(le).replace(' ', ''));
  const count = all.reduce((sum, b) => sum + b.count, 0);
  const buckets = all.map(({ le, count }) => ({ name: name(le), count }));
  const used = buckets.map((b) => b.count > 0);
  const [first, last] = [used.indexOf(true), used.lastIndexOf(true)];
  const visible = count ? buckets.slice(Math.max(0, first - 1), Math.min(buckets.length, last + 2)) : [];
  const words = `median ${quantile(all, 0.5)}, 95 of 100 ${quantile(all, 0.95)}, 99 of 100 ${quantile(all, 0.99)}`;
  return el(
    'section',
    { class: 'card', 'aria-labelledby': 'latency' },
    el('header', {}, el('h2', { id: 'latency' }, 'Time from question to answer'), el('p', {}, 'since the start')),
    count
      ? [
          histogram(visible, `How many decisions took up to how long: ${words}`),
          facts([['Median', quantile(all, 0.5)], ['95 of 100', quantile(all, 0.95)], ['99 of 100', quantile(all, 0.99)], ['Mean', short(seen.counts.durations.sumSeconds / count)]]),
        ]
      : el('p', { class: 'empty' }, 'Nothing was decided yet. The first request that Envoy asks about shows up here.'),
  );
};

const reasons = (seen) => {
  const before = history.at(-1)?.before;
  const rows = seen.counts.decisions
    .filter((d) => d.count > 0)
    .sort((a, b) => b.count - a.count)
    .map((d) => {
      const then = before?.counts.decisions.find((b) => b.reason === d.reason)?.count ?? d.count;
      const rate = before ? (d.count - then) / (seen.atSeconds - before.atSeconds) : undefined;
      return [
        el('a', { href: '#decisions', onclick: () => sessionFilter({ reason: d.reason }) }, d.reason.replaceAll('_', ' ')),
        outcomeBadge(d.outcome),
        d.count.toLocaleString('en'),
        number(rate),
      ];
    });
  return el(
    'section',
    { class: 'card', 'aria-labelledby': 'reasons' },
    el('h2', { id: 'reasons' }, 'Decisions by reason'),
    rows.length
      ? table('Why requests were allowed or denied, since the start', ['Reason', 'Outcome', { text: 'Count', class: 'number' }, { text: 'Per second', class: 'number' }], rows)
      : el('p', { class: 'empty' }, 'Nothing was decided yet.'),
  );
};

/** What the stream is to show when it is opened next. */
let wanted = null;
const sessionFilter = (filter) => {
  wanted = filter;
};
export const takeFilter = () => {
  const filter = wanted;
  wanted = null;
  return filter;
};

const STATES = {
  fresh: ['✓ fresh', 'ok', 'The newest attempt got these keys.'],
  stale: ['! stale', 'warn', 'The newest attempt failed; the keys of an older one are in use.'],
  expired: ['✕ expired', 'bad', 'Not seen at their source for too long: tokens of this issuer are refused.'],
  missing: ['✕ missing', 'bad', 'No keys: tokens of this issuer are refused.'],
  awaited: ['… awaited', '', 'The first attempt has not ended.'],
};

const keySets = (seen) => {
  const rows = seen.keySets.map((set) => {
    const [word, kind, meaning] = STATES[set.state] ?? [set.state, '', ''];
    return [
      set.issuer,
      [badge(word, kind), el('p', { class: 'hint' }, meaning), set.error && el('p', {}, `Newest failure: ${set.error}`)],
      set.origin,
      String(set.keys),
      set.ageSeconds === null ? 'never' : `${duration(set.ageSeconds)} ago`,
      set.lastFailureSeconds === null ? 'never' : `${duration(set.lastFailureSeconds)} ago${set.failures ? `, ${set.failures} in a row` : ''}`,
    ];
  });
  return el(
    'section',
    { class: 'card', 'aria-labelledby': 'keys' },
    el('h2', { id: 'keys' }, 'Key sets'),
    rows.length
      ? table('Where the keys that verify tokens come from, and how fresh they are', [{ text: 'Issuer', class: 'long' }, { text: 'State', class: 'long' }, { text: 'Source', class: 'long' }, { text: 'Keys', class: 'number' }, 'Last success', 'Last failure'], rows)
      : el('p', { class: 'empty' }, 'No policy names keys that have to be fetched.'),
  );
};

const diagnostic = (problem) =>
  el(
    'li',
    {},
    el('p', {}, badge(problem.code ?? problem.severity, { error: 'bad', warning: 'warn' }[problem.severity] ?? 'info'), ' ', prose(problem.message)),
    problem.file && el('p', { class: 'place' }, el('code', {}, `${problem.file}:${problem.line}:${problem.column}`), problem.path ? ` at ${problem.path}` : ''),
    problem.help && el('p', { class: 'hint' }, 'Help: ', prose(problem.help)),
  );

const rejected = (seen) => {
  const { total, items } = seen.rejected;
  return el(
    'section',
    { class: 'card', 'aria-labelledby': 'rejected' },
    el('header', {}, el('h2', { id: 'rejected' }, 'Rejected resources'), el('p', {}, total > items.length ? `${items.length} of ${total} shown` : total ? `${total}` : '')),
    total
      ? el('ul', { class: 'plain' }, items.map((it) =>
          el('li', { class: 'item' },
            el('div', { class: 'title' }, badge('✕ rejected', 'bad'), el('strong', {}, it.resource ?? it.path), el('span', { class: 'hint' }, `for ${duration(it.ageSeconds)}`)),
            el('p', { class: 'hint' }, `Effect: ${it.effect}.`),
            el('ul', { class: 'plain' }, it.problems.map(diagnostic)))))
      : el('p', { class: 'empty' }, 'Everything that was read is in force.'),
  );
};

const findings = (seen) =>
  seen.findings.total > 0 &&
  el(
    'section',
    { class: 'card', 'aria-labelledby': 'findings' },
    el('header', {}, el('h2', { id: 'findings' }, 'Accepted, and probably not meant'), el('p', {}, plural(seen.findings.total, 'finding'))),
    el('ul', { class: 'plain' }, seen.findings.items.map(diagnostic)),
  );

const missing = (seen) =>
  seen.missingInputs.length > 0 &&
  el('p', { class: 'notice warn' }, 'Envoy does not send ', seen.missingInputs.map((name, i) => [i ? ', ' : '', el('code', {}, name)]), '. Conditions that need it allow nothing and deny.');

export const show = (main, { signal }) => {
  const notice = el('div', {});
  const body = el('div', {});
  body.style.display = 'contents';
  replace(main, head('Overview', el('p', {}, 'What is decided, by what, and what is in the way')), notice, body);

  const paint = () => {
    replace(notice, lost && el('p', { class: 'notice bad', role: 'alert' }, `${lost.message} ${newest ? 'What is shown is from before. ' : ''}Trying again.`));
    notice.hidden = !lost;
    if (!newest) {
      if (!lost) replace(body, el('p', { class: 'empty' }, 'Asking the server …'));
      return;
    }
    // Whoever stands on something stays there.
    const focused = body.contains(document.activeElement) ? [...body.querySelectorAll('a, [tabindex]')].indexOf(document.activeElement) : -1;
    const isSelecting = !getSelection().isCollapsed && body.contains(getSelection().anchorNode);
    if (isSelecting) return;
    replace(body, missing(newest), tiles(newest), el('div', { class: 'halves' }, latency(newest), reasons(newest)), keySets(newest), rejected(newest), findings(newest));
    if (focused >= 0) [...body.querySelectorAll('a, [tabindex]')][focused]?.focus({ preventScroll: true });

  };
  changed.addEventListener('change', paint, { signal });
  paint();

};
