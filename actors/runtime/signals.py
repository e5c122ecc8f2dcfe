"""What reaches an actor before its traffic: the ends of others, and results of its own tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outcome import Outcome

from actors.runtime.exits import ExitReason
from actors.runtime.links import MonitorRef
from actors.runtime.ref import Ref
from actors.runtime.tasks import TaskRef


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored actor ended. Its name is free already."""

    monitor: MonitorRef
    ref: Ref
    name: str | None
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Exit:
    """An exit signal, trapped. `ref` is whoever ended, or sent it."""

    ref: Ref | None
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The system, or the supervisor of a trapping actor, asks it to end; `on_stop` runs."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Done:
    """A task of the actor has ended; `callback` gets the outcome in the actor's turn."""

    task: TaskRef
    callback: Callable[[Any], None]
    result: Outcome[Any]
