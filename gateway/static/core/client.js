// The client without its face: one user's login, connection, state, and everything that happens
// between them. Views read `state` and call methods; nothing here knows of the page.

import { groupsToInform } from '../store/select.js';
import { groupInfo } from './actions.js';
import { CatchUp } from './catchup.js';
import { Connection } from './connection.js';
import { Outgoing } from './outgoing.js';
import { People } from './people.js';
import { Presence } from './presence.js';
import { Receipts } from './receipts.js';
import { WireError } from './wire.js';

const READ_TRIES = 4;
const RETRY_MS = 700;
const TYPING_SWEEP_MS = 1000;
/** Groups whose members are asked for at once after connecting. */
const INFORMED_MAX = 12;
const DURABLE = new Set(['msg', 'edit', 'del', 'react', 'member', 'thread']);
/** Reasons for an end after which the token is of no more use. */
const TOKEN_DEAD = new Set(['login', 'revoked', 'banned']);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Client {
  #login = null;

  /** hooks: incoming(thread, event), session(event), notice(event). */
  constructor({ store, storage, network, onScreen, hooks = {} }) {
    this.store = store;
    this.storage = storage;
    this.hooks = hooks;
    this.people = new People(this);
    this.catchUp = new CatchUp(this);
    this.receipts = new Receipts(this);
    this.outgoing = new Outgoing(this);
    this.presence = new Presence(this, onScreen);
    this.connection = new Connection({
      ...network,
      now: () => Date.now(),
      onHello: ({ limits }) => this.dispatch({ type: 'limits', limits }),
      onStatus: (link) => this.#status(link),
      onReady: (reply) => this.#ready(reply),
      onEvent: (event) => this.#event(event),
      onRefused: (error) => this.#refused(error),
    });
    store.subscribe(() => this.outgoing.save());
    setInterval(() => this.dispatch({ type: 'typing/expire', now: Date.now() }), TYPING_SWEEP_MS);
  }

  get state() {
    return this.store.get();
  }

  get isLive() {
    return this.state.link.phase === 'live';
  }

  dispatch(action) {
    this.store.dispatch(action);
  }

  // ------------------------------------------------------------------ requests

  request(op, fields) {
    return this.connection.request(op, fields);
  }

  cast(op, fields) {
    return this.connection.cast(op, fields);
  }

  /** A request that changes nothing: what is temporary is tried again. */
  read(op, fields) {
    return this.#persist(op, fields, () => true);
  }

  /** A request that changes something: an unknown outcome is only repeated under a cid. */
  change(op, fields) {
    return this.#persist(op, fields, (error) => error.code !== 'timeout' || 'cid' in fields);
  }

  async #persist(op, fields, mayRepeat) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.request(op, fields);
      } catch (error) {
        const hopeless = !error.temporary || error.code === 'offline' || !mayRepeat(error);
        if (hopeless || tries === READ_TRIES) throw error;
        await pause(error.retryMs || RETRY_MS * tries);
      }
    }
  }

  // ------------------------------------------------------------------ coming and going

  /** Go on with the token of last time. False when there is none. */
  resume() {
    const login = this.storage.get('login');
    if (!login?.token) return false;
    this.dispatch({ type: 'me', me: { uid: login.uid, sid: login.sid } });
    this.outgoing.restore();
    this.connection.start(() => ({ op: 'auth', token: login.token }));
    return true;
  }

  /** `register` or `login`; rejects with why not. */
  enter(op, fields) {
    return new Promise((resolve, reject) => {
      this.#login = { resolve, reject };
      this.connection.start(() => ({ op, ...fields }));
    });
  }

  async logout() {
    try {
      await this.request('logout');
    } catch {
      // Offline, or the session is gone already: forget it here all the same.
    }
    this.connection.stop();
    this.#forget();
    this.dispatch({ type: 'link', link: { phase: 'ended', why: 'logout' } });
  }

  #forget() {
    this.presence.stop();
    this.outgoing.forget();
    this.storage.remove('login', 'outbox');
    this.dispatch({ type: 'reset' });
  }

  #refused(error) {
    if (!this.#login) return false;
    this.#login.reject(error);
    this.#login = null;
    return true;
  }

  #status(link) {
    if (link.phase !== 'live' && link.phase !== 'syncing') {
      this.presence.stop();
      this.dispatch({ type: 'outbox/ground' });
    }
    if (link.phase === 'ended' && TOKEN_DEAD.has(link.why)) this.#forget();
    this.dispatch({ type: 'link', link });
  }

  async #ready({ uid, sid, token }) {
    if (token) {
      this.storage.set('login', { token, uid, sid });
      this.connection.enterWith(() => ({ op: 'auth', token }));
    }
    this.dispatch({ type: 'me', me: { uid, sid } });
    this.dispatch({ type: 'link', link: { phase: 'syncing' } });
    this.#login?.resolve();
    this.#login = null;
    this.outgoing.restore();
    this.people.forget();
    try {
      await this.#catchUp();
    } catch (error) {
      if (error instanceof WireError) {
        if (this.connection.isOpen && this.state.link.phase === 'syncing') this.connection.fail();
        return;
      }
      throw error;
    }
    this.connection.wentLive();
    this.outgoing.resume();
    this.receipts.resume();
    this.presence.start();
    await this.#inform();
  }

  /** Members of the groups whose ticks are in the list; without them the ticks say less. */
  async #inform() {
    try {
      for (const id of groupsToInform(this.state).slice(0, INFORMED_MAX)) await groupInfo(this, id);
    } catch {
      // They come when the group is opened.
    }
  }

  async #catchUp() {
    const me = this.read('user.get', { uids: [this.state.me.uid] });
    const book = this.contacts();
    if (!this.state.loaded) await this.catchUp.list();
    await this.catchUp.sync();
    const [{ users }] = await Promise.all([me, book]);
    if (users.length) this.dispatch({ type: 'me', me: users[0] });
    this.dispatch({ type: 'loaded' });
  }

  /** The contact book, when it changed. */
  async contacts() {
    const reply = await this.read('contact.list', { v: this.state.contactsVersion });
    if (!reply.same) this.dispatch({ type: 'contacts', ...reply });
  }

  // ------------------------------------------------------------------ events

  /** The event that an `ok` to one's own request stands for. */
  committed(event) {
    this.dispatch({ type: 'durable', event });
    this.catchUp.check(event.thread);
  }

  /** A request wrote events up to `seq`: fetch them. */
  wrote(thread, seq) {
    if (seq === undefined) return;
    this.dispatch({ type: 'heard', thread, seq });
    this.catchUp.check(thread);
  }

  #event({ op: _op, ...event }) {
    if (DURABLE.has(event.e)) {
      this.#durable(event);
      return;
    }
    const handler = this.#handlers[event.e];
    if (handler) handler(event);
  }

  #durable(event) {
    const before = this.state.threads[event.thread]?.tl.at ?? 0;
    this.dispatch({ type: 'durable', event });
    this.people.needOf([event]);
    this.catchUp.check(event.thread);
    this.receipts.arrived(event.thread);
    if (event.e === 'msg' && event.seq > before) this.hooks.incoming?.(event.thread, event);
  }

  #handlers = {
    head: ({ thread, seq, n }) => this.#heard(thread, seq, n),
    gap: ({ thread, head }) => this.#heard(thread, head),
    cursor: (event) => this.dispatch({ type: 'cursor', event }),
    inbox: (event) => this.#inbox(event),
    contact: () => this.contacts().catch(() => {}),
    profile: ({ e: _e, ...fields }) => this.dispatch({ type: 'me', me: fields }),
    session: (event) => this.hooks.session?.(event),
    notice: (event) => this.hooks.notice?.(event),
    presence: ({ uid, on, last }) => this.dispatch({ type: 'presence', st: { [uid]: { on, last } } }),
    typing: ({ thread, user, on }) => {
      this.people.need([user]);
      this.dispatch({ type: 'typing', thread, user, on, now: Date.now() });
    },
  };

  #heard(thread, seq, n) {
    this.dispatch({ type: 'heard', thread, seq, n });
    this.catchUp.check(thread);
  }

  #inbox({ thread, muted_until, pinned, archived, hidden }) {
    if (!this.state.threads[thread]) return;
    if (hidden) {
      this.dispatch({ type: 'hide', thread, seqs: hidden });
      return;
    }
    const change = { mutedUntil: muted_until ?? null, pinned: !!pinned, archived: !!archived };
    this.dispatch({ type: 'thread/patch', thread, change });
  }
}
