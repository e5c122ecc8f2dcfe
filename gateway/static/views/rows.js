// Rows of lists: a chat, a person.

import { isBlocked, isMuted, personName, preview, threadTitle, typists } from '../store/select.js';
import { unread } from '../store/threads.js';
import { avatar } from '../ui/avatar.js';
import { attr, h } from '../ui/dom.js';
import { listTime, plain } from '../ui/format.js';
import { icon } from '../ui/icons.js';

const TICKS = {
  pending: ['clock', 'Waiting to be sent'],
  failed: ['warning', 'Not sent'],
  sent: ['sent', 'Sent'],
  delivered: ['double', 'Delivered'],
  read: ['double', 'Read'],
};

/** The tick of an own message; null for others'. */
export function tickNode(kind) {
  if (!kind) return null;
  const [name, label] = TICKS[kind];
  const node = h('span', { class: `tick tick-${kind}`, title: label }, icon(name, label));
  return node;
}

function isOnline(state, thread) {
  return thread.kind === 'dm' && state.presence[thread.peer]?.on === true && !isBlocked(state, thread);
}

/** What a chat row shows, as values; its JSON is the row's signature. */
export function chatRow(state, thread, { open, draft }, now) {
  const shown = preview(state, thread);
  const writing = typists(state, thread.id);
  return {
    id: thread.id,
    avatarId: thread.peer ?? thread.id,
    title: threadTitle(state, thread),
    group: thread.kind === 'group',
    online: isOnline(state, thread),
    time: shown.ts ? listTime(shown.ts, now) : '',
    typing: writing.length ? typingWords(state, thread, writing) : '',
    draft: draft && !open ? draft : '',
    author: shown.author ?? '',
    text: plain(shown.text ?? ''),
    gone: shown.gone === true,
    tick: shown.tick ?? null,
    unread: unread(thread),
    muted: isMuted(thread, now),
    pinned: thread.pinned,
    open,
  };
}

export function typingWords(state, thread, uids) {
  if (thread.kind === 'dm') return 'typing…';
  if (uids.length > 1) return `${uids.length} people are typing…`;
  return `${personName(state, uids[0]).split(' ')[0]} is typing…`;
}

function message(row) {
  if (row.typing) return [h('span', { class: 'row-typing', text: row.typing })];
  if (row.draft) return [h('span', { class: 'row-draft', text: 'Draft: ' }), h('span', { text: row.draft })];
  return [
    tickNode(row.tick),
    h('span', { class: row.gone ? 'gone' : '', text: (row.author ? `${row.author}: ` : '') + row.text }),
  ];
}

/** A chat's row; patches `old` in place so that focus and hover stay. */
export function renderChatRow(row, old, { onOpen, onMenu }) {
  const node = old ?? h('li', { class: 'row-item' }, h('button', {
    type: 'button', class: 'row', tabindex: '-1',
    on: {
      click: () => onOpen(node.dataset.id),
      contextmenu: (event) => {
        event.preventDefault();
        onMenu(node.dataset.id, event.clientX ? { x: event.clientX, y: event.clientY } : node);
      },
    },
  }), h('button', {
    type: 'button', class: 'row-more', tabindex: '-1', title: 'More',
    on: { click: (event) => onMenu(node.dataset.id, event.currentTarget) },
  }, icon('chevron')));
  node.dataset.id = row.id;
  const button = node.firstElementChild;
  attr(button, 'aria-current', row.open ? 'true' : null);
  attr(node.lastElementChild, 'aria-label', `More for ${row.title}`);
  const label = row.unread ? `${row.unread} unread` : null;
  button.replaceChildren(
    avatar(row.avatarId, row.title, { group: row.group, on: row.online }),
    h('span', { class: 'row-body' },
      h('span', { class: 'row-line' },
        h('span', { class: 'row-title', text: row.title }),
        row.online && h('span', { class: 'unseen', text: ', online' }),
        h('span', { class: `row-time${row.unread && !row.muted ? ' fresh' : ''}`, text: row.time })),
      h('span', { class: 'row-line' },
        h('span', { class: 'row-text' }, message(row)),
        row.muted && icon('mute', 'Muted'),
        row.pinned && icon('pin', 'Pinned'),
        row.unread > 0 && h('span', { class: `badge${row.muted ? ' quiet' : ''}`, 'aria-label': label, text: row.unread > 99 ? '99+' : String(row.unread) }))),
  );
  return node;
}

/** A person's row: {uid, name, user, detail?, online?}. `extra` stands at its end. */
export function personRow(person, { onClick, extra = null, checked = null, label = null } = {}) {
  return h(
    'li', { class: 'row-item', 'data-uid': person.uid },
    h('button', {
      type: 'button', class: 'row', tabindex: '-1', 'aria-label': label,
      'aria-pressed': checked === null ? null : String(checked), on: { click: onClick },
    },
    avatar(person.uid, person.name, { on: person.online }),
    h('span', { class: 'row-body' },
      h('span', { class: 'row-line' }, h('span', { class: 'row-title', text: person.name })),
      h('span', { class: 'row-line' }, h('span', { class: 'row-text', text: person.detail ?? `@${person.user}` }))),
    checked !== null && h('span', { class: `checkbox${checked ? ' checked' : ''}` }, checked && icon('check'))),
    extra,
  );
}
