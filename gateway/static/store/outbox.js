// Messages on their way out. Each has a `cid`, so that sending it again is always safe; at most
// one per thread is in flight, so that they arrive in the order they were written. Pure.
//
// An entry is `queued`, `flying`, `acked` (committed; it stays until its event stands in the
// timeline) or `failed` (the server refused it for good; the user decides).

export function queued(outbox, entry) {
  return [...outbox, { ...entry, state: 'queued' }];
}

function change(outbox, cid, fields) {
  return outbox.map((entry) => (entry.cid === cid ? { ...entry, ...fields } : entry));
}

export function flying(outbox, cid) {
  return change(outbox, cid, { state: 'flying' });
}

export function acked(outbox, cid) {
  return change(outbox, cid, { state: 'acked' });
}

export function failed(outbox, cid, reason) {
  return change(outbox, cid, { state: 'failed', reason });
}

/** The outcome is unknown or it was not sent: it waits for another try. */
export function requeued(outbox, cid) {
  return outbox.map((entry) =>
    entry.cid === cid && entry.state !== 'acked' ? { ...entry, state: 'queued' } : entry,
  );
}

/** The connection is gone: whatever was in flight is sent again, with the same cid. */
export function grounded(outbox) {
  return outbox.map((entry) => (entry.state === 'flying' ? { ...entry, state: 'queued' } : entry));
}

export function dropped(outbox, cid) {
  return outbox.filter((entry) => entry.cid !== cid);
}

/** Entries whose event arrived, whichever way. */
export function settled(outbox, events, me) {
  const arrived = new Set(events.filter((event) => event.from === me).map((event) => event.cid));
  if (!outbox.some((entry) => arrived.has(entry.cid))) return outbox;
  return outbox.filter((entry) => !arrived.has(entry.cid));
}

/** What may be sent now: the first waiting entry of each thread with nothing in flight. */
export function ready(outbox) {
  const busy = new Set();
  const found = [];
  for (const entry of outbox) {
    if (entry.state === 'acked' || entry.state === 'failed') continue;
    if (!busy.has(entry.thread) && entry.state === 'queued') found.push(entry);
    busy.add(entry.thread);
  }
  return found;
}

/** What survives a reload: everything not yet known to be committed. */
export function saved(outbox) {
  return grounded(outbox).filter((entry) => entry.state !== 'acked');
}
