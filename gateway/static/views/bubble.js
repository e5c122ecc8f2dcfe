// One item of a conversation as DOM: a day, the unread line, a happening, a message.

import { happening, personName } from '../store/select.js';
import { avatar } from '../ui/avatar.js';
import { explain } from '../ui/dialog.js';
import { h } from '../ui/dom.js';
import { emojiNode } from '../ui/emoji.js';
import { clock, count, dayLabel, hue, isJumbo, plain } from '../ui/format.js';
import { icon } from '../ui/icons.js';
import { textNodes } from '../ui/text.js';
import { tickNode } from './rows.js';

/** Everything a node depends on, as text: equal signatures need no new node. */
export function signature(state, thread, item, now) {
  if (item.type === 'day') return dayLabel(item.ts, now);
  if (item.type === 'unread') return '';
  if (item.type === 'system') return happening(state, item.row);
  const { row, tick, first, reacts, quote, entry } = item;
  return JSON.stringify([
    row.seq, row.edited, row.deleted, tick, first, reacts, quote, entry?.state,
    personName(state, row.from), quote && personName(state, quote.from),
  ]);
}

/** on: {menu(item, anchor), react(item, emoji, on), quote(seq), failed(item, anchor)}. */
export function renderItem(state, thread, item, now, on) {
  if (item.type === 'day') return h('li', { class: 'day' }, h('span', { text: dayLabel(item.ts, now) }));
  if (item.type === 'unread') return h('li', { class: 'day unread-line' }, h('span', { text: 'Unread messages' }));
  if (item.type === 'system') return h('li', { class: 'system' }, h('span', { text: happening(state, item.row) }));
  return message(state, thread, item, on);
}

function message(state, thread, item, on) {
  const { row, own, first, entry } = item;
  const group = thread.kind === 'group' && !own;
  const kinds = ['msg', own ? 'own' : 'other', first ? 'first' : '', group ? 'in-group' : '',
    entry?.state === 'failed' ? 'failed' : '', item.reacts?.length ? 'reacted' : ''];
  const node = h('li', {
    class: kinds.filter(Boolean).join(' '), tabindex: '-1', 'data-key': item.key,
    'data-seq': item.seq || null, 'aria-label': spoken(state, item),
  });
  node.append(
    ...(group && first ? [avatar(row.from, personName(state, row.from), { size: 's' })] : []),
    h('div', { class: 'bubble' },
      group && first && h('span', { class: `author hue-${hue(row.from)}`, text: personName(state, row.from) }),
      item.quote && quoteNode(state, item.quote, () => on.quote(item.quote.seq)),
      body(row),
      h('span', { class: 'meta' }, row.edited && !row.deleted && h('span', { text: 'edited' }),
        h('time', { datetime: new Date(item.ts).toISOString(), title: new Date(item.ts).toLocaleString(), text: clock(item.ts) }),
        tickNode(item.tick)),
      item.reacts?.length ? reactions(state, item, on) : null,
      entry || row.deleted ? null : moreButton(() => on.menu(item, node.querySelector('.more')))),
    ...(entry?.state === 'failed' ? [failedNote(entry, () => on.failed(item, node))] : []),
  );
  return node;
}

function body(row) {
  if (row.deleted) {
    return h('span', { class: 'text gone' }, icon('block'), h('span', { text: 'This message was deleted' }));
  }
  return h('span', { class: `text${isJumbo(row.text) ? ' jumbo' : ''}` }, textNodes(row.text));
}

function moreButton(click) {
  return h('button', {
    type: 'button', class: 'more', tabindex: '-1', title: 'Message menu', 'aria-label': 'Message menu',
    'aria-haspopup': 'menu', on: { click },
  }, icon('chevron'));
}

function failedNote(entry, click) {
  return h('button', { type: 'button', class: 'failed-note', on: { click } },
    icon('warning'), h('span', { text: `Not sent: ${explain(entry.reason)}` }));
}

/** The message answered to, above the answer or above the composer. */
export function quoteNode(state, quote, click) {
  const name = quote.from ? personName(state, quote.from) : 'Message';
  const text = plain(quote.text ?? 'Loading…');
  return h('button', {
    type: 'button', tabindex: '-1', class: `quote${quote.from ? ` hue-${hue(quote.from)}` : ''}`,
    'aria-label': `Answer to ${name}: ${text}`, on: { click },
  }, h('span', { class: 'quote-name', text: name }), h('span', { class: 'quote-text', text }));
}

function reactions(state, item, on) {
  const me = state.me.uid;
  return h('div', { class: 'reacts' }, item.reacts.map(({ emoji, users }) => {
    const mine = users.includes(me);
    const names = users.map((uid) => personName(state, uid)).join(', ');
    return h('button', {
      type: 'button', tabindex: '-1', class: `react${mine ? ' mine' : ''}`, title: names,
      'aria-label': `${emoji} by ${names}`, 'aria-pressed': String(mine),
      on: { click: () => on.react(item, emoji, !mine) },
    }, emojiNode(emoji), users.length > 1 && h('span', { text: String(users.length) }));
  }));
}

const TICK_WORDS = { pending: 'waiting', failed: 'not sent', sent: 'sent', delivered: 'delivered', read: 'read' };

function spoken(state, item) {
  const { row, reacts, tick } = item;
  const text = row.deleted ? 'This message was deleted' : row.text;
  const parts = [personName(state, row.from), text, clock(item.ts), row.edited && 'edited', TICK_WORDS[tick]];
  if (reacts?.length) parts.push(count(reacts.length, 'reaction'));
  return parts.filter(Boolean).join(', ');
}
