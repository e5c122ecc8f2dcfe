// The user's threads: what the server's `Thread` objects say, moved on by events. Pure.
//
// A thread heard of by an event before the server described it is a stub (`known: false`): it
// holds events back until a description or its very first event comes. A `draft` is a stub that a
// person opened in order to write: it is shown.

import { dmPeer } from '../core/wire.js';
import * as timeline from './timeline.js';

export function stub(id, me) {
  const peer = dmPeer(id, me);
  return {
    id,
    kind: peer === null ? 'group' : 'dm',
    name: '',
    about: '',
    peer,
    role: peer === null ? 'member' : undefined,
    headN: 0,
    read: 0,
    readN: 0,
    recv: 0,
    ts: 0,
    last: null,
    mutedUntil: null,
    pinned: false,
    archived: false,
    removed: false,
    deleted: false,
    known: false,
    draft: false,
    cursors: {},
    members: null,
    quotes: {},
    tl: timeline.emptyTimeline(),
  };
}

/** Unread messages, never counted one by one. */
export function unread(thread) {
  return thread.removed ? 0 : Math.max(0, thread.headN - thread.readN);
}

/** Lay a server's `Thread` object over what is known. A thread new to us is covered from its head
 *  on: older events are fetched when somebody looks. `fromCursor`: the events between our cursor
 *  and the head follow (`sync`). */
export function merged(thread, object, me, fromCursor = false) {
  const next = {
    ...thread,
    name: object.name ?? thread.name,
    about: object.about ?? thread.about,
    role: object.role ?? thread.role,
    headN: Math.max(thread.headN, object.head_n),
    read: Math.max(thread.read, object.read),
    readN: Math.max(thread.readN, object.read_n),
    recv: Math.max(thread.recv, object.recv),
    ts: Math.max(thread.ts, object.ts),
    mutedUntil: object.muted_until ?? null,
    pinned: object.pinned === true,
    archived: object.archived === true,
    known: true,
    draft: false,
  };
  if (object.last && object.last.seq >= (thread.last?.seq ?? 0)) next.last = object.last;
  if (next.peer !== null && object.peer_recv !== undefined) {
    next.cursors = moved(next.cursors, next.peer, object.peer_recv, object.peer_read);
  }
  if (thread.known || fromCursor || thread.tl.at >= object.head) {
    next.tl = timeline.heard(thread.tl, object.head);
    return next;
  }
  next.tl = timeline.heard(timeline.emptyTimeline(object.head), thread.tl.head);
  return Object.values(thread.tl.held).reduce((now, event) => live(now, event, me), next);
}

export function moved(cursors, user, recv = 0, read = 0) {
  const before = cursors[user] ?? { recv: 0, read: 0 };
  const after = {
    recv: Math.max(before.recv, recv, read),
    read: Math.max(before.read, read),
  };
  if (after.recv === before.recv && after.read === before.read) return cursors;
  return { ...cursors, [user]: after };
}

/** A pushed durable event, or one's own made from an `ok`. */
export function live(thread, event, me) {
  const [tl, applied] = timeline.live(thread.tl, event);
  if (tl === thread.tl) return thread;
  const known = thread.known || event.seq === 1;
  return advanced({ ...thread, tl, known, draft: thread.draft && !known }, applied, me);
}

/** A page fetched from just after the cursor. */
export function page(thread, events, me) {
  const [tl, applied] = timeline.page(thread.tl, events);
  return advanced({ ...thread, tl }, applied, me);
}

/** The cursor was beyond the log: forget, and go on with the newest page. */
export function reset(thread, events, me) {
  const base = events.length ? events[0].seq - 1 : 0;
  const fresh = { ...thread, tl: timeline.emptyTimeline(base), last: null, headN: 0 };
  return page({ ...fresh, read: Math.min(thread.read, base), quotes: {} }, events, me);
}

