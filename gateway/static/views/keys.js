// Keys that work everywhere, and the list of all keys for people.

import { openDialog } from '../ui/dialog.js';
import { h } from '../ui/dom.js';

const SHORTCUTS = [
  ['Ctrl K', 'Search chats and people'],
  ['Alt N', 'New chat'],
  ['Alt ↑  Alt ↓', 'Previous or next chat'],
  ['↑  ↓  Home  End', 'Move in a list or among messages'],
  ['Enter', 'Open, choose, send'],
  ['Shift Enter', 'New line'],
  ['↑', 'While the text box is empty: edit your last message'],
  ['Shift Tab', 'From the text box to the messages; Enter opens their menu'],
  ['Esc', 'Close what is open; then leave the chat'],
  ['?', 'These shortcuts'],
];

export function showShortcuts() {
  const rows = SHORTCUTS.map(([keys, text]) =>
    h('div', { class: 'shortcut' },
      h('dt', {}, keys.split('  ').flatMap((key, index) => [index ? ' ' : null, h('kbd', { text: key })])),
      h('dd', { text })));
  openDialog('Keyboard shortcuts', h('dl', {}, rows), [{ label: 'Close', kind: 'primary' }], { wide: true });
}

const typing = (target) => target.matches?.('input, textarea, select');

/** Esc closes one thing at a time: what the focus is in, then the innermost. Popovers and dialogs
 *  close themselves. */
function escape(app, target) {
  const { ui } = app;
  const within = (selector) => target.closest?.(selector);
  if (ui.drawer && within('.drawer')) app.showDrawer(null);
  else if (ui.query && within('.side')) app.sidebar.clearSearch();
  else if (ui.info && within('.info')) app.showInfo(false);
  else if (app.conversation.cancel()) return;
  else if (ui.info) app.showInfo(false);
  else if (ui.drawer) app.showDrawer(null);
  else if (ui.query) app.sidebar.clearSearch();
  else if (ui.open) app.close();
}

function global(app, event) {
  const { key, ctrlKey, metaKey, altKey } = event;
  if ((ctrlKey || metaKey) && key.toLowerCase() === 'k') return () => app.sidebar.focusSearch();
  if (altKey && key.toLowerCase() === 'n') return () => app.showDrawer('new');
  if (altKey && key === 'ArrowDown') return () => app.sidebar.step(1);
  if (altKey && key === 'ArrowUp') return () => app.sidebar.step(-1);
  if (key === '?' && !typing(event.target)) return showShortcuts;
  if (key === 'Escape') return () => escape(app, event.target);
  return null;
}

export function installKeys(app) {
  // A popover or dialog that is open when the key goes down takes Esc for itself.
  let covered = false;
  document.addEventListener('keydown', () => {
    covered = document.querySelector('dialog[open], .menu:popover-open') !== null;
  }, { capture: true });
  document.addEventListener('keydown', (event) => {
    if (covered || event.defaultPrevented || event.isComposing || !app.shell.isConnected) return;
    const act = global(app, event);
    if (!act) return;
    event.preventDefault();
    act();
  });
}
