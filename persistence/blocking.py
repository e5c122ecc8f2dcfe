"""One bridge from trio to calls that block: a lane of worker threads with its own limit.

A lane's calls are never abandoned. A cancelled caller waits for the thread to finish and only then
hears of the cancellation, because what the thread works on (a connection, a file) is not free
before, and a write that goes on unseen would be worse than a late answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Lane:
    """At most `threads` blocking calls at a time; more wait in order of arrival."""

    __slots__ = ("_limiter", "_name")

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limiter = trio.CapacityLimiter(threads)

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises, called in a thread.

        Cancelled before it started, it does not run at all; cancelled later, it ends first.
        """
        return await trio.to_thread.run_sync(
            call, limiter=self._limiter, abandon_on_cancel=False, thread_name=self._name
        )

    def __repr__(self) -> str:
        statistics = self._limiter.statistics()
        return f"<Lane {self._name} {statistics.borrowed_tokens}/{statistics.total_tokens} in use>"
