// Pictures of numbers. Each says in words what it shows.

import { svg, short } from './dom.js';

/** The last values of something, as a line. */
export const sparkline = (values, label, kind = '') => {
  const [width, height] = [200, 44];
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((v, i) => `${(i * step).toFixed(1)},${(height - 2 - (v / most) * (height - 6)).toFixed(1)}`);
  const picture = svg('svg', {
    class: `spark ${kind}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label,
  });
  if (values.length > 1) {
    picture.append(
      svg('path', { class: 'area', d: `M0,${height} L${points.join(' L')} L${width},${height} Z` }),
      svg('path', { class: 'line', d: `M${points.join(' L')}` }),
    );
  }
  return picture;
};

/** Bars of how many took up to how long. */
export const histogram = (buckets, label) => {
  const [width, height, bottom, top] = [640, 210, 30, 16];
  const most = Math.max(...buckets.map((b) => b.count), 1);
  const step = width / buckets.length;
  const picture = svg('svg', { class: 'bars', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
  const base = height - bottom;
  picture.append(svg('line', { x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5 }));
  buckets.forEach(({ name, count }, i) => {
    const tall = count ? Math.max((count / most) * (base - top), 2) : 0;
    const middle = i * step + step / 2;
    picture.append(
      svg('rect', { x: i * step + 3, y: base - tall, width: step - 6, height: tall, rx: 2 }),
      svg('text', { x: middle, y: height - 10, 'text-anchor': 'middle' }, name),
    );
    if (count) picture.append(svg('text', { x: middle, y: base - tall - 4, 'text-anchor': 'middle' }, brief(count)));
  });
  return picture;
};

const brief = (count) => {
  if (count >= 1e6) return `${+(count / 1e6).toPrecision(2)}M`;
  if (count >= 1e3) return `${+(count / 1e3).toPrecision(2)}k`;
  return String(count);
};

/** What of a share of all is below: no better than its bucket. */
export const quantile = (buckets, share) => {
  const total = buckets.reduce((sum, b) => sum + b.count, 0);
  let seen = 0;
  for (const { le, count } of buckets) {
    seen += count;
    if (total && seen >= share * total) return le === null ? 'over 5 s' : `≤ ${short(le)}`;
  }
  return 'none yet';
};
