"""Accounts, sessions, contacts and threads on PostgreSQL: one server, several databases, Citus.

Reading order: `postgres_connection` for psycopg on trio, `postgres_pool` for what a database is and
what its errors mean, `postgres_buckets` and `postgres_shards` for which of several, then
`postgres_statements` and the stores, `postgres_outbox` for what one change means to other keys.

A point read costs the server process 94 µs of CPU, 56 of them in psycopg: 7 k/s for one caller, on
two cores of a small machine with the database beside it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import psycopg
import trio

from persistence import migrations
from persistence.errors import Corrupt, StoreUnavailable
from persistence.postgres_contacts import PostgresContacts
from persistence.postgres_directory import (
    CREATED,
    RENAMED,
    AccountProjection,
    PostgresAccounts,
    PostgresSessions,
)
from persistence.postgres_outbox import Outbox
from persistence.postgres_pool import Database
from persistence.postgres_schema import HAS_TABLE, prepare
from persistence.postgres_shards import SqlShards, together
from persistence.postgres_statements import READY
from persistence.postgres_threads import MEMBERS, MembersProjection, PostgresThreads
from persistence.transfer_rows import MARK, UNFINISHED


class PostgresStores:
    """Four ports over open databases. Made by `open_postgres`."""

    def __init__(self, shards: SqlShards) -> None:
        accounts = AccountProjection(shards)
        members = MembersProjection(shards)
        self._schema: Final = migrations.load("postgres")[-1].number
        self.shards: Final = shards
        self.outbox: Final = Outbox(
            shards,
            {CREATED: accounts.created, RENAMED: accounts.renamed, MEMBERS: members.joined},
        )
        self.accounts: Final = PostgresAccounts(shards, self.outbox)
        self.sessions: Final = PostgresSessions(shards)
        self.contacts: Final = PostgresContacts(shards)
        self.threads: Final = PostgresThreads(shards, self.outbox)

    async def health(self) -> None:
        """Prove that every database answers, takes writes and has the schema: of a restore that
        is under way it may be missing, or older. Raises `StoreError` if not."""
        await together(
            partial(_check, database, self._schema) for database in self.shards.databases
        )

    def statistics(self) -> dict[str, int]:
        return {**self.shards.statistics(), **self.outbox.statistics()}

    def __repr__(self) -> str:
        return f"<PostgresStores {self.shards!r}>"


def databases_of(urls: Sequence[str], rng: random.Random) -> list[Database]:
    """Nothing is sent yet. Raises `StoreUnavailable` for a URL that cannot be read."""
    databases = []
    for number, url in enumerate(urls, start=1):
        try:
            databases.append(Database(url, rng))
        except psycopg.ProgrammingError:  # its text may have the password in it
            raise StoreUnavailable(f"the URL of database {number} cannot be read") from None
    return databases


async def _check(database: Database, oldest: int) -> None:
    ((is_standby, is_read_only, schema),) = await database.read(READY, {})
    if is_standby or is_read_only == "on":
        raise StoreUnavailable(f"{database.name}: takes no writes now")
    if (schema or 0) < oldest:
        raise StoreUnavailable(f"{database.name}: its schema is older than this program")


@asynccontextmanager
async def open_postgres(
    urls: Sequence[str], rng: random.Random | None = None
) -> AsyncIterator[PostgresStores]:
    """Connect to each database, bring its schema up to date, close on leaving.

    Raises `StoreUnavailable`, and `Corrupt` for a schema that this program does not know, a set of
    databases that does not belong together, or one that a copy into it has not ended in.
    """
    rng = rng or random.Random()
    databases = databases_of(urls, rng)
    try:
        stores = PostgresStores(SqlShards(databases, await prepare(databases)))
        if await stores.shards.first.read(HAS_TABLE, {"table": MARK}):
            raise Corrupt(f"{stores.shards.first.name}: {UNFINISHED}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stores.outbox.run_relay)
            yield stores
            nursery.cancel_scope.cancel()
    finally:
        for database in databases:
            database.close()


async def migrate_postgres(urls: Sequence[str]) -> None:
    """Bring the schemas up to date, as opening does. Raises as `open_postgres` does."""
    databases = databases_of(urls, random.Random())
    try:
        await prepare(databases)
    finally:
        for database in databases:
            database.close()
