// Delivered and read, told to the server: newest seq per thread, gathered and paced, because a
// person coming back to fifty chats must not spend their request budget on ticks.

const GATHER_MS = 120;
const PER_ROUND = 8;
const ROUND_MS = 600;

export class Receipts {
  #client;
  #recv = new Set();
  #read = new Map();
  #timer = null;

  constructor(client) {
    this.#client = client;
  }

  /** Something new may stand in this thread. */
  arrived(id) {
    const thread = this.#client.state.threads[id];
    if (!thread?.known || thread.removed || thread.tl.at <= thread.recv) return;
    this.#recv.add(id);
    this.#later(GATHER_MS);
  }

  /** The person has seen everything up to `seq`. */
  seen(id, seq) {
    const thread = this.#client.state.threads[id];
    if (!thread || thread.removed || seq <= thread.read) return;
    this.#client.dispatch({ type: 'read', thread: id, seq });
    this.#recv.delete(id);
    this.#read.set(id, seq);
    this.#later(GATHER_MS);
  }

  /** After a reconnect: everything delivered meanwhile, and reads that found no connection. */
  resume() {
    for (const id of Object.keys(this.#client.state.threads)) this.arrived(id);
    if (this.#read.size) this.#later(GATHER_MS);
  }

  #later(ms) {
    this.#timer ??= setTimeout(() => this.#flush(), ms);
  }

  #flush() {
    this.#timer = null;
    if (!this.#client.isLive) return;
    let budget = PER_ROUND;
    for (const [id, seq] of [...this.#read].slice(0, budget)) {
      if (this.#client.cast('read', { thread: id, seq })) this.#read.delete(id);
      budget -= 1;
    }
    for (const id of [...this.#recv].slice(0, budget)) {
      const seq = this.#client.state.threads[id].tl.at;
      if (!this.#client.cast('recv', { thread: id, seq })) return;
      this.#recv.delete(id);
      this.#client.dispatch({ type: 'received', thread: id, seq });
    }
    if (this.#read.size || this.#recv.size) this.#later(ROUND_MS);
  }
}
