"""Timers with a name of the actor's own: at most one each, and no tick of one that was replaced.

gen_statem's generic timeouts. Cancelling a plain timer does not take back what has fired and waits
in the mailbox; whoever sets one again had to tell its ticks apart. Here a tick is looked at when
its turn comes, and goes nowhere if its timer is not the current one of that name.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from actors.runtime.signals import Errand

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.timers import TimerRef


@dataclass(frozen=True, slots=True)
class Tick(Errand):
    """A named timer has fired."""

    key: Hashable
    token: object
    message: Any

    def run(self, cell: Cell) -> Any:
        named = cell.more().named_timers or {}
        if self.key not in named or named[self.key][0] is not self.token:
            return None
        del named[self.key]
        return cell.actor.on_receive(self.message)


def set_named_timer(cell: Cell, key: Hashable, delay_s: float, message: Any) -> None:
    """Send the actor a message later, instead of what its timer of this name would have sent."""
    drop_named_timer(cell, key)
    if cell.is_dead:
        return
    extra = cell.more()
    if extra.named_timers is None:
        extra.named_timers = {}
    tick = Tick(key, object(), message)
    at_s = trio.current_time() + delay_s
    timer = cell.system.timers.set_at(at_s, cell, cell.accept_control, tick)
    extra.named_timers[key] = (tick.token, timer)


def drop_named_timer(cell: Cell, key: Hashable) -> float | None:
    """Hear nothing of it, even if it has fired; the seconds that were left, 0 if it has, None if
    there was none."""
    named = cell.extra.named_timers if cell.extra is not None else None
    if not named or key not in named:
        return None
    timer: TimerRef = named.pop(key)[1]
    return timer.cancel() or 0.0
