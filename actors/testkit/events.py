"""The event stream of a system as a list.

An `EventLog` is a listener: give it to `open_system(tracer=…)` to have every event from the first
one on, or use `record_events` to begin later. Events are values, so the logs of two runs can be
compared.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

import trio
from trio.testing import wait_all_tasks_blocked

from actors.runtime import ActorSystem
from actors.runtime.tracing import Event
from actors.testkit.expectations import WITHIN_S, Wanted

E = TypeVar("E", bound=Event)
Kind = TypeVar("Kind", bound=Event)


class EventLog(list[E], Generic[E]):
    """What was told, in order: every event, or those of one kind. Fields are wanted as by a
    `Probe`: `of(Exited, reason=Crash)`."""

    @overload
    def __init__(self: EventLog[Event]) -> None: ...
    @overload
    def __init__(self, kind: type[E]) -> None: ...
    def __init__(self, kind: type[Event] = Event) -> None:
        super().__init__()
        self._kind = kind
        self._heard = trio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, self._kind):
            self.append(cast("E", event))
            heard, self._heard = self._heard, trio.Event()
            heard.set()

    def of(self, kind: type[Kind], **fields: Any) -> list[Kind]:
        """The events of this kind with these fields."""
        want = Wanted(kind, fields)
        return [event for event in self if isinstance(event, kind) and want.accepts(event)]

    def take(self) -> list[E]:
        """Everything since the last time; the log is empty then."""
        events = list(self)
        self.clear()
        return events

    async def expect(self, kind: type[Kind], within_s: float = WITHIN_S, **fields: Any) -> Kind:
        """The first such event, past or to come. `AssertionError` with the log if there is none
        within so many seconds of loop time."""
        with trio.move_on_after(within_s):
            while not self.of(kind, **fields):
                await self._heard.wait()
        if not self.of(kind, **fields):
            await wait_all_tasks_blocked()  # what this very moment brings
        found = self.of(kind, **fields)
        if found:
            return found[0]
        told = "".join(f"\n  {event}" for event in self) or " nothing"
        raise AssertionError(f"no {Wanted(kind, fields)} within {within_s} s, but{told}")


@overload
def record_events(system: ActorSystem) -> EventLog[Event]: ...
@overload
def record_events(system: ActorSystem, kind: type[E]) -> EventLog[E]: ...
def record_events(system: ActorSystem, kind: type[Event] = Event) -> EventLog[Any]:
    """A log of everything, or of one kind, from now on."""
    log = EventLog(kind)
    system.events.subscribe(log)
    return log
