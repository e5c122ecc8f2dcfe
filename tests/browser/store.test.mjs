// The state and its reducer: what each kind of news makes of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createStore } from '../../gateway/static/store/store.js';
import * as outbox from '../../gateway/static/store/outbox.js';
import { chatList, items, personName, preview, tick, unreadChats } from '../../gateway/static/store/select.js';
import { unread } from '../../gateway/static/store/threads.js';

const ME = 'u1';
const DM = 'd:u1:u2';

function store(...actions) {
  const made = createStore();
  made.dispatch({ type: 'me', me: { uid: ME, sid: 's1', user: 'ann', name: 'Ann' } });
  for (const action of actions) made.dispatch(action);
  return made;
}

const msg = (seq, from, more = {}) => ({ e: 'msg', thread: DM, seq, n: seq, from, ts: 1000 * seq, text: `m${seq}`, ...more });
const live = (event) => ({ type: 'durable', event });
const object = (more = {}) => ({
  thread: DM, kind: 'dm', name: 'Bob', peer: 'u2', head: 5, head_n: 5, read: 3, read_n: 3, recv: 5, unread: 2, ts: 5000, last: msg(5, 'u2'), ...more,
});
const sync = (more) => ({ type: 'sync', reply: { threads: [], events: {}, more: [], removed: [], reset: [], ...more } });
const entry = (cid, thread = DM) => ({ cid, thread, text: cid, at: 9000, to: 'u2' });

test('a first message makes its thread, and counts as unread', () => {
  const { threads } = store(live(msg(1, 'u2'))).get();
  assert.equal(threads[DM].peer, 'u2');
  assert.equal(unread(threads[DM]), 1);
  assert.equal(threads[DM].last.text, 'm1');
});

test('an unknown thread is a stub that holds events until it is described', () => {
  const made = store(live(msg(6, 'u2')));
  assert.equal(made.get().threads[DM].known, false);
  assert.deepEqual(chatList(made.get()), []);
  made.dispatch({ type: 'threads', threads: [object()] });
  const thread = made.get().threads[DM];
  assert.equal(thread.tl.at, 6);
  assert.equal(thread.last.seq, 6);
  assert.equal(unread(thread), 3);
});

test('unread is what the server says, less what was read since', () => {
  const made = store({ type: 'threads', threads: [object()] });
  assert.equal(unread(made.get().threads[DM]), 2);
  assert.equal(unreadChats(made.get(), 0), 1);
  made.dispatch({ type: 'cursor', event: { thread: DM, user: ME, recv: 5, read: 5 } });
  assert.equal(unread(made.get().threads[DM]), 0);
});

test('writing reads what came before', () => {
  const made = store({ type: 'threads', threads: [object()] }, live(msg(6, ME)));
  assert.equal(unread(made.get().threads[DM]), 0);
});

test('ticks go from sent over delivered to read, and a message of the peer reads mine', () => {
  const made = store(live(msg(1, ME)));
  const kind = () => tick(made.get(), made.get().threads[DM], 1);
  assert.equal(kind(), 'sent');
  made.dispatch({ type: 'cursor', event: { thread: DM, user: 'u2', recv: 1, read: 0 } });
  assert.equal(kind(), 'delivered');
  made.dispatch({ type: 'cursor', event: { thread: DM, user: 'u2', recv: 1, read: 1 } });
  assert.equal(kind(), 'read');
  made.dispatch({ type: 'cursor', event: { thread: DM, user: 'u2', recv: 1, read: 0 } });
  assert.equal(kind(), 'read');
});

test('a group’s message is read when all who were there have read it', () => {
  const made = store(
    live({ e: 'thread', thread: 'g1', seq: 1, ts: 1, by: ME, name: 'Wood' }),
    live({ ...msg(2, ME), thread: 'g1' }),
    { type: 'members', thread: 'g1', first: true, members: [
      { uid: ME, role: 'owner', join_seq: 1 }, { uid: 'u2', role: 'member', join_seq: 1, recv: 2, read: 2 },
      { uid: 'u3', role: 'member', join_seq: 1, recv: 2, read: 0 }, { uid: 'u4', role: 'member', join_seq: 3 },
    ] },
  );
  const kind = () => tick(made.get(), made.get().threads.g1, 2);
  assert.equal(made.get().threads.g1.role, 'owner');
  assert.equal(kind(), 'delivered');
  made.dispatch({ type: 'cursor', event: { thread: 'g1', user: 'u3', read: 2 } });
  assert.equal(kind(), 'read');
});

