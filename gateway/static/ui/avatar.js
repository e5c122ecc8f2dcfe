// Avatars: initials on a stable colour; people are round, groups are rounded squares.

import { h } from './dom.js';
import { hue, initials } from './format.js';

/** size: 's' | 'm' | 'l'. `on` adds the presence dot. */
export function avatar(id, name, { group = false, size = 'm', on = false } = {}) {
  const kind = group ? 'avatar-group' : 'avatar-person';
  return h(
    'span',
    { class: `avatar avatar-${size} ${kind} hue-${hue(id)}`, 'aria-hidden': 'true' },
    h('span', { class: 'avatar-face', text: initials(name) }),
    on && h('span', { class: 'dot' }),
  );
}
