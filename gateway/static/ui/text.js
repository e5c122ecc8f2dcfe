// Message text as DOM: links, *bold*, _italic_, ~struck~, `code`; everything else stays text.

import { h } from './dom.js';
import { tokens } from './format.js';

function node({ kind, text }) {
  if (kind === 'plain') return document.createTextNode(text);
  if (kind !== 'link') return h(kind, { text });
  return h('a', { href: text, text, target: '_blank', rel: 'noopener noreferrer' });
}

export function textNodes(text) {
  return tokens(text).map(node);
}
