"""What reaches an actor before its traffic: the ends of others, results of its own tasks, and
errands of the runtime that never come to `on_receive`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outcome import Outcome

from actors.runtime.exits import ExitReason
from actors.runtime.links import MonitorRef
from actors.runtime.ref import Ref
from actors.runtime.tasks import TaskRef

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.futures import Answer


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
class Timeout:
    """Nothing came for as long as the actor wanted to wait (`timeout_after`, `idle_after`)."""


TIMEOUT = Timeout()


class Errand:
    """Something the runtime does in a turn of the actor, as its code."""

    __slots__ = ()

    def run(self, cell: Cell) -> Any:
        """Do it. A coroutine is awaited; what is raised ends the actor."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class StopRequest(Errand):
    """The system, or the supervisor of a trapping actor, asks it to end; `on_stop` runs."""

    reason: ExitReason

    def run(self, cell: Cell) -> None:
        cell.actor.stop(self.reason)


@dataclass(frozen=True, slots=True)
class Done(Errand):
    """A task of the actor has ended; `callback` gets the outcome in the actor's turn."""

    task: TaskRef
    callback: Callable[[Any], None]
    result: Outcome[Any]

    def run(self, _cell: Cell) -> None:
        if not self.task.is_cancelled:
            self.callback(self.result)


@dataclass(frozen=True, slots=True)
class Continue(Errand):
    """The rest of what the actor was doing (OTP's `{continue, _}`)."""

    message: Any

    def run(self, cell: Cell) -> Any:
        return cell.actor.on_continue(self.message)


@dataclass(frozen=True, slots=True)
class Inspect(Errand):
    """A system message (sys(3)): answered by the runtime, also while the actor is suspended. It is
    no message of the actor's own: it ends no timeout and is not counted."""

    act: Callable[[Cell], Any]
    answer: Answer

    def run(self, cell: Cell) -> None:
        cell.handled -= 1
        try:
            result = self.act(cell)
        except Exception as error:  # noqa: BLE001  (handed to whoever looks; the actor goes on)
            self.answer.resolve(None, error)
        else:
            self.answer.resolve(result, None)
