// Menus and pickers: popovers in the top layer, placed at their anchor, worked by arrow keys, and
// gone on Esc, on a click outside, or on a choice. The focus goes back to where it came from.

import { h, rememberFocus } from './dom.js';
import { MORE, QUICK, emojiNode } from './emoji.js';
import { icon } from './icons.js';

const MARGIN = 8;

/** Between pressing a pointer and its click, and the anchor whose popup that closed: the click does
 *  not open it again. */
let pressing = false;
let dismissed = null;

function press(on) {
  pressing = on;
  dismissed = null;
}

addEventListener('pointerdown', () => press(true), { capture: true });
addEventListener('keydown', () => press(false), { capture: true });
addEventListener('click', () => press(false));

/** Show `node` at `anchor` (an element or {x, y}). → close() */
function show(node, anchor) {
  if (anchor === dismissed) return () => {};
  let chosen = false;
  const before = document.activeElement;
  const giveBack = rememberFocus();
  node.popover = 'auto';
  document.body.append(node);
  node.showPopover();
  place(node, anchor);
  const close = () => {
    chosen = true;
    if (node.isConnected) node.hidePopover();
  };
  node.addEventListener('beforetoggle', (event) => {
    if (event.newState === 'closed' && pressing && !chosen) dismissed = anchor;
  });
  node.addEventListener('toggle', (event) => {
    if (event.newState !== 'closed') return;
    const inside = node.contains(document.activeElement) || document.activeElement === document.body;
    node.remove();
    anchor.classList?.remove('is-open');
    if (inside && before?.isConnected) before.focus();
    else if (inside) giveBack();
  });
  anchor.classList?.add('is-open');
  return close;
}

function place(node, anchor) {
  const box = anchor.getBoundingClientRect?.() ?? {
    left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y,
  };
  const { offsetWidth: width, offsetHeight: height } = node;
  const leftwards = box.left + width > innerWidth - MARGIN;
  const upwards = box.bottom + height > innerHeight - MARGIN;
  const left = leftwards ? box.right - width : box.left;
  const top = upwards ? box.top - height - 4 : box.bottom + 4;
  node.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`;
  node.style.top = `${Math.max(MARGIN, Math.min(top, innerHeight - height - MARGIN))}px`;
}

/** Arrow keys among the buttons: up and down in a list, all four in a grid of `columns`. */
function arrows(node, columns = 1) {
  node.addEventListener('keydown', (event) => {
    const buttons = [...node.querySelectorAll('button')];
    const index = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: columns, ArrowUp: -columns, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = { Home: 0, End: buttons.length - 1 }[event.key] ?? (step && index + step);
    if (to === undefined) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(to, buttons.length - 1))].focus();
  });
}

/** items: [{label, icon, act, danger?, checked?}], null leaves out, '-' draws a line. `react(emoji)`
 *  puts the quick reactions on top. */
export function openMenu(anchor, items, { react = null, mine = [] } = {}) {
  const entries = items.filter((item) => item !== null).map((item) => entry(item, () => close()));
  const node = h('div', { class: 'menu', role: 'menu' }, react && quickRow(react, mine), entries);
  arrows(node);
  const close = show(node, anchor);
  node.querySelector('.menu-item')?.focus();
  return close;

  function quickRow(choose, chosen) {
    const pick = (emoji) => {
      close();
      choose(emoji);
    };
    return h(
      'div',
      { class: 'quick', role: 'group', 'aria-label': 'React' },
      QUICK.map((emoji) => emojiButton(emoji, pick, chosen.includes(emoji))),
      h('button', {
        type: 'button', class: 'quick-more', title: 'More reactions', 'aria-label': 'More reactions',
        on: { click: () => (close(), openEmoji(anchor, choose)) },
      }, icon('plus')),
    );
  }
}

function entry(item, close) {
  if (item === '-') return h('hr', {});
  const run = () => {
    close();
    item.act();
  };
  return h(
    'button',
    {
      type: 'button', role: 'menuitem', class: `menu-item${item.danger ? ' danger' : ''}`,
      on: { click: run },
    },
    item.icon && icon(item.icon),
    h('span', { text: item.label }),
    item.checked && icon('check'),
  );
}

function emojiButton(emoji, choose, chosen = false) {
  return h('button', {
    type: 'button', class: `emoji-button${chosen ? ' chosen' : ''}`, 'aria-label': emoji, title: emoji,
    'aria-pressed': chosen ? 'true' : null, on: { click: () => choose(emoji) },
  }, emojiNode(emoji));
}

/** The grid of emoji; `keep` leaves it open for more. */
export function openEmoji(anchor, choose, { keep = false } = {}) {
  const pick = (emoji) => {
    if (!keep) close();
    choose(emoji);
  };
  const buttons = [...QUICK, ...MORE].map((emoji) => emojiButton(emoji, pick));
  const node = h('div', { class: 'menu emoji-grid', role: 'group', 'aria-label': 'Emoji' }, buttons);
  arrows(node, 8);
  const close = show(node, anchor);
  buttons[0].focus();
  return close;
}
