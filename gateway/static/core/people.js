// Names of people: asks for whoever is mentioned and not yet known, a hundred at a time.

const BATCH_MAX = 100;
const GATHER_MS = 30;

export class People {
  #client;
  #wanted = new Set();
  #asked = new Set();
  #timer = null;

  constructor(client) {
    this.#client = client;
  }

  /** Make sure these uids will have names; `again` asks even for those who have. */
  need(uids, again = false) {
    const { users } = this.#client.state;
    for (const uid of uids) {
      if (uid && (again || (!users[uid]?.user && !this.#asked.has(uid)))) this.#wanted.add(uid);
    }
    if (this.#wanted.size && !this.#timer) {
      this.#timer = setTimeout(() => this.#fetch(), GATHER_MS);
    }
  }

  needOf(events) {
    const uids = [];
    for (const event of events) uids.push(event.from, event.user, event.by);
    this.need(uids);
  }

  /** After a reconnect, what was asked in vain is asked again. */
  forget() {
    this.#asked.clear();
  }

  async #fetch() {
    this.#timer = null;
    const uids = [...this.#wanted].slice(0, BATCH_MAX);
    for (const uid of uids) {
      this.#wanted.delete(uid);
      this.#asked.add(uid);
    }
    if (this.#wanted.size) this.need([]);
    try {
      const { users } = await this.#client.read('user.get', { uids });
      this.#client.dispatch({ type: 'users', users });
    } catch {
      for (const uid of uids) this.#asked.delete(uid);
    }
  }
}
