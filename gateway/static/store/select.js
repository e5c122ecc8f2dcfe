// What views show, derived from the state. Pure; `now` is passed in where a day matters.

import { isHidden, reactionsOf, rowAt } from './timeline.js';
import { unread } from './threads.js';

/** Messages of one author this close together read as one run: only the first has a tail. */
const RUN_MS = 5 * 60_000;

export function personName(state, uid) {
  if (uid === state.me?.uid) return 'You';
  return state.contacts[uid]?.alias || state.users[uid]?.name || state.users[uid]?.user || uid;
}

export function threadTitle(state, thread) {
  if (thread.kind === 'group') return thread.name || 'Group';
  const known = state.contacts[thread.peer]?.alias || state.users[thread.peer]?.name;
  return known || thread.name || thread.peer;
}

export function isBlocked(state, thread) {
  return thread.kind === 'dm' && state.contacts[thread.peer]?.blocked === true;
}

/** Who types in a thread, by name. */
export function typists(state, id) {
  return Object.keys(state.typing[id] ?? {}).filter((uid) => uid !== state.me?.uid);
}

/** What happened in a group, as a sentence. */
export function happening(state, row) {
  const who = (uid) => personName(state, uid);
  const self = (uid) => uid === state.me.uid;
  const by = who(row.by);
  if (row.e === 'thread') {
    if (row.deleted) return `${by} deleted the group`;
    if (row.seq === 1) return `${by} created the group “${row.name}”`;
    if (row.name !== undefined) return `${by} renamed the group to “${row.name}”`;
    return row.about ? `${by} changed the description to “${row.about}”` : `${by} changed the group’s details`;
  }
  const user = self(row.user) ? 'you' : who(row.user);
  switch (row.act) {
    case 'add': return `${by} added ${user}`;
    case 'join': return `${who(row.user)} joined`;
    case 'leave': return `${who(row.user)} left`;
    case 'remove': return `${by} removed ${user}`;
    default: return `${by} made ${user} ${{ owner: 'the owner', admin: 'an admin', member: 'a member' }[row.role]}`;
  }
}

/** The thread's newest thing to show in the list: a waiting message or the newest message. */
export function preview(state, thread) {
  const waiting = state.outbox.findLast((entry) => entry.thread === thread.id);
  if (waiting) return { own: true, text: waiting.text, tick: entryTick(waiting), ts: waiting.at };
  const last = thread.last;
  if (!last) {
    const row = thread.tl.rows.findLast(({ e }) => e !== 'msg');
    return { text: row ? happening(state, row) : 'No messages yet', ts: thread.ts };
  }
  const own = last.from === state.me.uid;
  const gone = last.deleted === true;
  const author = thread.kind === 'group' && !own ? personName(state, last.from) : '';
  return {
    own,
    author: author.split(' ')[0],
    gone,
    text: gone ? 'This message was deleted' : last.text,
    tick: own && !gone ? tick(state, thread, last.seq) : null,
    ts: Math.max(thread.ts, last.ts),
  };
}

/** Threads of the list: pinned first, then newest activity; drafts without a message stay out. */
export function chatList(state, { query = '', archived = false, open = null } = {}) {
  const wanted = query.trim().toLowerCase();
  const waiting = new Map(state.outbox.map((entry) => [entry.thread, entry.at]));
  const time = (thread) => Math.max(thread.ts, waiting.get(thread.id) ?? 0);
  return Object.values(state.threads)
    .filter((thread) => (thread.known && thread.tl.head > 0) || waiting.has(thread.id))
    .filter((thread) => wanted !== '' || thread.archived === archived || thread.id === open)
    .filter((thread) => threadTitle(state, thread).toLowerCase().includes(wanted))
    .sort((a, b) => b.pinned - a.pinned || time(b) - time(a) || (a.id < b.id ? -1 : 1));
}

/** Groups whose newest message is one's own: its tick needs the members’ cursors. */
export function groupsToInform(state) {
  return Object.values(state.threads)
    .filter(({ kind, removed, members, last }) =>
      kind === 'group' && !removed && !members && last?.from === state.me.uid)
    .sort((a, b) => b.ts - a.ts)
    .map(({ id }) => id);
}

