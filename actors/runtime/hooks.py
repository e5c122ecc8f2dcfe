"""The hooks of an actor, called as its code: the sync part at once, an async hook in a task.

For its start (`turns`) and its end (`endings`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outcome import Error, Outcome, Value

from actors.runtime.cell import DEAD, Cell
from actors.runtime.crashes import log_crash
from actors.runtime.exits import ExitReason
from actors.runtime.tasks import LETS_THROUGH, TaskRef, awaiting, discard, start_owned


def call_hook(cell: Cell, hook: Callable[[], Any]) -> Outcome[Any]:
    """Call the sync part of a hook as code of this actor."""
    dispatcher = cell.dispatcher
    before, dispatcher.running = dispatcher.running, cell
    try:
        return Value(hook())
    except BaseException as error:  # noqa: BLE001  (handed on)
        return Error(error)
    finally:
        dispatcher.running = before


def spawn_hook(
    cell: Cell,
    label: str,
    coroutine: Any,
    deadline_s: float,
    done: Callable[[Outcome[Any] | None], None],
) -> None:
    """Run an async hook in a task that ends with the actor."""
    task = TaskRef(f"{cell.ref} {label}", deadline_s)
    extra = cell.more()
    extra.hook = task

    def ended(result: Outcome[Any] | None) -> None:
        extra.hook = None
        if result is None:
            discard(coroutine)
        if cell.state is DEAD and isinstance(result, Error):
            log_crash(cell, result.error)
        done(result)

    start_owned(cell, task, awaiting(coroutine), ended, handles=True)


def abrupt_reason(cell: Cell) -> ExitReason | None:
    """The reason of an end without hooks that was asked for meanwhile."""
    return None if cell.ending is None or cell.ending.hooks else cell.ending.reason


def let_through(error: BaseException) -> None:
    if isinstance(error, LETS_THROUGH):
        raise error
