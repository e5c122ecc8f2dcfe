// What a person can do, one function each: the request, and the state that follows its `ok`.
// Every function rejects with a WireError whose message is for people.

const MUTE_FOREVER_MS = 100 * 365 * 86_400_000;
const INFO_PAGE = 200;

const cid = () => crypto.randomUUID();

// ---------------------------------------------------------------------- messages

export async function edit(client, thread, target, text) {
  const { seq, ts } = await client.change('edit', { thread, seq: target, text, cid: cid() });
  client.committed({ e: 'edit', thread, seq, ts, from: client.state.me.uid, target, text });
}

export async function deleteForAll(client, thread, target) {
  const { seq } = await client.change('delete', { thread, seqs: [target], for: 'all' });
  if (seq === undefined) return;
  const ts = Date.now();
  client.committed({ e: 'del', thread, seq, ts, from: client.state.me.uid, target });
}

export async function deleteForMe(client, thread, target) {
  await client.change('delete', { thread, seqs: [target], for: 'me' });
  client.dispatch({ type: 'hide', thread, seqs: [target] });
}

export async function react(client, thread, target, emoji, on) {
  const { seq } = await client.change('react', { thread, seq: target, emoji, on });
  const ts = Date.now();
  client.committed({ e: 'react', thread, seq, ts, from: client.state.me.uid, target, emoji, on });
}

/** The message a quote speaks of, when it is not among the loaded ones. */
export async function loadQuoted(client, thread, seq) {
  const { quotes } = client.state.threads[thread];
  if (seq in quotes) return;
  client.dispatch({ type: 'quote', thread, seq, event: null });
  try {
    const { events } = await client.read('history', { thread, around: seq, limit: 1 });
    const event = events.find((found) => found.seq === seq) ?? null;
    client.dispatch({ type: 'quote', thread, seq, event });
    client.people.needOf(events);
  } catch {
    // The quote stays without its text.
  }
}

// ---------------------------------------------------------------------- people

export async function searchPeople(client, q) {
  const { users } = await client.read('user.search', { q, limit: 20 });
  const others = users.filter(({ uid }) => uid !== client.state.me.uid);
  client.dispatch({ type: 'users', users: others });
  return others;
}

export async function addContact(client, uid) {
  const { contact } = await client.change('contact.add', { uid });
  client.dispatch({ type: 'contact', contact });
}

export async function aliasContact(client, uid, alias) {
  await client.change('contact.alias', { uid, alias: alias || null });
  client.dispatch({ type: 'contact/patch', uid, change: { alias: alias || undefined } });
}

export async function removeContact(client, uid) {
  await client.change('contact.remove', { uid });
  const blocked = client.state.contacts[uid]?.blocked;
  if (blocked) await client.contacts();
  else client.dispatch({ type: 'contact/remove', uid });
}

export async function block(client, uid, on) {
  await client.change(on ? 'block' : 'unblock', { uid });
  client.dispatch({ type: 'contact/patch', uid, change: { blocked: on } });
  await client.contacts();
  client.presence.start();
}

// ---------------------------------------------------------------------- threads

/** change: {pinned?, archived?, mutedUntil?}. */
export async function setThread(client, thread, change) {
  const fields = { thread };
  if ('pinned' in change) fields.pinned = change.pinned;
  if ('archived' in change) fields.archived = change.archived;
  if ('mutedUntil' in change) fields.muted_until = change.mutedUntil;
  await client.change('thread.set', fields);
  client.dispatch({ type: 'thread/patch', thread, change });
}

export function mute(client, thread, on) {
  return setThread(client, thread, { mutedUntil: on ? Date.now() + MUTE_FOREVER_MS : null });
}

// ---------------------------------------------------------------------- groups

/** → the thread id. */
export async function createGroup(client, name, members) {
  const { thread, seq, ts } = await client.change('group.create', { name, members, cid: cid() });
  client.committed({ e: 'thread', thread, seq, ts, by: client.state.me.uid, name });
  await groupInfo(client, thread);
  return thread;
}

export async function groupInfo(client, thread) {
  let after;
  do {
    const { info, members, next } = await client.read('group.info', { thread, after, limit: INFO_PAGE });
    if (!after) client.dispatch({ type: 'threads', threads: [info] });
    client.dispatch({ type: 'members', thread, members, first: !after });
    client.people.need(members.map(({ uid }) => uid));
    after = next;
  } while (after);
}

async function groupChange(client, op, fields) {
  const { seq } = await client.change(op, fields);
  client.wrote(fields.thread, seq);
}

export const updateGroup = (client, thread, change) =>
  groupChange(client, 'group.update', { thread, ...change });

export const addMembers = (client, thread, users) =>
  groupChange(client, 'group.add', { thread, users });

export const removeMember = (client, thread, user) =>
  groupChange(client, 'group.remove', { thread, user });

export const setRole = (client, thread, user, role) =>
  groupChange(client, 'group.role', { thread, user, role });

export const leaveGroup = (client, thread) => groupChange(client, 'group.leave', { thread });

export const deleteGroup = (client, thread) => groupChange(client, 'group.delete', { thread });

// ---------------------------------------------------------------------- account

export async function setProfile(client, fields) {
  await client.change('profile.set', fields);
  client.dispatch({ type: 'me', me: fields });
}

/** Sets what `change` names; → both settings as they are now. */
export function privacy(client, change = {}) {
  return client.change('privacy.set', change);
}

export async function listSessions(client) {
  const { sessions } = await client.read('session.list', {});
  client.dispatch({ type: 'sessions', sessions });
}

export async function revokeSession(client, sid) {
  await client.change('session.revoke', { sid });
  await listSessions(client);
}

export function changePassword(client, old, fresh, keepOthers) {
  return client.change('passwd', { old, new: fresh, keep_others: keepOthers });
}