export function isMuted(thread, now) {
  return thread.mutedUntil !== null && thread.mutedUntil > now;
}

/** Chats with something unread that is neither muted nor archived. */
export function unreadChats(state, now) {
  return Object.values(state.threads).filter(
    (thread) => unread(thread) > 0 && !isMuted(thread, now) && !thread.archived,
  ).length;
}

/** sent, delivered or read: by everybody else who was there. */
export function tick(state, thread, seq) {
  const others = thread.kind === 'dm' ? [thread.peer] : audience(state, thread, seq);
  if (!others.length) return 'sent';
  const cursors = others.map((uid) => thread.cursors[uid] ?? { recv: 0, read: 0 });
  if (cursors.every(({ read }) => read >= seq)) return 'read';
  return cursors.every(({ recv }) => recv >= seq) ? 'delivered' : 'sent';
}

/** The members, but oneself, who were in the group when `seq` was written. */
export function audience(state, thread, seq) {
  return (thread.members ?? [])
    .filter((member) => member.uid !== state.me.uid && member.join_seq <= seq)
    .map((member) => member.uid);
}

function entryTick(entry) {
  return entry.state === 'failed' ? 'failed' : 'pending';
}

/** Everything a conversation shows, in order: days, messages, happenings, what waits to go out.
 *  `unreadFrom` is the seq after which the unread line stands. */
export function items(state, thread, unreadFrom = null) {
  const found = [];
  let day = '';
  let previous = null;
  const push = (item, ts) => {
    const today = new Date(ts).toDateString();
    if (today !== day) {
      day = today;
      previous = null;
      found.push({ key: `day ${today}`, type: 'day', ts });
    }
    found.push(item);
  };
  let line = unreadFrom;
  for (const row of thread.tl.rows) {
    if (line !== null && row.seq > line && row.from !== state.me.uid && !isHidden(thread.tl, row)) {
      if (row !== thread.tl.rows[0] || thread.tl.start) push({ key: 'unread', type: 'unread' }, row.ts);
      line = null;
      previous = null;
    }
    if (row.e !== 'msg') {
      push({ key: `s${row.seq}`, type: 'system', row }, row.ts);
      previous = null;
    } else if (!isHidden(thread.tl, row)) {
      push(messageItem(state, thread, row), row.ts);
      previous = joinRun(found.at(-1), previous);
    }
  }
  for (const entry of state.outbox) {
    if (entry.thread !== thread.id) continue;
    push(pendingItem(state, thread, entry), entry.at);
    previous = joinRun(found.at(-1), previous);
  }
  return found;
}

/** A message continues a run when its author wrote the one before, a little earlier. */
function joinRun(item, previous) {
  item.first = !previous || previous.from !== item.from || item.ts - previous.ts > RUN_MS;
  return item;
}

function messageItem(state, thread, row) {
  return {
    key: row.cid && row.from === state.me.uid ? `c${row.cid}` : `m${row.seq}`,
    type: 'msg',
    seq: row.seq,
    row,
    from: row.from,
    ts: row.ts,
    own: row.from === state.me.uid,
    tick: row.from === state.me.uid && !row.deleted ? tick(state, thread, row.seq) : null,
    reacts: thread.tl.reacts[row.seq] && !row.deleted ? reactionsOf(thread.tl, row.seq) : null,
    quote: row.reply_to !== undefined && !row.deleted ? quote(state, thread, row.reply_to) : null,
  };
}

function pendingItem(state, thread, entry) {
  const row = { seq: 0, text: entry.text, from: state.me.uid, ts: entry.at };
  return {
    key: `c${entry.cid}`,
    type: 'msg',
    seq: 0,
    row,
    entry,
    from: state.me.uid,
    ts: entry.at,
    own: true,
    tick: entryTick(entry),
    reacts: null,
    quote: entry.reply_to ? quote(state, thread, entry.reply_to) : null,
  };
}

/** The message answered to, as far as it is known here. */
export function quote(state, thread, seq) {
  const row = rowAt(thread.tl, seq) ?? thread.quotes[seq];
  if (!row || row.e !== 'msg') return { seq, from: null, text: row === null ? '' : undefined };
  const text = row.deleted ? 'This message was deleted' : row.text;
  return { seq, from: row.from, text, gone: row.deleted === true };
}
