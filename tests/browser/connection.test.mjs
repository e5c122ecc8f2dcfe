// The connection that comes back: heartbeats, entering, backoff, close codes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Connection } from '../../gateway/static/core/connection.js';
import { backoffMs, dmPeer, dmThread, reconnectMs } from '../../gateway/static/core/wire.js';

/** A server and a clock in one: nothing happens but by its methods. */
class World {
  now = 0;
  random = 0.5;
  sockets = [];
  links = [];
  events = [];
  ready = [];
  gaveUp = false;
  #timers = new Map();
  #next = 1;

  constructor() {
    this.connection = new Connection({
      url: 'ws://test/ws',
      makeSocket: () => this.#socket(),
      timers: {
        set: (fn, ms) => this.#timers.set(this.#next, { fn, at: this.now + ms }) && this.#next++,
        clear: (id) => this.#timers.delete(id),
      },
      ticker: (ms, fn) => {
        let stopped = false;
        const tick = () => !stopped && (fn(), this.#timers.set(this.#next++, { fn: tick, at: this.now + ms }));
        this.#timers.set(this.#next++, { fn: tick, at: this.now + ms });
        return () => { stopped = true; };
      },
      random: () => this.random,
      now: () => this.now,
      onHello: () => {},
      onStatus: (link) => this.links.push(link),
      onReady: (reply) => { this.ready.push(reply); this.connection.wentLive(); },
      onEvent: (event) => this.events.push(event),
      onRefused: () => this.gaveUp,
    });
  }

  #socket() {
    const socket = { readyState: 0, sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close: () => { socket.readyState = 3; } };
    this.sockets.push(socket);
    return socket;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get phase() {
    return this.links.at(-1).phase;
  }

  say(frame) {
    this.socket.onmessage({ data: JSON.stringify(frame) });
  }

  close(code) {
    const { onclose } = this.socket;
    this.socket.readyState = 3;
    onclose?.({ code });
  }

  async hello() {
    this.socket.readyState = 1;
    this.say({ op: 'hello', hb_ms: 4000, limits: {} });
    await settled();
  }

  async answer(more = {}) {
    this.say({ op: 'ok', id: this.socket.sent.findLast(({ id }) => id).id, ...more });
    await settled();
  }

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].fn();
      await settled();
    }
    this.now = end;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function liveWorld() {
  const world = new World();
  world.connection.start(() => ({ op: 'auth', token: 'T' }));
  await world.hello();
  await world.answer({ uid: 'u1' });
  return world;
}

test('hello, then auth, then ready', async () => {
  const world = await liveWorld();
  assert.equal(world.socket.sent[0].op, 'auth');
  assert.equal(world.ready.length, 1);
  assert.deepEqual(world.links.map(({ phase }) => phase), ['connecting', 'entering', 'live']);
});

test('answers find their requests in any order, errors reject', async () => {
  const world = await liveWorld();
  const first = world.connection.request('history', { thread: 't' });
  const second = world.connection.request('send', { text: 'x' });
  const [a, b] = world.socket.sent.slice(-2).map(({ id }) => id);
  world.say({ op: 'err', id: b, code: 'rate_limited', msg: 'slow', temporary: true, retry_ms: 70 });
  world.say({ op: 'ok', id: a, events: [] });
  assert.deepEqual((await first).events, []);
  await assert.rejects(second, { code: 'rate_limited', temporary: true, retryMs: 70 });
});

test('a request without an answer times out; a lost connection fails the others at once', async () => {
  const world = await liveWorld();
  const slow = world.connection.request('send', {});
  slow.catch(() => {});
  for (let second = 0; second < 15; second += 1) {
    await world.pass(1000);
    world.say({ op: 'hb' });
  }
  await assert.rejects(slow, { code: 'timeout', temporary: true });
  const lost = world.connection.request('send', {});
  world.close(1006);
  await assert.rejects(lost, { code: 'offline' });
  await assert.rejects(world.connection.request('send', {}), { code: 'offline' });
});

