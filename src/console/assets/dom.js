// Elements made of what they are: nothing here is ever read as markup.

const SVG = 'http://www.w3.org/2000/svg';

const fill = (element, properties, children) => {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
};

const append = (element, children) => {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === '') continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
};

/** An element: `el('p', { class: 'hint' }, 'text', other)`. */
export const el = (tag, properties = {}, ...children) =>
  fill(document.createElement(tag), properties, children);

/** The same of a picture. */
export const svg = (tag, properties = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), properties, children);

/** Puts these in the place of what is there. */
export const replace = (element, ...children) => {
  element.replaceChildren();
  append(element, children);
  return element;
};

/** Text in which `this` stands in backticks. */
export const prose = (text) =>
  String(text)
    .split('`')
    .map((part, place) => (place % 2 ? el('code', {}, part) : part));

export const badge = (text, kind = '') => el('span', { class: `badge ${kind}` }, text);

export const outcomeBadge = (outcome) =>
  outcome === 'allow' ? badge('✓ allow', 'ok') : badge('✕ deny', 'bad');

export const actionBadge = (action, dryRun) => [
  badge(action, { DENY: 'bad', ALLOW: 'ok', CUSTOM: 'warn', AUDIT: 'info' }[action] ?? ''),
  dryRun ? badge('dry run: changes nothing', 'warn') : null,
];

export const modeBadge = (mode) =>
  badge(mode, { STRICT: 'ok', PERMISSIVE: 'warn', DISABLE: 'bad' }[mode] ?? '');

/** `columns`: texts, or `{ text, class }`. Rows are lists of cells; the first of a row names it. */
export const table = (caption, columns, rows, properties = {}) => {
  const heads = columns.map((column) => (typeof column === 'string' ? { text: column } : column));
  const body = el('tbody', { role: 'rowgroup' }, rows.map((row) => tableRow(heads, row)));
  return scrolling(
    caption,
    el(
      'table',
      { role: 'table', ...properties },
      el('caption', {}, caption),
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, heads.map((h) => el('th', { role: 'columnheader', scope: 'col', class: h.class }, h.text)))),
      body,
    ),
  );
};

/** One row. Small screens show cells below each other, which takes their roles unless they are said. */
export const tableRow = (heads, cells, properties = {}) =>
  el(
    'tr',
    { role: 'row', ...properties },
    cells.map((content, place) => {
      const { text, class: kind } = heads[place];
      return place
        ? el('td', { role: 'cell', class: kind, 'data-label': text }, content)
        : el('th', { role: 'rowheader', scope: 'row', class: kind, 'data-label': text }, content);
    }),
  );

/** Focus goes where something can be scrolled, and past the rest. */
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute('tabindex', '0');
    else target.removeAttribute('tabindex');
  }
});

/** What may be wider than the page. */
export const scrolling = (label, content) => {
  const area = el('div', { class: 'scroll', role: 'group', 'aria-label': label }, content);
  sizes.observe(area);
  return area;
};

/** `[term, description]` pairs; those without a description are left out. */
export const facts = (pairs) =>
  el(
    'dl',
    { class: 'facts' },
    pairs
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .map(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]),
  );

export const labels = (pairs) => {
  const entries = Object.entries(pairs ?? {});
  if (!entries.length) return el('span', { class: 'hint' }, 'no labels');
  return el('span', { class: 'labels' }, entries.map(([k, v]) => el('code', {}, `${k}=${v}`)));
};

/** A heading for a view. */
export const head = (title, ...more) =>
  el('div', { class: 'head' }, el('h1', { tabindex: '-1' }, title), more);

export const place = ({ file, line }) => (file ? `${file}${line ? `:${line}` : ''}` : null);

const plural = (count, one) => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;
export { plural };

/** How long, in words: `4 s`, `3 min`, `2 h`. */
export const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return 'never';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
};

/** A time as short as a decision takes. */
export const short = (seconds) => {
  if (seconds < 0.001) return `${+(seconds * 1e6).toPrecision(3)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(3)} ms`;
  return `${+seconds.toPrecision(3)} s`;
};

/** Calls `act` once typing pauses. */
export const whenIdle = (act, milliseconds = 200) => {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
};

/** How to get to other pages of a list. */
export const pager = (list, go) =>
  list.pages > 1 &&
  el(
    'nav',
    { class: 'pager', 'aria-label': 'Pages' },
    el('button', { type: 'button', class: 'quiet', disabled: list.page === 0, onclick: () => go(list.page - 1) }, 'Previous'),
    el('span', {}, `Page ${list.page + 1} of ${list.pages}`),
    el('button', { type: 'button', class: 'quiet', disabled: list.page + 1 >= list.pages, onclick: () => go(list.page + 1) }, 'Next'),
  );
