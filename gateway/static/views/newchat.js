// The drawer with the contact book: start a chat, find people, add them.

import { addContact, searchPeople } from '../core/actions.js';
import { personName } from '../store/select.js';
import { attempt } from '../ui/dialog.js';
import { ensureRoving, focusRoving, h, reconcile, roving } from '../ui/dom.js';
import { icon } from '../ui/icons.js';
import { drawerHead, iconButton, searchBox } from './parts.js';
import { personRow } from './rows.js';

const SEARCH_MS = 250;
const ROW = '.row';

/** Contacts that match, then strangers found on the server: {contacts, others} of uids. */
export function matching(state, query, found) {
  const wanted = query.trim().toLowerCase();
  const name = (uid) => personName(state, uid).toLowerCase();
  const contacts = Object.values(state.contacts)
    .filter(({ uid, user }) => name(uid).includes(wanted) || user.startsWith(wanted))
    .map(({ uid }) => uid)
    .sort((a, b) => name(a).localeCompare(name(b)));
  const others = wanted ? found.filter((uid) => !state.contacts[uid]) : [];
  return { contacts, others };
}

export function personOf(state, uid) {
  const { about, user } = state.users[uid] ?? {};
  return {
    uid,
    name: personName(state, uid),
    user: user ?? '',
    detail: state.contacts[uid]?.blocked ? 'Blocked' : about || (user ? `@${user}` : ''),
    online: state.presence[uid]?.on === true && !state.contacts[uid]?.blocked,
  };
}

/** A search for people that asks the server after a pause; `changed()` when an answer came. */
export class PeopleSearch {
  #timer = null;

  constructor(app, changed) {
    this.found = [];
    this.query = '';
    this.app = app;
    this.changed = changed;
  }

  type(query) {
    this.query = query;
    clearTimeout(this.#timer);
    if (query.trim()) this.#timer = setTimeout(() => this.#ask(query.trim()), SEARCH_MS);
    else this.found = [];
    this.changed();
  }

  async #ask(query) {
    await attempt(async () => {
      const users = await searchPeople(this.app.client, query.replace(/^@/, ''));
      if (this.query.trim() === query) this.found = users.map(({ uid }) => uid);
    });
    this.changed();
  }
}

export class NewChat {
  constructor(app) {
    this.app = app;
    this.people = new PeopleSearch(app, () => app.update());
    this.search = searchBox('Search name or @user', () => this.people.type(this.search.input.value));
    this.search.input.addEventListener('keydown', (event) => this.#key(event));
    this.group = h('button', { type: 'button', class: 'row', tabindex: '-1', on: { click: () => app.showDrawer('group') } },
      h('span', { class: 'round-icon' }, icon('group')),
      h('span', { class: 'row-body' }, h('span', { class: 'row-title', text: 'New group' })));
    this.contacts = h('ul', { class: 'rows', 'aria-label': 'Contacts' });
    this.others = h('ul', { class: 'rows', 'aria-label': 'More people' });
    this.contactsTitle = h('h3', { class: 'rows-title', text: 'Contacts' });
    this.othersTitle = h('h3', { class: 'rows-title', text: 'More people' });
    this.none = h('p', { class: 'empty-list' });
    this.scroller = h('div', { class: 'scroll' }, h('div', { class: 'row-item' }, this.group),
      this.contactsTitle, this.contacts, this.othersTitle, this.others, this.none);
    this.node = h('section', { class: 'drawer-page', 'aria-label': 'New chat' },
      drawerHead(app, 'New chat'), this.search.node, this.scroller);
    roving(this.scroller, ROW);
  }

  shown() {
    this.search.input.value = '';
    this.people.type('');
    this.app.client.people.need(Object.keys(this.app.state.contacts), true);
  }

  focus() {
    this.search.input.focus();
  }

  update() {
    const { state } = this.app;
    const { contacts, others } = matching(state, this.people.query.replace(/^@/, ''), this.people.found);
    this.#list(this.contacts, contacts, false);
    this.#list(this.others, others, true);
    this.contactsTitle.hidden = !contacts.length;
    this.othersTitle.hidden = !others.length;
    this.none.hidden = contacts.length + others.length > 0;
    this.none.textContent = this.people.query
      ? 'Nobody by that name.' : 'Your contact book is empty. Search for people by name or @user.';
    ensureRoving(this.scroller, ROW);
  }

  #list(node, uids, addable) {
    const items = uids.map((uid) => {
      const person = personOf(this.app.state, uid);
      return { key: uid, sig: JSON.stringify(person), person };
    });
    reconcile(node, items, ({ person }) => personRow(person, {
      onClick: () => this.app.openPerson(person.uid),
      extra: addable && iconButton('addPerson', `Add ${person.name} to contacts`,
        () => attempt(() => addContact(this.app.client, person.uid)), { 'data-act': 'add-contact' }),
    }));
  }

  #key(event) {
    const rows = [...this.scroller.querySelectorAll(`.rows ${ROW}`)];
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      focusRoving(this.scroller, ROW, rows[0] ?? this.group);
    } else if (event.key === 'Enter' && this.people.query.trim()) {
      rows[0]?.click();
    }
  }
}
