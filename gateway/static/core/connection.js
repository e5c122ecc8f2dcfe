// One connection that comes back: socket, requests by id, heartbeats, reconnecting.
//
// connect → hello → entry (auth, login or register) → `ready`, where the owner syncs and calls
// `wentLive()`. Any loss backs off with full jitter and starts over, unless the close code says
// that coming back is no use. A timeout means *unknown*: whoever retries a change uses its cid.
//
// Socket, timers, ticker and chance are passed in, so that tests own them.

import {
  SUBPROTOCOL, WireError, advice, backoffMs, comesBack, errorOf, reconnectMs,
} from './wire.js';

const REQUEST_TIMEOUT_MS = 15_000;
const HELLO_TIMEOUT_MS = 10_000;
/** Answers missing for this many heartbeats: the network is gone, whatever the socket says. */
const SILENT_BEATS = 3;
/** A connection that lived this long was a good one: the next backoff starts from the first step. */
const STABLE_MS = 5_000;

export class Connection {
  #options;
  #socket = null;
  #pending = new Map();
  #nextId = 1;
  #attempt = 0;
  #entry = null;
  #timer = null;
  #stopBeat = null;
  #heardAt = 0;
  #liveAt = 0;
  #bye = null;
  #entered = false;
  #hbMs = 4000;

  /** options: url, makeSocket(url, protocol), timers {set, clear}, ticker(ms, fn) → stop, random(),
   *  now(), onHello(hello), onStatus(link), onReady(reply), onEvent(event), and onRefused(error):
   *  the entry failed; true gives up, false tries again. */
  constructor(options) {
    this.#options = options;
  }

  /** Connect, and enter with what `entry()` gives: {op, …fields}. */
  start(entry) {
    this.stop();
    this.#entry = entry;
    this.#attempt = 0;
    this.#connect();
  }

  /** Enter with something else from the next connection on. */
  enterWith(entry) {
    this.#entry = entry;
  }

  stop() {
    this.#clearTimer();
    this.#drop(new WireError('offline', 'disconnected'));
    this.#entry = null;
  }

  /** The owner could not get going on this connection: give it up and try another. */
  fail() {
    this.#lost(1006);
  }

  /** Skip the rest of the backoff. */
  retryNow() {
    if (this.#entry && !this.#socket) {
      this.#clearTimer();
      this.#connect();
    }
  }

  get isOpen() {
    return this.#socket?.readyState === 1;
  }

  wentLive() {
    this.#liveAt = this.#options.now();
    this.#status('live');
  }

  /** → the `ok`; rejects with WireError. */
  request(op, fields = {}, timeoutMs = REQUEST_TIMEOUT_MS) {
    if (!this.isOpen) return Promise.reject(new WireError('offline', 'You are offline', { temporary: true }));
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = this.#options.timers.set(() => {
        this.#pending.delete(id);
        reject(new WireError('timeout', 'The server did not answer', { temporary: true }));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#send({ ...fields, op, id });
    });
  }

  /** Send without awaiting an answer; false when there is no connection. */
  cast(op, fields = {}) {
    if (!this.isOpen) return false;
    this.#send({ ...fields, op });
    return true;
  }

  /** Is somebody there? Ask now, and do not wait long. */
  probe() {
    if (!this.cast('hb')) return;
    const asked = this.#options.now();
    this.#options.timers.set(() => {
      if (this.isOpen && this.#heardAt < asked) this.#lost(1006);
    }, this.#hbMs);
  }

  // ------------------------------------------------------------------------------ inside

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #status(phase, more = {}) {
    this.#options.onStatus({ phase, attempt: this.#attempt, ...more });
  }

  #clearTimer() {
    this.#options.timers.clear(this.#timer);
    this.#timer = null;
  }

  #connect() {
    this.#bye = null;
    this.#liveAt = 0;
    this.#entered = false;
    this.#status('connecting');
    const socket = this.#options.makeSocket(this.#options.url, SUBPROTOCOL);
    this.#socket = socket;
    const current = (handler) => (event) => {
      if (this.#socket === socket) handler(event);
    };
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#lost(event.code));
    socket.onerror = () => {};
    this.#timer = this.#options.timers.set(current(() => this.#lost(1006)), HELLO_TIMEOUT_MS);
  }

  #receive(data) {
    this.#heardAt = this.#options.now();
    const frame = JSON.parse(data);
    switch (frame.op) {
      case 'ok':
      case 'err':
        this.#answered(frame);
        break;
      case 'ev':
        this.#options.onEvent(frame);
        break;
      case 'hello':
        this.#hello(frame);
        break;
      case 'bye':
        this.#bye = frame;
        break;
      default:
    }
  }

  #answered(frame) {
    const waiting = this.#pending.get(frame.id);
    if (!waiting) return;
    this.#pending.delete(frame.id);
    this.#options.timers.clear(waiting.timer);
    if (frame.op === 'ok') waiting.resolve(frame);
    else waiting.reject(errorOf(frame));
  }

  #hello(hello) {
    this.#clearTimer();
    this.#hbMs = hello.hb_ms;
    this.#options.onHello(hello);
    this.#stopBeat = this.#options.ticker(hello.hb_ms, () => this.#beat());
    this.#enter();
  }

  #beat() {
    if (this.#options.now() - this.#heardAt > SILENT_BEATS * this.#hbMs) this.#lost(1006);
    else this.cast('hb');
  }

  async #enter() {
    const socket = this.#socket;
    this.#status('entering');
    const { op, ...fields } = this.#entry();
    try {
      const reply = await this.request(op, fields);
      if (this.#socket !== socket) return;
      this.#entered = true;
      this.#options.onReady(reply);
    } catch (error) {
      if (this.#socket === socket) this.#refused(error);
    }
  }

  /** The entry was refused. A token that is no good closes with 4004 by itself. */
  #refused(error) {
    if (error.code === 'token_invalid') {
      this.#end(4004);
    } else if (!this.#givesUp(error)) {
      this.#drop(error);
      this.#again(error.retryMs || backoffMs(this.#attempt, this.#options.random));
    }
  }

  #givesUp(error) {
    if (!this.#options.onRefused(error)) return false;
    this.stop();
    this.#status('idle');
    return true;
  }

  #lost(code) {
    const final = this.#bye?.code ?? code;
    const retryMs = this.#bye?.retry_ms ?? 0;
    this.#clearTimer();
    if (this.#liveAt && this.#options.now() - this.#liveAt >= STABLE_MS) this.#attempt = 0;
    const lost = new WireError('offline', 'The server cannot be reached', { temporary: true });
    const entered = this.#entered;
    this.#drop(lost);
    if (!this.#entry || (!entered && comesBack(final) && this.#givesUp(lost))) return;
    if (comesBack(final)) {
      this.#again(reconnectMs(final, retryMs, this.#attempt, this.#options.random));
    } else {
      this.#end(final);
    }
  }

  #again(waitMs) {
    this.#attempt += 1;
    this.#status('waiting', { until: this.#options.now() + waitMs });
    this.#timer = this.#options.timers.set(() => this.#connect(), waitMs);
  }

  #end(code) {
    this.stop();
    this.#status('ended', { why: advice(code) });
  }

  #drop(error) {
    this.#stopBeat?.();
    this.#stopBeat = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of waiting) {
      this.#options.timers.clear(timer);
      reject(error);
    }
  }
}
