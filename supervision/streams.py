"""A stream: the same work for each item of a source, some of them at once, an outcome for each.

Elixir's `Task.Supervisor.async_stream`. The consumer drives it: the source is read, and work
started, only while an outcome is asked for, so a slow consumer slows the source.

**The window.** At most `max_concurrency` items are out of the source whose outcomes were not given
yet. Elixir counts only those at work, so behind one that is slow the ordered outcomes of all others
pile up, and the source is read without end. Here one that is slow holds back the others; unordered,
it does not.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

import trio
from outcome import Error, Outcome

from actors.runtime import KILL, SHUTDOWN, ActorDied, DeadlineExceeded, Ref, RequestSet
from supervision.spec import WORKER_SHUTDOWN_S

if TYPE_CHECKING:
    from supervision.tasks import Task

Item = TypeVar("Item")
Result = TypeVar("Result")


class OnTimeout(StrEnum):
    """What follows when an item takes too long."""

    EXIT = "exit"
    """The stream ends: asking for the next outcome raises `TaskTimeout`."""
    KILL_TASK = "kill_task"
    """The item's outcome is a `TaskTimeout`, and the others go on."""


class TaskTimeout(DeadlineExceeded):
    """The work took too long and was ended. What it had done by then is unknown."""


class TaskStream(AsyncIterator[tuple[Item, Outcome[Result]]], Generic[Item, Result]):
    """Each item with its outcome: what the work returned, what it raised, or `ActorDied` with why
    it ended otherwise. For one consumer. Waiting for the next may be cancelled and tried again:
    nothing is lost. `start` may raise; its item is the next one then, too."""

    def __init__(
        self,
        items: Iterable[Item],
        start: Callable[[Item], Task[Result]],
        *,
        max_concurrency: int,
        ordered: bool,
        on_timeout: OnTimeout,
    ) -> None:
        self._source = iter(items)
        self._start = start
        self._max_concurrency = max_concurrency
        self._ordered = ordered
        self._on_timeout = on_timeout
        self._read: list[Item] = []
        """The item that was read and could not be started, if any."""
        self._items: dict[Task[Result], Item] = {}
        """Those whose outcomes were not given, in the order of the source."""
        self._requests = RequestSet()

    def __repr__(self) -> str:
        return f"<TaskStream {len(self._items)} of {self._max_concurrency} out>"

    async def __anext__(self) -> tuple[Item, Outcome[Result]]:
        self._fill()
        if not self._items:
            raise StopAsyncIteration
        task, outcome = await (self._first() if self._ordered else self._any())
        item = self._items.pop(task)
        match outcome:
            case Error(TaskTimeout() as error) if self._on_timeout is OnTimeout.EXIT:
                raise error
            case _:
                return item, outcome

    def _fill(self) -> None:
        """Start as many as may be out."""
        while len(self._items) < self._max_concurrency:
            if not self._read:
                try:
                    self._read.append(next(self._source))
                except StopIteration:
                    self._source = iter(())  # some would begin again
                    return
            try:
                task = self._start(self._read[0])
            except ActorDied:
                if self._items:
                    return  # their supervisor is gone, and so are they: first their outcomes
                raise
            self._items[task] = self._read.pop()
            if not self._ordered:
                self._requests.add(task, task)

    async def _first(self) -> tuple[Task[Result], Outcome[Result]]:
        task = next(iter(self._items))
        outcome = await task.wait(math.inf)
        assert outcome is not None, "a task is answered, if only by its end"
        return task, outcome

    async def _any(self) -> tuple[Task[Result], Outcome[Result]]:
        answer = await self._requests.wait(math.inf)
        assert answer is not None, "a task is answered, if only by its end"
        return answer

    async def close(self) -> None:
        """End the work that is under way; no code of it runs afterwards."""
        await end_all([task.ref for task in self._items])


async def end_all(refs: Iterable[Ref], limit_s: float = WORKER_SHUTDOWN_S) -> None:
    """Tell tasks to end, wait until their code has cleaned up, and kill those that do not. Also
    under cancellation, so that nobody leaves anything behind."""
    ending = [ref for ref in refs if ref.is_alive()]
    for ref in ending:
        ref.exit(SHUTDOWN)
    with trio.move_on_after(limit_s, shield=True):
        for ref in ending:
            await ref.wait_exit()
    for ref in ending:
        ref.exit(KILL)
