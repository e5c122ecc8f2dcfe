// Notifications of the operating system, if the person wants them and only while they look away.

import { storage } from '../core/storage.js';

const KEY = 'notify';

export function canNotify() {
  return 'Notification' in globalThis;
}

export function wantsNotifications() {
  return canNotify() && storage.get(KEY, false) && Notification.permission === 'granted';
}

/** Switch them on or off; → whether they are on now (the browser may refuse). */
export async function setNotifications(on) {
  const granted = on && (await Notification.requestPermission()) === 'granted';
  storage.set(KEY, granted);
  return granted;
}

/** One per chat: a newer message takes the older one's place. */
export function notify(title, body, tag, onClick) {
  if (!wantsNotifications() || (!document.hidden && document.hasFocus())) return;
  const shown = new Notification(title, { body, tag, icon: 'favicon.svg' });
  shown.onclick = () => {
    window.focus();
    shown.close();
    onClick();
  };
}
