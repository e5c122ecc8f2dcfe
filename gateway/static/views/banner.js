// Says how the connection is doing, when it is not simply live: connecting, waiting to try again
// (with the seconds left and a button), updating.

import { h, setText } from '../ui/dom.js';
import { icon } from '../ui/icons.js';

const COUNTDOWN_MS = 500;
/** A connection that is made within this time needs no word. */
const QUIET_MS = 400;

export class Banner {
  #since = 0;
  #phase = '';

  constructor(app) {
    this.app = app;
    this.text = h('span', { role: 'status', 'aria-live': 'polite' });
    this.detail = h('span', { class: 'banner-detail' });
    this.retry = h('button', {
      type: 'button', class: 'link-button', text: 'Try now',
      on: { click: () => this.app.client.connection.retryNow() },
    });
    this.node = h(
      'div', { class: 'banner', hidden: true },
      h('span', { class: 'banner-mark' }, icon('warning'), h('span', { class: 'spinner' })),
      h('div', { class: 'banner-text' }, this.text, this.detail),
      this.retry,
    );
    setInterval(() => this.app.state.link.phase !== 'live' && this.update(), COUNTDOWN_MS);
  }

  update() {
    const { link } = this.app.state;
    if (link.phase !== this.#phase) {
      if (this.#phase === '' || this.#phase === 'live') this.#since = Date.now();
      this.#phase = link.phase;
    }
    const live = link.phase === 'live' || link.phase === 'idle';
    this.node.hidden = live || Date.now() - this.#since < QUIET_MS;
    this.node.dataset.phase = link.phase;
    const waiting = link.phase === 'waiting';
    this.retry.hidden = !waiting;
    setText(this.text, this.#words(link));
    const seconds = waiting ? Math.max(0, Math.ceil((link.until - Date.now()) / 1000)) : 0;
    setText(this.detail, waiting ? (seconds ? `Trying again in ${seconds} s` : 'Trying again…') : '');
  }

  #words(link) {
    switch (link.phase) {
      case 'waiting': return 'Not connected';
      case 'connecting': return link.attempt ? 'Connecting again…' : 'Connecting…';
      case 'entering': return 'Connecting…';
      case 'syncing': return 'Updating messages…';
      case 'ended': return link.why === 'version'
        ? 'This page is out of date. Please reload it.' : 'Logged out';
      default: return 'Connected';
    }
  }
}
