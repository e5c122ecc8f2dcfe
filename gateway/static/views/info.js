// The right pane: a person or a group, and what can be done with them.

import {
  addContact, addMembers, aliasContact, groupInfo, mute, removeContact, removeMember, setRole,
  setThread, updateGroup,
} from '../core/actions.js';
import { isBlocked, isMuted, personName, threadTitle } from '../store/select.js';
import { avatar } from '../ui/avatar.js';
import { askText, attempt, confirmDialog } from '../ui/dialog.js';
import { ensureRoving, h, reconcile, redraw, roving } from '../ui/dom.js';
import { count, lastSeen } from '../ui/format.js';
import { openMenu } from '../ui/popup.js';
import { blockItem, leaveItem } from './chatmenu.js';
import { pickPeople } from './groupdrawer.js';
import { actionRow, editable, iconButton, section } from './parts.js';

const RANK = { owner: 0, admin: 1, member: 2 };

export class Info {
  #sig = '';

  constructor(app) {
    this.app = app;
    this.title = h('h2', {});
    this.body = h('div', { class: 'scroll padded' });
    this.members = h('ul', { class: 'rows members', 'aria-label': 'Members' });
    roving(this.members, '.row');
    this.node = h('aside', { class: 'info', hidden: true, 'aria-label': 'Info' },
      h('header', { class: 'bar drawer-bar' }, iconButton('close', 'Close info', () => app.showInfo(false)), this.title),
      this.body);
  }

  focus() {
    this.node.querySelector('button').focus();
  }

  update() {
    const { thread, state, ui } = this.app;
    this.node.hidden = !ui.info || !thread;
    if (this.node.hidden) return;
    const group = thread.kind === 'group';
    const contact = state.contacts[thread.peer];
    const sig = JSON.stringify([
      thread.id, threadTitle(state, thread), thread.about, thread.role, thread.removed, thread.pinned, thread.archived,
      isMuted(thread, Date.now()), contact, state.users[thread.peer], state.presence[thread.peer], thread.members?.length,
    ]);
    if (sig !== this.#sig) {
      this.#sig = sig;
      this.title.textContent = group ? 'Group info' : 'Contact info';
      redraw(this.body, group ? this.#group(thread) : this.#person(thread, contact));
    }
    if (group) this.#drawMembers(thread);
  }

  // ------------------------------------------------------------------ a person

  #person(thread, contact) {
    const { client, state } = this.app;
    const { peer } = thread;
    const user = state.users[peer] ?? {};
    const { on, last } = state.presence[peer] ?? {};
    const seen = isBlocked(state, thread) ? '' : on ? 'online' : last ? lastSeen(last, Date.now()) : '';
    const listed = contact && !contact.stranger;
    const alias = () => askText('Name for this contact', {
      label: user.name ?? 'Name', value: contact.alias ?? '', optional: true, save: (text) => aliasContact(client, peer, text),
    });
    return [
      h('div', { class: 'portrait' }, avatar(peer, threadTitle(state, thread), { size: 'l', on: on && !isBlocked(state, thread) }),
        h('p', { class: 'portrait-name', text: threadTitle(state, thread) }),
        h('p', { class: 'handle', text: [user.user && `@${user.user}`, seen].filter(Boolean).join(' · ') })),
      section(null, editable('About', user.about, null, 'Nothing yet'),
        contact?.alias ? editable('Calls themselves', user.name) : null),
      section(null, listed
        ? actionRow('edit', contact.alias ? 'Change the name I use' : 'Give another name', alias)
        : actionRow('addPerson', 'Add to contacts', () => attempt(() => addContact(client, peer))),
      ...this.#common(thread)),
      section(null,
        listed ? actionRow('trash', 'Remove from contacts', () => attempt(() => removeContact(client, peer)), { danger: true }) : null,
        this.#item(blockItem(this.app, thread))),
    ];
  }

  /** Pin, mute and archive; nothing for a chat that has no message yet. */
  #common(thread) {
    const { client } = this.app;
    if (!thread.tl.head) return [];
    const muted = isMuted(thread, Date.now());
    const flip = (change) => () => attempt(() => setThread(client, thread.id, change));
    const state = (on) => ({ value: on ? 'On' : 'Off' });
    return [
      actionRow('mute', 'Mute', () => attempt(() => mute(client, thread.id, !muted)), state(muted)),
      actionRow('pin', 'Pin', flip({ pinned: !thread.pinned }), state(thread.pinned)),
      actionRow('archive', 'Archive', flip({ archived: !thread.archived }), state(thread.archived)),
    ];
  }

  #item(item) {
    return item && actionRow(item.icon, item.label, item.act, { danger: item.danger });
  }

