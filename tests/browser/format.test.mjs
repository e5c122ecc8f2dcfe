// Times, names and text as people read them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  HUES, codePoints, count, dayLabel, deviceLabel, hue, initials, isJumbo, listTime, tokens,
} from '../../gateway/static/ui/format.js';

const noon = new Date(2026, 4, 20, 12).getTime();
const DAY = 86_400_000;

test('days by the calendar, not by hours', () => {
  assert.equal(dayLabel(noon - 11 * 3_600_000, noon), 'Today');
  assert.equal(dayLabel(noon - 13 * 3_600_000, noon), 'Yesterday');
  assert.equal(listTime(noon - DAY, noon), 'Yesterday');
  assert.match(dayLabel(noon - 40 * DAY, noon), /2026/);
});

test('text is cut into tokens and nothing is lost', () => {
  const kinds = (text) => tokens(text).map(({ kind, text: part }) => [kind, part]);
  assert.deepEqual(kinds('a *b* _c_ ~d~ `e`'), [
    ['plain', 'a '], ['strong', 'b'], ['plain', ' '], ['em', 'c'], ['plain', ' '], ['s', 'd'], ['plain', ' '], ['code', 'e'],
  ]);
  assert.deepEqual(kinds('2*3*4 snake_case_name'), [['plain', '2*3*4 snake_case_name']]);
  assert.deepEqual(kinds('see https://x.org/a_b_c.'), [['plain', 'see '], ['link', 'https://x.org/a_b_c'], ['plain', '.']]);
  assert.deepEqual(kinds('javascript:alert(1)'), [['plain', 'javascript:alert(1)']]);
  assert.deepEqual(kinds('<b>*x*</b>'), [['plain', '<b>'], ['strong', 'x'], ['plain', '</b>']]);
});

test('long unbalanced marks cost no time', () => {
  const started = performance.now();
  tokens('*a '.repeat(1400));
  tokens('_'.repeat(4096));
  tokens(`https://${'a.'.repeat(2000)}`);
  assert.ok(performance.now() - started < 500);
});

test('colours are stable and spread', () => {
  const hues = Array.from({ length: 600 }, (_, index) => hue(`u${index}`));
  assert.equal(hue('u7'), hue('u7'));
  assert.equal(new Set(hues).size, HUES);
  for (let value = 0; value < HUES; value += 1) {
    assert.ok(hues.filter((found) => found === value).length > 20);
  }
});

test('initials, counts, code points, devices', () => {
  assert.equal(initials('Ann Marie Oak'), 'AO');
  assert.equal(initials('élan'), 'É');
  assert.equal(initials('😀'), '?');
  assert.equal(count(1, 'member'), '1 member');
  assert.equal(count(2, 'member'), '2 members');
  assert.equal(codePoints('a😀'), 2);
  assert.equal(isJumbo('👍🏽'), true);
  assert.equal(isJumbo('no 👍'), false);
  assert.equal(deviceLabel('Mozilla/5.0 (X11; Linux x86_64) Chrome/130 Safari/537'), 'Chrome on Linux');
  assert.equal(deviceLabel(''), 'Browser on a computer');
});
