// Times, names and text as people read them. Pure; `now` is passed in.

const DAY_MS = 86_400_000;

function dayStart(ms) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** Whole days between two moments, by the calendar. */
export function daysAgo(ts, now) {
  return Math.round((dayStart(now) - dayStart(ts)) / DAY_MS);
}

export function clock(ts) {
  return new Date(ts).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

function date(ts) {
  return new Date(ts).toLocaleDateString();
}

function weekday(ts) {
  return new Date(ts).toLocaleDateString([], { weekday: 'long' });
}

/** For the chat list: the time today, then "Yesterday", a weekday, a date. */
export function listTime(ts, now) {
  const days = daysAgo(ts, now);
  if (days <= 0) return clock(ts);
  if (days === 1) return 'Yesterday';
  return days < 7 ? weekday(ts) : date(ts);
}

/** For the line between days. */
export function dayLabel(ts, now) {
  const days = daysAgo(ts, now);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days < 7) return weekday(ts);
  const options = { day: 'numeric', month: 'long', year: 'numeric' };
  return new Date(ts).toLocaleDateString([], options);
}

export function lastSeen(ts, now) {
  const days = daysAgo(ts, now);
  if (days <= 0) return `last seen today at ${clock(ts)}`;
  if (days === 1) return `last seen yesterday at ${clock(ts)}`;
  return `last seen ${date(ts)}`;
}

/** "Active now", "5 minutes ago", … for the list of devices. */
export function ago(ts, now) {
  const minutes = Math.floor((now - ts) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} minute${minutes === 1 ? '' : 's'} ago`;
  return daysAgo(ts, now) === 0 ? `today at ${clock(ts)}` : date(ts);
}

export function count(number, word) {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

/** One or two letters for an avatar. */
export function initials(name) {
  const words = name.replace(/[^\p{L}\p{N}\s]/gu, ' ').trim().split(/\s+/).filter(Boolean);
  if (!words.length) return '?';
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...word][0].toUpperCase()).join('');
}

export const HUES = 12;

/** A stable colour for an id: always the same person in the same colour, on every device. */
export function hue(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
  hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
  return ((hash ^ (hash >>> 16)) >>> 0) % HUES;
}

/** What to call this browser in the list of devices. */
export function deviceLabel(userAgent) {
  const known = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'],
    ['Safari/', 'Safari']];
  const systems = [['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'],
    ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['CrOS', 'ChromeOS'], ['Linux', 'Linux']];
  const find = (pairs) => pairs.find(([mark]) => userAgent.includes(mark))?.[1];
  return `${find(known) ?? 'Browser'} on ${find(systems) ?? 'a computer'}`;
}

export function codePoints(text) {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

// ---------------------------------------------------------------------- message text

const LINK = String.raw`https?:\/\/[^\s<>"]*[^\s<>".,;:!?')\]]`;
const MARK = (mark) => `(?<![\\p{L}\\p{N}])${mark}(?=\\S)[^\\n]*?\\S${mark}(?![\\p{L}\\p{N}])`;
const TOKEN = new RegExp(
  [LINK, '`[^`\\n]+`', MARK('\\*'), MARK('_'), MARK('~')].map((part) => `(${part})`).join('|'),
  'gu',
);
const KINDS = ['link', 'code', 'strong', 'em', 's'];

/** Message text as [{kind, text}]: plain, link, code, strong, em, s. Nothing is nested, nothing is
 *  interpreted further. */
export function tokens(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const kind = KINDS[match.slice(1).findIndex((group) => group !== undefined)];
    const inner = kind === 'link' ? match[0] : match[0].slice(1, -1);
    if (!inner.trim()) continue;
    if (match.index > end) found.push({ kind: 'plain', text: text.slice(end, match.index) });
    found.push({ kind, text: inner });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ kind: 'plain', text: text.slice(end) });
  return found;
}

/** Message text on one line of a preview or in a quote: without its marks. */
export function plain(text) {
  return tokens(text).map((token) => token.text).join('');
}

/** Up to three emoji and nothing else: shown large. */
export function isJumbo(text) {
  return /^(?:\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F]?(?:\u200D\p{Extended_Pictographic}\uFE0F?)*){1,3}$/u.test(text.trim());
}
