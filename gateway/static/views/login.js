// Log in or create an account.

import { explain } from '../ui/dialog.js';
import { h, setText } from '../ui/dom.js';
import { deviceLabel } from '../ui/format.js';
import { logo } from '../ui/icons.js';

const ENDED = {
  login: 'Your login has expired. Please log in again.',
  revoked: 'This device was logged out.',
  banned: 'This account is closed.',
};

function field(label, attributes, hint) {
  const input = h('input', { class: 'input', required: true, ...attributes });
  return { input, node: h('label', { class: 'field' }, h('span', { text: label }), input, hint && h('small', { text: hint })) };
}

export class Login {
  #creating = false;
  #busy = false;

  constructor(app) {
    this.app = app;
    this.user = field('User name', {
      name: 'username', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false',
      minlength: 3, maxlength: 32, pattern: '[A-Za-z0-9_.]+',
      title: 'Letters, digits, dot and underscore',
    }, 'At least 3 letters, digits, dots or underscores');
    this.name = field('Your name', { name: 'name', autocomplete: 'name', maxlength: 64 });
    this.pass = field('Password', { name: 'password', type: 'password', minlength: 8, maxlength: 256 }, 'At least 8 characters');
    this.title = h('h1', {});
    this.message = h('p', { class: 'form-error', role: 'alert' });
    this.submit = h('button', { class: 'button primary wide-button' });
    this.swap = h('button', {
      type: 'button', class: 'link-button', on: { click: () => this.#mode(!this.#creating) },
    });
    const form = h(
      'form', { class: 'card login', on: { submit: (event) => this.#go(event) } },
      logo(), this.title,
      h('p', { class: 'muted', text: 'Simple messaging that grows back.' }),
      this.user.node, this.name.node, this.pass.node, this.message, this.submit, this.swap,
    );
    this.node = h('main', { class: 'screen' }, form);
    this.#mode(false);
  }

  shown() {
    this.#mode(false);
    setText(this.message, ENDED[this.app.state.link.why] ?? '');
    this.user.input.focus();
  }

  #mode(creating) {
    this.#creating = creating;
    this.title.textContent = creating ? 'Create your account' : 'Welcome to Coppice';
    this.submit.textContent = creating ? 'Create account' : 'Log in';
    this.swap.textContent = creating ? 'I have an account' : 'Create an account';
    this.name.node.hidden = !creating;
    for (const { node } of [this.user, this.pass]) node.lastElementChild.hidden = !creating;
    this.name.input.required = creating;
    this.pass.input.autocomplete = creating ? 'new-password' : 'current-password';
    this.message.textContent = '';
    this.user.input.focus();
  }

  async #go(event) {
    event.preventDefault();
    if (this.#busy) return;
    this.#busy = true;
    this.submit.disabled = true;
    this.message.textContent = '';
    const fields = {
      user: this.user.input.value.trim(),
      pass: this.pass.input.value,
      device: deviceLabel(navigator.userAgent),
    };
    if (this.#creating) fields.name = this.name.input.value.trim() || undefined;
    try {
      await this.app.client.enter(this.#creating ? 'register' : 'login', fields);
      this.pass.input.value = '';
    } catch (error) {
      this.message.textContent = error.code === 'offline' ? error.message : explain(error);
      this.pass.input.select();
    } finally {
      this.#busy = false;
      this.submit.disabled = false;
    }
  }
}
