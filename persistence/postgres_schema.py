"""The schema of a database, and its share of the buckets: brought up to date, or checked.

Migrations of a database run in one transaction that holds an advisory lock, so of several servers
that start at the same time one applies them and the others find them applied. Where nothing is to
be done nothing is locked and no right beyond reading is needed: the owner may migrate with a role
that the servers do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import psycopg

from persistence import migrations
from persistence.errors import StoreError, StoreUnavailable
from persistence.migrations import Applied, Migration
from persistence.postgres_buckets import Range, even_ranges, owners
from persistence.postgres_connection import TrioConnection
from persistence.postgres_pool import Database
from persistence.postgres_shards import together

LOCK: Final = 0x436F7070_73716C
"""The advisory lock of everybody who migrates (`Coppsql`)."""
MIGRATE_S: Final = 3600.0
"""For waiting until another server has migrated, and migrating."""
VERSION_MIN: Final = 140_000

_TABLE: Final = (
    "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL,"
    " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
)
HAS_TABLE: Final = (
    "SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = %(table)s"
)


async def prepare(databases: Sequence[Database]) -> tuple[int, ...]:
    """Bring every database up to date and give new ones their buckets; the owners of the buckets.

    Raises `Corrupt` for a schema this program does not know or buckets without an owner, and
    `StoreUnavailable`.
    """
    known = migrations.load("postgres")
    await together(partial(_migrate, database, known) for database in databases)
    placements = await together(partial(_placement, database) for database in databases)
    if not any(placements):
        shares = even_ranges(len(databases))
        await together(
            partial(_place, database, share)
            for database, share in zip(databases, shares, strict=True)
        )
        placements = await together(partial(_placement, database) for database in databases)
    return owners([database.name for database in databases], placements)


async def _migrate(database: Database, known: Sequence[Migration]) -> None:
    async def look(connection: TrioConnection) -> bool:
        version = connection.pgconn.server_version
        if version < VERSION_MIN:
            raise StoreUnavailable(f"PostgreSQL 14 is needed, this is {version // 10_000}")
        return not await _pending(connection, known)

    async def apply(connection: TrioConnection) -> None:
        await connection.execute(b"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await connection.fetch("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": LOCK})
        for migration in await _pending(connection, known):
            if migration.number == 1:
                await connection.fetch(_TABLE)
            await connection.execute(migration.script.encode())
            await connection.fetch(
                "INSERT INTO migrations (number, name, checksum)"
                " VALUES (%(number)s, %(name)s, %(checksum)s)",
                {"number": migration.number, "name": migration.name,
                 "checksum": migration.checksum},
            )  # fmt: skip

    try:
        if not await database.transact(look):
            await database.transact(apply, MIGRATE_S)
    except StoreError as error:
        raise _about(database, error) from error
    except psycopg.Error as error:
        raise StoreUnavailable(f"{database.name}: cannot be migrated: {error}") from error


def _about(database: Database, error: StoreError) -> StoreError:
    text = str(error)
    return error if text.startswith(database.name) else type(error)(f"{database.name}: {text}")


async def _pending(connection: TrioConnection, known: Sequence[Migration]) -> Sequence[Migration]:
    # Not `to_regclass`: it may answer from a cache that is older than the lock.
    if not await connection.fetch(HAS_TABLE, {"table": "migrations"}):
        return known
    rows = await connection.fetch("SELECT number, name, checksum FROM migrations")
    return migrations.pending(known, [Applied(*row) for row in rows])


async def _placement(database: Database) -> list[Range]:
    rows = await database.read("SELECT low, high FROM placement", {})
    return [(low, high) for low, high in rows]


async def _place(database: Database, share: Range) -> None:
    statement = "INSERT INTO placement VALUES (%(low)s, %(high)s) ON CONFLICT DO NOTHING"
    await database.write(statement, {"low": share[0], "high": share[1]})
