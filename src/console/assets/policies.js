// Which policies hold for a workload, and which workloads a policy covers.

import { ask, query } from './client.js';
import { actionBadge, badge, el, facts, head, labels, modeBadge, pager, place, plural, prose, replace, table, whenIdle } from './dom.js';
import { fillWorkload } from './explain.js';

const to = (view, id) => `#${view}/${encodeURIComponent(id).replaceAll('%2F', '/')}`;
export const policyLink = (id, text = id) => el('a', { href: to('policies', id) }, text);
export const workloadLink = (id, text = id) => el('a', { href: to('workloads', id) }, text);

const failed = (error) => el('p', { class: 'notice bad', role: 'alert' }, error.message);

/** A filter box over pages of a list. */
const browse = (main, signal, { title, hint, path, what, show }) => {
  const box = el('input', { type: 'search', name: 'filter', autocomplete: 'off', spellcheck: 'false' });
  const count = el('p', { role: 'status', class: 'hint' });
  const list = el('div', {});
  let asked = 0;
  const load = async (page = 0) => {
    const mine = ++asked;
    let found;
    try {
      found = await ask(`${path}${query({ filter: box.value.trim(), page: page || '' })}`, { signal });
    } catch (error) {
      if (error.name !== 'AbortError') replace(list, failed(error));
      return;
    }
    if (mine !== asked) return;
    count.textContent = found.matching === found.total ? plural(found.total, what) : `${found.matching.toLocaleString('en')} of ${plural(found.total, what)}`;
    replace(list, found.items.length ? show(found.items) : el('p', { class: 'empty' }, found.total ? 'Nothing has all of these words.' : `There is no ${what}.`), pager(found, load));
  };
  box.addEventListener('input', whenIdle(() => load()));
  replace(
    main,
    head(title, el('p', {}, hint)),
    el('section', { class: 'card' },
      el('form', { role: 'search', class: 'row', onsubmit: (event) => { event.preventDefault(); load(); } }, el('label', { class: 'grow' }, 'Filter', box), count),
      list),
  );
  load();
};

const workloadTable = (caption, items) =>
  table(
    caption,
    [{ text: 'Workload', class: 'long' }, { text: 'Labels', class: 'long' }, 'Mutual TLS', { text: 'Policies', class: 'number' }, { text: 'APIRules', class: 'number' }, { text: 'Token rules', class: 'number' }],
    items.map((w) => [
      [workloadLink(w.id), w.isDefault && [' ', badge('default', 'info')], w.invalid > 0 && [' ', badge('✕ denies everything', 'bad')]],
      labels(w.labels),
      [modeBadge(w.mode), w.ports > 0 && el('span', { class: 'hint' }, ` and ${plural(w.ports, 'port')} of its own`)],
      String(w.policies), String(w.apiRules), String(w.tokenRules),
    ]),
  );

export const showWorkloads = (main, { argument, signal }) => {
  if (argument) return showWorkload(main, argument, signal);
  browse(main, signal, {
    title: 'Workloads', hint: 'Open one to see what holds for it', path: 'workloads', what: 'workload',
    show: (items) => workloadTable('Workloads of the snapshot, and how much holds for each', items),
  });
};

export const showPolicies = (main, { argument, signal }) => {
  if (argument) return showPolicy(main, argument, signal);
  browse(main, signal, {
    title: 'Policies', hint: 'Open one to see which workloads it covers', path: 'policies', what: 'resource',
    show: (items) =>
      table(
        'Resources in force',
        [{ text: 'Resource', class: 'long' }, 'Action', { text: 'Rules', class: 'number' }, { text: 'For', class: 'long' }, { text: 'Written in', class: 'long' }],
        items.map((p) => [
          policyLink(p.id),
          p.action ? (p.kind === 'PeerAuthentication' ? modeBadge(p.action) : actionBadge(p.action, p.dryRun)) : '',
          p.rules === null ? '' : String(p.rules),
          p.attachment ?? 'the Services that it names',
          place(p) ?? 'the store or cluster',
        ]),
      ),
  });
};

const alternatives = (word, list) => {
  if (!list.length) return null;
  if (list.length === 1) return el('p', {}, el('span', { class: 'word' }, `${word} `), prose(list[0]));
  return el('div', {}, el('p', {}, el('span', { class: 'word' }, `${word} any of`)), el('ul', {}, list.map((text) => el('li', {}, prose(text)))));
};

