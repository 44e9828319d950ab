// Why a request would be answered as it would: a form, and the walk.

import { ask, query } from './client.js';
import { actionBadge, badge, el, facts, head, prose, replace, whenIdle } from './dom.js';
import { policyLink } from './policies.js';

const EMPTY = { workload: '', method: 'GET', scheme: 'http', host: '', path: '/', headers: '', principal: '', ip: '', destinationIp: '', port: '', sni: '', whole: '' };

/** What the form was left with; a token is never among it. */
let kept = { ...EMPTY };
let recorded = null;

export const forget = () => {
  kept = { ...EMPTY };
  recorded = null;
};

export const fillWorkload = (id) => {
  kept = { ...EMPTY, workload: id };
  recorded = null;
};

/** Fills the form with a request as the decision log has it. */
export const fillRecorded = (event, workload) => {
  const headers = Object.entries(event['http.request.header'] ?? {}).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
  const port = event['server.port'];
  kept = {
    ...EMPTY,
    workload,
    method: event['http.request.method'] ?? 'GET',
    scheme: event['url.scheme'] || 'http',
    host: (event['server.address'] ?? '') + (port ? `:${port}` : ''),
    path: event['url.path'] ?? '/',
    headers: headers.join('\n'),
    principal: (event['postern.peer.names'] ?? []).join('\n'),
    ip: event['network.peer.address'] ?? '',
    destinationIp: event['network.local.address'] ?? '',
    port: event['network.local.port'] ? String(event['network.local.port']) : '',
    sni: event['tls.client.server_name'] ?? '',
  };
  recorded = event;
};

