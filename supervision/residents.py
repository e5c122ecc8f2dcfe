"""Which entities of a region are here, which are coming or leaving, and what waits for those.

Nothing here sends, starts or ends anything: `entities` does what this says. An entity is *here*
while it takes messages. It is *coming* while it is wanted and not ready, *leaving* from the moment
it was asked to end until it has; what is sent to it then waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from actors.runtime.mailbox import Overflow

if TYPE_CHECKING:
    from actors.runtime import Actor, Ref


@dataclass(slots=True, eq=False)
class Resident:
    """One entity that somebody wants. `ref` is its incarnation, if there is one."""

    name: str
    actor: type[Actor]
    ref: Ref | None = None
    used_s: float = 0.0
    left_s: float = 0.0
    handled: int = 0
    waiting: deque[Any] = field(default_factory=deque)

    def wait(self, message: Any) -> tuple[bool, Any]:
        """Have a message wait. Whether it does, or its sender need not care; and what is rejected
        instead, which may be this or an older one.

        What waits stands in for a mailbox, so it has the bound and the policy of the entity's own,
        and will fit into that. `STOP_RECEIVER` finds nobody to stop, and refuses."""
        if len(self.waiting) < self.actor.mailbox_max:
            self.waiting.append(message)
            return True, None
        match self.actor.overflow:
            case Overflow.DROP_NEWEST:
                return True, message
            case Overflow.DROP_OLDEST:
                self.waiting.append(message)
                return True, self.waiting.popleft()
            case Overflow.REFUSE | Overflow.STOP_RECEIVER:
                return False, message


class Residents:
    """All of them, by name. At most `live_max` should be here or coming: the others make room."""

    def __init__(self, live_max: float, idle_s: float, leave_s: float) -> None:
        self._live_max = live_max
        self._idle_s = idle_s
        self._leave_s = leave_s
        self.here: OrderedDict[str, Resident] = OrderedDict()
        """The least recently used first."""
        self.coming: dict[str, Resident] = {}
        self.leaving: dict[str, Resident] = {}
        """The longest first."""

    def get(self, name: str) -> Resident | None:
        return self.here.get(name) or self.coming.get(name) or self.leaving.get(name)

    # ------------------------------------------------------------------ what happens to them

    def wanted(self, name: str, actor: type[Actor]) -> Resident:
        """One that was not wanted before is coming."""
        resident = self.coming[name] = Resident(name, actor)
        return resident

    def arrived(self, resident: Resident, ref: Ref, now_s: float) -> Sequence[Any]:
        """It is here. What waited for it, oldest first, is its own now."""
        self.here[resident.name] = self.coming.pop(resident.name)
        resident.ref, resident.used_s = ref, now_s
        waited, resident.waiting = resident.waiting, deque()
        return waited

    def used(self, resident: Resident, now_s: float) -> None:
        """A message goes to one that is here."""
        resident.used_s = now_s
        self.here.move_to_end(resident.name)

    def left(self, resident: Resident, now_s: float) -> None:
        """One that was here has been asked to end."""
        self.leaving[resident.name] = self.here.pop(resident.name)
        resident.left_s = now_s

    def ended(self, resident: Resident) -> None:
        """Its incarnation is no more; until it is `forgotten` the next is coming."""
        self.here.pop(resident.name, None)
        self.leaving.pop(resident.name, None)
        self.coming[resident.name] = resident
        resident.ref = None

    def forgotten(self, resident: Resident) -> Sequence[Any]:
        """One that was coming is not wanted any more. What waited for it, in vain."""
        del self.coming[resident.name]
        return resident.waiting

    # ------------------------------------------------------------------ who is to go

    def idle(self, now_s: float, most: int) -> list[Resident]:
        """Those here that nothing was sent to for the idle time, up to so many."""
        oldest = islice(self.here.values(), most)
        return list(takewhile(lambda each: now_s - each.used_s >= self._idle_s, oldest))

    def excess(self) -> list[Resident]:
        """Those here that must make room for others: the least recently used."""
        count = len(self.here) + len(self.coming) - self._live_max
        return list(islice(self.here.values(), int(count))) if count > 0 else []

    def is_stuck(self, resident: Resident, handled: int, now_s: float) -> bool:
        """Whether one that leaves, and has handled so many messages in its life, has handled none
        for too long: it will not get to its end."""
        if handled != resident.handled:
            resident.handled, resident.left_s = handled, now_s
        return now_s - resident.left_s >= self._leave_s

    def counts(self) -> dict[str, int]:
        away = chain(self.coming.values(), self.leaving.values())
        return {
            "here": len(self.here), "coming": len(self.coming), "leaving": len(self.leaving),
            "waiting": sum(len(each.waiting) for each in away),
        }  # fmt: skip
