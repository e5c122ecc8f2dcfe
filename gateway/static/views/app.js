// The page: which screen is shown, which conversation is open, and when views are brought up to
// date. Views get the app and draw from `app.state` and `app.ui`; they never keep a copy.

import { isMuted, personName, threadTitle, unreadChats } from '../store/select.js';
import { h } from '../ui/dom.js';
import { toast } from '../ui/dialog.js';
import { plain } from '../ui/format.js';
import { notify } from '../ui/notify.js';
import { Banner } from './banner.js';
import { Conversation } from './conversation.js';
import { Info } from './info.js';
import { installKeys } from './keys.js';
import { Login } from './login.js';
import { Replaced } from './replaced.js';
import { Sidebar } from './sidebar.js';

const MINUTE_MS = 60_000;

/** The chat an address names; one that is not well formed names none. */
function idOf(hash) {
  try {
    return decodeURIComponent(hash.slice(2));
  } catch {
    return '';
  }
}

export class App {
  #scheduled = false;
  #screen = null;
  #root = document.getElementById('app');

  constructor(makeClient) {
    this.ui = { open: null, drawer: null, info: false, query: '', archived: false };
    const hooks = {
      incoming: (thread, event) => this.#incoming(thread, event),
      session: (event) => this.#session(event),
      notice: ({ msg }) => toast(msg),
    };
    this.client = makeClient(hooks, () => this.#onScreen());
    this.login = new Login(this);
    this.banner = new Banner(this);
    this.sidebar = new Sidebar(this);
    this.conversation = new Conversation(this);
    this.info = new Info(this);
    this.replaced = new Replaced();
    this.shell = h('div', { class: 'shell' }, this.sidebar.node, this.conversation.node, this.info.node);
  }

  start() {
    installKeys(this);
    this.client.store.subscribe((state, before) => {
      this.update();
      if (state.threads !== before.threads) this.client.presence.changed();
    });
    addEventListener('hashchange', () => this.#route());
    addEventListener('focus', () => this.update());
    document.addEventListener('visibilitychange', () => this.update());
    setInterval(() => this.update(), MINUTE_MS);
    this.client.resume();
    this.#route();
    this.#draw();
  }

  get state() {
    return this.client.state;
  }

  get thread() {
    return this.state.threads[this.ui.open] ?? null;
  }

  // ------------------------------------------------------------------ drawing

  update() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const draw = () => {
      this.#scheduled = false;
      this.#draw();
    };
    if (document.hidden) setTimeout(draw);
    else requestAnimationFrame(draw);
  }

  #draw() {
    const { link, me } = this.state;
    const screen = link.why === 'replaced' ? this.replaced : me?.sid ? this.shell : this.login;
    if (screen !== this.#screen) {
      this.#screen = screen;
      this.#root.replaceChildren(screen.node ?? screen);
      if (screen === this.login) this.#leave();
      screen.shown?.();
    }
    if (screen === this.shell) this.#drawShell();
    else screen.update?.();
    const unread = me ? unreadChats(this.state, Date.now()) : 0;
    document.title = unread ? `(${unread}) Coppice` : 'Coppice';
  }

  /** Nothing of one user is left for the next. */
  #leave() {
    Object.assign(this.ui, { open: null, drawer: null, info: false, archived: false });
    this.conversation.forget();
    this.sidebar.clearSearch();
    if (location.hash.length > 2 && !this.client.storage.get('login')) location.hash = '#/';
  }

  #drawShell() {
    const { open, info } = this.ui;
    this.shell.dataset.pane = this.thread ? (info ? 'info' : 'chat') : 'list';
    this.banner.update();
    this.sidebar.update();
    this.conversation.update(open);
    this.info.update();
  }

  // ------------------------------------------------------------------ going places

  open(id, { focus = true } = {}) {
    if (id !== this.ui.open) this.ui.info = false;
    this.ui.open = id;
    this.ui.drawer = null;
    const hash = `#/${encodeURIComponent(id)}`;
    if (location.hash !== hash) location.hash = hash;
    this.client.presence.changed();
    this.#draw();
    if (focus && !matchMedia('(pointer: coarse)').matches) this.conversation.focus();
  }

  /** Open the conversation with a person, which may not exist yet. */
  openPerson(uid) {
    this.client.dispatch({ type: 'thread/draft', uid });
    const thread = Object.values(this.state.threads).find(({ peer }) => peer === uid);
    this.open(thread.id);
  }

  close() {
    const was = this.ui.open;
    this.ui.open = null;
    this.ui.info = false;
    if (location.hash.length > 2) location.hash = '#/';
    this.#draw();
    this.sidebar.focusRow(was);
  }

  showDrawer(name) {
    this.ui.drawer = name;
    this.#draw();
    if (name) this.sidebar.focusDrawer();
    else this.sidebar.focusSearch();
  }

  showInfo(on) {
    this.ui.info = on;
    this.#draw();
    if (on) this.info.focus();
    else this.conversation.focus();
  }

  #route() {
    const id = idOf(location.hash);
    if (id === (this.ui.open ?? '')) return;
    if (id) this.open(id);
    else this.close();
  }

  // ------------------------------------------------------------------ happenings

  /** Who should have a presence: the open chat's people, then the list's, then contacts. */
  #onScreen() {
    const { threads, contacts, me } = this.state;
    const open = this.thread;
    const uids = open?.peer ? [open.peer] : (open?.members ?? []).map(({ uid }) => uid);
    for (const { peer, known, draft } of Object.values(threads)) if (peer && (known || draft)) uids.push(peer);
    uids.push(...Object.keys(contacts));
    return uids.filter((uid) => uid !== me?.uid);
  }

  #incoming(id, event) {
    const thread = this.state.threads[id];
    if (event.from === this.state.me.uid || !thread) return;
    const author = personName(this.state, event.from);
    const where = thread.kind === 'group' ? ` in ${threadTitle(this.state, thread)}` : '';
    document.getElementById('speech').textContent = `${author}${where}: ${event.text ?? ''}`;
    if (isMuted(thread, Date.now())) return;
    notify(`${author}${where}`, plain(event.text ?? ''), id, () => this.open(id));
  }

  #session({ act, sid }) {
    if (act === 'login' && sid !== this.state.me?.sid) toast('A new device has logged in to your account.');
    if (this.ui.drawer === 'settings') this.sidebar.refreshDevices();
  }
}
