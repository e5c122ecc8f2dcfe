// The whole state of the client and its reducer. Pure, save that `createStore` remembers.

import { dmThread } from '../core/wire.js';
import * as outbox from './outbox.js';
import * as threads from './threads.js';
import * as timeline from './timeline.js';

const TYPING_MS = 6000;

export function initialState() {
  return {
    me: null,
    link: { phase: 'idle' },
    users: {},
    contacts: {},
    contactsVersion: undefined,
    threads: {},
    loaded: false,
    presence: {},
    typing: {},
    outbox: [],
    limits: {},
    sessions: null,
  };
}

export function createStore(state = initialState()) {
  const listeners = new Set();
  return {
    get: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      const before = state;
      state = next;
      for (const listener of listeners) listener(state, before);
    },
  };
}

export function reduce(state, action) {
  const handler = HANDLERS[action.type];
  if (!handler) throw new Error(`unknown action ${action.type}`);
  return handler(state, action);
}

/** Without a connection nobody knows who is online or typing. */
function linked(state, { link }) {
  const lost = link.phase === 'waiting' || link.phase === 'ended';
  return lost ? { ...state, link, presence: {}, typing: {} } : { ...state, link };
}

function threadOf(state, id) {
  return state.threads[id] ?? threads.stub(id, state.me?.uid);
}

function withThread(state, thread) {
  if (state.threads[thread.id] === thread) return state;
  return { ...state, threads: { ...state.threads, [thread.id]: thread } };
}

/** Change one thread; `change` gets it (a stub if it is new) and returns it changed. */
function onThread(state, id, change) {
  return withThread(state, change(threadOf(state, id)));
}

function onTimeline(state, id, change) {
  return onThread(state, id, (thread) => {
    const tl = change(thread.tl);
    return tl === thread.tl ? thread : { ...thread, tl };
  });
}

function arrived(state, events) {
  const rest = outbox.settled(state.outbox, events, state.me.uid);
  return rest === state.outbox ? state : { ...state, outbox: rest };
}

function withUsers(state, cards) {
  const users = { ...state.users };
  for (const card of cards) users[card.uid] = { ...users[card.uid], ...card };
  return { ...state, users };
}

function withContact(state, contact) {
  const contacts = { ...state.contacts, [contact.uid]: contact };
  return withUsers({ ...state, contacts }, [named(contact)]);
}

function named({ uid, user, name }) {
  return { uid, user, name };
}

function patchContact(state, uid, change) {
  const known = state.contacts[uid];
  const contact = change(known ?? { ...named(state.users[uid] ?? { uid }), stranger: true });
  const contacts = { ...state.contacts };
  if (contact === null) delete contacts[uid];
  else contacts[uid] = contact;
  return { ...state, contacts };
}

function synced(state, { reply }) {
  const me = state.me.uid;
  let next = state;
  const reset = new Set(reply.reset);
  for (const object of reply.threads) {
    const { thread: id } = object;
    const events = reply.events[id] ?? [];
    next = onThread(next, id, (thread) => {
      const resumes = thread.known || (events.length > 0 && events[0].seq === 1);
      const now = reset.has(id) ? threads.reset(thread, events, me) : thread;
      const described = threads.merged(now, object, me, resumes);
      return reset.has(id) ? described : threads.page(described, events, me);
    });
    next = arrived(next, events);
  }
  for (const id of reply.removed) {
    if (next.threads[id] && !next.threads[id].removed) {
      next = onThread(next, id, (thread) => ({ ...thread, removed: true }));
    }
  }
  return next;
}

function durable(state, { event }) {
  const me = state.me.uid;
  const next = onThread(state, event.thread, (thread) => threads.live(thread, event, me));
  const quiet = event.from && state.typing[event.thread]?.[event.from];
  const typing = quiet ? without(state.typing, event.thread, event.from) : state.typing;
  return arrived(typing === next.typing ? next : { ...next, typing }, [event]);
}

function without(typing, thread, user) {
  const { [user]: _gone, ...rest } = typing[thread] ?? {};
  return { ...typing, [thread]: rest };
}

function typed(state, { thread, user, on, now }) {
  if (!on) return { ...state, typing: without(state.typing, thread, user) };
  const people = { ...state.typing[thread], [user]: now + TYPING_MS };
  return { ...state, typing: { ...state.typing, [thread]: people } };
}

function expired(state, { now }) {
  let typing = state.typing;
  for (const [thread, people] of Object.entries(typing)) {
    for (const [user, until] of Object.entries(people)) {
      if (until <= now) typing = without(typing, thread, user);
    }
  }
  return typing === state.typing ? state : { ...state, typing };
}