/** Give up the events between cursor and head; they are fetched from above when looked at. */
export function skipTo(thread, head) {
  return { ...thread, tl: timeline.emptyTimeline(head) };
}

function advanced(thread, applied, me) {
  return applied.reduce((next, event) => moveOn(next, event, me), thread);
}

function moveOn(thread, event, me) {
  const ts = Math.max(thread.ts, event.ts ?? 0);
  switch (event.e) {
    case 'msg': {
      const next = { ...thread, ts, last: event, headN: Math.max(thread.headN, event.n) };
      next.cursors = moved(thread.cursors, event.from, event.seq, event.seq);
      if (event.from !== me) return next;
      return {
        ...next,
        read: Math.max(next.read, event.seq),
        recv: Math.max(next.recv, event.seq),
        readN: Math.max(next.readN, event.n),
      };
    }
    case 'edit':
    case 'del': {
      const last = thread.last;
      if (last?.seq !== event.target) return thread;
      const row = timeline.rowAt(thread.tl, last.seq);
      if (row) return { ...thread, last: row };
      if (event.e === 'del') return { ...thread, last: { ...last, text: undefined, deleted: true } };
      return event.text === undefined ? thread : { ...thread, last: { ...last, text: event.text } };
    }
    case 'thread':
      return described({ ...thread, ts }, event, me);
    case 'member':
      return joined({ ...thread, ts }, event, me);
    default:
      return thread;
  }
}

function described(thread, event, me) {
  const next = { ...thread };
  for (const key of ['name', 'about', 'avatar']) {
    if (event[key] !== undefined) next[key] = event[key];
  }
  if (event.seq === 1 && event.by === me) next.role = 'owner';
  if (event.deleted) Object.assign(next, { removed: true, deleted: true });
  return next;
}

function joined(thread, event, me) {
  const { user, act, by } = event;
  const next = { ...thread };
  if (user === me) {
    if (act === 'remove' || act === 'leave') next.removed = true;
    else Object.assign(next, { removed: false, role: event.role ?? 'member' });
  }
  if (act === 'role' && event.role === 'owner' && by === me && user !== me) next.role = 'admin';
  if (thread.members) next.members = remembered(thread.members, event);
  return next;
}

function remembered(members, { user, act, role, by, seq }) {
  const others = members.filter((member) => member.uid !== user);
  if (act === 'remove' || act === 'leave') return others;
  if (act !== 'role') return [...others, { uid: user, role: role ?? 'member', join_seq: seq }];
  return members.map((member) => {
    if (member.uid === user) return { ...member, role };
    return role === 'owner' && member.uid === by ? { ...member, role: 'admin' } : member;
  });
}

/** `read` and `recv` of somebody; one's own come from another device. */
export function cursor(thread, event, me) {
  const cursors = moved(thread.cursors, event.user, event.recv, event.read);
  if (event.user !== me) return { ...thread, cursors };
  return ownRead({ ...thread, cursors }, event.read ?? 0, event.recv ?? 0);
}

/** The user has read up to `seq`: the newest message at or before it counts as read, too. */
export function ownRead(thread, seq, recv = seq) {
  const next = { ...thread, recv: Math.max(thread.recv, recv), read: Math.max(thread.read, seq) };
  if (next.read >= thread.tl.head) return { ...next, readN: thread.headN };
  for (let index = thread.tl.rows.length - 1; index >= 0; index -= 1) {
    const row = thread.tl.rows[index];
    if (row.e === 'msg' && row.seq <= seq) return { ...next, readN: Math.max(next.readN, row.n) };
  }
  return next;
}

/** One page of `group.info`; the first one replaces what was known of the members. */
export function informed(thread, members, first) {
  let cursors = thread.cursors;
  for (const { uid, recv, read } of members) {
    if (recv !== undefined) cursors = moved(cursors, uid, recv, read);
  }
  return { ...thread, cursors, members: first ? members : [...(thread.members ?? []), ...members] };
}
