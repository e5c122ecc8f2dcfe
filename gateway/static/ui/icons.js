// Icons drawn inline on a 24×24 grid, in the current colour: no request, so they are there offline.

import { svg } from './dom.js';

/** Outlines; a few are filled (listed in FILLED). */
const PATHS = {
  back: 'M15 5l-7 7 7 7',
  close: 'M6 6l12 12M18 6L6 18',
  search: 'M10.5 4a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zM15.5 15.5L20 20',
  chat: 'M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H10l-4.5 4V16A1.5 1.5 0 0 1 4 14.5zM12 7.5v5M9.5 10h5',
  menu: 'M12 5.500v.01M12 12v.01M12 18.500v.01',
  send: 'M4 12l16-8-5 16-3.5-6.500z',
  smile: 'M12 3.500a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17zM8.5 14c1.8 2.7 5.2 2.7 7 0M9 9.500v.6M15 9.500v.6',
  chevron: 'M6 9.500l6 6 6-6',
  down: 'M12 5v14M6 13l6 6 6-6',
  check: 'M5 12.500l4.5 4.500L19 7',
  plus: 'M12 5v14M5 12h14',
  person: 'M12 4a4 4 0 1 1 0 8a4 4 0 0 1 0-8zM4.5 20c.6-4 3.6-5.5 7.5-5.500s6.9 1.5 7.5 5.5',
  addPerson: 'M10 4.500a3.7 3.7 0 1 1 0 7.400a3.7 3.7 0 0 1 0-7.400zM3 19.500c.5-3.7 3.3-5 7-5 1.3 0 2.5.2 3.5.6M18 13v6M15 16h6',
  group: 'M9 5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 0 1 0-7zM2.5 19c.5-3.5 3-5 6.5-5s6 1.5 6.5 5M15.5 5.400a3.3 3.3 0 0 1 0 6.300M17.5 14.300c2.2.6 3.6 2.1 4 4.7',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4',
  sun: 'M12 8a4 4 0 1 1 0 8a4 4 0 0 1 0-8zM12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4',
  moon: 'M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z',
  logout: 'M14 4.500H6.500A1.5 1.5 0 0 0 5 6v12a1.5 1.5 0 0 0 1.5 1.500H14M10 12h10M16.5 8.500L20 12l-3.5 3.5',
  pin: 'M9 4h6l-.7 6 3.2 3.500h-11L9.7 10zM12 13.500V20',
  mute: 'M5 9.500v5h3.500L13 18.500v-13L8.5 9.500zM16.5 9.500l4 5M20.5 9.500l-4 5',
  bell: 'M6 16.500V11a6 6 0 0 1 12 0v5.500l1.5 1.500h-15zM10 20.500h4',
  archive: 'M4 5h16v4H4zM5.5 9v10h13V9M10 12.500h4',
  block: 'M12 3.500a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17zM6 6l12 12',
  reply: 'M10 6L4 12l6 6v-4c5 0 8 1.5 10 5 0-6-4-9-10-9z',
  edit: 'M4.5 19.500l1-4.500L16 4.500l3.5 3.500L9 18.500zM13.5 7l3.5 3.5',
  copy: 'M8.5 8.500V6A1.5 1.5 0 0 1 10 4.500h8A1.5 1.5 0 0 1 19.5 6v8a1.5 1.5 0 0 1-1.5 1.500h-2.500M6 8.500h8A1.5 1.5 0 0 1 15.5 10v8a1.5 1.5 0 0 1-1.5 1.500H6A1.5 1.5 0 0 1 4.5 18v-8A1.5 1.5 0 0 1 6 8.500z',
  trash: 'M4.5 7h15M9.5 7V4.500h5V7M6.5 7l1 12.500h9l1-12.500M10 11v5M14 11v5',
  info: 'M12 3.500a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17zM12 11v5.500M12 7.500v.1',
  device: 'M4.5 5.500h15v10h-15zM2.5 19h19M9.5 15.500V19M14.5 15.500V19',
  lock: 'M6.5 10.500h11v9h-11zM8.5 10.500V8a3.5 3.5 0 0 1 7 0v2.5',
  keyboard: 'M3 6.500h18v11H3zM7 10v.1M11 10v.1M15 10v.1M17.5 14v.1M6.5 14v.1M9.5 14h5',
  star: 'M12 4l2.4 5.2 5.6.6-4.2 3.8 1.2 5.6-5-2.9-5 2.9 1.2-5.600L4 9.800l5.6-.6z',
  clock: 'M12 4a8 8 0 1 1 0 16a8 8 0 0 1 0-16zM12 8v4.500l3 1.5',
  warning: 'M12 4l9 16H3zM12 10v4.500M12 17v.1',
  sent: 'M6 12.500l4 4L18.5 7.5',
  double: 'M2.5 12.500l4 4L15 7.500M10.5 15l1.5 1.500L20.5 7.5',
  leave: 'M13 4.500H6v15h7M10 12h10M16.5 8.500L20 12l-3.5 3.5',
};
const FILLED = new Set(['send']);

export function icon(name, label = null) {
  const node = svg(
    'svg',
    { viewBox: '0 0 24 24', class: `icon icon-${name}` },
    svg('path', { d: PATHS[name], ...(FILLED.has(name) && { class: 'filled' }) }),
  );
  if (label) {
    node.setAttribute('role', 'img');
    node.setAttribute('aria-label', label);
    node.append(svg('title', {}, label));
  } else {
    node.setAttribute('aria-hidden', 'true');
  }
  return node;
}

/** The mark: shoots regrowing from a stump. */
export function logo() {
  return svg(
    'svg',
    { viewBox: '0 0 48 48', class: 'logo', 'aria-hidden': 'true' },
    svg('path', { class: 'shoot', d: 'M24 35V15M17 35C17 28 15.5 24 12 20M31 35C31 28 32.5 24 36 20' }),
    svg('path', { class: 'leaf', d: 'M24 16C19 13 19 7 24 3C29 7 29 13 24 16Z' }),
    svg('path', { class: 'leaf', d: 'M12.5 21C7.5 21.5 4 17.5 5 12.500C10 12.5 13.5 16 12.5 21Z' }),
    svg('path', { class: 'leaf', d: 'M35.5 21C40.5 21.5 44 17.5 43 12.500C38 12.5 34.5 16 35.5 21Z' }),
    svg('path', { class: 'stump', d: 'M11 34H37L39.5 44H8.500Z' }),
    svg('ellipse', { class: 'rings', cx: 24, cy: 34, rx: 13, ry: 3.2 }),
  );
}
