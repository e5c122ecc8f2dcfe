"""A trio run that a synchronous test drives call by call.

Hypothesis calls the rules of a state machine from plain code, so the loop lives in a thread of its
own, on a `MockClock` that moves only when told to. The two threads take turns: a call hands the
loop over to its function and waits, and at its end the loop stands still, in the middle of a step,
until the next call. How far a loop gets between two calls would otherwise be the operating system's
choice, each step draws whom it runs first, and the same example would be another story.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import trio
from outcome import Error, Outcome, Value
from trio.testing import MockClock

Stage = TypeVar("Stage")
T = TypeVar("T")
Call = Callable[[], Awaitable[Any]]

JOIN_S = 30.0
"""Real seconds that the thread may take to end."""


class Hosted(Generic[Stage]):
    """A stage, opened in a loop of its own. `close` must follow."""

    stage: Stage

    def __init__(
        self, open_stage: Callable[[MockClock], AbstractAsyncContextManager[Stage]]
    ) -> None:
        self._open_stage = open_stage
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._results: SimpleQueue[Outcome[Any]] = SimpleQueue()
        self._end: Outcome[None] | None = None
        self._thread = threading.Thread(target=self._run, name="hosted loop", daemon=True)
        self._thread.start()
        self._results.get().unwrap()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function in the loop and wait for its result."""
        assert self._end is None, f"the loop has ended: {self._end}"
        self._calls.put(lambda: function(*args))
        result: T = self._results.get().unwrap()
        return result

    def close(self) -> None:
        """End the loop; raises what it failed with."""
        self._calls.put(None)
        self._thread.join(JOIN_S)
        assert self._end is not None, "the loop does not end"
        self._end.unwrap()

    def _run(self) -> None:
        end: Outcome[None] = Value(None)
        try:
            clock = MockClock()
            trio.run(self._root, clock, clock=clock)
        except BaseException as failure:  # noqa: BLE001  (raised again in the caller's thread)
            end = Error(failure)
        self._end = end
        self._results.put(end)

    async def _root(self, clock: MockClock) -> None:
        async with self._open_stage(clock) as self.stage:
            self._results.put(Value(None))
            while (call := self._calls.get()) is not None:
                self._results.put(await _outcome(call))


async def _outcome(call: Call) -> Outcome[Any]:
    """What a call came to; a cancellation is the loop's own failure and goes on."""
    try:
        return Value(await call())
    except Exception as failure:  # noqa: BLE001  (raised again in the caller's thread)
        return Error(failure)
