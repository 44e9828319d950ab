// Decisions as they are made: the events of the decision log, filtered by the server.

import { Problem, follow, query } from './client.js';
import { el, head, outcomeBadge, plural, replace, short, table, tableRow, whenIdle } from './dom.js';
import { fillRecorded } from './explain.js';
import { takeFilter } from './overview.js';
import { policyLink, workloadLink } from './policies.js';

const MOST = 500;
const REASONS = ['no_allow_policy', 'allow_rule', 'deny_rule', 'no_allow_rule', 'api_rule', 'api_rule_refused', 'no_api_rule', 'custom_provider_undefined', 'custom_denied', 'custom_error', 'peer_unauthenticated', 'jwt', 'invalid_policy', 'unknown_workload', 'malformed_request'];
const COLUMNS = [
  { text: 'Time', class: 'tight' }, { text: 'Outcome', class: 'tight' }, { text: 'Reason', class: 'tight' },
  { text: 'Request', class: 'long' }, { text: 'Policy', class: 'long' }, { text: 'Workload', class: 'long' },
  { text: 'Caller', class: 'long' }, { text: 'Took', class: 'tight number' }, { text: 'Why', class: 'tight' },
];
const NONE = { outcome: '', reason: '', policy: '', workload: '', pathPrefix: '' };

let filter = { ...NONE };
export const forget = () => {
  filter = { ...NONE };
};

/** What the console calls the workload of an event. */
const workloadOf = (event) => {
  const workload = event['postern.workload'];
  if (!workload) return '';
  if (workload.name) return `${workload.namespace}/${workload.name}`;
  return `${workload.namespace}?${Object.entries(workload.labels ?? {}).map(([k, v]) => `${k}=${v}`).join(',')}`;
};

const row = (event) => {
  const workload = workloadOf(event);
  const policy = event['postern.policy'] ? `AuthorizationPolicy/${event['postern.policy']}` : event['postern.api_rule'] ? `APIRule/${event['postern.api_rule']}` : '';
  const time = new Date(event.time);
  const what = `${event['http.request.method'] ?? 'connection'} ${event['url.path'] ?? ''}`;
  const cells = [
    el('time', { datetime: event.time }, `${time.toLocaleTimeString('en-GB')}.${String(time.getMilliseconds()).padStart(3, '0')}`),
    outcomeBadge(event['postern.outcome']),
    String(event['postern.reason']).replaceAll('_', ' '),
    [el('span', { class: 'mono' }, what), event['server.address'] ? el('span', { class: 'hint' }, ` ${event['server.address']}`) : ''],
    policy ? [policyLink(policy, policy.split('/').slice(1).join('/')), ` rules[${event['postern.rule'] ?? 0}]`] : '',
    workload ? workloadLink(workload) : '',
    event['postern.peer.names']?.[0] ?? event['network.peer.address'] ?? 'unknown',
    short(event['postern.duration'] ?? 0),
    el('button', { type: 'button', class: 'quiet', 'aria-label': `Explain ${what} at ${time.toLocaleTimeString('en-GB')}`, onclick: () => { fillRecorded(event, workload); location.hash = '#explain'; } }, 'Explain'),
  ];
  return tableRow(COLUMNS, cells, { class: 'new' });
};

