// The drawer that makes a new group, and the picker of people it shares with "add members".

import { createGroup } from '../core/actions.js';
import { attempt, complain, openDialog } from '../ui/dialog.js';
import { ensureRoving, focusRoving, h, reconcile, roving } from '../ui/dom.js';
import { count } from '../ui/format.js';
import { personName } from '../store/select.js';
import { icon } from '../ui/icons.js';
import { PeopleSearch, matching, personOf } from './newchat.js';
import { drawerHead, searchBox } from './parts.js';
import { personRow } from './rows.js';

/** Choose any number of people: search, list with marks, chips of the chosen. */
export class PeoplePicker {
  constructor(app, { except = () => [], changed = () => {} } = {}) {
    this.app = app;
    this.except = except;
    this.changed = changed;
    this.chosen = new Set();
    this.people = new PeopleSearch(app, () => this.update());
    this.search = searchBox('Search name or @user', () => this.people.type(this.search.input.value));
    this.chips = h('ul', { class: 'chips', 'aria-label': 'Chosen' });
    this.list = h('ul', { class: 'rows', 'aria-label': 'People' });
    this.none = h('p', { class: 'empty-list', text: 'Search for people by name or @user.' });
    this.node = h('div', { class: 'picker' }, this.chips, this.search.node,
      h('div', { class: 'scroll' }, this.list, this.none));
    roving(this.list, '.row');
    this.search.input.addEventListener('keydown', (event) => this.#key(event));
  }

  reset() {
    this.chosen.clear();
    this.search.input.value = '';
    this.people.type('');
  }

  update() {
    const { state } = this.app;
    const out = new Set(this.except());
    const { contacts, others } = matching(state, this.people.query.replace(/^@/, ''), this.people.found);
    const uids = [...new Set([...contacts, ...others])].filter((uid) => !out.has(uid));
    const items = uids.map((uid) => {
      const person = personOf(state, uid);
      const checked = this.chosen.has(uid);
      return { key: uid, sig: JSON.stringify([person, checked]), person, checked };
    });
    reconcile(this.list, items, ({ person, checked }) =>
      personRow(person, { checked, onClick: () => this.#toggle(person.uid) }));
    this.none.hidden = items.length > 0;
    ensureRoving(this.list, '.row');
    const chips = [...this.chosen].map((uid) => ({ key: uid, sig: personName(state, uid) }));
    reconcile(this.chips, chips, ({ key, sig }) => h('li', {}, h('button', {
      type: 'button', class: 'chip', 'aria-label': `Take out ${sig}`, on: { click: () => this.#toggle(key) },
    }, h('span', { text: sig }), icon('close'))));
    this.chips.hidden = !chips.length;
  }

  /** From the search: Enter chooses the first match (and submits no form around), Down leads there. */
  #key(event) {
    const first = this.list.querySelector('.row');
    if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    if (event.key === 'Enter') first?.click();
    else if (first) focusRoving(this.list, '.row', first);
  }

  #toggle(uid) {
    if (!this.chosen.delete(uid)) this.chosen.add(uid);
    this.update();
    this.changed();
  }
}

export class GroupDrawer {
  constructor(app) {
    this.app = app;
    this.name = h('input', { class: 'input', maxlength: 64, placeholder: 'Group name', 'aria-label': 'Group name', required: true });
    this.picker = new PeoplePicker(app, { except: () => [app.state.me?.uid], changed: () => this.update() });
    this.create = h('button', { class: 'button primary', text: 'Create group' });
    this.hint = h('span', { class: 'muted' });
    const form = h('form', { class: 'group-form', on: { submit: (event) => this.#create(event) } },
      h('div', { class: 'group-name' }, h('span', { class: 'round-icon' }, icon('group')), this.name),
      this.picker.node, h('div', { class: 'drawer-foot' }, this.hint, this.create));
    this.node = h('section', { class: 'drawer-page', 'aria-label': 'New group' }, drawerHead(app, 'New group', 'new'), form);
  }

  shown() {
    this.name.value = '';
    this.picker.reset();
  }

  focus() {
    this.name.focus();
  }

  update() {
    this.picker.update();
    const chosen = this.picker.chosen.size;
    this.hint.textContent = chosen ? `${count(chosen, 'person').replace('persons', 'people')} chosen` : 'Choose who belongs to it';
  }

  async #create(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (!name) return;
    this.create.disabled = true;
    await attempt(async () => {
      this.app.open(await createGroup(this.app.client, name, [...this.picker.chosen]));
    });
    this.create.disabled = false;
  }
}

/** A dialog that chooses people not among `except`; `act(uids)` on confirmation. */
export function pickPeople(app, title, except, act) {
  const picker = new PeoplePicker(app, { except });
  picker.update();
  const add = () => {
    if (picker.chosen.size) return attempt(() => act([...picker.chosen]));
    complain('Choose somebody first.');
    return false;
  };
  openDialog(title, picker.node, [{ label: 'Cancel' }, { label: 'Add', act: add, kind: 'primary' }]);
  picker.search.input.focus();
}