test('beats every hb_ms, and gives up a connection that is silent', async () => {
  const world = await liveWorld();
  const beats = () => world.socket.sent.filter(({ op }) => op === 'hb').length;
  await world.pass(4000);
  world.say({ op: 'hb' });
  await world.pass(4000);
  assert.equal(beats(), 2);
  await world.pass(12_000);
  assert.equal(world.phase, 'waiting');
});

test('comes back with doubling waits until it is live for good', async () => {
  const world = await liveWorld();
  world.random = 1;
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    world.close(1006);
    const { until } = world.links.at(-1);
    waits.push(until - world.now);
    await world.pass(until - world.now);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  await world.hello();
  await world.answer({});
  await world.pass(1000);
  world.close(1006);
  assert.equal(world.links.at(-1).until - world.now, 30_000, 'a short life resets nothing');
  await world.pass(30_000);
  await world.hello();
  await world.answer({});
  await world.pass(5000);
  world.close(1006);
  assert.equal(world.links.at(-1).until - world.now, 500);
});

for (const [code, why] of [[4002, 'version'], [4004, 'login'], [4006, 'revoked'], [4007, 'replaced'], [4014, 'banned']]) {
  test(`close ${code} ends it: ${why}`, async () => {
    const world = await liveWorld();
    world.close(code);
    assert.equal(world.phase, 'ended');
    assert.equal(world.links.at(-1).why, why);
    await world.pass(120_000);
    assert.equal(world.sockets.length, 1);
  });
}

for (const code of [1000, 1001, 1006, 1009, 4001, 4003, 4009, 4010, 4013]) {
  test(`close ${code} comes back`, async () => {
    const world = await liveWorld();
    world.close(code);
    assert.equal(world.phase, 'waiting');
    await world.pass(500);
    assert.equal(world.sockets.length, 2);
  });
}

for (const code of [4008, 4012]) {
  test(`close ${code} waits as long as the server asks, jittered`, async () => {
    const world = await liveWorld();
    world.say({ op: 'bye', code, reason: 'x', retry_ms: 4000 });
    world.close(code);
    assert.equal(world.links.at(-1).until - world.now, 5000);
  });
}

test('a token that is no good ends it', async () => {
  const world = new World();
  world.connection.start(() => ({ op: 'auth', token: 'T' }));
  await world.hello();
  world.say({ op: 'err', id: 1, code: 'token_invalid', msg: 'no' });
  await settled();
  assert.equal(world.links.at(-1).why, 'login');
});

test('a refused login is told and not tried again; a refused auth is', async () => {
  for (const gaveUp of [true, false]) {
    const world = new World();
    world.gaveUp = gaveUp;
    world.connection.start(() => ({ op: 'login' }));
    await world.hello();
    world.say({ op: 'err', id: 1, code: 'unavailable', msg: 'later', temporary: true, retry_ms: 10 });
    await settled();
    assert.equal(world.phase, gaveUp ? 'idle' : 'waiting');
  }
});

test('an old socket is not heard any more', async () => {
  const world = await liveWorld();
  const [old] = world.sockets;
  const { onmessage } = old;
  world.close(1006);
  await world.pass(500);
  onmessage({ data: '{"op":"ev","e":"msg"}' });
  assert.deepEqual(world.events, []);
  assert.equal(world.sockets.length, 2);
});

test('backoff has full jitter and a ceiling', () => {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    for (const random of [0, 0.3, 0.999]) {
      const wait = backoffMs(attempt, () => random);
      assert.ok(wait >= 0 && wait <= 30_000);
    }
  }
  assert.equal(reconnectMs(4009, 9000, 0, () => 1), 500);
});

test('thread ids of two people', () => {
  assert.equal(dmThread('u2', 'u10'), 'd:u10:u2');
  assert.equal(dmPeer('d:u10:u2', 'u2'), 'u10');
  assert.equal(dmPeer('g7', 'u2'), null);
});