const ruleItem = (rule, file) =>
  el(
    'li',
    { class: 'rule' },
    el('p', {}, el('strong', {}, `rules[${rule.number}]`), rule.line && file ? el('span', { class: 'hint' }, ` ${file}:${rule.line}`) : ''),
    alternatives('from', rule.from),
    alternatives('to', rule.to),
    rule.when.map((text) => el('p', {}, el('span', { class: 'word' }, 'when '), prose(text))),
    !rule.from.length && !rule.to.length && !rule.when.length && el('p', {}, 'every request'),
  );

const DOES = {
  ALLOW: 'Allows what one of its rules matches; with it in force, what no ALLOW rule matches is denied.',
  DENY: 'Denies what one of its rules matches.',
  AUDIT: 'Marks what one of its rules matches; never changes the decision.',
  CUSTOM: 'Asks its provider about what one of its rules matches.',
};

const policyBody = (policy) => [
  el('p', { class: 'hint' }, DOES[policy.action] ?? '', policy.provider ? [' The provider is ', el('code', {}, policy.provider), '.'] : ''),
  policy.rules
    ? el('ol', { class: 'plain' }, policy.ruleList.map((rule) => ruleItem(rule, policy.file)))
    : el('p', {}, 'It has no rules, and so matches nothing.'),
  policy.rules > (policy.ruleList?.length ?? 0) && el('p', { class: 'hint' }, `${policy.rules - policy.ruleList.length} more rules are not shown.`),
];

const title = (resource, ...more) => [
  el('div', { class: 'title' }, more, el('h3', {}, policyLink(resource.id))),
  el('p', { class: 'place' }, [resource.attachment ? `for ${resource.attachment}` : null, place(resource)].filter(Boolean).join(' · ')),
];

const policyItem = (policy) => el('li', { class: 'item' }, title(policy, actionBadge(policy.action, policy.dryRun)), policyBody(policy));

const accessRules = (rule) =>
  table(
    `Rules of ${rule.id}`,
    ['Rule', 'Methods', { text: 'Path', class: 'long' }, { text: 'Let through by', class: 'long' }, 'Service'],
    rule.accessRules.map((r) => [`rules[${r.number}]`, r.methods.join(' '), el('code', {}, r.path), el('ul', { class: 'plain' }, r.strategies.map((s) => el('li', {}, prose(s)))), r.service]),
  );

const tokenRules = (tokens) =>
  table(
    `Token rules of ${tokens.id}`,
    [{ text: 'Issuer', class: 'long' }, { text: 'Audiences', class: 'long' }, { text: 'Keys', class: 'long' }, { text: 'Looked for in', class: 'long' }],
    tokens.jwtRules.map((r) => [r.issuer || 'any', r.audiences.join(', ') || 'any', r.keys, r.places.join(', ')]),
  );

const peerCard = (peer) =>
  el(
    'section',
    { class: 'card', 'aria-labelledby': 'peer' },
    el('h2', { id: 'peer' }, 'Effective PeerAuthentication'),
    el('p', {}, modeBadge(peer.mode), ' ', peer.from ? ['from ', policyLink(peer.from.id), place(peer.from) && el('span', { class: 'hint' }, ` (${place(peer.from)})`)] : 'Istio’s default: no PeerAuthentication sets a mode'),
    peer.levels.length > 1 &&
      el('p', { class: 'hint' }, 'Looked at, from the widest: ', peer.levels.map((l, i) => [i ? ', then ' : '', `${l.level} `, policyLink(l.id), ` (${l.mode})`])),
    peer.ports.length > 0 &&
      table('Ports with a mode of their own', ['Port', 'Mode', { text: 'From', class: 'long' }], peer.ports.map((p) => [String(p.port), modeBadge(p.mode), p.from ? policyLink(p.from.id) : 'Istio’s default'])),
  );