  // ------------------------------------------------------------------ a group

  #manages(thread) {
    return !thread.removed && ['owner', 'admin'].includes(thread.role);
  }

  #group(thread) {
    const { client } = this.app;
    const manages = this.#manages(thread);
    const edit = (key, title, max, optional) => manages && (() => askText(title, {
      label: title, value: thread[key] ?? '', max, optional, save: (text) => updateGroup(client, thread.id, { [key]: text }),
    }));
    const size = thread.removed ? 0 : thread.members?.length ?? 0;
    return [
      h('div', { class: 'portrait' }, avatar(thread.id, thread.name, { group: true, size: 'l' }),
        h('p', { class: 'portrait-name', text: thread.name }),
        h('p', { class: 'handle', text: size ? `Group · ${count(size, 'member')}` : 'Group' })),
      section(null, editable('Name', thread.name, edit('name', 'Group name', 64, false)),
        editable('Description', thread.about, edit('about', 'Group description', 500, true), 'No description')),
      section(null, ...this.#common(thread)),
      thread.removed ? null : section(size ? count(size, 'member') : 'Members',
        manages ? actionRow('addPerson', 'Add members', () => this.#add(thread)) : null, this.members),
      thread.removed ? null : section(null, this.#item(leaveItem(this.app, thread))),
    ].filter(Boolean);
  }

  #add(thread) {
    const { client } = this.app;
    const except = () => this.app.thread.members?.map(({ uid }) => uid) ?? [];
    pickPeople(this.app, 'Add members', except, async (uids) => {
      await addMembers(client, thread.id, uids);
      await groupInfo(client, thread.id);
    });
  }

  #drawMembers(thread) {
    const { state } = this.app;
    const me = state.me.uid;
    const rank = ({ uid, role }) => [uid === me ? 0 : 1, RANK[role], personName(state, uid).toLowerCase()];
    const sorted = (thread.members ?? []).map((member) => [rank(member), member]).sort(([a], [b]) =>
      a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : 1));
    const items = sorted.map(([, { uid, role }]) => {
      const shown = {
        uid, role, name: personName(state, uid), about: state.users[uid]?.about || (state.users[uid]?.user ? `@${state.users[uid].user}` : ''),
        online: state.presence[uid]?.on === true && uid !== me, mine: thread.role,
      };
      return { key: uid, sig: JSON.stringify(shown), shown };
    });
    reconcile(this.members, items, ({ shown }) => this.#member(shown));
    ensureRoving(this.members, '.row');
  }

  #member({ uid, role, name, about, online }) {
    const click = (event) => this.#memberMenu(event.currentTarget, uid, role, name);
    const own = this.app.state.users[uid]?.name ?? name;
    return h('li', { class: 'row-item', 'data-uid': uid },
      h('button', { type: 'button', class: 'row', tabindex: '-1', 'aria-haspopup': 'menu', on: { click } },
        avatar(uid, own, { on: online }),
        h('span', { class: 'row-body' },
          h('span', { class: 'row-line' }, h('span', { class: 'row-title', text: name }),
            role !== 'member' && h('span', { class: 'role', text: role })),
          h('span', { class: 'row-line' }, h('span', { class: 'row-text', text: about })))));
  }

  #memberMenu(anchor, uid, role, name) {
    const { app } = this;
    const { client, thread } = app;
    if (uid === app.state.me.uid) return;
    const owner = thread.role === 'owner' && !thread.removed;
    const act = (work) => () => attempt(work);
    const make = (to) => () => setRole(client, thread.id, uid, to);
    openMenu(anchor, [
      { label: `Message ${name}`, icon: 'chat', act: () => app.openPerson(uid) },
      owner && role === 'member' ? { label: 'Make admin', icon: 'star', act: act(make('admin')) } : null,
      owner && role === 'admin' ? { label: 'Dismiss as admin', icon: 'person', act: act(make('member')) } : null,
      owner ? {
        label: 'Make owner', icon: 'star',
        act: () => confirmDialog(`Make ${name} the owner?`, 'You become an admin; only the new owner can undo this.',
          'Make owner', () => attempt(make('owner'))),
      } : null,
      this.#manages(thread) && role !== 'owner'
        ? { label: 'Remove from group', icon: 'trash', danger: true, act: act(() => removeMember(client, thread.id, uid)) } : null,
    ]);
  }
}
