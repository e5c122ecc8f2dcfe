"""What goes into the next group commit: the journal's waiting line, as a plain value.

**Problem.** Appends of many threads arrive one by one while a commit is running. The next commit
should carry as many as possible, yet one thread may have only one append in it (the second one's
`expected_seq` stands on the first), and a commit must not grow until its latency hurts.

**Rule.** Threads take turns in order of arrival, each with its oldest append; a thread with more
waiting goes back to the end of the line. A batch ends at a count or at a number of bytes.

Both operations cost the same however long the line is.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from persistence.records import Append, ThreadId

T = TypeVar("T")

BATCH_APPENDS_MAX = 512
"""Appends in one commit. At some 25 µs each the writer is done with them in 13 ms."""

BATCH_BYTES_MAX = 1024 * 1024
"""Bytes of event bodies in one commit, so that a few huge messages do not delay everybody's."""

APPEND_BYTES = 96
"""What an append or an event costs beside its body: ids, numbers, index entries."""


def append_bytes(append: Append) -> int:
    """About how many bytes a commit of `append` writes."""
    bodies = sum(len(event.body) for event in append.events)
    bodies += sum(len(rewrite.body) for rewrite in append.rewrites)
    entries = 1 + len(append.events) + len(append.rewrites) + len(append.cursors)
    return bodies + entries * APPEND_BYTES


class Batching(Generic[T]):
    """The waiting line. Items are the caller's own; each stands for one `Append`.

    ```
    waiting: Batching[Commit] = Batching()
    waiting.add(commit, commit.append)
    batch = waiting.take()              # () when nothing waits
    ```
    """

    __slots__ = ("_appends_max", "_by_thread", "_bytes_max", "_count", "_turns")

    def __init__(
        self, appends_max: int = BATCH_APPENDS_MAX, bytes_max: int = BATCH_BYTES_MAX
    ) -> None:
        assert appends_max > 0
        assert bytes_max > 0
        self._appends_max = appends_max
        self._bytes_max = bytes_max
        self._by_thread: dict[ThreadId, deque[tuple[T, int]]] = {}
        self._turns: deque[ThreadId] = deque()
        self._count = 0

    def add(self, item: T, append: Append) -> None:
        """Put `item` in line, behind everything of the same thread."""
        entry = (item, append_bytes(append))
        line = self._by_thread.get(append.thread)
        if line is None:
            self._by_thread[append.thread] = deque((entry,))
            self._turns.append(append.thread)
        else:
            line.append(entry)
        self._count += 1

    def take(self) -> tuple[T, ...]:
        """Remove and return the next batch: the first in line always, then what still fits."""
        batch: list[T] = []
        size = 0
        again: list[ThreadId] = []
        while self._turns and len(batch) < self._appends_max:
            thread = self._turns[0]
            line = self._by_thread[thread]
            size += line[0][1]
            if batch and size > self._bytes_max:
                break
            self._turns.popleft()
            batch.append(line.popleft()[0])
            if line:
                again.append(thread)
            else:
                del self._by_thread[thread]
        self._turns.extend(again)
        self._count -= len(batch)
        return tuple(batch)

    def __len__(self) -> int:
        """Items waiting."""
        return self._count

    def __repr__(self) -> str:
        return f"<Batching {self._count} waiting in {len(self._turns)} threads>"


def check_append(append: Append) -> None:
    """Assert what every adapter relies on: events contiguous from `expected_seq + 1`, each cid once
    per sender, rewrites only of what the log then holds."""
    seq = append.expected_seq
    named = 0
    for event in append.events:
        seq += 1
        assert event.seq == seq, f"{append.thread}: event {event.seq} where {seq} belongs"
        named += event.cid is not None
    if named > 1:
        cids = {(event.sender, event.cid) for event in append.events if event.cid is not None}
        assert len(cids) == named, f"{append.thread}: one cid twice in an append"
    for rewrite in append.rewrites:
        assert 0 < rewrite.seq <= seq, f"{append.thread}: rewrite of {rewrite.seq} beyond {seq}"
