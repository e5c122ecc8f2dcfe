// The scrolling list of a conversation. It shows the newest part of what is loaded and more of it
// as one scrolls up, then asks for older pages; what one looks at never jumps. At the bottom it
// stays there when something new arrives.

import { items } from '../store/select.js';
import { h, reconcile, roveToLast, roving } from '../ui/dom.js';
import { icon } from '../ui/icons.js';
import { renderItem, signature } from './bubble.js';

const SHOWN_FIRST = 120;
const SHOWN_STEP = 100;
/** Above this, going to the bottom lets the oldest go from the page (they stay in memory). */
const SHOWN_TRIM = 400;
/** This close to an edge counts as at it. */
const BOTTOM_PX = 48;
const TOP_PX = 900;
/** After an older page could not be had. */
const RETRY_MS = 3000;
/** What stands before the unread line stays in view, this much of it. */
const LINE_TOP_PX = 120;
/** Up to this many unread messages are fetched and shown so that a chat opens where they begin. */
const UNREAD_MAX = 300;

export class Messages {
  #id = null;
  #shown = SHOWN_FIRST;
  #total = 0;
  #stuck = true;
  #line = null;
  #toLine = false;
  #loading = false;
  #retryAt = 0;

  /** on: handlers of bubbles, and `seen(seq)` when the newest is in view. */
  constructor(app, on) {
    this.app = app;
    this.on = on;
    this.list = h('ol', { class: 'messages', 'aria-label': 'Messages' });
    this.older = h('div', { class: 'older', hidden: true }, h('span', { class: 'spinner' }), h('span', { class: 'unseen', text: 'Loading older messages' }));
    this.badge = h('span', { class: 'badge', hidden: true });
    this.down = h('button', {
      type: 'button', class: 'down', title: 'To the newest message', 'aria-label': 'To the newest message', hidden: true,
      on: { click: () => this.toBottom() },
    }, icon('down'), this.badge);
    this.scroller = h('div', { class: 'scroll messages-scroll', on: { scroll: () => this.#scrolled() } }, this.older, this.list);
    this.node = h('div', { class: 'messages-frame' }, this.scroller, this.down);
    // Who scrolls by hand is not taken elsewhere any more.
    for (const kind of ['wheel', 'touchmove']) this.scroller.addEventListener(kind, () => { this.#toLine = false; }, { passive: true });
    roving(this.list, '.msg');
    this.list.addEventListener('keydown', (event) => this.#key(event));
    this.list.addEventListener('contextmenu', (event) => this.#context(event));
    new ResizeObserver(() => this.#stuck && this.#drop()).observe(this.scroller);
  }

  // ------------------------------------------------------------------ drawing

  update(thread) {
    if (thread.id !== this.#id) this.#switch(thread);
    const watching = !document.hidden && document.hasFocus();
    const news = thread.headN > thread.readN && !thread.removed;
    if (news && this.#line === null && !(watching && this.#stuck)) this.#line = thread.read;
    const { state } = this.app;
    const now = Date.now();
    const all = items(state, thread, this.#line);
    this.#grow(all);
    this.#reach(all);
    const shown = all.slice(Math.max(0, all.length - this.#shown));
    const anchor = this.#stuck ? null : this.#anchor();
    const nodes = shown.map((item) => ({ key: item.key, sig: signature(state, thread, item, now), item }));
    reconcile(this.list, nodes, ({ item }) => renderItem(state, thread, item, now, this.on));
    roveToLast(this.list, '.msg');
    this.older.hidden = thread.tl.start && shown.length === all.length;
    if (anchor) this.#restore(anchor);
    else if (!this.#atLine()) this.#drop();
    this.#edges(thread);
    if (watching && news && !this.#awaitsLine(thread)) this.#see(thread);
    this.#fill(thread, all.length);
  }

  #switch(thread) {
    this.#id = thread.id;
    this.#shown = SHOWN_FIRST;
    this.#total = 0;
    this.#stuck = true;
    this.#line = thread.headN > thread.readN ? thread.read : null;
    this.#toLine = this.#line !== null;
    this.list.replaceChildren();
    reconcile(this.list, [], null);
  }

  /** A chat with news opens where they begin, once that is loaded. */
  #atLine() {
    const line = this.#toLine && this.list.querySelector('.unread-line');
    if (!line) return false;
    this.#toLine = false;
    this.scroller.scrollTop = line.offsetTop - LINE_TOP_PX;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.#stuck = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    return true;
  }

  /** Left: opened again, it begins anew, at what is unread then. */
  leave() {
    this.#id = null;
  }

  /** What came into view has been read; at the bottom everything has. */
  #see(thread) {
    if (this.#stuck) {
      if (thread.tl.at >= thread.tl.head) this.on.seen(thread.tl.at);
      return;
    }
    const bottom = this.scroller.scrollTop + this.scroller.clientHeight;
    for (let node = this.list.lastElementChild; node; node = node.previousElementSibling) {
      if (node.offsetTop + node.offsetHeight > bottom || !(node.dataset.seq > 0)) continue;
      this.on.seen(Number(node.dataset.seq));
      return;
    }
  }

  /** Whether what is unread begins above what is loaded, and is worth fetching. */
  #awaitsLine(thread) {
    return this.#toLine && !thread.tl.start && thread.tl.lo > this.#line
      && thread.headN - thread.readN <= UNREAD_MAX;
  }

  /** The unread line is shown even where it stands above the part that is shown first. */
  #reach(all) {
    if (!this.#toLine) return;
    const index = all.findIndex(({ type }) => type === 'unread');
    if (index >= 0 && all.length - index <= 2 * UNREAD_MAX) {
      this.#shown = Math.max(this.#shown, all.length - index + SHOWN_FIRST);
    }
  }

  /** While scrolled up, what arrives below widens the window instead of pushing it on. */
  #grow(all) {
    if (!this.#stuck) this.#shown += Math.max(0, all.length - this.#total);
    else if (this.#shown > SHOWN_TRIM) this.#shown = SHOWN_FIRST;
    this.#total = all.length;
  }

  #anchor() {
    const top = this.scroller.scrollTop;
    for (const node of this.list.children) {
      if (node.offsetTop + node.offsetHeight > top) return { node, at: node.offsetTop - top };
    }
    return null;
  }

  #restore({ node, at }) {
    if (node.isConnected) this.scroller.scrollTop = node.offsetTop - at;
  }

  #drop() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** `change` alters the height of the view: at the bottom it stays there, elsewhere it stays put. */
  hold(change) {
    const { scrollTop } = this.scroller;
    change();
    if (this.#stuck) this.#drop();
    else this.scroller.scrollTop = scrollTop;
  }

  #edges(thread) {
    this.down.hidden = this.#stuck;
    const unread = thread.headN - thread.readN;
    this.badge.hidden = unread <= 0;
    this.badge.textContent = String(unread);
  }

  // ------------------------------------------------------------------ scrolling

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const stuck = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    if (stuck !== this.#stuck) {
      this.#stuck = stuck;
      this.app.update();
    }
    const { thread } = this.app;
    if (scrollTop < TOP_PX && thread) this.#more(thread);
    if (thread && thread.headN > thread.readN) this.app.update();
  }

  /** An opened chat shows at least a screenful; a page that was asked for in vain is asked again. */
  #fill(thread, total) {
    const short = this.scroller.scrollHeight <= this.scroller.clientHeight + TOP_PX / 2;
    const wanted = this.#awaitsLine(thread) || (total < SHOWN_FIRST ? short : this.scroller.scrollTop < TOP_PX);
    if (!thread.tl.start && wanted) this.#more(thread);
  }

  #more(thread) {
    if (this.#shown < this.#total) {
      this.#shown += SHOWN_STEP;
      this.app.update();
    } else if (!thread.tl.start && !this.#loading && this.app.client.isLive && Date.now() > this.#retryAt) {
      this.#loading = true;
      this.app.client.catchUp.older(thread.id)
        .then(() => { this.#shown += SHOWN_STEP; }, () => { this.#retryAt = Date.now() + RETRY_MS; })
        .finally(() => {
          this.#loading = false;
          this.app.update();
        });
    }
  }

  toBottom() {
    this.#stuck = true;
    this.#toLine = false;
    this.#drop();
    this.app.update();
  }

  /** The person writes: what was unread has been answered. */
  answered() {
    this.#line = null;
    this.toBottom();
  }

  /** Show the message with this seq, loading what lies between; says whether it was found. */
  async reveal(seq) {
    const { app } = this;
    const id = this.#id;
    while (this.#id === id && app.thread.tl.lo > seq && !app.thread.tl.start) {
      await app.client.catchUp.older(id);
    }
    if (this.#id !== id) return false;
    this.#stuck = false;
    this.#shown = this.#total + SHOWN_STEP;
    this.update(app.thread);
    const node = this.list.querySelector(`[data-seq="${seq}"]`);
    if (!node) return false;
    node.scrollIntoView({ block: 'center' });
    node.classList.remove('flash');
    requestAnimationFrame(() => node.classList.add('flash'));
    return true;
  }

  // ------------------------------------------------------------------ keyboard

  focusLast() {
    this.list.querySelector('.msg[tabindex="0"]')?.focus();
  }

  #key(event) {
    const node = event.target.closest('.msg');
    if (event.target !== node) return;
    if (event.key === 'Enter' || event.key === ' ' || event.key === 'ContextMenu') {
      event.preventDefault();
      node.querySelector('.more, .failed-note')?.click();
    } else if (event.key === 'ArrowDown' && !node.nextElementSibling) {
      event.preventDefault();
      this.on.leave();
    }
  }

  #context(event) {
    const more = event.target.closest('.bubble')?.querySelector('.more');
    if (!more || event.target.closest('a') || !getSelection().isCollapsed) return;
    event.preventDefault();
    more.click();
  }
}
