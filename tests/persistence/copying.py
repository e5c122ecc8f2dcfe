"""Copies for tests: made, served from, and stopped on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from persistence import cql, cql_transfer, postgres_transfer
from persistence.postgres import open_postgres
from persistence.sqlite_transfer import open_source
from persistence.transfer import Copied, copy_log, copy_tables
from tests.contracts.cql import CqlStores
from tests.contracts.stores import Directories
from tests.persistence.whole_store import BUCKET_EVENTS


def empty(session: Any) -> None:
    session.execute("DROP TABLE IF EXISTS copying", timeout=60)
    for table in ("events", "cids", "targets", "cursors", "buckets"):
        session.execute(f"TRUNCATE {table}", timeout=60)


def silent(line: str) -> None:
    pass


async def to_postgres(source: Path, urls: tuple[str, ...]) -> Copied:
    async with open_source(source) as opened, postgres_transfer.open_target(urls) as target:
        return await copy_tables(opened, target, silent)


async def to_cql(source: Path, url: str) -> Copied:
    async with (
        open_source(source) as opened,
        cql_transfer.open_target(url, bucket_events=BUCKET_EVENTS) as target,
    ):
        return await copy_log(opened, target, silent)


@asynccontextmanager
async def served(urls: tuple[str, ...]) -> AsyncIterator[Directories]:
    async with open_postgres(urls) as opened:
        yield Directories(opened)


@asynccontextmanager
async def served_log(url: str, bucket_events: int = BUCKET_EVENTS) -> AsyncIterator[CqlStores]:
    async with cql.open_log(url, bucket_events=bucket_events) as log:
        yield CqlStores(log)


class Killed(Exception):
    pass


WRITES = ("begin", "write", "note", "set_numbers", "finish")


def dying_at(target: Any, name: str) -> Any:
    """The target, until that method is called."""
    return Dying(target, (name,), 0)


def dying_after(target: Any, steps: int) -> Any:
    """The target, until so many of its writes are done. The next is not answered; every other time
    it was carried out."""
    return Dying(target, WRITES, steps)


class Dying:
    def __init__(self, target: Any, names: tuple[str, ...], steps: int) -> None:
        self._target = target
        self._names = names
        self._steps = self.left = steps

    def __str__(self) -> str:
        return str(self._target)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name not in self._names:
            return method

        async def step(*arguments: Any) -> Any:
            self.left -= 1
            if self.left >= 0:
                return await method(*arguments)
            if self._steps % 2:
                await method(*arguments)
            raise Killed

        return step
