// The left pane: header, search, banner, the list of chats; and the drawers that slide over it.

import { searchPeople } from '../core/actions.js';
import { chatList, personName } from '../store/select.js';
import { avatar } from '../ui/avatar.js';
import { ensureRoving, focusRoving, h, reconcile, roving } from '../ui/dom.js';
import { icon } from '../ui/icons.js';
import { openMenu } from '../ui/popup.js';
import { chatMenu } from './chatmenu.js';
import { GroupDrawer } from './groupdrawer.js';
import { showShortcuts } from './keys.js';
import { NewChat } from './newchat.js';
import { iconButton } from './parts.js';
import { chatRow, personRow, renderChatRow } from './rows.js';
import { Settings } from './settings.js';

const SEARCH_MS = 250;
const ROW = '.row';

export class Sidebar {
  #timer = null;
  #people = [];

  constructor(app) {
    this.app = app;
    this.me = h('button', {
      type: 'button', class: 'me-button', title: 'Profile and settings', 'aria-label': 'Profile and settings',
      on: { click: () => app.showDrawer('settings') },
    });
    const header = h(
      'header', { class: 'bar' }, this.me, h('h1', { class: 'brand', text: 'Coppice' }),
      iconButton('chat', 'New chat', () => app.showDrawer('new'), { 'data-act': 'new-chat' }),
      iconButton('menu', 'Menu', (event) => this.#menu(event.currentTarget), { 'aria-haspopup': 'menu' }),
    );
    this.search = h('input', {
      class: 'search-input', type: 'search', placeholder: 'Search chats and people',
      'aria-label': 'Search chats and people',
      on: { input: () => this.#searched(), keydown: (event) => this.#searchKey(event) },
    });
    this.list = h('ul', { class: 'rows', 'aria-label': 'Chats' });
    this.people = h('ul', { class: 'rows', 'aria-label': 'People' });
    this.peopleTitle = h('h2', { class: 'rows-title', text: 'People', hidden: true });
    this.archive = h('button', { type: 'button', class: 'archive-row', on: { click: () => this.#toggleArchive() } });
    this.empty = h('div', { class: 'empty-list', hidden: true });
    this.scroller = h(
      'nav', { class: 'scroll', 'aria-label': 'Chats' },
      this.archive, this.list, this.empty, this.peopleTitle, this.people,
    );
    this.drawers = { new: new NewChat(app), group: new GroupDrawer(app), settings: new Settings(app) };
    this.drawer = h('div', { class: 'drawer', hidden: true });
    this.node = h(
      'aside', { class: 'side', 'aria-label': 'Chats' }, header, app.banner.node,
      h('div', { class: 'search', role: 'search' }, icon('search'), this.search), this.scroller, this.drawer,
    );
    roving(this.scroller, ROW);
  }

  // ------------------------------------------------------------------ drawing

  update() {
    const { state, ui } = this.app;
    const now = Date.now();
    this.#header(state);
    const options = { query: ui.query, archived: ui.archived };
    const threads = chatList(state, options);
    const rows = threads.map((thread) => {
      const draft = this.app.conversation.draftOf(thread.id);
      const row = chatRow(state, thread, { open: thread.id === ui.open, draft }, now);
      return { key: row.id, sig: JSON.stringify(row), row };
    });
    const handlers = {
      onOpen: (id) => this.#choose(() => this.app.open(id)),
      onMenu: (id, anchor) => openMenu(anchor, chatMenu(this.app, id)),
    };
    reconcile(this.list, rows, ({ row }, old) => renderChatRow(row, old, handlers));
    this.#drawPeople(state, threads);
    this.#drawArchive(state, ui);
    this.#drawEmpty(state, rows.length);
    ensureRoving(this.scroller, ROW);
    this.#drawDrawer(ui.drawer);
  }

  #header({ me }) {
    const name = me.name || me.user || '';
    if (this.me.dataset.name === name) return;
    this.me.dataset.name = name;
    this.me.replaceChildren(avatar(me.uid, name, { size: 's' }));
  }

  /** Contacts and strangers that match the search and have no chat in the list yet. */
  #drawPeople(state, threads) {
    const query = this.app.ui.query.trim().toLowerCase();
    const shown = new Set(threads.map(({ peer }) => peer));
    const known = Object.keys(state.contacts).filter((uid) =>
      query && personName(state, uid).toLowerCase().includes(query));
    const uids = [...new Set([...known, ...(query ? this.#people : [])])].filter((uid) => !shown.has(uid));
    const items = uids.map((uid) => {
      const person = { uid, name: personName(state, uid), user: state.users[uid]?.user ?? '' };
      return { key: uid, sig: JSON.stringify(person), person };
    });
    this.peopleTitle.hidden = !items.length;
    reconcile(this.people, items, ({ person }) =>
      personRow(person, { onClick: () => this.#choose(() => this.app.openPerson(person.uid)) }));
  }

  #drawArchive(state, ui) {
    const archived = Object.values(state.threads).filter((thread) => thread.archived).length;
    this.archive.hidden = ui.query !== '' || (!archived && !ui.archived);
    const label = ui.archived ? 'Back to chats' : `Archived (${archived})`;
    if (this.archive.textContent === label) return;
    this.archive.replaceChildren(icon(ui.archived ? 'back' : 'archive'), h('span', { text: label }));
  }

  #drawEmpty(state, rows) {
    const searching = this.app.ui.query !== '';
    this.empty.hidden = rows > 0 || (searching && !this.peopleTitle.hidden) || !state.loaded;
    if (this.empty.hidden) return;
    if (this.empty.dataset.kind === String(searching)) return;
    this.empty.dataset.kind = String(searching);
    this.empty.replaceChildren(...(searching
      ? [h('p', { text: 'Nobody and nothing by that name.' })]
      : [
        h('p', { class: 'empty-title', text: 'No chats yet' }),
        h('p', { text: 'Find somebody you know and say hello.' }),
        h('button', {
          type: 'button', class: 'button primary', text: 'New chat', on: { click: () => this.app.showDrawer('new') },
        }),
      ]));
  }

  #drawDrawer(name) {
    const drawer = this.drawers[name] ?? null;
    if (this.drawer.firstElementChild !== (drawer?.node ?? null)) {
      this.drawer.replaceChildren(...(drawer ? [drawer.node] : []));
      this.drawer.hidden = !drawer;
      drawer?.shown();
    }
    drawer?.update();
  }

  // ------------------------------------------------------------------ searching

  #searched() {
    this.app.ui.query = this.search.value;
    this.app.update();
    clearTimeout(this.#timer);
    const query = this.search.value.trim();
    this.#people = [];
    if (query) this.#timer = setTimeout(() => this.#ask(query), SEARCH_MS);
  }

  async #ask(query) {
    try {
      const found = await searchPeople(this.app.client, query);
      if (this.search.value.trim() === query) this.#people = found.map(({ uid }) => uid);
      this.app.update();
    } catch {
      // What is known here is shown anyway.
    }
  }

  #searchKey(event) {
    const rows = [...this.scroller.querySelectorAll(ROW)].filter((row) => row.offsetParent);
    if (event.key === 'ArrowDown' && rows.length) {
      event.preventDefault();
      focusRoving(this.scroller, ROW, rows[0]);
    } else if (event.key === 'Enter' && this.search.value.trim()) {
      rows[0]?.click();
    }
  }

  #choose(open) {
    this.clearSearch();
    open();
  }

  clearSearch() {
    this.search.value = '';
    this.app.ui.query = '';
    this.#people = [];
    this.app.update();
  }

  #toggleArchive() {
    this.app.ui.archived = !this.app.ui.archived;
    this.app.update();
  }

  // ------------------------------------------------------------------ focus and moving

  focusSearch() {
    this.app.ui.drawer = null;
    this.app.update();
    this.drawer.hidden = true;
    this.search.focus();
    this.search.select();
  }

  focusDrawer() {
    this.drawers[this.app.ui.drawer]?.focus();
  }

  focusRow(id) {
    const row = this.list.querySelector(`[data-id="${CSS.escape(id ?? '')}"] ${ROW}`);
    const target = row ?? this.list.querySelector(ROW);
    if (target) focusRoving(this.scroller, ROW, target);
    else this.search.focus();
  }

  /** Open the chat above or below the open one. */
  step(by) {
    const ids = [...this.list.children].map((node) => node.dataset.id);
    const next = ids[ids.indexOf(this.app.ui.open) + by];
    if (next) this.app.open(next);
  }

  refreshDevices() {
    this.drawers.settings.refreshDevices();
  }

  #menu(anchor) {
    const { app } = this;
    openMenu(anchor, [
      { label: 'New group', icon: 'group', act: () => app.showDrawer('group') },
      { label: 'Settings', icon: 'settings', act: () => app.showDrawer('settings') },
      { label: 'Keyboard shortcuts', icon: 'keyboard', act: showShortcuts },
      '-',
      { label: 'Log out', icon: 'logout', act: () => app.client.logout() },
    ]);
  }
}