test('sync brings the missing events once, whatever came live meanwhile', () => {
  const made = store({ type: 'threads', threads: [object()] }, live(msg(8, 'u2')));
  const events = [6, 7, 8].map((seq) => msg(seq, 'u2'));
  made.dispatch(sync({ threads: [object({ head: 8, head_n: 8 })], events: { [DM]: events } }));
  made.dispatch(live(msg(7, 'u2')));
  const { tl } = made.get().threads[DM];
  assert.deepEqual(tl.rows.map(({ seq }) => seq), [6, 7, 8]);
});

test('a reset forgets what was beyond the log', () => {
  const made = store({ type: 'threads', threads: [object({ head: 50, head_n: 50 })] });
  made.dispatch(sync({
    threads: [object({ head: 2, head_n: 2, read: 0, read_n: 0, last: msg(2, 'u2') })],
    events: { [DM]: [msg(1, 'u2'), msg(2, 'u2')] }, reset: [DM],
  }));
  const thread = made.get().threads[DM];
  assert.equal(thread.tl.at, 2);
  assert.equal(thread.headN, 2);
  assert.equal(thread.last.seq, 2);
});

test('who is removed cannot write, who is added again can', () => {
  const member = (seq, act) => ({ e: 'member', thread: 'g1', seq, ts: seq, user: ME, by: 'u2', act });
  const made = store(live({ e: 'thread', thread: 'g1', seq: 1, ts: 1, by: 'u2', name: 'Wood' }), live(member(2, 'remove')));
  assert.equal(made.get().threads.g1.removed, true);
  made.dispatch(live(member(3, 'add')));
  assert.equal(made.get().threads.g1.removed, false);
  made.dispatch(sync({ removed: ['g1'] }));
  assert.equal(made.get().threads.g1.removed, true);
});

test('a new owner’s predecessor becomes an admin', () => {
  const made = store(live({ e: 'thread', thread: 'g1', seq: 1, ts: 1, by: ME, name: 'Wood' }),
    { type: 'members', thread: 'g1', first: true, members: [{ uid: ME, role: 'owner', join_seq: 1 }, { uid: 'u2', role: 'member', join_seq: 1 }] },
    live({ e: 'member', thread: 'g1', seq: 2, ts: 2, user: 'u2', by: ME, act: 'role', role: 'owner' }));
  const { role, members } = made.get().threads.g1;
  assert.equal(role, 'admin');
  assert.deepEqual(members.map((member) => member.role), ['admin', 'owner']);
});

test('the list’s preview follows edits and deletions of messages that are not loaded', () => {
  const made = store({ type: 'threads', threads: [object()] },
    live({ e: 'edit', thread: DM, seq: 6, ts: 6, from: 'u2', target: 5, text: 'better' }));
  const shown = () => preview(made.get(), made.get().threads[DM]);
  assert.equal(shown().text, 'better');
  made.dispatch(live({ e: 'del', thread: DM, seq: 7, ts: 7, from: 'u2', target: 5 }));
  assert.equal(shown().gone, true);
});

test('the outbox lets one message per thread fly, in order', () => {
  let box = ['a', 'b'].reduce((now, cid) => outbox.queued(now, entry(cid)), []);
  box = outbox.queued(box, entry('c', 'other'));
  assert.deepEqual(outbox.ready(box).map(({ cid }) => cid), ['a', 'c']);
  box = outbox.flying(box, 'a');
  assert.deepEqual(outbox.ready(box).map(({ cid }) => cid), ['c']);
  box = outbox.grounded(box);
  assert.deepEqual(outbox.ready(box).map(({ cid }) => cid), ['a', 'c']);
  box = outbox.failed(box, 'a', 'no');
  assert.deepEqual(outbox.ready(box).map(({ cid }) => cid), ['b', 'c']);
});

