// Keeps every timeline complete: sync after a (re)connect, history pages where live events jumped
// or somebody scrolls up, and a fresh look at the list when an unknown thread is heard of.

const PAGE = 100;
const LIST_PAGE = 200;
/** A thread further behind than this starts anew at its head; the past is fetched when looked at. */
const BEHIND_MAX = 1000;
/** Pages fetched for one missing stretch before giving up until the next event. */
const PAGES_MAX = 20;

export class CatchUp {
  #client;
  #fetching = new Set();
  #older = new Map();
  #listing = null;
  /** While syncing, jumps are left to `sync`. */
  #syncing = false;

  constructor(client) {
    this.#client = client;
  }

  /** The list of threads, from scratch: cursors start at the heads. */
  async list() {
    let after;
    do {
      const reply = await this.#client.read('thread.list', { limit: LIST_PAGE, after });
      this.#client.dispatch({ type: 'threads', threads: reply.threads });
      this.#client.people.need(reply.threads.flatMap(({ peer, last }) => [peer, last?.from]));
      after = reply.next;
    } while (after);
  }

  /** `sync` with cursors until nothing more comes. */
  async sync() {
    this.#syncing = true;
    try {
      for (let more = true; more;) {
        const reply = await this.#client.read('sync', { cursors: this.#cursors() });
        this.#client.dispatch({ type: 'sync', reply });
        for (const events of Object.values(reply.events)) this.#client.people.needOf(events);
        this.#client.people.need(reply.threads.map(({ peer }) => peer));
        for (const thread of reply.more) this.#skip(thread);
        more = reply.more.length > 0;
      }
    } finally {
      this.#syncing = false;
    }
    for (const id of Object.keys(this.#client.state.threads)) this.check(id);
  }

  #cursors() {
    const cursors = {};
    for (const { id, tl } of Object.values(this.#client.state.threads)) {
      if (tl.at > 0) cursors[id] = tl.at;
    }
    return cursors;
  }

  #skip(id) {
    const tl = this.#client.state.threads[id]?.tl;
    if (tl && tl.head - tl.at > BEHIND_MAX) {
      this.#client.dispatch({ type: 'thread/skip', thread: id, head: tl.head });
    }
  }

  /** Fetch what this thread is missing, if anything. */
  check(id) {
    const thread = this.#client.state.threads[id];
    if (this.#syncing || !thread || thread.tl.head <= thread.tl.at) return;
    if (!thread.known) this.#relist();
    else if (!this.#fetching.has(id)) this.#fetch(id);
  }

  async #fetch(id) {
    this.#fetching.add(id);
    try {
      for (let pages = 0; pages < PAGES_MAX; pages += 1) {
        this.#skip(id);
        const { tl } = this.#client.state.threads[id];
        if (tl.head <= tl.at) return;
        const reply = await this.#client.read('history', { thread: id, after: tl.at, limit: PAGE });
        this.#client.dispatch({ type: 'page', thread: id, events: reply.events });
        this.#client.people.needOf(reply.events);
        this.#client.receipts.arrived(id);
        if (!reply.more && this.#client.state.threads[id].tl.at >= reply.head) {
          this.#settled(id, reply.head);
          return;
        }
      }
    } catch {
      // The next reconnect syncs; the next event of this thread tries again.
    } finally {
      this.#fetching.delete(id);
    }
  }

  /** What was heard beyond the head the server knows of will not come (a removal's end). */
  #settled(id, head) {
    const { tl } = this.#client.state.threads[id];
    if (tl.head > tl.at && tl.at >= head) this.#client.dispatch({ type: 'settle', thread: id });
  }

  #relist() {
    this.#listing ??= this.#client
      .read('thread.list', { limit: 20 })
      .then(({ threads }) => {
        this.#client.dispatch({ type: 'threads', threads });
        this.#client.people.need(threads.flatMap(({ peer, last }) => [peer, last?.from]));
        for (const { thread } of threads) this.#client.receipts.arrived(thread);
      })
      .catch(() => {})
      .finally(() => {
        this.#listing = null;
      });
  }

  /** One older page of a thread; several callers share one request. */
  older(id) {
    const thread = this.#client.state.threads[id];
    if (!thread || thread.tl.start) return Promise.resolve();
    if (!this.#older.has(id)) {
      const asked = this.#client
        .read('history', { thread: id, before: thread.tl.lo, limit: PAGE })
        .then((reply) => {
          this.#client.dispatch({ type: 'older', thread: id, ...reply });
          this.#client.people.needOf(reply.events);
        })
        .finally(() => this.#older.delete(id));
      this.#older.set(id, asked);
    }
    return this.#older.get(id);
  }
}