function contactsListed(state, { contacts, v }) {
  const book = Object.fromEntries(contacts.map((contact) => [contact.uid, contact]));
  const next = { ...state, contacts: book, contactsVersion: v };
  return withUsers(next, contacts.map(named));
}

/** Open a conversation with somebody before its first message exists. */
function drafted(state, { uid }) {
  const id = dmThread(state.me.uid, uid);
  if (state.threads[id]) return state;
  return withThread(state, { ...threads.stub(id, state.me.uid), draft: true });
}

const onOutbox = (name) => (state, { cid, reason }) => ({
  ...state,
  outbox: outbox[name](state.outbox, cid, reason),
});

const HANDLERS = {
  me: (state, { me }) => withUsers({ ...state, me: { ...state.me, ...me } }, [me]),
  link: linked,
  limits: (state, { limits }) => ({ ...state, limits }),
  loaded: (state) => ({ ...state, loaded: true }),
  reset: () => initialState(),
  users: (state, { users }) => withUsers(state, users),
  contacts: contactsListed,
  contact: (state, { contact }) => withContact(state, contact),
  'contact/patch': (state, { uid, change }) =>
    patchContact(state, uid, (contact) => ({ ...contact, ...change })),
  'contact/remove': (state, { uid }) => patchContact(state, uid, () => null),
  threads: (state, { threads: objects }) =>
    objects.reduce(
      (next, object) =>
        onThread(next, object.thread, (thread) => threads.merged(thread, object, state.me.uid)),
      state,
    ),
  'thread/patch': (state, { thread, change }) =>
    onThread(state, thread, (known) => ({ ...known, ...change })),
  'thread/draft': drafted,
  'thread/skip': (state, { thread, head }) =>
    onThread(state, thread, (known) => threads.skipTo(known, head)),
  sync: synced,
  durable,
  heard: (state, { thread, seq, n }) => {
    const next = onTimeline(state, thread, (tl) => timeline.heard(tl, seq));
    if (n === undefined || n <= (next.threads[thread]?.headN ?? 0)) return next;
    return onThread(next, thread, (known) => ({ ...known, headN: n }));
  },
  page: (state, { thread, events }) =>
    arrived(
      onThread(state, thread, (known) => threads.page(known, events, state.me.uid)),
      events,
    ),
  older: (state, { thread, events, more }) =>
    onTimeline(state, thread, (tl) => timeline.prepend(tl, events, more)),
  settle: (state, { thread }) => onTimeline(state, thread, timeline.settle),
  hide: (state, { thread, seqs }) => {
    const next = onTimeline(state, thread, (tl) => timeline.hide(tl, seqs));
    const { last } = next.threads[thread];
    if (!last || !seqs.includes(last.seq)) return next;
    const change = { ...last, text: undefined, deleted: true, hidden: true };
    return onThread(next, thread, (known) => ({ ...known, last: change }));
  },
  quote: (state, { thread, seq, event }) =>
    onThread(state, thread, (known) => ({ ...known, quotes: { ...known.quotes, [seq]: event } })),
  cursor: (state, { event }) =>
    state.threads[event.thread]
      ? onThread(state, event.thread, (thread) => threads.cursor(thread, event, state.me.uid))
      : state,
  read: (state, { thread, seq }) => onThread(state, thread, (known) => threads.ownRead(known, seq)),
  received: (state, { thread, seq }) =>
    onThread(state, thread, (known) => ({ ...known, recv: Math.max(known.recv, seq) })),
  members: (state, { thread, members, first }) =>
    onThread(state, thread, (known) => threads.informed(known, members, first)),
  typing: typed,
  'typing/expire': expired,
  presence: (state, { st }) => ({ ...state, presence: { ...state.presence, ...st } }),
  sessions: (state, { sessions }) => ({ ...state, sessions }),
  'outbox/load': (state, { entries }) => ({ ...state, outbox: entries }),
  'outbox/queue': (state, { entry }) => ({ ...state, outbox: outbox.queued(state.outbox, entry) }),
  'outbox/flying': onOutbox('flying'),
  'outbox/acked': onOutbox('acked'),
  'outbox/failed': onOutbox('failed'),
  'outbox/requeue': onOutbox('requeued'),
  'outbox/drop': onOutbox('dropped'),
  'outbox/ground': (state) => ({ ...state, outbox: outbox.grounded(state.outbox) }),
};
