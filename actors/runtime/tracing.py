"""What happens in a system, as typed events, and the stream they go through.

Free when nobody listens: emitters check `EventStream.is_heard` first. A listener that raises is
detached and logged; it never hurts the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from actors.runtime.exits import ExitReason
from actors.runtime.reports import CrashReport

logger = logging.getLogger("actors")


@dataclass(frozen=True, slots=True)
class Event:
    """Something about one actor: `at_s` is loop time; `id`, `name`, `incarnation` its address."""

    at_s: float
    id: int
    name: str | None
    incarnation: int
    actor: str
    """The class's name."""


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The actor is ready."""


@dataclass(frozen=True, slots=True)
class Exited(Event):
    """The actor has ended."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Crashed(Event):
    """Code of the actor raised. Once for each crash, before its end."""

    report: CrashReport


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """A handler raised, and by `on_error` the actor goes on with its next message."""

    report: CrashReport


@dataclass(frozen=True, slots=True)
class DeadLetter(Event):
    """A message had no receiver. Only its type is told, never its content."""

    message: str


@dataclass(frozen=True, slots=True)
class RestartScheduled(Event):
    """A supervisor (`name`) will start `child` again after `delay_s`."""

    child: str
    delay_s: float
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Restarted(Event):
    """A supervisor (`name`) has started `child` again, for the `restarts`th time."""

    child: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ChildRetired(Event):
    """A dynamic child failed too often and may not start for `retire_s`."""

    child: str
    retire_s: float


@dataclass(frozen=True, slots=True)
class Escalated(Event):
    """A supervisor gave up: its children failed more often than its limits allow, or `child` in a
    way that says so (`on_error`)."""

    child: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Unkillable(Event):
    """The actor is dead, but its code did not end when it was cancelled. Once for each actor; its
    supervisor goes on, or waits for the code, as the child's `unkillable` says."""


@dataclass(frozen=True, slots=True)
class Unwound(Event):
    """The code of an actor that was `Unkillable` has ended, `after_s` after the actor."""

    after_s: float


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """A background task (`name`, made by `spawn_task`) failed; nothing else ended. `id` is 0."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class LoopStalled(Event):
    """The loop turns again, `duration_s` after it should have. It was stuck in `stack`, in code of
    this actor; `id` is 0 if in nobody's. The stack is empty if nobody could look meanwhile."""

    duration_s: float
    stack: str


Listener = Callable[[Event], None]


class EventStream:
    """Synchronous fan-out of events."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def is_heard(self) -> bool:
        return bool(self._listeners)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear every event from now on; call the result to stop."""
        self._listeners.append(listener)

        def cancel() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return cancel

    def emit(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                logger.exception("an event listener failed and was detached")
                if listener in self._listeners:
                    self._listeners.remove(listener)