export const show = (main, { signal }) => {
  filter = { ...filter, ...takeFilter() };
  let isPaused = false;
  let isLive = false;
  let isOver = false;
  let problem = null;
  let dropped = 0;
  let dropping = 0;
  let seen = 0;
  let waiting = [];
  let connection = null;
  let isPainting = false;

  const state = el('p', { role: 'status', 'aria-live': 'polite' });
  const counts = el('p', { class: 'hint', id: 'counts' });
  const notice = el('p', { class: 'notice bad', role: 'alert', hidden: true });
  const list = table(`Decisions, the newest first; at most ${MOST} are kept`, COLUMNS, [], { class: 'live' });
  const rows = list.querySelector('tbody');
  const empty = el('p', { class: 'empty' }, 'Waiting for a decision that fits. One appears here as soon as Envoy asks.');
  const pause = el('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false' }, 'Pause');
  const clear = el('button', { type: 'button', class: 'quiet' }, 'Clear');

  const tell = () => {
    const text = problem ? 'Not connected' : isPaused ? 'Paused' : isLive ? 'Live' : 'Connecting …';
    if (state.textContent !== text) state.textContent = text;
    notice.hidden = !problem;
    if (problem && notice.textContent !== problem) notice.textContent = problem;
    const lost = dropped + dropping;
    counts.textContent = [
      `${rows.children.length} shown${seen > rows.children.length ? ` of ${seen.toLocaleString('en')} seen` : ''}`,
      isPaused && waiting.length ? `${plural(waiting.length, 'event')} waiting` : '',
      lost ? `${plural(lost, 'event')} dropped, as they came faster than they were read` : '',
    ].filter(Boolean).join('; ');
    empty.hidden = rows.children.length > 0;
  };

  const paint = () => {
    isPainting = false;
    if (!isPaused) {
      const batch = waiting.splice(0).reverse();
      // Whoever stands on a button keeps it, as rows are put above.
      rows.prepend(...batch.map(row));
      while (rows.children.length > MOST) rows.lastElementChild.remove();
    }
    tell();
  };

  const take = (name, data) => {
    isLive = true;
    problem = null;
    if (name === 'decision') {
      seen += 1;
      waiting.push(JSON.parse(data));
      if (waiting.length > MOST) waiting.shift();
    } else if (name === 'dropped') dropping = Number(data);
    else if (name === 'end' && data === 'ask again') isOver = true;
    else if (name === 'end') problem = 'The server is shutting down. Trying again.';
    if (isPainting) return;
    isPainting = true;
    // Frames stand still in the background, where nothing has to be painted.
    requestAnimationFrame(paint);
  };

  const connect = async () => {
    connection?.abort();
    const mine = new AbortController();
    connection = mine;
    isLive = false;
    tell();
    for (let pauseFor = 1000; !mine.signal.aborted; pauseFor = Math.min(pauseFor * 2, 15000)) {
      try {
        await follow(`decisions${query(filter)}`, (name, data) => { pauseFor = 1000; take(name, data); }, mine.signal);
        if (isOver) {
          isOver = false;
          dropped += dropping;
          dropping = 0;
          continue;
        }
        problem ??= 'The stream ended. Trying again.';
      } catch (error) {
        if (error.name === 'AbortError') return;
        if (!(error instanceof Problem)) throw error;
        if (error.status === 401) return;
        if (error.status === 400) {
          problem = error.message;
          return tell();
        }
        problem = `${error.message} Trying again.`;
      }
      dropped += dropping;
      dropping = 0;
      isLive = false;
      tell();
      await new Promise((done) => {
        const timer = setTimeout(done, pauseFor);
        mine.signal.addEventListener('abort', () => { clearTimeout(timer); done(); });
      });
    }
  };
  signal.addEventListener('abort', () => connection?.abort());

  const inputs = {};
  const input = (name, properties = {}) => {
    inputs[name] = el('input', { name, autocomplete: 'off', spellcheck: 'false', ...properties, value: filter[name] });
    return inputs[name];
  };
  const choice = (name, pairs) => {
    inputs[name] = el('select', { name }, pairs.map(([value, text]) => el('option', { value }, text)));
    inputs[name].value = filter[name];
    return inputs[name];
  };
  const apply = () => {
    for (const [name, element] of Object.entries(inputs)) filter[name] = element.value.trim();
    replace(rows);
    waiting = [];
    seen = 0;
    connect();
  };
  const form = el(
    'form',
    { class: 'card', role: 'search', 'aria-label': 'Filter of decisions', onsubmit: (event) => { event.preventDefault(); apply(); } },
    el('div', { class: 'fields pairs' },
      el('label', {}, 'Outcome', choice('outcome', [['', 'allow and deny'], ['allow', 'allow'], ['deny', 'deny']])),
      el('label', {}, 'Reason', choice('reason', [['', 'any'], ...REASONS.map((r) => [r, r.replaceAll('_', ' ')])])),
      el('label', {}, 'Policy', input('policy', { placeholder: 'shop/no-admin' })),
      el('label', {}, 'Workload', input('workload', { placeholder: 'shop/cart' })),
      el('label', {}, 'Path begins with', input('pathPrefix', { placeholder: '/admin' }))),
  );
  form.addEventListener('input', whenIdle(apply, 300));
  pause.addEventListener('click', () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? 'Resume' : 'Pause';
    pause.setAttribute('aria-pressed', String(isPaused));
    paint();
  });
  clear.addEventListener('click', () => {
    replace(rows);
    waiting = [];
    seen = 0;
    dropped = 0;
    tell();
  });

  replace(
    main,
    head('Live decisions', el('p', {}, 'As the decision log has them: without tokens, queries and redacted headers')),
    form, notice,
    el('section', { class: 'card', 'aria-label': 'Decisions' },
      el('div', { class: 'row' }, state, counts, el('span', { class: 'grow' }), pause, clear),
      list,
      empty),
  );
  connect();
};
