"""Read cursors of one thread: what moved, what is still to be written, who waits for it.

Cursors move in memory at once, are shown to others a moment later, and are written with the next
commit, or with one of their own when a client awaits the `ok` or a second has passed. Never is
there a write per reader and message (DESIGN.md §8).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from actors.chat.answers import Refused
from actors.chat.channel_state import ThreadState, viewing
from actors.chat.messages import Caller, Mark
from persistence.errors import StoreError
from persistence.protocols import MessageLog
from persistence.records import Append, Cursor, Span, UserId

LAST_WRITE_S = 1.0
"""How long an orderly end may wait for the store."""


@dataclass(frozen=True, slots=True)
class NeedCount:
    """How many messages lie up to `seq` is not in memory: read that event first."""

    seq: int
    recv: int


def cursor_of(state: ThreadState, mark: Mark) -> Cursor | NeedCount | Refused:
    """Where a mark moves its user's cursor: clamped to the head they see; `read` implies `recv`."""
    member = viewing(state.meta, state.members.get(mark.caller.uid))
    if isinstance(member, Refused):
        return member
    span = Span(member.join_seq, member.left_seq)
    high = state.head.seq if span.high is None else span.high
    recv, read = min(mark.recv or 0, high), min(mark.read or 0, high)
    if read < span.low:
        return Cursor(recv=max(recv, read))
    if read == state.head.seq:
        return Cursor(max(recv, read), read, state.head.n)
    event = state.at(read)
    if event is None:
        return NeedCount(read, max(recv, read))
    return Cursor(max(recv, read), read, event.n)


async def write_last(log: MessageLog, state: ThreadState, dirty: Mapping[UserId, Cursor]) -> None:
    """Before an orderly end: write the cursors nobody awaits, as far as the store lets us. Another
    writer may have taken over; then nothing is written, for that one may know better."""
    head = state.head
    append = Append(state.thread, head.epoch, head.seq, (), cursors=dict(dirty))
    with trio.move_on_after(LAST_WRITE_S), suppress(StoreError):
        await log.append([append])


@dataclass(slots=True)
class CursorBook:
    """`dirty` cursors are not durable yet; `unshown` ones (with the device that moved them) were
    not shown to others yet; a flush is `due` when somebody awaits it or time is up."""

    dirty: dict[UserId, Cursor] = field(default_factory=dict)
    unshown: dict[UserId, int] = field(default_factory=dict)
    due: bool = False
    _waiting: list[Caller] = field(default_factory=list)
    _flushing: list[Caller] = field(default_factory=list)

    def moved(self, caller: Caller, cursor: Cursor) -> None:
        self.dirty[caller.uid] = cursor
        self.unshown[caller.uid] = caller.device

    def await_flush(self, caller: Caller) -> None:
        """Answer this caller when everything dirty now is durable."""
        self._waiting.append(caller)
        self.due = True

    def into(self, cursors: dict[UserId, Cursor]) -> None:
        """A commit starts: take everything dirty along; its own, later cursors win."""
        for uid, cursor in self.dirty.items():
            cursors.setdefault(uid, cursor)
        self._flushing, self._waiting = self._waiting, []
        self.due = False

    def committed(self, cursors: dict[UserId, Cursor]) -> list[Caller]:
        """The commit is durable; who is to be answered."""
        for uid, cursor in cursors.items():
            if self.dirty.get(uid) == cursor:
                del self.dirty[uid]
        flushed, self._flushing = self._flushing, []
        return flushed

    def taken_back(self) -> None:
        """The commit did not happen, or nobody knows: its cursors wait again."""
        self._waiting = self._flushing + self._waiting
        self._flushing = []
        self.due = bool(self._waiting)

    def failed(self) -> list[Caller]:
        """The commit surely did not happen; who is to be refused."""
        refused, self._flushing = self._flushing, []
        return refused
