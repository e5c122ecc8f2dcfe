"""PostgreSQL databases as the target of a copy: rows into their shares, and read back by scans."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from persistence.errors import NotEmpty
from persistence.postgres import databases_of
from persistence.postgres_connection import TrioConnection
from persistence.postgres_pool import Database
from persistence.postgres_schema import HAS_TABLE, prepare
from persistence.postgres_shards import SqlShards, together
from persistence.transfer import PAGE_ROWS, Pages
from persistence.transfer_rows import MARK, NUMBERS, TABLES, Row, Rows, Table

_MARK_SCRIPT: Final = f"CREATE TABLE {MARK} (identity text NOT NULL, done bigint NOT NULL)"
_MARK_ROW: Final = f"INSERT INTO {MARK} VALUES (%(identity)s, 0)"
_MARKED: Final = f"SELECT identity, done FROM {MARK}"
_NOTE: Final = f"UPDATE {MARK} SET done = %(done)s"
_UNMARK: Final = f"DROP TABLE {MARK}"
_IS_EMPTY: Final = "SELECT NOT ({})".format(
    " OR ".join(
        [
            *(f"EXISTS (SELECT FROM {table.name})" for table in TABLES),
            "EXISTS (SELECT FROM outbox)",
            *(f"(SELECT is_called FROM {name})" for name in NUMBERS),
        ]
    )
)


class PostgresTarget:
    """`TablesTarget`. The mark is in the database that has bucket 0; without it, the others are not
    served from either. Made by `open_target`."""

    def __init__(self, shards: SqlShards) -> None:
        self._shards = shards

    def __str__(self) -> str:
        return ", ".join(database.name for database in self._shards.databases)

    # ------------------------------------------------------------------ the mark

    async def begin(self, identity: str) -> int | None:
        first = self._shards.first
        if await first.read(HAS_TABLE, {"table": MARK}):
            ((marked, done),) = await first.read(_MARKED, {})
            if marked != identity:
                raise NotEmpty(f"{self} has part of another copy: begin again with empty databases")
            return int(done)
        empty = await together(
            partial(database.read, _IS_EMPTY, {}) for database in self._shards.databases
        )
        if not all(is_empty for ((is_empty,),) in empty):
            return None

        async def mark(connection: TrioConnection) -> None:
            await connection.fetch(_MARK_SCRIPT)
            await connection.fetch(_MARK_ROW, {"identity": identity})

        await first.transact(mark)
        return 0

    async def note(self, done: int) -> None:
        await self._shards.first.write(_NOTE, {"done": done})

    async def finish(self) -> None:
        if await self._shards.first.read(HAS_TABLE, {"table": MARK}):
            await self._shards.first.write(_UNMARK, {})

    # ------------------------------------------------------------------ rows

    async def write(self, table: Table, page: Rows) -> None:
        shares: dict[Database, list[tuple[Any, ...]]] = {}
        for row in page:
            shares.setdefault(self._shards.of(row[0]), []).append(row)
        statement = insert_statement(table)
        await together(
            partial(database.write, statement, _columns(table, share))
            for database, share in shares.items()
        )

    async def set_numbers(self, numbers: Rows) -> None:
        for name, last in numbers:
            await self._shards.first.write(
                "SELECT setval(%(name)s::regclass, greatest(%(last)s::bigint, 1), %(last)s > 0)",
                {"name": name, "last": last},
            )

    def pages(self, table: Table) -> Pages[Row]:
        databases = list(self._shards.databases)
        key = list(table.columns)[: table.key]
        after: dict[str, Any] = {}

        async def fetch() -> Rows:
            nonlocal after
            while databases:
                statement = page_statement(table, is_first=not after)
                page = await databases[-1].read(statement, after)
                if page:
                    after = dict(zip(key, page[-1], strict=False))
                    return page
                databases.pop()
                after = {}
            return ()

        return Pages(fetch)

    async def numbers(self) -> Rows:
        rows = []
        for name in NUMBERS:
            statement = f"SELECT last_value, is_called FROM {name}"
            ((last, is_called),) = await self._shards.first.read(statement, {})
            rows.append((name, last if is_called else 0))
        return rows


def insert_statement(table: Table) -> str:
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in table.columns.items())
    columns = ", ".join(table.columns)
    return (
        f"INSERT INTO {table.name} ({columns}) SELECT * FROM unnest({arrays})"
        " ON CONFLICT DO NOTHING"
    )


def page_statement(table: Table, *, is_first: bool) -> str:
    names = list(table.columns)
    key = ", ".join(names[: table.key])
    after = ", ".join(f"%({name})s" for name in names[: table.key])
    where = "" if is_first else f" WHERE ({key}) > ({after})"
    return f"SELECT {', '.join(names)} FROM {table.name}{where} ORDER BY {key} LIMIT {PAGE_ROWS}"


def _columns(table: Table, rows: Rows) -> dict[str, list[Any]]:
    return dict(zip(table.columns, map(list, zip(*rows, strict=True)), strict=True))


@asynccontextmanager
async def open_target(urls: Sequence[str]) -> AsyncIterator[PostgresTarget]:
    """Connect and bring the schemas up to date. Raises as `open_postgres` does."""
    databases = databases_of(urls, random.Random())
    try:
        yield PostgresTarget(SqlShards(databases, await prepare(databases)))
    finally:
        for database in databases:
            database.close()
