"""Dead actors whose code has not ended yet.

An end cancels the actor's tasks. Their code goes on until it waits for something that hears of it:
for a moment, or for ever if it is shielded, or waits for a thread. Trio has no other kill. Whoever
must not begin before waits for it (`Ref.wait_unwound`). Code that takes long is reported once, when
that is plain and again when it has ended; in between its actor is a *zombie*, counted and listed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from actors.runtime.tracing import Unkillable, Unwound

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.ref import Ref
    from actors.runtime.system import ActorSystem

logger = logging.getLogger("actors")

UNWIND_S = 1.0
"""Time the tasks of a dead actor have to end, before they are reported. Cancelled code that only
closes things is done within microseconds; a rollback over the network may take a while."""


@dataclass(slots=True, eq=False)
class _Remains:
    cell: Cell
    ended_s: float
    """When the actor ended."""
    is_over: trio.Event = field(default_factory=trio.Event)


class Unwinding:
    """Those of one system. `zombies` have been reported, the oldest first."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._remains: dict[int, _Remains] = {}
        self.zombies: dict[int, Ref] = {}

    def begin(self, cell: Cell) -> None:
        """This actor is dead, and its tasks have been cancelled."""
        remains = self._remains[cell.ref.id] = _Remains(cell, trio.current_time())

        def look() -> None:
            if not remains.is_over.is_set():
                self.zombies[cell.ref.id] = cell.ref
                logger.error("%s is dead, but its code does not end", cell.ref)
                self._system.emit(Unkillable, cell.ref)

        self._system.timers.call_after(UNWIND_S, look)

    def end(self, cell: Cell) -> None:
        """The last of its tasks has ended."""
        remains = self._remains.pop(cell.ref.id)
        remains.is_over.set()
        if self.zombies.pop(cell.ref.id, None) is not None:
            after_s = trio.current_time() - remains.ended_s
            logger.warning("the code of %s ended %.1f s after its actor", cell.ref, after_s)
            self._system.emit(Unwound, cell.ref, after_s)

    def named(self, name: str) -> Ref | None:
        """One of this name, if there is one."""
        found = (remains.cell.ref for remains in self._remains.values())
        return next((ref for ref in found if ref.name == name), None)

    async def wait(self, ref: Ref) -> None:
        """Wait until no code of this dead actor runs."""
        remains = self._remains.get(ref.id)
        if remains is not None:
            await remains.is_over.wait()
