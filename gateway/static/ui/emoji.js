// The six reactions at hand, drawn, so that they look alike everywhere and need no emoji font.
// On the wire they are the plain characters. Everything else is shown by the system's font.

import { svg } from './dom.js';

export const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🌱'];

/** For the picker of the composer and of "more reactions". */
export const MORE = [...'😀😄😁😆😅😊😇🙂😉😌😍😘😋😜🤔🤗🤩😎🥳😏😴😐🙄😬😔😭😤😡🤯😱🥶🤒💪👏🙏👌✌👋🤝🔥✨🎉💯🌳🌿🍀🌻🐝☕🍰🎂🎁📌✅❌❓❗'];

const FACE = { cx: 12, cy: 12, r: 10, class: 'e-face' };
const eyes = (dy = 0) => [
  svg('ellipse', { cx: 8.5, cy: 9.5 + dy, rx: 1.2, ry: 1.7, class: 'e-ink' }),
  svg('ellipse', { cx: 15.5, cy: 9.5 + dy, rx: 1.2, ry: 1.7, class: 'e-ink' }),
];
const path = (d, name) => svg('path', { d, class: name });

const ART = {
  '👍': () => [
    path('M8 11.2L11.3 3.600C13.2 3.3 14.3 4.6 14 6.500L13.5 9.500H19C20.4 9.5 21.3 10.7 21 12L19.5 18.700C19.2 20 18.2 20.8 16.9 20.800H10.500C9.5 20.8 8.7 20.5 8 20Z', 'e-hand'),
    path('M3 10.800H6.800V20.800H3Z', 'e-cuff'),
  ],
  '❤️': () => [
    path('M12 21C5 16.2 2 12.7 2 8.700C2 5.6 4.3 3.5 7 3.500C9.1 3.5 11 4.7 12 6.600C13 4.7 14.9 3.5 17 3.500C19.7 3.5 22 5.6 22 8.700C22 12.7 19 16.2 12 21Z', 'e-heart'),
  ],
  '😂': () => [
    svg('circle', FACE),
    path('M6 9.800Q8.3 7 10.3 9.800M13.7 9.800Q15.7 7 18 9.8', 'e-line'),
    path('M6.5 12.500H17.500C17.5 16.5 15 18.8 12 18.800S6.5 16.5 6.5 12.500Z', 'e-ink'),
    path('M4 10.500C2 12.5 1.3 13.8 1.8 15C2.4 16.2 4.2 16 4.7 14.700C5 13.7 4.7 12.3 4 10.500ZM20 10.500C22 12.5 22.7 13.8 22.2 15C21.6 16.2 19.8 16 19.3 14.700C19 13.7 19.3 12.3 20 10.500Z', 'e-tear'),
  ],
  '😮': () => [
    svg('circle', FACE),
    ...eyes(),
    svg('ellipse', { cx: 12, cy: 16, rx: 2.6, ry: 3.2, class: 'e-ink' }),
  ],
  '😢': () => [
    svg('circle', FACE),
    ...eyes(0.5),
    path('M8.5 17.500Q12 14.3 15.5 17.5', 'e-line'),
    path('M7.3 12.500C5.7 14.6 5.3 15.7 5.7 16.700C6.2 17.8 8.2 17.8 8.7 16.700C9.1 15.7 8.7 14.5 7.3 12.500Z', 'e-tear'),
  ],
  '🌱': () => [
    path('M12 21V12', 'e-stem'),
    path('M12 13.500C5.5 14 3 10.5 3 5.500C9 5.5 12 8.5 12 13.500Z', 'e-leaf'),
    path('M12 11.500C12 6.5 15.5 3.5 21 3.500C21 8.5 18 11.8 12 11.500Z', 'e-leaf e-leaf-2'),
  ],
};

/** A reaction as a node: drawn if it is one of ours, else the character. */
export function emojiNode(emoji) {
  const art = ART[emoji] ?? ART[`${emoji}\uFE0F`];
  const node = document.createElement('span');
  node.className = 'emoji';
  if (art) node.append(svg('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true' }, ...art()));
  else node.textContent = emoji;
  return node;
}
