// Sends what the person wrote, exactly once: every message has a cid before its first try, waits
// while there is no connection, survives a reload, and is repeated until the server has said `ok`.

import { ready, saved } from '../store/outbox.js';

const RETRY_MS = 1000;

export class Outgoing {
  #client;
  #pause = null;
  #saved = null;

  constructor(client) {
    this.#client = client;
  }

  send(thread, text, replyTo = null) {
    const cid = crypto.randomUUID();
    const entry = { cid, thread: thread.id, text, at: Date.now() };
    if (replyTo) entry.reply_to = replyTo;
    if (thread.kind === 'dm') entry.to = thread.peer;
    this.#client.dispatch({ type: 'outbox/queue', entry });
    this.flush();
  }

  retry(cid) {
    this.#client.dispatch({ type: 'outbox/requeue', cid });
    this.flush();
  }

  discard(cid) {
    this.#client.dispatch({ type: 'outbox/drop', cid });
  }

  /** Send whatever may be sent now. */
  flush() {
    if (!this.#client.isLive || this.#pause) return;
    for (const entry of ready(this.#client.state.outbox)) this.#fly(entry);
  }

  async #fly(entry) {
    const { cid, thread, to, text, reply_to } = entry;
    this.#client.dispatch({ type: 'outbox/flying', cid });
    const fields = { text, cid, reply_to };
    if (to) fields.to = to;
    else fields.thread = thread;
    try {
      const reply = await this.#client.request('send', fields);
      this.#client.dispatch({ type: 'outbox/acked', cid });
      const { seq, n, ts } = reply;
      this.#client.committed({
        e: 'msg', thread: reply.thread, seq, n, ts, from: this.#client.state.me.uid, text, cid,
        ...(reply_to && { reply_to }),
      });
      if (reply.dup) this.#settle(cid, reply.thread, seq);
    } catch (error) {
      this.#refused(cid, error);
    }
    this.flush();
  }

  /** A repeat was answered for an event that stands here already. */
  #settle(cid, thread, seq) {
    if (seq <= this.#client.state.threads[thread].tl.at) {
      this.#client.dispatch({ type: 'outbox/drop', cid });
    }
  }

  #refused(cid, error) {
    if (error.temporary) {
      this.#client.dispatch({ type: 'outbox/requeue', cid });
      if (this.#client.isLive) this.#wait(error.retryMs || RETRY_MS);
    } else {
      const { code, message } = error;
      this.#client.dispatch({ type: 'outbox/failed', cid, reason: { code, message } });
    }
  }

  /** A fresh connection: what the old one's server asked us to wait for is forgotten. */
  resume() {
    clearTimeout(this.#pause);
    this.#pause = null;
    this.flush();
  }

  #wait(ms) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.resume(), ms);
  }

  // ------------------------------------------------------------------ across reloads

  /** Take up what an earlier page left. Until then nothing is saved over it. */
  restore() {
    if (this.#saved) return;
    const entries = this.#client.storage.get('outbox', []);
    const mine = entries.filter((entry) => entry.uid === this.#client.state.me.uid);
    this.#saved = this.#client.state.outbox;
    if (mine.length) this.#client.dispatch({ type: 'outbox/load', entries: mine });
    for (const { to } of mine) if (to) this.#client.dispatch({ type: 'thread/draft', uid: to });
  }

  forget() {
    this.#saved = null;
  }

  /** Called on every change of state. */
  save() {
    const { outbox, me } = this.#client.state;
    if (!this.#saved || outbox === this.#saved || !me) return;
    this.#saved = outbox;
    const entries = saved(outbox).map((entry) => ({ ...entry, uid: me.uid }));
    this.#client.storage.set('outbox', entries);
  }
}
