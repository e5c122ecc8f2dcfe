// Shown when the same login was opened in another tab: only one of them is connected.

import { h } from '../ui/dom.js';
import { logo } from '../ui/icons.js';

export class Replaced {
  constructor() {
    this.button = h('button', {
      type: 'button', class: 'button primary', text: 'Use here', on: { click: () => location.reload() },
    });
    this.node = h(
      'main', { class: 'screen' },
      h(
        'div', { class: 'card', role: 'alertdialog', 'aria-labelledby': 'replaced-title' },
        logo(),
        h('h1', { id: 'replaced-title', text: 'Coppice is open elsewhere' }),
        h('p', { text: 'This account was opened in another window. Continue here and the other one rests.' }),
        this.button,
      ),
    );
  }

  shown() {
    this.button.focus();
  }
}
