// Polls who is online: the people on screen, every `next_ms`, changes only while the set stays.

const FIRST_MS = 300;
const INTERVAL_MS = 10_000;
const UIDS_MAX = 500;
/** A new set of people may be asked for sooner than the next poll, but not sooner than this. */
const EAGER_MS = 5_200;

export class Presence {
  #client;
  #people;
  #timer = null;
  #asked = '';
  #version = undefined;
  #askedAt = 0;

  /** `people()` gives the uids now on screen, most important first. */
  constructor(client, people) {
    this.#client = client;
    this.#people = people;
  }

  start() {
    this.#version = undefined;
    this.#schedule(FIRST_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** The set on screen changed. */
  changed() {
    if (!this.#timer || this.#wanted().join() === this.#asked) return;
    this.#schedule(Math.max(FIRST_MS, this.#askedAt + EAGER_MS - Date.now()));
  }

  #wanted() {
    return [...new Set(this.#people())].slice(0, UIDS_MAX).sort();
  }

  #schedule(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), ms);
  }

  async #poll() {
    const uids = this.#wanted();
    if (!uids.length) {
      this.#schedule(INTERVAL_MS);
      return;
    }
    if (uids.join() !== this.#asked) this.#version = undefined;
    this.#asked = uids.join();
    this.#askedAt = Date.now();
    let next = INTERVAL_MS;
    try {
      const reply = await this.#client.request('presence', { uids, v: this.#version });
      this.#version = reply.v;
      this.#client.dispatch({ type: 'presence', st: reply.st });
      next = reply.next_ms ?? INTERVAL_MS;
    } catch (error) {
      if (error.code === 'offline') return;
      next = error.retryMs || INTERVAL_MS;
    }
    if (this.#timer) this.#schedule(next);
  }
}
