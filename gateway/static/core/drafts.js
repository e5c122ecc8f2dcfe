// What a person began to write: {text, reply} per chat. Kept in the browser, so that a reload loses
// nothing; logging out forgets it.

const KEY = 'drafts';

export class Drafts {
  #storage;
  #uid = null;
  #byChat = {};

  constructor(storage) {
    this.#storage = storage;
  }

  /** Whose drafts these are. Another user finds none of them. */
  of(uid) {
    if (uid === this.#uid) return this;
    const kept = this.#storage.get(KEY);
    this.#uid = uid;
    this.#byChat = kept?.uid === uid ? kept.byChat : {};
    return this;
  }

  get(chat) {
    return this.#byChat[chat] ?? { text: '', reply: null };
  }

  /** Keep it; one that says nothing is let go. */
  set(chat, { text, reply }) {
    const { [chat]: _before, ...others } = this.#byChat;
    this.#byChat = text.trim() || reply ? { ...others, [chat]: { text, reply } } : others;
    this.#storage.set(KEY, { uid: this.#uid, byChat: this.#byChat });
  }

  forget() {
    this.#uid = null;
    this.#byChat = {};
    this.#storage.remove(KEY);
  }
}
