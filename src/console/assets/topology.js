// Who calls whom in a namespace, as a picture and as a table.

import { ask, query } from './client.js';
import { el, head, plural, replace, scrolling, svg, table, whenIdle } from './dom.js';

const [WIDTH, ROW, BOX, GAP] = [190, 58, 34, 120];

/** Columns of nodes: each stands behind those that call it, circles aside. */
const layers = (edges) => {
  const names = [...new Set(edges.flatMap((e) => [e.source, e.destination]))];
  const depth = new Map(names.map((name) => [name, 0]));
  for (let round = 0; round < names.length; round += 1) {
    let isStill = true;
    for (const { source, destination } of edges) {
      const wanted = depth.get(source) + 1;
      if (source !== destination && depth.get(destination) < wanted && wanted < names.length) {
        depth.set(destination, wanted);
        isStill = false;
      }
    }
    // In a circle nobody is last.
    if (isStill || round > 12) break;
  }
  const columns = [];
  for (const name of names) (columns[depth.get(name)] ??= []).push(name);
  return columns.filter(Boolean);
};

const cut = (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

export const draw = (edges, label) => {
  const columns = layers(edges);
  const tall = Math.max(...columns.map((c) => c.length)) * ROW + 20;
  const wide = columns.length * WIDTH + (columns.length - 1) * GAP + 8;
  const at = new Map();
  columns.forEach((names, column) => {
    const top = (tall - names.length * ROW) / 2;
    names.forEach((name, i) => at.set(name, { x: 4 + column * (WIDTH + GAP), y: top + i * ROW + (ROW - BOX) / 2 }));
  });
  const picture = svg('svg', { class: 'map', viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, role: 'img', 'aria-label': label });
  picture.append(svg('defs', {}, svg('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: 'userSpaceOnUse', orient: 'auto' }, svg('path', { d: 'M0 0 L8 4 L0 8 Z' }))));
  const texts = [];
  for (const { source, destination, weight } of edges) {
    const [a, b] = [at.get(source), at.get(destination)];
    const [x1, y1, x2, y2] = [a.x + WIDTH, a.y + BOX / 2, b.x, b.y + BOX / 2];
    const bend = Math.max(Math.abs(x2 - x1) / 2, 40);
    const path = source === destination
      ? `M${x1},${y1 - 6} C${x1 + 46},${y1 - 40} ${x1 + 46},${y1 + 40} ${x1},${y1 + 6}`
      : `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
    picture.append(svg('path', { class: 'edge', d: path, 'stroke-width': 1 + (2.5 * weight) / 100, 'marker-end': 'url(#tip)' }));
    texts.push(svg('text', { class: 'weight', x: (x1 + x2) / 2, y: (y1 + y2) / 2 + 4, 'text-anchor': 'middle' }, `${weight}%`));
  }
  for (const [name, { x, y }] of at) {
    picture.append(
      svg('rect', { x, y, width: WIDTH, height: BOX, rx: 6 }),
      svg('text', { x: x + WIDTH / 2, y: y + BOX / 2 + 4, 'text-anchor': 'middle' }, cut(name), svg('title', {}, name)),
    );
  }
  picture.append(...texts);
  return picture;
};

let namespace = '';

export const show = (main, { signal }) => {
  const box = el('input', { name: 'namespace', autocomplete: 'off', spellcheck: 'false', placeholder: 'the default workload’s', value: namespace });
  const status = el('p', { class: 'hint', role: 'status' });
  const body = el('div', {});
  let asked = 0;
  const load = async () => {
    namespace = box.value.trim();
    const mine = ++asked;
    let seen;
    try {
      seen = await ask(`topology${query({ namespace })}`, { signal });
    } catch (error) {
      if (error.name === 'AbortError' || mine !== asked) return;
      status.textContent = '';
      replace(body, el('p', { class: error.status === 404 ? 'notice' : 'notice bad', role: 'alert' }, error.message));
      return;
    }
    if (mine !== asked) return;
    const { edges, total } = seen;
    status.textContent = `Namespace ${seen.namespace}: ${plural(total, 'route')}${total > edges.length ? `, the first ${edges.length} shown` : ''}`;
    replace(
      body,
      edges.length
        ? [
            scrolling('Picture of the routes', draw(edges, `${plural(edges.length, 'route')} of ${seen.namespace}; the table below says the same`)),
            table('The same as a table', [{ text: 'From', class: 'long' }, { text: 'To', class: 'long' }, { text: 'Share of the traffic', class: 'number' }], edges.map((e) => [e.source, e.destination, `${e.weight} %`])),
          ]
        : el('p', { class: 'empty' }, 'No VirtualService of this namespace routes anything.'),
    );
  };
  box.addEventListener('input', whenIdle(load, 350));
  replace(
    main,
    head('Topology', el('p', {}, 'Where routes lead, and with which weights')),
    el('section', { class: 'card', 'aria-label': 'Routes' },
      el('form', { class: 'row', role: 'search', onsubmit: (event) => { event.preventDefault(); load(); } }, el('label', { class: 'grow' }, 'Namespace', box), status),
      body),
  );
  load();
};
