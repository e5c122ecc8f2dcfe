// Building and keeping DOM. Text only ever becomes text: nothing here parses HTML, and nothing
// writes a style attribute, so the page's content security policy can stay strict.

const SVG = 'http://www.w3.org/2000/svg';

/** h('button', {class, text, on: {click}, …attributes}, …children). null and false are left out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') for (const [type, fn] of Object.entries(value)) node.addEventListener(type, fn);
    else if (name === 'text') node.textContent = value;
    else if (name === 'class') node.className = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...present(children));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...present(children));
  return node;
}

/** append() would write null and false as text. */
export function present(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false);
}

/** Set text only if it differs: an unchanged live region must not speak again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set, or with null take away, an attribute. */
export function attr(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? '' : value);
}

const kept = new WeakMap();

/** Make `parent`'s children show `items` ({key, sig, …}), reusing what did not change.
 *  `render(item, old)` returns a node; it may patch `old` and return it. The focus stays. */
export function reconcile(parent, items, render) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let focusKey = null;
  const place = focused ? [...parent.children].findIndex((node) => node.contains(focused)) : -1;
  for (const item of items) {
    const old = before.get(item.key);
    if (old && old.sig === item.sig) {
      after.set(item.key, old);
      continue;
    }
    if (old && focused && old.node.contains(focused)) focusKey = item.key;
    after.set(item.key, { sig: item.sig, node: render(item, old?.node ?? null) });
  }
  for (const [key, { node }] of before) {
    if (after.get(key)?.node !== node) node.remove();
  }
  let next = parent.firstChild;
  for (const { node } of after.values()) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  kept.set(parent, after);
  if (focused && document.activeElement !== focused) {
    const heir = after.get(focusKey)?.node ?? parent.children[Math.min(place, parent.children.length - 1)];
    const node = focused.isConnected ? focused : heir && focusable(heir);
    node?.focus({ preventScroll: true });
  }
}

function focusable(node) {
  return node.matches('[tabindex]') ? node : node.querySelector('[tabindex]');
}

/** Remember what has the focus; calling the answer gives it back, if it was lost, to the control of
 *  the same name that took its place, or else to the one that stands where it stood. */
export function rememberFocus() {
  const focused = document.activeElement;
  const home = focused.closest('aside, main');
  if (!home) return () => {};
  const controls = () => [...home.querySelectorAll('button, input, select')].filter((node) => node.offsetParent);
  const name = nameOf(focused);
  const place = controls().indexOf(focused);
  return () => {
    if (document.activeElement !== document.body) return;
    const found = controls();
    const heir = found.find((node) => nameOf(node) === name) ?? found[Math.min(place, found.length - 1)];
    (focused.isConnected ? focused : heir)?.focus({ preventScroll: true });
  };
}

function nameOf(control) {
  return control.getAttribute('aria-label') ?? control.querySelector('span')?.textContent ?? control.textContent;
}

/** Other children for `parent`; a focus among them stays at its place. */
export function redraw(parent, children) {
  const giveBack = rememberFocus();
  parent.replaceChildren(...present([children]));
  giveBack();
}

/** Arrow keys, Home and End move the focus among `selector` inside `container`; one of them is in
 *  the tab order at a time. */
export function roving(container, selector) {
  const all = () => [...container.querySelectorAll(selector)].filter((node) => node.offsetParent);
  container.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const nodes = all();
    const index = nodes.indexOf(event.target.closest(selector));
    if (index < 0) return;
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (to === undefined || !nodes[to]) return;
    event.preventDefault();
    focusRoving(container, selector, nodes[to]);
  });
  container.addEventListener('focusin', (event) => {
    const node = event.target.closest(selector);
    if (node) markRoving(container, selector, node);
  });
}

function markRoving(container, selector, node) {
  for (const other of container.querySelectorAll(`${selector}[tabindex="0"]`)) {
    if (other !== node) other.tabIndex = -1;
  }
  node.tabIndex = 0;
}

export function focusRoving(container, selector, node) {
  markRoving(container, selector, node);
  node.focus();
}

/** Somebody must be reachable by Tab. */
export function ensureRoving(container, selector) {
  if (container.querySelector(`${selector}[tabindex="0"]`)) return;
  const node = container.querySelector(selector);
  if (node) node.tabIndex = 0;
}

/** While the focus is elsewhere, Tab leads to the last one. */
export function roveToLast(container, selector) {
  if (container.contains(document.activeElement)) return;
  const last = [...container.querySelectorAll(selector)].at(-1);
  if (last) markRoving(container, selector, last);
}
