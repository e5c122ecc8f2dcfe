// Small parts that several views are made of.

import { h } from '../ui/dom.js';
import { icon } from '../ui/icons.js';

export function iconButton(name, label, click, extra = {}) {
  return h('button', {
    type: 'button', class: 'icon-button', title: label, 'aria-label': label, on: { click }, ...extra,
  }, icon(name));
}

/** The head of a drawer: a way back and a title. */
export function drawerHead(app, title, back = null) {
  return h(
    'header', { class: 'bar drawer-bar' },
    iconButton('back', 'Back', () => app.showDrawer(back)), h('h2', { text: title }),
  );
}

export function searchBox(label, onInput) {
  const input = h('input', {
    class: 'search-input', type: 'search', placeholder: label, 'aria-label': label, on: { input: onInput },
  });
  return { input, node: h('div', { class: 'search', role: 'search' }, icon('search'), input) };
}

/** A titled part of a drawer or panel. */
export function section(title, ...children) {
  return h('section', { class: 'section' }, title && h('h3', { text: title }), ...children);
}

/** A row that does something: icon, words, perhaps a value at its end. */
export function actionRow(name, label, click, { danger = false, value = null } = {}) {
  return h(
    'button', { type: 'button', class: `action-row${danger ? ' danger' : ''}`, on: { click } },
    icon(name), h('span', { text: label }), value && h('span', { class: 'action-value', text: value }),
  );
}

/** A line of text with its caption and, if `edit` is given, a pencil. */
export function editable(caption, text, edit, placeholder = 'Nothing yet') {
  return h(
    'div', { class: 'editable' },
    h('div', {}, h('span', { class: 'caption', text: caption }), h('p', { class: text ? '' : 'muted', text: text || placeholder })),
    edit && iconButton('edit', `Edit ${caption.toLowerCase()}`, edit),
  );
}
