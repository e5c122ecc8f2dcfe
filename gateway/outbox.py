"""One connection's outbound queue: what is kept, what is dropped, and what is said about it.

**Problem.** A reader that is slower than its threads must not grow the server, slow anyone else, or
lose something without knowing.

**Rule** (PROTOCOL.md §5). Replies are never dropped. State events keep one entry per key, the
newest. From half full, lossy events are dropped. When full, the queued durable events are
discarded, and per thread the first and last of them are remembered; one `gap` for each follows when
the socket has drained, and the client asks for the history. Until then further events of such a
thread only move the gap's end.

Pure bookkeeping over encoded frames: nothing here waits or writes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gateway.wire import codec


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """`frames` and `bytes` queued, of them `replies`; threads with a `gap` to tell; since the
    connection opened: `dropped` lossy and durable events."""

    frames: int
    bytes: int
    replies: int
    gaps: int
    dropped: int


class _Event(NamedTuple):
    """A durable event, or a lossy one (no thread)."""

    thread: str
    seq: int
    frame: bytes


class _State(NamedTuple):
    """The place of a state event; its newest frame is in `_states`."""

    key: tuple[str, ...]


class Outbox:
    """Frames in the order they go out. `frames_max` and `bytes_max` bound events, not replies."""

    __slots__ = (
        "_bytes", "_bytes_max", "_dropped", "_events", "_frames_max", "_gaps", "_queue", "_states",
        "replies",
    )  # fmt: skip

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._queue: deque[bytes | _Event | _State] = deque()
        self._states: dict[tuple[str, ...], bytes] | None = None
        self._gaps: dict[str, list[int]] | None = None
        self._bytes = 0
        self._events = 0
        self._dropped = 0
        self.replies = 0
        """Replies waiting to be written."""

    def __len__(self) -> int:
        return len(self._queue)

    def __bool__(self) -> bool:
        return bool(self._queue or self._gaps)

    def reply(self, frame: bytes) -> None:
        """Queue an answer or a control frame; never dropped."""
        self._queue.append(frame)
        self._bytes += len(frame)
        self.replies += 1

    def durable(self, thread: str, seq: int, frame: bytes) -> bool:
        """Queue an event of the log; False when it fell into a gap instead."""
        if self._gaps is not None and thread in self._gaps:
            self._gaps[thread][1] = seq
            self._dropped += 1
            return False
        if self._is_full():
            self._discard()
            self._remember(thread, seq)
            return False
        self._queue.append(_Event(thread, seq, frame))
        self._bytes += len(frame)
        self._events += 1
        return True

    def state(self, key: tuple[str, ...], frame: bytes) -> None:
        """Queue a state event in the place of an older one with the same key."""
        if self._states is None:
            self._states = {}
        older = self._states.get(key)
        self._states[key] = frame
        self._bytes += len(frame)
        if older is None:
            self._queue.append(_State(key))
            self._events += 1
        else:
            self._bytes -= len(older)

    def lossy(self, frame: bytes) -> bool:
        """Queue an event nobody misses; False if it was dropped."""
        if self._events * 2 >= self._frames_max or self._bytes * 2 >= self._bytes_max:
            self._dropped += 1
            return False
        self._queue.append(_Event("", 0, frame))
        self._bytes += len(frame)
        self._events += 1
        return True

    def take(self, bytes_max: int) -> list[bytes]:
        """The next frames to write, about `bytes_max` bytes of them; when nothing else is left, the
        gaps."""
        frames: list[bytes] = []
        taken = 0
        while self._queue and taken < bytes_max:
            entry = self._queue.popleft()
            if isinstance(entry, bytes):
                frame = entry
                self.replies -= 1
            else:
                self._events -= 1
                frame = self._frame(entry)
            taken += len(frame)
            frames.append(frame)
        self._bytes -= taken
        if not self._queue and self._gaps:
            gaps, self._gaps = self._gaps, None
            frames += (gap(thread, first - 1, last) for thread, (first, last) in gaps.items())
        return frames

    def _frame(self, entry: _Event | _State) -> bytes:
        if isinstance(entry, _Event):
            return entry.frame
        assert self._states is not None
        return self._states.pop(entry.key)

    def _is_full(self) -> bool:
        return self._events >= self._frames_max or self._bytes >= self._bytes_max

    def _discard(self) -> None:
        kept: deque[bytes | _Event | _State] = deque()
        for entry in self._queue:
            if isinstance(entry, _Event):
                self._bytes -= len(entry.frame)
                self._events -= 1
                if entry.thread:
                    self._remember(entry.thread, entry.seq)
            else:
                kept.append(entry)
        self._queue = kept

    def _remember(self, thread: str, seq: int) -> None:
        self._dropped += 1
        if self._gaps is None:
            self._gaps = {}
        known = self._gaps.setdefault(thread, [seq, seq])
        known[1] = max(known[1], seq)

    def statistics(self) -> OutboxStatistics:
        gaps = 0 if self._gaps is None else len(self._gaps)
        return OutboxStatistics(len(self._queue), self._bytes, self.replies, gaps, self._dropped)


def gap(thread: str, have: int, head: int) -> bytes:
    """The frame that says: live events of this thread from `have + 1` to `head` were skipped."""
    return codec.event(
        msgspec.json.encode({"e": "gap", "thread": thread, "have": have, "head": head})
    )
