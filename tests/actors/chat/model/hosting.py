"""A trio run that a synchronous test drives call by call.

Hypothesis calls the rules of a state machine from plain code, so the loop lives in a thread of its
own, on a `MockClock` that moves only when told to. Between two calls every task is blocked: nothing
happens behind the test's back, and one example is one sequence of events.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio
from trio.testing import MockClock

Stage = TypeVar("Stage")
T = TypeVar("T")

JOIN_S = 30.0
"""Real seconds that the thread may take to end."""


class Hosted(Generic[Stage]):
    """A stage, opened in a loop of its own. `close` must follow."""

    stage: Stage

    def __init__(
        self, open_stage: Callable[[MockClock], AbstractAsyncContextManager[Stage]]
    ) -> None:
        self._open_stage = open_stage
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hosted loop", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function in the loop and wait for its result."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def close(self) -> None:
        """End the loop; raises what it failed with."""
        if self._thread.is_alive():
            trio.from_thread.run_sync(self._closing.set, trio_token=self._token)
        self._thread.join(JOIN_S)
        assert not self._thread.is_alive(), "the loop does not end"
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            clock = MockClock()
            trio.run(self._root, clock, clock=clock)
        except BaseException as failure:  # noqa: BLE001  (raised again in the caller's thread)
            self._failure = failure
        finally:
            self._ready.set()

    async def _root(self, clock: MockClock) -> None:
        async with self._open_stage(clock) as self.stage:
            self._token = trio.lowlevel.current_trio_token()
            self._closing = trio.Event()
            self._ready.set()
            await self._closing.wait()
