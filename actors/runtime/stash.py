"""Messages an actor cannot handle yet, kept aside in order (Akka's stash, gen_statem's postpone).

An ask is kept with its answer, so its asker goes on waiting. Messages come back before everything
that waits in the mailbox, in the order they arrived in, whatever the number taken at a time. What
is still here at the actor's end was not handled: dead letters, and their askers are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.runtime.errors import StashFull
from actors.runtime.mailbox import Ask

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

STASH_MAX = 1_000
"""Default bound: what piles up while an actor waits for one thing, not a second mailbox."""


class Stash:
    """What one actor has put aside."""

    __slots__ = ("_returned", "messages")

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._returned: list[Any] = []

    def put(self, cell: Cell, message: Any, limit: int) -> None:
        """Keep the message being handled. Raises `StashFull`; the message is then still current."""
        if len(self.messages) >= limit:
            raise StashFull(f"{cell.ref} has {limit} messages put aside")
        answer, cell.current = cell.current, None
        self.messages.append(message if answer is None else Ask(message, answer))

    def take_back(self, cell: Cell, count: int | None) -> int:
        """Let this many be handled next, all by default; how many there were."""
        taken = self.messages[:count]
        del self.messages[: len(taken)]
        back = self._still_waiting(cell) + taken
        cell.mailbox.put_back(back)
        self._returned = back
        if taken:
            cell.dispatcher.schedule(cell)
        return len(taken)

    def _still_waiting(self, cell: Cell) -> list[Any]:
        """What came back before and has not been handled, out of the mailbox: it was first."""
        traffic = cell.mailbox.traffic or ()
        for start in range(len(self._returned)):
            rest = self._returned[start:]
            waits = zip(rest, traffic, strict=False)
            if len(rest) <= len(traffic) and all(a is b for a, b in waits):
                for _ in rest:
                    cell.mailbox.traffic.popleft()  # type: ignore[union-attr]  # it has them
                return rest
        return []


def stash_of(cell: Cell) -> Stash:
    extra = cell.more()
    if extra.stash is None:
        extra.stash = Stash()
    return extra.stash
