"""Cids of threads whose whole story this log object has seen. For those nothing is looked up.

A claim that reads every event of a thread knows every cid in it, and under its epoch nobody else
adds one. That is so for most threads that are alive, and spares their appends a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from persistence.records import Append, Claim, ClientId, Event, ThreadId, UserId

CIDS_MAX = 200_000
"""Of all threads together: some 40 MB. The thread claimed longest ago is forgotten first."""

THREAD_CIDS_MAX = 2_000


@dataclass(slots=True)
class _Story:
    epoch: int
    seqs: dict[tuple[UserId, ClientId], int]


class KnownCids:
    """What is known, by thread and epoch."""

    def __init__(self, cids_max: int = CIDS_MAX) -> None:
        self._cids_max = cids_max
        self._stories: dict[ThreadId, _Story] = {}
        self._count = 0

    def claimed(self, thread: ThreadId, claim: Claim) -> None:
        """From here on the thread is known, if `claim` has all of its events."""
        self.forget(thread)
        if len(claim.recent) == claim.head.seq:
            self._stories[thread] = _Story(claim.head.epoch, {})
            self._add(thread, claim.recent)

    def committed(self, append: Append) -> None:
        """The append is in the log."""
        story = self._stories.get(append.thread)
        if story is not None and story.epoch == append.epoch:
            self._add(append.thread, append.events)

    def repeats(self, append: Append) -> list[int] | None:
        """The seqs under which cids of `append` are in the log; None if that is not known."""
        story = self._stories.get(append.thread)
        if story is None or story.epoch != append.epoch:
            return None
        names = [(event.sender, event.cid) for event in append.events if event.cid is not None]
        return [story.seqs[name] for name in names if name in story.seqs]

    def forget(self, thread: ThreadId) -> None:
        story = self._stories.pop(thread, None)
        if story is not None:
            self._count -= len(story.seqs)

    def _add(self, thread: ThreadId, events: Iterable[Event]) -> None:
        seqs = self._stories[thread].seqs
        before = len(seqs)
        seqs.update(
            ((event.sender, event.cid), event.seq) for event in events if event.cid is not None
        )
        self._count += len(seqs) - before
        if len(seqs) > THREAD_CIDS_MAX:
            self.forget(thread)
        while self._count > self._cids_max:
            self.forget(next(iter(self._stories)))