const request = (form, token) => {
  if (form.whole.trim()) return form.whole;
  const source = {};
  if (form.ip.trim()) source.ip = form.ip.trim();
  const principals = form.principal.split('\n').map((line) => line.trim()).filter(Boolean);
  if (principals.length) source.principals = principals;
  const destination = {};
  if (form.destinationIp.trim()) destination.ip = form.destinationIp.trim();
  if (form.port.trim()) destination.port = Number(form.port);
  const headers = form.headers.split('\n').filter((line) => line.trim()).map((line) => {
    const at = line.indexOf(':', 1);
    if (at < 0) throw new Error(`The header line “${line}” has no colon.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  const made = { method: form.method, path: form.path, host: form.host, scheme: form.scheme, headers, source, destination };
  if (form.sni) made.sni = form.sni;
  if (token.trim()) made.token = token.trim();
  return made;
};

/** Whether what it lists must not be. */
const isNegative = (name) => /(^|[.\]])not[A-Z][A-Za-z]*$/.test(name);

const field = ({ field: name, entries, request: has, matched, holds, file, line, column }) =>
  el(
    'li',
    {},
    el('p', {},
      badge(holds ? '✓ holds' : '✕ fails', holds ? 'ok' : 'bad'), ' ', el('code', {}, name),
      matched ? [isNegative(name) ? ' must not be ' : ' entry ', el('code', {}, matched)] : [isNegative(name) ? ' must not be ' : ' wants ', entries.slice(0, 5).map((e, i) => [i ? ' or ' : '', el('code', {}, e)]), entries.length > 5 ? ` or ${entries.length - 5} more` : ''],
      '; the request has ', has.length ? has.slice(0, 5).map((v, i) => [i ? ', ' : '', el('code', {}, v || '(empty)')]) : 'none'),
    file && el('p', { class: 'place' }, el('code', {}, [file, line, column].filter(Boolean).join(':'))),
  );

const fields = (list) => el('ul', { class: 'plain' }, list.map(field));

const miss = (it) =>
  el(
    'li',
    { class: 'item' },
    el('div', { class: 'title' }, actionBadge(it.action), el('h3', {}, policyLink(it.policy), ` rules[${it.rule}]`)),
    fields(it.fields),
    it.changes && el('p', {}, 'With ', it.changes.map((c, i) => [i ? ' and ' : '', el('code', {}, c.input), ' = ', el('code', {}, c.value === null ? 'none' : typeof c.value === 'string' ? c.value : JSON.stringify(c.value))]), ` it would ${it.then.decision === 'allow' ? 'be allowed' : `still be denied (${it.then.reason.replaceAll('_', ' ')})`}.`),
  );

const answer = (json) => {
  const [first, ...rest] = (json.text ?? '').split('\n');
  const why = first.replace(/^(ALLOW|DENY)\s+/, '');
  const decided = json.policy ?? json.apiRule;
  const blank = rest.indexOf('');
  const walk = blank < 0 ? rest : rest.slice(blank + 1);
  return [
    el('div', { class: `verdict ${json.decision}` },
      el('strong', {}, json.decision === 'allow' ? '✓ ALLOW' : '✕ DENY'),
      badge(json.reason.replaceAll('_', ' ')), el('span', { class: 'hint' }, `by revision ${json.revision}`)),
    decided ? el('p', { id: 'decided-by' }, json.decision === 'allow' ? 'Allowed by ' : 'Denied by ', policyLink(decided), ` rules[${json.rule}]`) : el('p', { id: 'decided-by' }, prose(why)),
    recorded && recorded['postern.outcome'] !== json.decision &&
      el('p', { class: 'notice warn' }, `When it was recorded, it was decided otherwise: ${recorded['postern.outcome']}, ${String(recorded['postern.reason']).replaceAll('_', ' ')}, by revision ${recorded['postern.revision']}. What was not recorded may make the difference.`),
    json.error && facts([['Error', json.error], ['Status', json.status]]),
    json.matched?.length > 0 && el('section', {}, el('h3', {}, 'What matched'), fields(json.matched)),
    json.misses?.length > 0 && el('section', {}, el('h3', {}, 'What came nearest to allowing it'), el('ol', { class: 'plain' }, json.misses.map(miss))),
    json.shadow && el('p', { class: 'notice' }, `With dry-run policies enforced: ${json.shadow.decision}, ${json.shadow.reason.replaceAll('_', ' ')}.`),
    el('section', {}, el('h3', {}, 'The walk'), el('pre', { tabindex: '0', 'aria-label': 'How every rule fared' }, walk.join('\n').trim() || json.text)),
  ];
};

export const show = (main, { signal }) => {
  const inputs = {};
  const input = (name, properties = {}) => {
    const tag = properties.tag ?? 'input';
    const { tag: _, ...rest } = properties;
    inputs[name] = el(tag, { name, autocomplete: 'off', spellcheck: 'false', ...rest, value: kept[name] });
    return inputs[name];
  };
  const token = el('input', { type: 'password', name: 'token', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'explain-token' });
  const known = el('datalist', { id: 'known-workloads' });
  const result = el('section', { class: 'card', 'aria-live': 'polite', 'aria-label': 'Decision' }, el('p', { class: 'empty' }, 'The decision and what led to it will stand here.'));
  const button = el('button', {}, 'Explain');

  const suggest = async () => {
    try {
      const found = await ask(`workloads${query({ filter: inputs.workload.value.trim() })}`, { signal });
      replace(known, found.items.map((w) => el('option', { value: w.id })));
    } catch {
      // The field takes any text all the same.
    }
  };

  const run = async () => {
    for (const [name, element] of Object.entries(inputs)) kept[name] = element.value;
    let body;
    try {
      body = { request: request(kept, token.value), workload: kept.workload.trim() || null };
    } catch (error) {
      return replace(result, el('p', { class: 'notice bad', role: 'alert' }, error.message));
    }
    button.disabled = true;
    try {
      const json = await ask('explain', { body, signal });
      replace(result, el('h2', {}, 'Decision'), answer(json));
    } catch (error) {
      if (error.name !== 'AbortError') replace(result, el('h2', {}, 'No decision'), el('pre', { class: 'notice bad', role: 'alert' }, error.message));
    } finally {
      button.disabled = false;
    }
  };

  const left = recorded && (recorded['postern.redacted'] ?? []);
  const note = recorded &&
    el('p', { class: 'notice', id: 'recorded' }, `Filled from the decision of ${new Date(recorded.time).toLocaleTimeString('en-GB')}. The log has no tokens and no query`,
      left.length ? [', and left out ', left.map((name, i) => [i ? ', ' : '', el('code', {}, name)])] : '',
      recorded['client.address'] && recorded['client.address'] !== recorded['network.peer.address'] ? [`; the client was ${recorded['client.address']}, behind proxies`] : '', '.');

  const form = el(
    'form',
    {
      class: 'card',
      'aria-label': 'Request',
      onsubmit: (event) => {
        event.preventDefault();
        run();
      },
      onkeydown: (event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
      },
    },
    el('h2', {}, 'Request'),
    el('label', {}, 'Workload', input('workload', { list: 'known-workloads', placeholder: 'the default one' })), known,
    el('div', { class: 'fields pairs' },
      el('label', {}, 'Method', input('method', { required: true })),
      el('label', {}, 'Scheme', input('scheme', { tag: 'select' }, ))),
    el('label', {}, 'Host', input('host', { placeholder: 'shop.example.com' })),
    el('label', {}, 'Path, with its query', input('path', { required: true })),
    el('label', {}, 'Headers, one to a line', input('headers', { tag: 'textarea', rows: 3, placeholder: 'x-team: blue' })),
    el('label', {}, 'Names in the caller’s certificate, one to a line', input('principal', { tag: 'textarea', rows: 2, placeholder: 'spiffe://cluster.local/ns/shop/sa/web' })),
    el('div', { class: 'fields pairs' },
      el('label', {}, 'Caller’s address', input('ip', { placeholder: '10.1.2.3' })),
      el('label', {}, 'Destination address', input('destinationIp')),
      el('label', {}, 'Destination port', input('port', { inputmode: 'numeric', pattern: '[0-9]*' })),
      el('label', {}, 'Server name (SNI)', input('sni'))),
    el('div', { class: 'stack' }, el('label', {}, 'Token', token), el('p', { class: 'hint', id: 'explain-token' }, 'Sent with this question only; neither kept nor logged.')),
    el('details', { open: kept.whole !== '' },
      el('summary', {}, 'Or paste a whole request'),
      el('label', {}, 'Request file or CheckRequest, in YAML or JSON; used instead of the fields', input('whole', { tag: 'textarea', rows: 6 }))),
    el('div', { class: 'row' }, button,
      el('button', { type: 'button', class: 'quiet', onclick: () => { forget(); main.replaceChildren(); show(main, { signal }); } }, 'Clear'),
      el('span', { class: 'hint' }, 'Ctrl+Enter works, too')),
  );
  replace(inputs.scheme, ['http', 'https'].map((name) => el('option', { value: name }, name)));
  inputs.scheme.value = kept.scheme === 'https' ? 'https' : 'http';
  inputs.workload.addEventListener('input', whenIdle(suggest));
  replace(main, head('Explain', el('p', {}, 'Decided here and now by what is in force; nobody else is asked')), note || '', el('div', { class: 'halves ask' }, form, result));
  suggest();
  if (recorded) run();
};
