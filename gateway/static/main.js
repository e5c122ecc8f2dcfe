// Starts the client: state, network and page meet here.

import { Client } from './core/client.js';
import { storage } from './core/storage.js';
import { workerTicker } from './core/ticker.js';
import { createStore } from './store/store.js';
import { App } from './views/app.js';

const scheme = location.protocol === 'https:' ? 'wss' : 'ws';

const network = {
  url: `${scheme}://${location.host}/ws`,
  makeSocket: (url, protocol) => new WebSocket(url, protocol),
  timers: { set: (fn, ms) => setTimeout(fn, ms), clear: (timer) => clearTimeout(timer) },
  ticker: workerTicker,
  random: Math.random,
};

const app = new App((hooks, onScreen) =>
  new Client({ store: createStore(), storage, network, hooks, onScreen }));

addEventListener('online', () => app.client.connection.retryNow());
addEventListener('offline', () => app.client.connection.probe());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) app.client.connection.retryNow();
});

app.start();
