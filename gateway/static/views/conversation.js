// The middle pane: who it is with, the messages, the composer, or a quiet page when none is open.

import {
  block, deleteForAll, deleteForMe, edit, groupInfo, loadQuoted, react,
} from '../core/actions.js';
import {
  audience, isBlocked, personName, quote, threadTitle, typists,
} from '../store/select.js';
import { avatar } from '../ui/avatar.js';
import { attempt, confirmDialog, openDialog, toast } from '../ui/dialog.js';
import { h, setText } from '../ui/dom.js';
import { lastSeen } from '../ui/format.js';
import { logo } from '../ui/icons.js';
import { openMenu } from '../ui/popup.js';
import { chatMenu } from './chatmenu.js';
import { Composer } from './composer.js';
import { Messages } from './messages.js';
import { iconButton } from './parts.js';
import { typingWords } from './rows.js';

const NAMES_MAX = 8;

export class Conversation {
  #id = null;
  #head = '';

  constructor(app) {
    this.app = app;
    this.title = h('span', { class: 'chat-title' });
    this.status = h('span', { class: 'chat-status' });
    this.face = h('span', { class: 'chat-face' });
    this.who = h('button', {
      type: 'button', class: 'chat-who', title: 'Show info', on: { click: () => app.showInfo(!app.ui.info) },
    }, this.face, h('span', { class: 'chat-names' }, this.title, this.status));
    this.header = h('header', { class: 'bar chat-bar' },
      iconButton('back', 'Back to chats', () => app.close(), { class: 'icon-button back' }), this.who,
      iconButton('menu', 'Chat menu', (event) => openMenu(event.currentTarget, chatMenu(app, app.ui.open)), { 'aria-haspopup': 'menu' }));
    this.messages = new Messages(app, this.#handlers());
    this.composer = new Composer(app, {
      send: (text, replyTo) => this.#send(text, replyTo),
      edit: (row, text) => text !== row.text && attempt(() => edit(app.client, this.#id, row.seq, text)),
      editLast: () => this.#editLast(),
      typing: (id, on) => this.#typing(id, on),
      resizing: (change) => this.messages.hold(change),
    });
    this.notice = h('footer', { class: 'composer notice', hidden: true });
    this.chat = h('div', { class: 'chat-page', hidden: true }, this.header, this.messages.node, this.notice, this.composer.node);
    this.empty = h('div', { class: 'nothing-open' }, logo(), h('h2', { text: 'Coppice' }),
      h('p', { text: 'Choose a chat, or start a new one.' }),
      h('p', { class: 'hint' }, h('kbd', { text: '?' }), ' shows the keyboard shortcuts'));
    this.node = h('main', { class: 'chat' }, this.empty, this.chat);
  }

  // ------------------------------------------------------------------ drawing

  update(id) {
    const thread = this.app.thread;
    this.empty.hidden = thread !== null;
    this.chat.hidden = thread === null;
    if (id !== this.#id) this.#switch(thread);
    if (!thread) return;
    this.#header(thread);
    this.#foot(thread);
    this.messages.update(thread);
    for (const item of this.#missingQuotes(thread)) loadQuoted(this.app.client, thread.id, item);
  }

  #switch(thread) {
    this.#id = thread?.id ?? null;
    this.composer.switchTo(this.#id);
    if (!thread) {
      this.messages.leave();
      return;
    }
    if (thread.kind === 'group' && !thread.removed) groupInfo(this.app.client, thread.id).catch(() => {});
    else this.app.client.people.need([thread.peer], true);
  }

  #header(thread) {
    const { state } = this.app;
    const title = threadTitle(state, thread);
    const online = thread.kind === 'dm' && state.presence[thread.peer]?.on === true && !isBlocked(state, thread);
    const head = JSON.stringify([thread.id, title, online]);
    if (head !== this.#head) {
      this.#head = head;
      this.face.replaceChildren(avatar(thread.peer ?? thread.id, title, { group: thread.kind === 'group', on: online }));
    }
    setText(this.title, title);
    setText(this.status, this.#statusText(state, thread));
    const writing = typists(state, thread.id).length > 0;
    this.status.classList.toggle('typing', writing);
    this.status.classList.toggle('online', online && !writing);
  }

  #statusText(state, thread) {
    const { phase, attempt } = state.link;
    if (phase !== 'live' && attempt > 0) return 'waiting for the connection…';
    const writing = typists(state, thread.id);
    if (writing.length && !thread.removed) return typingWords(state, thread, writing);
    if (thread.kind === 'group') return this.#memberNames(state, thread);
    if (isBlocked(state, thread)) return 'blocked';
    const { on, last } = state.presence[thread.peer] ?? {};
    if (on) return 'online';
    return last ? lastSeen(last, Date.now()) : '';
  }

  #memberNames(state, thread) {
    if (thread.removed || !thread.members) return '';
    const names = thread.members.map(({ uid }) => personName(state, uid)).sort();
    const shown = names.filter((name) => name !== 'You').slice(0, NAMES_MAX);
    const more = names.length - 1 - shown.length;
    return [...shown, more > 0 ? `${more} more` : null, 'You'].filter(Boolean).join(', ');
  }

  /** Composer, or why one cannot write here. */
  #foot(thread) {
    const { state, client } = this.app;
    const blocked = isBlocked(state, thread);
    const why = thread.deleted ? 'This group was deleted.'
      : thread.removed ? 'You are no longer a member of this group.'
        : blocked ? `You have blocked ${threadTitle(state, thread)}.` : '';
    this.notice.hidden = !why;
    this.composer.node.hidden = why !== '';
    if (!why || this.notice.dataset.why === why) return;
    this.notice.dataset.why = why;
    this.notice.replaceChildren(h('p', { text: why }), ...(blocked ? [h('button', {
      type: 'button', class: 'button', text: 'Unblock', on: { click: () => attempt(() => block(client, this.app.thread.peer, false)) },
    })] : []));
  }

  #missingQuotes(thread) {
    const { tl, quotes } = thread;
    const seqs = tl.rows.map((row) => row.reply_to).filter((seq) => seq !== undefined && seq < tl.lo);
    return this.app.client.isLive ? seqs.filter((seq) => !(seq in quotes)) : [];
  }

  // ------------------------------------------------------------------ doing

  #send(text, replyTo) {
    const thread = this.app.thread;
    this.app.client.outgoing.send(thread, text, replyTo);
    this.messages.answered();
  }

