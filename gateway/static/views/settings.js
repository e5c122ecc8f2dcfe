// The drawer with everything about oneself: profile, appearance, privacy, devices, password.

import {
  changePassword, listSessions, privacy, revokeSession, setProfile,
} from '../core/actions.js';
import { askText, attempt, confirmDialog, openDialog, toast } from '../ui/dialog.js';
import { avatar } from '../ui/avatar.js';
import { h, redraw } from '../ui/dom.js';
import { ago } from '../ui/format.js';
import { icon } from '../ui/icons.js';
import { canNotify, setNotifications, wantsNotifications } from '../ui/notify.js';
import { showShortcuts } from './keys.js';
import { actionRow, drawerHead, editable, iconButton, section } from './parts.js';

const THEMES = [['system', 'System', 'device'], ['light', 'Light', 'sun'], ['dark', 'Dark', 'moon']];
const AUDIENCES = [['everyone', 'Everyone'], ['contacts', 'My contacts'], ['nobody', 'Nobody']];

export class Settings {
  #profile = '';
  #sessions = null;

  constructor(app) {
    this.app = app;
    this.profile = h('div', { class: 'section profile' });
    this.devices = h('ul', { class: 'devices', 'aria-label': 'Devices' });
    this.selects = { last_seen: this.#select('last_seen'), receipts: this.#select('receipts') };
    this.others = actionRow('logout', 'Log out all other devices', () => this.#revokeOthers(), { danger: true });
    this.node = h('section', { class: 'drawer-page', 'aria-label': 'Settings' }, drawerHead(app, 'Settings'),
      h('div', { class: 'scroll padded' }, this.profile, this.#appearance(), this.#privacy(),
        section('Devices', this.devices,
          this.others),
        section('Account',
          actionRow('lock', 'Change password', () => this.#password()),
          actionRow('keyboard', 'Keyboard shortcuts', showShortcuts),
          actionRow('logout', 'Log out', () => app.client.logout(), { danger: true }))));
  }

  shown() {
    attempt(() => this.refreshDevices());
    attempt(() => this.#askPrivacy());
  }

  focus() {
    this.node.querySelector('button').focus();
  }

  update() {
    const { me, sessions } = this.app.state;
    const profile = JSON.stringify([me.name, me.about, me.user]);
    if (profile !== this.#profile) {
      this.#profile = profile;
      this.#drawProfile(me);
    }
    if (sessions !== this.#sessions) {
      this.#sessions = sessions;
      redraw(this.devices, (sessions ?? []).map((session) => this.#device(session)));
      this.others.hidden = (sessions ?? []).length < 2;
    }
  }

  // ------------------------------------------------------------------ profile

  #drawProfile(me) {
    const { client } = this.app;
    const edit = (key, title, max, optional) => () => askText(title, {
      label: title, value: me[key] ?? '', max, optional, save: (text) => setProfile(client, { [key]: text }),
    });
    redraw(this.profile, [
      h('div', { class: 'portrait' }, avatar(me.uid, me.name || me.user || '', { size: 'l' }),
        h('p', { class: 'handle', text: me.user ? `@${me.user}` : '' })),
      editable('Name', me.name, edit('name', 'Your name', 64, false)),
      editable('About', me.about, edit('about', 'About you', 500, true), 'Say something about yourself'),
    ]);
  }

  // ------------------------------------------------------------------ appearance and privacy

  #appearance() {
    const radios = THEMES.map(([value, label, name]) => h('label', { class: 'segment' },
      h('input', {
        type: 'radio', name: 'theme', value, checked: window.coppiceTheme.get() === value,
        on: { change: () => window.coppiceTheme.set(value) },
      }), icon(name), h('span', { text: label })));
    return section('Appearance', h('div', { class: 'segments', role: 'radiogroup', 'aria-label': 'Theme' }, radios),
      canNotify() && this.#notifications());
  }

  #notifications() {
    const box = h('input', {
      type: 'checkbox', checked: wantsNotifications(),
      on: {
        change: async () => {
          const on = await setNotifications(box.checked);
          if (box.checked && !on) toast('The browser does not allow notifications from this page.');
          box.checked = on;
        },
      },
    });
    return h('label', { class: 'setting' }, h('span', {}, h('span', { text: 'Notifications' }),
      h('small', { text: 'Tell me about messages while I look away' })), box);
  }

  #select(name) {
    return h('select', { class: 'select', on: { change: () => this.#setPrivacy(name) } },
      AUDIENCES.map(([value, label]) => h('option', { value, text: label })));
  }

  #privacy() {
    const line = (label, hint, select) => h('label', { class: 'setting' },
      h('span', {}, h('span', { text: label }), h('small', { text: hint })), select);
    return section('Privacy',
      line('Last seen', 'Who sees when you were last online', this.selects.last_seen),
      line('Read receipts', 'Who sees what you have read', this.selects.receipts),
      h('p', { class: 'muted small', text: 'What you hide from others you do not see of them. Groups always show receipts.' }));
  }

  async #askPrivacy() {
    const known = await privacy(this.app.client);
    for (const [name, select] of Object.entries(this.selects)) select.value = known[name];
  }

  #setPrivacy(name) {
    attempt(() => privacy(this.app.client, { [name]: this.selects[name].value }));
  }

  // ------------------------------------------------------------------ devices

  refreshDevices() {
    return listSessions(this.app.client);
  }

  #device(session) {
    const when = session.current ? 'This device' : session.online ? 'Active now' : `Last active ${ago(session.seen, Date.now())}`;
    const name = session.device || 'Unnamed device';
    return h('li', { class: 'device', 'data-sid': session.sid },
      h('span', { class: `round-icon${session.online ? ' lit' : ''}` }, icon('device')),
      h('span', { class: 'row-body' }, h('span', { class: 'row-title', text: name }), h('small', { text: when })),
      !session.current && iconButton('logout', `Log out ${name}`, () => this.#revoke(session.sid, name)));
  }

  #revoke(sid, name) {
    confirmDialog('Log out this device?', `${name} will be logged out at once.`, 'Log out',
      () => attempt(() => revokeSession(this.app.client, sid)));
  }

  #revokeOthers() {
    confirmDialog('Log out all other devices?', 'Only this one stays logged in.', 'Log out',
      () => attempt(() => revokeSession(this.app.client, 'others')));
  }

  #password() {
    const input = (label, autocomplete) => h('input', {
      class: 'input', type: 'password', placeholder: label, 'aria-label': label, autocomplete,
      minlength: autocomplete === 'new-password' ? 8 : null, maxlength: 256, required: true,
    });
    const old = input('Current password', 'current-password');
    const fresh = input('New password, at least 8 characters', 'new-password');
    const keep = h('input', { type: 'checkbox' });
    const act = () => attempt(async () => {
      await changePassword(this.app.client, old.value, fresh.value, keep.checked);
      toast('Your password was changed.');
    }, { bad_credentials: 'The current password is wrong.' });
    openDialog('Change password',
      h('div', { class: 'stack' }, old, fresh, h('label', { class: 'check' }, keep, h('span', { text: 'Keep my other devices logged in' }))),
      [{ label: 'Cancel' }, { label: 'Change', act, kind: 'primary' }]);
    old.focus();
  }
}
