// Dialogs that ask, and toasts that tell. What goes wrong while a dialog is open is told inside it.

import { h, rememberFocus } from './dom.js';

const TOAST_MS = 4500;
let numbered = 0;

/** A modal dialog around `body`; `actions`: [{label, act, kind?}]. Esc and the first action close.
 *  An `act` that returns false (or a promise of it) keeps it open. → the dialog element */
export function openDialog(title, body, actions, { wide = false } = {}) {
  numbered += 1;
  const id = `dialog-${numbered}`;
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', { id, text: title }),
    h('div', { class: 'dialog-body' }, body),
    h('p', { class: 'form-error', role: 'alert' }),
    h('div', { class: 'dialog-actions' }, actions.map((action) => button(action))),
  );
  const dialog = h('dialog', { class: `dialog${wide ? ' wide' : ''}`, 'aria-labelledby': id }, form);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    run(actions.at(-1));
  });
  const giveBack = rememberFocus();
  dialog.addEventListener('close', () => {
    dialog.remove();
    giveBack();
  });
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;

  function button(action) {
    const last = action === actions.at(-1);
    return h('button', {
      type: last ? 'submit' : 'button', class: `button ${action.kind ?? ''}`, text: action.label,
      on: last ? {} : { click: () => run(action) },
    });
  }

  async function run(action) {
    form.querySelector('.form-error').textContent = '';
    if ((await action.act?.()) !== false) dialog.close();
  }
}

export function confirmDialog(title, text, label, act, kind = 'danger') {
  return openDialog(title, h('p', { text }), [{ label: 'Cancel' }, { label, act, kind }]);
}

/** Ask for one line of text; `save(text)` may reject, which is told and keeps the dialog open. */
export function askText(title, { label, value = '', max = 64, save, optional = false }) {
  const input = h('input', { class: 'input', value, maxlength: max, 'aria-label': label, placeholder: label });
  const act = async () => {
    const text = input.value.trim();
    if (!text && !optional) return false;
    return attempt(() => save(text));
  };
  openDialog(title, input, [{ label: 'Cancel' }, { label: 'Save', act, kind: 'primary' }]);
  input.select();
}

/** A short message at the bottom; assistive technology hears it. */
export function toast(text) {
  const home = document.getElementById('toasts');
  const node = h('div', { class: 'toast', text });
  // Shown anew, it lies above a dialog that was opened since.
  if (home.matches(':popover-open')) home.hidePopover();
  home.showPopover();
  home.replaceChildren(node);
  setTimeout(() => node.remove(), TOAST_MS);
}

/** Say that something went wrong, where the person looks. */
export function complain(text) {
  const dialog = [...document.querySelectorAll('dialog[open]')].at(-1);
  if (dialog) dialog.querySelector('.form-error').textContent = text;
  else toast(text);
}

/** Carry something out and say so if it fails, in `words` of one's own for a code. → whether it
 *  succeeded */
export async function attempt(work, words = {}) {
  try {
    await work();
    return true;
  } catch (error) {
    complain(words[error.code] ?? explain(error));
    return false;
  }
}

const WORDS = {
  offline: 'You are offline. Try again when connected.',
  timeout: 'The server did not answer. Please check whether it worked before trying again.',
  blocked: 'There is a block between you.',
  not_member: 'You are no longer a member of this group.',
  gone: 'This is no longer there.',
  rate_limited: 'Too fast. Please wait a moment.',
  bad_credentials: 'Wrong user name or password.',
  name_taken: 'This user name is taken.',
};

export function explain(error) {
  if (!error.code) throw error;
  const text = WORDS[error.code] ?? error.message.replace(/^\w+: /, '');
  return text.charAt(0).toUpperCase() + text.slice(1);
}
