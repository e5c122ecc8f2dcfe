"""Identical reads share one: a thousand askers of one page cost the store two.

**Problem.** A message to a large group makes all of its members ask for the same page at once.
Joining a read that is under way would be wrong: it may have begun before a write that the newcomer
knows to be committed.

**Rule.** Whoever comes while a read is under way waits for the next one of its kind, together with
everybody else who came meanwhile. So each answer is of a read that began after it was asked for,
and at most two of a kind exist: one under way, one waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


class _Flight:
    __slots__ = ("error", "landed", "result")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.result: tuple[Any] | None = None
        self.error: Exception | None = None


class SharedReads:
    """Results are shared between tasks: they must not be changed."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Flight] = {}
        self._next: dict[Hashable, _Flight] = {}
        self.shared = 0
        """Reads that were answered by another one's, since the beginning."""

    async def read(self, key: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        """What `fetch` returns or raises, called for all who ask for `key` meanwhile."""
        while (flight := self._next.get(key)) is not None:
            await flight.landed.wait()
            self.shared += 1
            if flight.error is not None:
                raise type(flight.error)(*flight.error.args) from flight.error
            if flight.result is not None:
                result: T = flight.result[0]
                return result
            # Who fetched was cancelled: somebody else does.
        return await self._lead(key, fetch)

    async def _lead(self, key: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        flight = _Flight()
        try:
            if (before := self._under_way.get(key)) is not None:
                self._next[key] = flight
                await before.landed.wait()
                del self._next[key]
            self._under_way[key] = flight
            result = await fetch()
            flight.result = (result,)
            return result
        except Exception as error:
            flight.error = error
            raise
        finally:
            for flights in (self._next, self._under_way):
                if flights.get(key) is flight:
                    del flights[key]
            flight.landed.set()