test('a waiting message leaves the outbox when its event arrives, by whichever way', () => {
  const made = store({ type: 'outbox/queue', entry: entry('x') }, { type: 'outbox/flying', cid: 'x' });
  assert.equal(items(made.get(), { ...made.get().threads[DM], id: DM, kind: 'dm', tl: { rows: [] } }).length, 2);
  made.dispatch(sync({ threads: [object({ head: 1, head_n: 1 })], events: { [DM]: [msg(1, ME, { cid: 'x' })] } }));
  assert.deepEqual(made.get().outbox, []);
});

test('items show days, runs, the unread line, happenings and what waits', () => {
  const day = 86_400_000;
  const made = store(live(msg(1, 'u2', { ts: 0 })), live(msg(2, 'u2', { ts: 1000 })), live(msg(3, 'u2', { ts: 3 * day })),
    { type: 'outbox/queue', entry: { ...entry('x'), at: 3 * day } });
  const shown = items(made.get(), made.get().threads[DM], 2);
  assert.deepEqual(shown.map(({ type }) => type), ['day', 'msg', 'msg', 'day', 'unread', 'msg', 'msg']);
  assert.deepEqual(shown.filter(({ type }) => type === 'msg').map(({ first }) => first), [true, false, true, true]);
  assert.equal(shown.at(-1).tick, 'pending');
});

test('names: alias before name before user, and oneself is You', () => {
  const made = store({ type: 'users', users: [{ uid: 'u2', user: 'bob', name: 'Bob' }] });
  assert.equal(personName(made.get(), 'u2'), 'Bob');
  made.dispatch({ type: 'contact', contact: { uid: 'u2', user: 'bob', name: 'Bob', alias: 'Bobby', blocked: false } });
  assert.equal(personName(made.get(), 'u2'), 'Bobby');
  assert.equal(personName(made.get(), ME), 'You');
  assert.equal(personName(made.get(), 'u9'), 'u9');
});

test('typing ends with the message, with `off`, or by itself', () => {
  const typing = (on, now) => ({ type: 'typing', thread: DM, user: 'u2', on, now });
  const made = store(live(msg(1, 'u2')), typing(true, 0));
  made.dispatch(live(msg(2, 'u2')));
  assert.deepEqual(made.get().typing[DM], {});
  made.dispatch(typing(true, 0));
  made.dispatch({ type: 'typing/expire', now: 5999 });
  assert.deepEqual(Object.keys(made.get().typing[DM]), ['u2']);
  made.dispatch({ type: 'typing/expire', now: 6000 });
  assert.deepEqual(made.get().typing[DM], {});
});

test('the list: pinned first, newest next, archived apart', () => {
  const thread = (id, ts, more = {}) => object({ thread: `d:u1:${id}`, peer: id, name: id, ts, last: undefined, ...more });
  const made = store({ type: 'threads', threads: [thread('u2', 1), thread('u3', 3), thread('u4', 2, { pinned: true }), thread('u5', 9, { archived: true })] });
  const peers = (options) => chatList(made.get(), options).map(({ peer }) => peer);
  assert.deepEqual(peers(), ['u4', 'u3', 'u2']);
  assert.deepEqual(peers({ archived: true }), ['u5']);
  assert.deepEqual(peers({ query: 'U5' }), ['u5']);
});

test('without a connection nobody is known to be online or typing', () => {
  const made = store(live(msg(1, 'u2')), { type: 'presence', st: { u2: { on: true } } },
    { type: 'typing', thread: DM, user: 'u2', on: true, now: 0 });
  made.dispatch({ type: 'link', link: { phase: 'waiting', attempt: 1, until: 9 } });
  assert.deepEqual([made.get().presence, made.get().typing], [{}, {}]);
});

test('a draft that turns out to have a history is covered from its head', () => {
  const made = store({ type: 'thread/draft', uid: 'u2' });
  assert.equal(made.get().threads[DM].draft, true);
  made.dispatch({ type: 'threads', threads: [object()] });
  const thread = made.get().threads[DM];
  assert.deepEqual([thread.draft, thread.known, thread.tl.at], [false, true, 5]);
});
