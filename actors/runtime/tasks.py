"""The trio tasks an actor owns: its own loop, async hooks, and what it runs beside itself.

All of them end with the incarnation. A task that was cancelled before its first step never takes
it, so nothing of a dead actor begins; one whose code does not end when cancelled (it is shielded,
or waits for a thread) is left behind and reported (`unwinding`), so nothing hangs silently.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio
from outcome import Error, Outcome, Value

from actors.runtime.errors import DeadlineExceeded

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

LETS_THROUGH = (KeyboardInterrupt, SystemExit)
"""What ends the program, not the actor that happened to run when it came."""

acting: ContextVar[Cell | None] = ContextVar("acting", default=None)
"""Whose code a task is: the sender of the exit signals it sends."""


class TaskRef:
    """A task of an actor; `cancel` ends it, and its `on_done` is then not called."""

    __slots__ = ("has_ended", "label", "scope", "trio_task")

    def __init__(self, label: str, deadline_s: float = math.inf) -> None:
        self.scope = trio.CancelScope(deadline=deadline_s)
        self.label = label
        self.has_ended = False
        self.trio_task: trio.lowlevel.Task | None = None
        """Set if the task handles the actor's messages or hooks: it must not call the actor."""

    @property
    def is_cancelled(self) -> bool:
        return self.scope.cancel_called

    def cancel(self) -> None:
        self.scope.cancel()

    def __repr__(self) -> str:
        return f"<TaskRef {self.label!r}{' ended' if self.has_ended else ''}>"


def start_owned(
    cell: Cell,
    task: TaskRef,
    work: Callable[[], Awaitable[Any]],
    on_end: Callable[[Outcome[Any] | None], None],
    *,
    handles: bool,
) -> None:
    """Run `work` in a task owned by the actor. `on_end` gets its outcome in that task, or None if
    it was cancelled. `handles`: the task runs the actor's own handlers or hooks."""
    if cell.is_dead:
        task.cancel()
        task.has_ended = True
        return
    cell.more().tasks.add(task)
    cell.system.nursery.start_soon(_run, cell, task, work, on_end, handles, name=task.label or None)


async def _run(
    cell: Cell,
    task: TaskRef,
    work: Callable[[], Awaitable[Any]],
    on_end: Callable[[Outcome[Any] | None], None],
    handles: bool,
) -> None:
    acting.set(cell)
    if handles:
        task.trio_task = trio.lowlevel.current_task()
    result: Outcome[Any] | None = None
    try:
        with task.scope:
            if not task.is_cancelled:
                result = await _outcome(work)
    finally:
        task.has_ended = True
        cell.forget_task(task)
    on_end(result)


async def _outcome(work: Callable[[], Awaitable[Any]]) -> Outcome[Any]:
    try:
        return Value(await work())
    except trio.Cancelled:
        if trio.current_effective_deadline() == -math.inf:
            raise
        # Nobody cancelled this task: the exception is another task's, kept and raised here. Let
        # through, it would unwind the whole system.
        return Error(RuntimeError("a cancellation that was not this task's own escaped"))
    except LETS_THROUGH:
        raise
    except BaseException as error:  # noqa: BLE001  (handed to on_end, which decides)
        return Error(error)


def within(
    timeout_s: float, work: Callable[..., Awaitable[Any]], *args: Any
) -> Callable[[], Awaitable[Any]]:
    """`work` that is cancelled after `timeout_s`, and then raises `DeadlineExceeded`."""

    async def bounded() -> Any:
        with trio.move_on_after(timeout_s):
            return await work(*args)
        raise DeadlineExceeded(f"not done within {timeout_s} s")

    return bounded


def awaiting(coroutine: Any) -> Callable[[], Awaitable[Any]]:
    """A coroutine as work."""

    async def work() -> Any:
        return await coroutine

    return work


def discard(value: Any) -> None:
    """Close a coroutine that will not run, so that Python does not warn of it."""
    if inspect.iscoroutine(value):
        value.close()
