// The rules of protocol chat.v1 that need no socket: close codes, backoff, thread ids.
// Pure: no clock, no network, chance is passed in.

export const SUBPROTOCOL = 'chat.v1.json';

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;

/** What a client does after a close. `again` backs off, `after` waits for the server's retry_ms. */
const ADVICE = {
  4002: 'version',
  4004: 'login',
  4006: 'revoked',
  4007: 'replaced',
  4008: 'after',
  4012: 'after',
  4014: 'banned',
};

/** 'again' or 'after' to come back; any other word says why not. */
export function advice(code) {
  return ADVICE[code] ?? 'again';
}

export function comesBack(code) {
  return ['again', 'after'].includes(advice(code));
}

/** Full jitter over 0.5, 1, 2, 4 … 30 s; `attempt` counts from 0. */
export function backoffMs(attempt, random) {
  return random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
}

/** How long to wait after a connection ended so. */
export function reconnectMs(code, retryMs, attempt, random) {
  if (advice(code) === 'after' && retryMs > 0) return retryMs * (1 + random() / 2);
  return backoffMs(attempt, random);
}

/** The id of the direct thread of two users. */
export function dmThread(a, b) {
  return a < b ? `d:${a}:${b}` : `d:${b}:${a}`;
}

/** The other user of a direct thread; null for a group. */
export function dmPeer(thread, me) {
  const parts = thread.split(':');
  if (parts.length !== 3 || parts[0] !== 'd') return null;
  return parts[1] === me ? parts[2] : parts[1];
}

/** A request the server refused, or one without an answer (`timeout`, `offline`). */
export class WireError extends Error {
  constructor(code, message, { temporary = false, retryMs = 0 } = {}) {
    super(message || code);
    this.code = code;
    this.temporary = temporary;
    this.retryMs = retryMs;
  }
}

export function errorOf(frame) {
  return new WireError(frame.code, frame.msg, {
    temporary: frame.temporary === true,
    retryMs: frame.retry_ms ?? 0,
  });
}