  #typing(id, on) {
    const thread = this.app.state.threads[id];
    if (thread?.tl.head && !thread.removed && this.app.client.isLive) {
      this.app.client.cast('typing', { thread: id, on });
    }
  }

  #editLast() {
    const { tl } = this.app.thread;
    const me = this.app.state.me.uid;
    const row = tl.rows.findLast((found) => found.e === 'msg' && found.from === me && !found.deleted);
    if (row) this.composer.edit(row);
  }

  #handlers() {
    const { app } = this;
    return {
      menu: (item, anchor) => this.#menu(item, anchor),
      react: (item, emoji, on) => attempt(() => react(app.client, this.#id, item.seq, emoji, on)),
      quote: (seq) => attempt(async () => {
        if (!(await this.messages.reveal(seq))) toast('That message is not here any more.');
      }),
      failed: (item, anchor) => this.#failed(item, anchor),
      seen: (seq) => app.client.receipts.seen(this.#id, seq),
      leave: () => this.composer.focus(),
    };
  }

  #failed({ entry }, anchor) {
    const { outgoing } = this.app.client;
    openMenu(anchor, [
      { label: 'Try again', icon: 'send', act: () => outgoing.retry(entry.cid) },
      { label: 'Discard', icon: 'trash', danger: true, act: () => outgoing.discard(entry.cid) },
    ]);
  }

  #menu(item, anchor) {
    const { client } = this.app;
    const thread = this.app.thread;
    const { row, own } = item;
    const id = thread.id;
    const open = !thread.removed && !isBlocked(this.app.state, thread);
    const live = !row.deleted;
    const manages = thread.kind === 'group' && ['owner', 'admin'].includes(thread.role);
    const items = [
      open && live ? { label: 'Reply', icon: 'reply', act: () => this.composer.replyTo(quote(this.app.state, thread, row.seq)) } : null,
      live ? { label: 'Copy text', icon: 'copy', act: () => attempt(() => copy(row.text)) } : null,
      open && live && own ? { label: 'Edit', icon: 'edit', act: () => this.composer.edit(row) } : null,
      live && own ? { label: 'Message info', icon: 'info', act: () => this.#about(thread, row) } : null,
      live ? { label: 'Delete for me', icon: 'trash', danger: true, act: () => attempt(() => deleteForMe(client, id, row.seq)) } : null,
      live && !thread.removed && (own || manages) ? {
        label: 'Delete for everyone', icon: 'trash', danger: true,
        act: () => confirmDialog('Delete for everyone?', 'The message disappears for all members of this chat.', 'Delete',
          () => attempt(() => deleteForAll(client, id, row.seq))),
      } : null,
    ].filter(Boolean);
    if (!items.length) return;
    const mine = item.reacts?.filter(({ users }) => users.includes(this.app.state.me.uid)).map(({ emoji }) => emoji) ?? [];
    const choose = (emoji) => attempt(() => react(client, id, row.seq, emoji, !mine.includes(emoji)));
    openMenu(anchor, items, { react: open && live ? choose : null, mine });
  }

  /** Who has got and who has read an own message. */
  #about(thread, row) {
    const { state } = this.app;
    const uids = thread.kind === 'dm' ? [thread.peer] : audience(state, thread, row.seq);
    const word = (uid) => {
      const { recv = 0, read = 0 } = thread.cursors[uid] ?? {};
      return read >= row.seq ? 'Read' : recv >= row.seq ? 'Delivered' : 'Sent';
    };
    const lines = uids.map((uid) => h('li', { class: 'receipt' },
      avatar(uid, personName(state, uid), { size: 's' }), h('span', { text: personName(state, uid) }),
      h('span', { class: `receipt-word ${word(uid).toLowerCase()}`, text: word(uid) })));
    openDialog('Message info', h('div', {},
      h('p', { class: 'muted', text: `Sent ${new Date(row.ts).toLocaleString()}` }), h('ul', { class: 'receipts' }, lines)),
    [{ label: 'Close', kind: 'primary' }]);
  }

  // ------------------------------------------------------------------ focus

  /** Esc: whether there was something to cancel here. */
  cancel() {
    return this.composer.cancel();
  }

  focus() {
    if (this.composer.node.hidden) this.messages.focusLast();
    else this.composer.focus();
  }

  forget() {
    this.composer.forget();
  }

  draftOf(id) {
    return this.composer.draftOf(id);
  }
}

async function copy(text) {
  await navigator.clipboard.writeText(text);
  toast('Copied');
}
