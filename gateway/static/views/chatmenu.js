// What can be done with a chat from the list or its header.

import { block, deleteGroup, leaveGroup, mute, setThread } from '../core/actions.js';
import { isBlocked, isMuted, threadTitle } from '../store/select.js';
import { unread } from '../store/threads.js';
import { attempt, confirmDialog } from '../ui/dialog.js';

export function chatMenu(app, id) {
  const { client, state } = app;
  const thread = state.threads[id];
  const act = (work) => () => attempt(work);
  const muted = isMuted(thread, Date.now());
  const exists = thread.tl.head > 0;
  return [
    { label: 'Info', icon: 'info', act: () => { app.open(id); app.showInfo(true); } },
    exists && unread(thread) > 0
      ? { label: 'Mark as read', icon: 'check', act: () => client.receipts.seen(id, thread.tl.head) } : null,
    exists ? { label: thread.pinned ? 'Unpin' : 'Pin', icon: 'pin', act: act(() => setThread(client, id, { pinned: !thread.pinned })) } : null,
    exists ? { label: muted ? 'Unmute' : 'Mute', icon: muted ? 'bell' : 'mute', act: act(() => mute(client, id, !muted)) } : null,
    exists ? { label: thread.archived ? 'Unarchive' : 'Archive', icon: 'archive', act: act(() => setThread(client, id, { archived: !thread.archived })) } : null,
    '-',
    thread.kind === 'dm' ? blockItem(app, thread) : leaveItem(app, thread),
  ];
}

export function blockItem(app, thread) {
  const { client } = app;
  if (isBlocked(app.state, thread)) {
    return { label: 'Unblock', icon: 'block', act: () => attempt(() => block(client, thread.peer, false)) };
  }
  const name = threadTitle(app.state, thread);
  return {
    label: 'Block', icon: 'block', danger: true,
    act: () => confirmDialog(`Block ${name}?`,
      'You will not get messages from each other in this chat, nor see each other’s presence.',
      'Block', () => attempt(() => block(client, thread.peer, true))),
  };
}

export function leaveItem(app, thread) {
  const { client } = app;
  if (thread.removed) return null;
  if (thread.role === 'owner') {
    return {
      label: 'Delete group', icon: 'trash', danger: true,
      act: () => confirmDialog('Delete this group?', 'Nobody can write in it any more. Its history stays readable.',
        'Delete group', () => attempt(() => deleteGroup(client, thread.id))),
    };
  }
  return {
    label: 'Leave group', icon: 'leave', danger: true,
    act: () => confirmDialog('Leave this group?', 'You will get no more messages from it.',
      'Leave', () => attempt(() => leaveGroup(client, thread.id))),
  };
}
