"""The readers: a few read-only connections, each used by one thread at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from persistence.blocking import Lane
from persistence.errors import StoreUnavailable
from persistence.sqlite_files import connect_reader, translated

T = TypeVar("T")

READERS_MAX = 4
"""Connections, and so threads: enough to have one reading while others wait for the disk."""


class Readers:
    """Runs queries. Each sees everything that was committed before it was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lane = Lane("sqlite reader", READERS_MAX)
        self._free = trio.Semaphore(READERS_MAX)
        self._holding_back = trio.Lock()  # two that each hold some would wait for ever
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self.count = 0

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` returns. Raises `StoreUnavailable` or `Corrupt`."""
        async with self._free:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self.count += 1
            connection = self._idle.pop() if self._idle else None
            return await self._lane.run(partial(self._run, query, connection))

    @asynccontextmanager
    async def held_back(self) -> AsyncIterator[None]:
        """No query runs inside. Those that run are waited for; new ones wait."""
        held = 0
        async with self._holding_back:
            try:
                for _ in range(READERS_MAX):
                    await self._free.acquire()
                    held += 1
                yield
            finally:
                for _ in range(held):
                    self._free.release()

    async def close(self) -> None:
        """Wait for running queries, refuse those that wait, close the connections."""
        async with self.held_back():
            self._closed = True
            while self._idle:
                await self._lane.run(self._idle.pop().close)

    def _run(
        self, query: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection | None
    ) -> T:
        """In a thread. A connection that anything went wrong with is not used again."""
        try:
            connection = connection or connect_reader(self._path)
            result = query(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise translated(error, self._path) from error
            raise
        self._idle.append(connection)
        return result
