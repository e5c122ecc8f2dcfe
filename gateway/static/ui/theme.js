// The chosen theme, before anything is painted: loaded as a plain script in the head, so it cannot
// import; settings talk to it through `window.coppiceTheme`.

(() => {
  const KEY = 'coppice.theme';
  const read = () => {
    try {
      return JSON.parse(localStorage.getItem(KEY)) ?? 'system';
    } catch {
      return 'system';
    }
  };
  const apply = (theme) => {
    if (theme === 'system') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', theme);
  };
  apply(read());
  window.coppiceTheme = {
    get: read,
    set(theme) {
      try {
        localStorage.setItem(KEY, JSON.stringify(theme));
      } catch {
        // Forbidden: it lasts until the page is closed.
      }
      apply(theme);
    },
  };
})();
