"""From the driver's thread to trio: answers come in bursts, and each burst is one wake-up.

**Problem.** The driver calls back on a thread of its own. A worker thread for each request costs
three times what the request does; waking trio for each answer costs a system call each.

**Rule.** A callback leaves its answer in a queue and wakes trio only if nobody has since trio last
emptied it. How many requests are under way is bounded here, for the driver blocks its caller when
its connections are full. A request cannot be called back: a cancelled caller leaves, the request
goes on and keeps its place until it is answered or timed out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio
from outcome import Error, Outcome, Value

REQUESTS_MAX = 256
"""Under way at a time. A node of two cores has its best throughput there; above, requests only
wait in its queue, towards their time-out."""


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """`requests` since opening, `under_way` now, `wakes` of trio by the driver's thread."""

    requests: int
    under_way: int
    wakes: int


@dataclass(slots=True, eq=False)
class _Request:
    answered: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome[Any] | None = None


class Bridge:
    """Made inside trio; `call` belongs to that run."""

    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._places = trio.Semaphore(requests_max, max_value=requests_max)
        self._requests_max = requests_max
        self._answers: deque[tuple[_Request, Outcome[Any]]] = deque()
        self._awake = False
        self._requests = 0
        self._wakes = 0

    async def call(self, send: Callable[[], Any]) -> Any:
        """Send a request and wait for what it answers or raises.

        `send` returns the driver's `ResponseFuture`. Cancelled while waiting for a place, nothing
        was sent; later, the outcome is unknown.
        """
        await self._places.acquire()
        request = _Request()
        self._requests += 1
        try:
            future = send()
        except BaseException:
            self._places.release()
            raise
        future.add_callbacks(self._succeeded, self._failed, (request,), {}, (request,), {})
        await request.answered.wait()
        assert request.outcome is not None
        return request.outcome.unwrap()

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(
            self._requests, self._requests_max - self._places.value, self._wakes
        )

    # ------------------------------------------------------------------ on the driver's thread

    def _succeeded(self, rows: Any, request: _Request) -> None:
        self._answer(request, Value(rows))

    def _failed(self, error: BaseException, request: _Request) -> None:
        self._answer(request, Error(error))

    def _answer(self, request: _Request, outcome: Outcome[Any]) -> None:
        self._answers.append((request, outcome))
        if not self._awake:
            self._awake = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._drain)

    # ------------------------------------------------------------------ back in trio

    def _drain(self) -> None:
        """What is appended from here on either wakes trio again or is taken by this loop."""
        self._awake = False
        self._wakes += 1
        while self._answers:
            request, outcome = self._answers.popleft()
            if request.outcome is None:  # a read that was sent twice may be answered twice
                request.outcome = outcome
                request.answered.set()
                self._places.release()
