"""One URL or several: which database a key's rows are in, and many keys' rows at once.

The same statements run on one server, on several databases by virtual bucket, and on Citus, whose
coordinator is one URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import trio

from persistence.errors import StoreError
from persistence.postgres_buckets import bucket_of
from persistence.postgres_connection import Parameters, Row
from persistence.postgres_pool import Database, PoolStatistics

K = TypeVar("K", str, bytes)
T = TypeVar("T")


class SqlShards:
    """Routes by key. `owners` has for every bucket the index of its database."""

    def __init__(self, databases: Sequence[Database], owners: Sequence[int]) -> None:
        self.databases = tuple(databases)
        self._owners = tuple(owners)

    def of(self, key: str | bytes) -> Database:
        """The database of a key's rows."""
        return self.databases[self._owners[bucket_of(key)]]

    @property
    def first(self) -> Database:
        """The database with bucket 0, which counts ids."""
        return self.databases[self._owners[0]]

    def split(self, keys: Iterable[K]) -> Mapping[Database, list[K]]:
        """The different keys, sorted, by their database."""
        shares: dict[Database, list[K]] = {}
        for key in sorted(set(keys)):
            shares.setdefault(self.of(key), []).append(key)
        return shares

    async def read_each(
        self, statement: str, keys: Iterable[K], parameters: Parameters
    ) -> Sequence[Row]:
        """The rows of a query that takes its distribution keys as the list `keys`, from every
        database that has some of them, at the same time; in no order."""
        answers = await together(
            partial(database.read, statement, {**parameters, "keys": share})
            for database, share in self.split(keys).items()
        )
        return [row for rows in answers for row in rows]

    async def write_each(self, statement: str, keys: Iterable[K], parameters: Parameters) -> None:
        """As `read_each`, for a statement that writes. Each database does its part alone."""
        await together(
            partial(database.write, statement, {**parameters, "keys": share})
            for database, share in self.split(keys).items()
        )

    def statistics(self) -> dict[str, int]:
        """Sums over the pools, by the names of `PoolStatistics`."""
        pools = [database.statistics() for database in self.databases]
        names = PoolStatistics.__dataclass_fields__
        return {name: sum(getattr(pool, name) for pool in pools) for name in names}

    def close(self) -> None:
        for database in self.databases:
            database.close()

    def __repr__(self) -> str:
        return f"<SqlShards {', '.join(map(repr, self.databases))}>"


async def together(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """What the calls return, in order, all of them made at the same time and waited for.

    Raises the first `StoreError` in that order.
    """
    waiting = list(calls)
    if len(waiting) == 1:
        return [await waiting[0]()]
    results: list[T | StoreError | None] = [None] * len(waiting)

    async def run(index: int) -> None:
        try:
            results[index] = await waiting[index]()
        except StoreError as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        for index in range(len(waiting)):
            nursery.start_soon(run, index)
    for result in results:
        if isinstance(result, StoreError):
            raise result
    return results  # type: ignore[return-value]  # every call has returned, and without an error
