// Where one writes: a text box that grows, emoji, what is answered or edited, and a draft per chat.

import { Drafts } from '../core/drafts.js';
import { h } from '../ui/dom.js';
import { codePoints } from '../ui/format.js';
import { openEmoji } from '../ui/popup.js';
import { quoteNode } from './bubble.js';
import { iconButton } from './parts.js';

/** `typing` is renewed this often while one writes, and ended after a pause. */
const TYPING_RENEW_MS = 4000;
const TYPING_PAUSE_MS = 5000;
/** From this share of the limit on, the characters left are shown. */
const COUNT_FROM = 0.9;
const NOTHING = { text: '', reply: null };

export class Composer {
  #id = null;
  #typedAt = 0;
  #pause = null;
  #width = 0;
  /** What stood here before a message was taken up for editing. */
  #aside = null;

  /** on: send(text, replyTo), edit(seq, text), editLast(), typing(id, on), resizing(change). */
  constructor(app, on) {
    this.app = app;
    this.on = on;
    this.drafts = new Drafts(app.client.storage);
    this.input = h('textarea', {
      class: 'composer-input', rows: 1, placeholder: 'Message', 'aria-label': 'Message', dir: 'auto',
      on: { input: () => this.#changed(), keydown: (event) => this.#key(event) },
    });
    this.left = h('span', { class: 'chars-left', hidden: true, 'aria-live': 'polite' });
    this.about = h('div', { class: 'about', hidden: true });
    this.emoji = iconButton('smile', 'Emoji', () => this.#openEmoji(), { 'aria-haspopup': 'true' });
    this.send = iconButton('send', 'Send', () => this.#submit(), { class: 'icon-button send' });
    this.node = h('footer', { class: 'composer' }, this.about,
      h('div', { class: 'composer-line' }, this.emoji, this.input, this.left, this.send));
    new ResizeObserver(() => this.#widened()).observe(this.input);
    addEventListener('pagehide', () => this.#keep());
    document.addEventListener('visibilitychange', () => this.#keep());
  }

  // ------------------------------------------------------------------ which chat

  switchTo(id) {
    if (id === this.#id) return;
    this.#keep();
    this.#stopTyping();
    this.#id = id;
    this.editing = null;
    this.#fill(id ? this.#drafts.get(id) : NOTHING);
  }

  get #drafts() {
    return this.drafts.of(this.app.state.me?.uid);
  }

  #fill({ text, reply }) {
    this.input.value = text;
    this.reply = reply;
    this.#aside = null;
    this.#drawAbout();
    this.#resize();
  }

  #keep() {
    if (!this.#id) return;
    this.#drafts.set(this.#id, this.#aside ?? { text: this.input.value, reply: this.reply ?? null });
  }

  forget() {
    this.input.value = '';
    this.#id = null;
    this.editing = null;
    this.reply = null;
    this.#aside = null;
    this.drafts.forget();
  }

  draftOf(id) {
    return id === this.#id ? '' : this.#drafts.get(id).text.trim();
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  // ------------------------------------------------------------------ answering, editing

  replyTo(quote) {
    if (this.editing) this.cancel();
    this.reply = quote;
    this.#drawAbout();
    this.focus();
  }

  edit(row) {
    this.#aside ??= { text: this.input.value, reply: this.reply ?? null };
    this.editing = row;
    this.reply = null;
    this.input.value = row.text;
    this.#drawAbout();
    this.#resize();
    this.focus();
  }

  /** Esc: drop the answer or the edit. False when there was neither. */
  cancel() {
    if (!this.reply && !this.editing) return false;
    const rest = this.#aside ?? { text: this.input.value, reply: null };
    this.editing = null;
    this.#fill(rest);
    return true;
  }

  #drawAbout() {
    const { reply, editing } = this;
    this.about.hidden = !reply && !editing;
    if (this.about.hidden) return;
    const quote = reply ?? { from: null, text: editing.text };
    const shown = quoteNode(this.app.state, quote, () => {});
    if (editing) shown.firstElementChild.textContent = 'Edit message';
    this.about.replaceChildren(shown, iconButton('close', editing ? 'Stop editing' : 'Do not answer', () => {
      this.cancel();
      this.focus();
    }));
  }

  // ------------------------------------------------------------------ writing

  #changed() {
    this.#resize();
    const now = Date.now();
    if (!this.input.value.trim()) this.#stopTyping();
    else if (now - this.#typedAt > TYPING_RENEW_MS) {
      this.#typedAt = now;
      this.on.typing(this.#id, true);
    }
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#stopTyping(), TYPING_PAUSE_MS);
  }

  #stopTyping() {
    clearTimeout(this.#pause);
    if (!this.#typedAt) return;
    this.#typedAt = 0;
    this.on.typing(this.#id, false);
  }

  #resize() {
    this.on.resizing(() => this.#fit());
    const limit = this.app.state.limits.text_chars ?? Infinity;
    const left = limit - codePoints(this.input.value.trim());
    this.left.hidden = left > limit * (1 - COUNT_FROM);
    this.left.textContent = String(left);
    this.left.classList.toggle('over', left < 0);
    this.send.disabled = left < 0 || !this.input.value.trim();
  }

  /** As high as its lines. While it is not shown there is nothing to measure. */
  #fit() {
    this.input.style.height = 'auto';
    const { scrollHeight, offsetHeight, clientHeight } = this.input;
    this.input.style.height = scrollHeight ? `${scrollHeight + offsetHeight - clientHeight}px` : '';
  }

  /** Another width, or shown again: the lines break elsewhere. */
  #widened() {
    const { clientWidth } = this.input;
    if (clientWidth === this.#width) return;
    this.#width = clientWidth;
    this.#resize();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'ArrowUp' && !this.input.value && !this.editing) {
      event.preventDefault();
      this.on.editLast();
    }
  }

  #submit() {
    const text = this.input.value.trim();
    if (!text || this.send.disabled) return;
    const { editing, reply } = this;
    this.editing = null;
    this.#fill(this.#aside ?? NOTHING);
    this.#stopTyping();
    if (editing) this.on.edit(editing, text);
    else this.on.send(text, reply?.seq ?? null);
    this.focus();
  }

  #openEmoji() {
    // The focus goes back to where the emoji go.
    if (!matchMedia('(pointer: coarse)').matches) this.focus();
    openEmoji(this.emoji, (emoji) => {
      this.input.setRangeText(emoji, this.input.selectionStart, this.input.selectionEnd, 'end');
      this.#changed();
    }, { keep: true });
  }
}