const showWorkload = async (main, id, signal) => {
  replace(main, el('p', { class: 'crumb' }, el('a', { href: '#workloads' }, 'Workloads')), head(id));
  let w;
  try {
    w = await ask(`workload${query({ id })}`, { signal });
  } catch (error) {
    if (error.name !== 'AbortError') main.append(failed(error));
    return;
  }
  const { total, items } = w.authorizationPolicies;
  main.append(
    w.invalidResources.length > 0 &&
      el('p', { class: 'notice bad' }, 'Everything is denied here: never valid, and may have been meant for it: ', w.invalidResources.join(', '), '.') || '',
    el('section', { class: 'card', 'aria-labelledby': 'who' },
      el('header', {}, el('h2', { id: 'who' }, 'What it is'), el('button', { type: 'button', class: 'quiet', onclick: () => { fillWorkload(w.id); location.hash = '#explain'; } }, 'Explain a request to it')),
      facts([
        ['Namespace', w.namespace],
        ['Labels', labels(w.labels)],
        ['Services', w.services.join(', ')],
        ['Addresses', w.addresses.join(', ')],
        ['Service account', w.serviceAccount],
        ['Requests name it by', [w.isDefault ? 'nothing, as it is the default, or ' : '', Object.entries(w.contextExtensions).map(([k, v], i) => [i ? ' and ' : '', el('code', {}, `${k}: ${v}`)])]],
      ])),
    peerCard(w.peer),
    el('section', { class: 'card', 'aria-labelledby': 'policies-of' },
      el('header', {}, el('h2', { id: 'policies-of' }, 'AuthorizationPolicies, in the order in which they are evaluated'), el('p', {}, total > items.length ? `${items.length} of ${total} shown` : plural(total, 'policy').replace('policys', 'policies'))),
      total ? el('ol', { class: 'plain' }, items.map(policyItem)) : el('p', { class: 'empty' }, w.apiRules ? 'None holds.' : 'None holds: every request is allowed.')),
    w.apiRuleList.length > 0 &&
      el('section', { class: 'card', 'aria-labelledby': 'api-rules' },
        el('header', {}, el('h2', { id: 'api-rules' }, 'APIRules'), el('p', {}, w.isClosed ? 'what none of them is for is denied' : 'for requests with one of their hosts')),
        w.apiRuleList.map((rule) => el('div', { class: 'item' }, title(rule), el('p', { class: 'hint' }, `hosts ${rule.hosts.join(', ')}`), accessRules(rule)))) || '',
    el('section', { class: 'card', 'aria-labelledby': 'tokens-of' },
      el('h2', { id: 'tokens-of' }, 'RequestAuthentications'),
      w.requestAuthentications.length
        ? w.requestAuthentications.map((tokens) => el('div', { class: 'item' }, title(tokens), tokenRules(tokens)))
        : el('p', { class: 'empty' }, 'None holds: tokens are not looked at.')),
  );
};

const showPolicy = async (main, id, signal) => {
  replace(main, el('p', { class: 'crumb' }, el('a', { href: '#policies' }, 'Policies')), head(id));
  let p;
  try {
    p = await ask(`policy${query({ id })}`, { signal });
  } catch (error) {
    if (error.name !== 'AbortError') main.append(failed(error));
    return;
  }
  const { covers } = p;
  main.append(
    el('section', { class: 'card', 'aria-labelledby': 'says' },
      el('header', {}, el('h2', { id: 'says' }, 'What it says'),
        el('p', {}, p.kind === 'PeerAuthentication' ? modeBadge(p.action) : p.action ? actionBadge(p.action, p.dryRun) : '')),
      facts([['For', p.attachment], ['Written in', place(p)], ['Hosts', p.hosts?.join(', ')]]),
      p.ruleList ? el('div', { class: 'stack' }, policyBody(p)) : '',
      p.accessRules && accessRules(p) || '',
      p.jwtRules && tokenRules(p) || '',
      p.portModes?.length > 0 && table('Modes of ports', ['Port', 'Mode'], p.portModes.map((m) => [String(m.port), modeBadge(m.mode)])) || ''),
    el('section', { class: 'card', 'aria-labelledby': 'covers' },
      el('header', {}, el('h2', { id: 'covers' }, 'Workloads that it covers'), el('p', { id: 'covered' }, `${covers.total.toLocaleString('en')} of ${plural(covers.of, 'workload')}${covers.total > covers.items.length ? `, the first ${covers.items.length} shown` : ''}`)),
      covers.total ? workloadTable('Workloads that the policy holds for', covers.items) : el('p', { class: 'empty' }, 'It covers no workload of this Postern.')),
  );
};
