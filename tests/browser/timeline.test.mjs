// The rule that keeps a thread's events exactly once and in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as timeline from '../../gateway/static/store/timeline.js';

const msg = (seq, more = {}) => ({ e: 'msg', thread: 't', seq, n: seq, from: 'u1', ts: seq, text: `m${seq}`, ...more });
const edit = (seq, target, text) => ({ e: 'edit', thread: 't', seq, ts: seq, from: 'u1', target, text });
const del = (seq, target) => ({ e: 'del', thread: 't', seq, ts: seq, from: 'u1', target });
const react = (seq, target, from, emoji, on) => ({ e: 'react', thread: 't', seq, ts: seq, from, target, emoji, on });

const feed = (tl, ...events) => events.reduce((now, event) => timeline.live(now, event)[0], tl);
const seqs = (tl) => tl.rows.map(({ seq }) => seq);
const texts = (tl) => tl.rows.map(({ text }) => text);

/** Every order of a short list. */
function* orders(list) {
  if (list.length < 2) yield list;
  for (const [index, first] of list.entries()) {
    for (const rest of orders(list.toSpliced(index, 1))) yield [first, ...rest];
  }
}

test('applies the next event and drops what is not newer', () => {
  const tl = feed(timeline.emptyTimeline(), msg(1), msg(2), msg(2), msg(1), msg(3));
  assert.deepEqual(seqs(tl), [1, 2, 3]);
  assert.equal(tl.at, 3);
});

test('holds back what jumps ahead and lets it out in its turn', () => {
  const jumped = feed(timeline.emptyTimeline(), msg(1), msg(4), msg(3));
  assert.deepEqual(seqs(jumped), [1]);
  assert.equal(jumped.head, 4);
  const [tl, applied] = timeline.live(jumped, msg(2));
  assert.deepEqual(applied.map(({ seq }) => seq), [2, 3, 4]);
  assert.deepEqual(seqs(tl), [1, 2, 3, 4]);
  assert.deepEqual(tl.held, {});
});

test('any order of arrival, with repeats, gives the same rows', () => {
  const events = [msg(1), msg(2), edit(3, 1, 'new'), msg(4), del(5, 2)];
  const expected = feed(timeline.emptyTimeline(), ...events);
  for (const order of orders(events)) {
    const tl = feed(timeline.emptyTimeline(), ...order, ...order);
    assert.deepEqual(tl.rows, expected.rows);
    assert.equal(tl.at, 5);
  }
});

test('a page speaks with authority where it begins later', () => {
  const [tl, applied] = timeline.page(timeline.emptyTimeline(2), [msg(7), msg(8)]);
  assert.equal(applied.length, 2);
  assert.equal(tl.at, 8);
});

test('a page overlapping live events doubles nothing', () => {
  const tl = feed(timeline.emptyTimeline(), msg(1), msg(2), msg(5));
  const [after] = timeline.page(tl, [msg(2), msg(3), msg(4)]);
  assert.deepEqual(seqs(after), [1, 2, 3, 4, 5]);
});

test('older pages stand before, and a stale one is refused', () => {
  const tl = feed(timeline.emptyTimeline(4), msg(5));
  const older = timeline.prepend(tl, [msg(3), msg(4)], true);
  assert.deepEqual(seqs(older), [3, 4, 5]);
  assert.equal(older.start, false);
  assert.equal(timeline.prepend(older, [msg(1)], true), older);
  const whole = timeline.prepend(older, [msg(1), msg(2)], false);
  assert.deepEqual(seqs(whole), [1, 2, 3, 4, 5]);
  assert.equal(whole.start, true);
});

test('edits and deletions reach messages that are loaded later', () => {
  const tl = feed(timeline.emptyTimeline(3), edit(4, 1, 'new'), del(5, 2), react(6, 3, 'u2', '👍', true));
  const whole = timeline.prepend(tl, [msg(1), msg(2), msg(3)], false);
  assert.deepEqual(texts(whole), ['new', undefined, 'm3']);
  assert.equal(whole.rows[1].deleted, true);
  assert.deepEqual(timeline.reactionsOf(whole, 3), [{ emoji: '👍', users: ['u2'] }]);
});

test('an older edit does not undo what history shows already', () => {
  const tl = feed(timeline.emptyTimeline(), msg(1, { text: 'newest', edited: 9 }), edit(2, 1, 'older'));
  assert.deepEqual(texts(tl), ['newest']);
});

test('a reaction is taken back by its newest event only', () => {
  const tl = feed(timeline.emptyTimeline(), msg(1), react(2, 1, 'u2', '❤️', true), react(3, 1, 'u3', '❤️', true),
    react(4, 1, 'u2', '❤️', false));
  assert.deepEqual(timeline.reactionsOf(tl, 1), [{ emoji: '❤️', users: ['u3'] }]);
  const older = timeline.prepend(feed(timeline.emptyTimeline(2), react(3, 1, 'u2', '👍', false)),
    [msg(1), react(2, 1, 'u2', '👍', true)], false);
  assert.deepEqual(timeline.reactionsOf(older, 1), []);
});

test('deleted for me is not shown, deleted for everyone is', () => {
  const tl = timeline.hide(feed(timeline.emptyTimeline(), msg(1), msg(2), del(3, 2)), [1]);
  assert.equal(timeline.isHidden(tl, tl.rows[0]), true);
  assert.equal(timeline.isHidden(tl, tl.rows[1]), false);
  assert.equal(tl.rows[0].text, undefined);
});

test('nothing given is changed', () => {
  const tl = feed(timeline.emptyTimeline(), msg(1), msg(2));
  const copy = structuredClone(tl);
  feed(tl, edit(3, 1, 'x'), del(4, 2), react(5, 1, 'u2', '👍', true), msg(9));
  timeline.prepend(tl, [msg(1)], false);
  timeline.hide(tl, [1]);
  assert.deepEqual(tl, copy);
});
