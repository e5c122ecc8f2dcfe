// One thread's events on this device, and the rule that keeps them exactly once and in order.
//
// A timeline covers the seqs from `lo` to `at` without a hole. Live events extend it upwards by
// the protocol's rule (apply at+1, drop what is not newer, hold back what jumps ahead), history
// pages extend it downwards. `head` is the newest seq anybody spoke of: while it is beyond `at`,
// something must be fetched.
//
// Only messages, membership and group changes are rows. Edits, deletions and reactions are kept
// by target and laid over the rows, so that the order in which pages arrive does not matter.
//
// Pure: every function returns a new timeline.

/** Events held back per thread; a page brings the rest anyway. */
export const HELD_MAX = 256;

export function emptyTimeline(at = 0) {
  return {
    lo: at + 1,
    at,
    head: at,
    start: at === 0,
    rows: [],
    edits: {},
    dels: {},
    reacts: {},
    held: {},
  };
}

function thaw(tl) {
  return {
    ...tl,
    rows: tl.rows.slice(),
    edits: { ...tl.edits },
    dels: { ...tl.dels },
    reacts: { ...tl.reacts },
    held: { ...tl.held },
  };
}

/** Index of the row with this seq, or where it would be inserted. */
function search(rows, seq) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function rowAt(tl, seq) {
  const row = tl.rows[search(tl.rows, seq)];
  return row && row.seq === seq ? row : null;
}

/** The row as later edits and deletions, already known, leave it. */
function overlaid(tl, row) {
  if (row.e !== 'msg') return row;
  if (tl.dels[row.seq] !== undefined) return withoutText(row);
  const edit = tl.edits[row.seq];
  if (!edit || edit.seq <= (row.edited ?? 0) || row.deleted) return row;
  return { ...row, text: edit.text, edited: edit.seq };
}

function withoutText(row) {
  const { text: _text, mentions: _mentions, file: _file, ...rest } = row;
  return { ...rest, deleted: true };
}

/** Take note of an edit, deletion or reaction; the newest seq of each wins. */
function note(draft, event) {
  const { target } = event;
  if (event.e === 'edit') {
    if (event.text === undefined || (draft.edits[target]?.seq ?? 0) > event.seq) return;
    draft.edits[target] = { seq: event.seq, text: event.text };
  } else if (event.e === 'del') {
    draft.dels[target] = event.seq;
  } else {
    const key = `${event.from} ${event.emoji}`;
    const known = draft.reacts[target] ?? {};
    if ((known[key]?.seq ?? 0) > event.seq) return;
    draft.reacts[target] = { ...known, [key]: { seq: event.seq, on: event.on } };
    return;
  }
  const index = search(draft.rows, target);
  const row = draft.rows[index];
  if (row && row.seq === target) draft.rows[index] = overlaid(draft, row);
}

const NOTED = new Set(['edit', 'del', 'react']);

function apply(draft, event) {
  draft.at = event.seq;
  draft.head = Math.max(draft.head, event.seq);
  if (NOTED.has(event.e)) note(draft, event);
  else draft.rows.push(overlaid(draft, event));
}

function release(draft, applied) {
  for (let next = draft.held[draft.at + 1]; next; next = draft.held[draft.at + 1]) {
    delete draft.held[next.seq];
    apply(draft, next);
    applied.push(next);
  }
  for (const seq of Object.keys(draft.held)) {
    if (Number(seq) <= draft.at) delete draft.held[seq];
  }
}

/** A pushed event, or one made from the answer to one's own request. → [timeline, applied] */
export function live(tl, event) {
  if (event.seq <= tl.at) return [tl, []];
  const draft = thaw(tl);
  const applied = [];
  draft.head = Math.max(draft.head, event.seq);
  if (event.seq === tl.at + 1) {
    apply(draft, event);
    applied.push(event);
    release(draft, applied);
  } else if (Object.keys(draft.held).length < HELD_MAX) {
    draft.held[event.seq] = event;
  }
  return [draft, applied];
}

/** Events fetched from just after `at`, ascending. Where they begin later than at+1, nothing
 *  readable lies between (a member who returned). → [timeline, applied] */
export function page(tl, events) {
  const draft = thaw(tl);
  const applied = [];
  for (const event of events) {
    if (event.seq <= draft.at) continue;
    apply(draft, event);
    applied.push(event);
  }
  release(draft, applied);
  return [draft, applied];
}

/** An older page. Its newest event must stand just before `lo`; anything else is stale. */
export function prepend(tl, events, more) {
  const older = events.filter((event) => event.seq < tl.lo);
  if (older.length && older.at(-1).seq !== tl.lo - 1) return tl;
  const draft = thaw(tl);
  draft.start = !more;
  if (!older.length) return draft;
  draft.lo = older[0].seq;
  const known = tl.rows.length;
  const rows = older.filter((event) => !NOTED.has(event.e));
  draft.rows = rows.concat(draft.rows);
  for (const event of older) if (NOTED.has(event.e)) note(draft, event);
  for (let index = 0; index < draft.rows.length - known; index += 1) {
    draft.rows[index] = overlaid(draft, draft.rows[index]);
  }
  return draft;
}

/** Somebody said that the thread reaches up to `head`. */
export function heard(tl, head) {
  return head > tl.head ? { ...tl, head } : tl;
}

/** There is nothing more to read, whatever was heard. */
export function settle(tl) {
  return { ...tl, head: tl.at, held: {} };
}

/** The user deleted these for themselves. */
export function hide(tl, seqs) {
  const draft = thaw(tl);
  for (const seq of seqs) {
    const index = search(draft.rows, seq);
    if (draft.rows[index]?.seq === seq) {
      draft.rows[index] = { ...withoutText(draft.rows[index]), hidden: true };
    }
  }
  return draft;
}

/** A deleted message without a `del` event was deleted for this user alone: it is not shown. */
export function isHidden(tl, row) {
  return row.e === 'msg' && row.deleted === true && tl.dels[row.seq] === undefined;
}

/** [{emoji, users}] on a message, oldest reaction first. */
export function reactionsOf(tl, seq) {
  const found = new Map();
  const entries = Object.entries(tl.reacts[seq] ?? {}).sort((a, b) => a[1].seq - b[1].seq);
  for (const [key, { on }] of entries) {
    if (!on) continue;
    const space = key.indexOf(' ');
    const emoji = key.slice(space + 1);
    if (!found.has(emoji)) found.set(emoji, []);
    found.get(emoji).push(key.slice(0, space));
  }
  return [...found].map(([emoji, users]) => ({ emoji, users }));
}
