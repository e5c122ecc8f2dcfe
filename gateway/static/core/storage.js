// The little that is kept in the browser: token, outbox, theme. Logging out clears the first two.

const PREFIX = 'coppice.';

export const storage = {
  get(name, otherwise = null) {
    try {
      return JSON.parse(localStorage.getItem(PREFIX + name)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // Full or forbidden: the client works without, until the page is closed.
    }
  },
  remove(...names) {
    for (const name of names) localStorage.removeItem(PREFIX + name);
  },
};
