"""One database: a few connections that are lent, and what its errors mean.

A connection is lent to one call at a time. It comes back idle or is closed; its place in the pool
is free again either way, so no failure and no cancellation makes the pool smaller. Before it is
lent again it must be quiet and young. Every wait has a deadline.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import psycopg
import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from persistence.errors import OutcomeUnknown, StoreUnavailable
from persistence.postgres_connection import Parameters, Row, TrioConnection
from persistence.postgres_outcomes import meaning

T = TypeVar("T")

CONNECTIONS_MAX: Final = 8
"""For each database and node. One keeps a core of the server busy; 8 cover waits for its disk."""
ACQUIRE_S: Final = 3.0
"""How long a call waits for a connection, below the deadline of a request."""
STATEMENTS_S: Final = 4.0
"""How long a read, or a transaction up to its commit, may take."""
COMMIT_S: Final = 4.0
"""How long a commit may take, before its outcome is unknown."""
LIFETIME_S: Final = (1500.0, 1800.0)
"""A connection is replaced at such an age: servers leak, and addresses move to new ones."""

DEFAULTS: Final[dict[str, str]] = {
    "application_name": "coppice",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "options": "-c statement_timeout=10s -c lock_timeout=3s"
    " -c idle_in_transaction_session_timeout=10s -c client_connection_check_interval=2s",
}
"""What a URL does not say itself. The server's own limits are behind ours: they end what a client
left that is not there any more."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Connections lent, idle, and calls that wait for one; since the start, connections made,
    connections found or made unusable, and calls that got none in time."""

    in_use: int
    idle: int
    waiting: int
    opened_total: int
    lost_total: int
    refused_total: int


class Database:
    """Runs statements. Made for one URL; `name` says which, without its secrets."""

    def __init__(
        self, url: str, rng: random.Random, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        parameters = {**DEFAULTS, **conninfo_to_dict(url)}
        self.name = describe(parameters)
        self._conninfo = make_conninfo("", **parameters)
        self._rng = rng
        self._free = trio.Semaphore(connections_max, max_value=connections_max)
        self._idle: deque[tuple[TrioConnection, float]] = deque()
        self._in_use = self._opened = self._lost = self._refused = 0
        self._closed = False

    # ------------------------------------------------------------------ statements

    async def read(self, statement: str, parameters: Parameters) -> Sequence[Row]:
        """The rows of a query. Cancelled, it is cancelled at the server."""
        async with self._lent() as connection:
            with self._translated(is_committing=False), self._within(STATEMENTS_S, connection):
                return await connection.fetch(statement, parameters)

    async def write(self, statement: str, parameters: Parameters) -> Sequence[Row]:
        """One statement that takes effect by itself; its rows.

        Once sent it is not cancelled, so that its outcome is known whenever the server answers.
        """
        async with self._lent() as connection:
            await trio.lowlevel.checkpoint_if_cancelled()
            with self._translated(is_committing=True), self._shielded(COMMIT_S, connection):
                return await connection.fetch(statement, parameters)

    async def transact(
        self, work: Callable[[TrioConnection], Awaitable[T]], within_s: float | None = None
    ) -> T:
        """What `work` returns, after everything it did took effect; what it raises, after nothing
        did. Cancelled before the commit, nothing took effect; later, the commit is waited for."""
        async with self._lent() as connection:
            try:
                with (
                    self._translated(is_committing=False),
                    self._within(within_s or STATEMENTS_S, connection),
                ):
                    await connection.fetch("BEGIN")
                    result = await work(connection)
            except BaseException:
                await self._roll_back(connection)
                raise
            with self._translated(is_committing=True), self._shielded(COMMIT_S, connection):
                await connection.fetch("COMMIT")
            return result

    async def _roll_back(self, connection: TrioConnection) -> None:
        if connection.closed or connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        try:
            with self._shielded(COMMIT_S, connection):
                await connection.fetch("ROLLBACK")
        except (psycopg.Error, trio.TooSlowError):
            connection.abandon()  # which the server takes as a rollback

    @contextmanager
    def _within(self, seconds: float, connection: TrioConnection) -> Iterator[None]:
        """A deadline; a connection that missed it is not lent again."""
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError:
            self._distrust(connection)
            raise

    @contextmanager
    def _shielded(self, seconds: float, connection: TrioConnection) -> Iterator[None]:
        """As `_within`, and no cancellation from outside comes through."""
        with trio.CancelScope(shield=True), self._within(seconds, connection):
            yield

    def _distrust(self, connection: TrioConnection) -> None:
        """A server that does not answer one will not answer the idle ones."""
        connection.abandon()
        while self._idle:
            self._discard(self._idle.pop()[0])

    @contextmanager
    def _translated(self, *, is_committing: bool) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            kind = meaning(error.sqlstate, is_committing=is_committing)
            if kind is None:
                raise
            # The rest of a report shows the statement, and may show a row.
            text = error.diag.message_primary or str(error)
            raise kind(f"{self.name}: {' '.join(text.split())}") from error
        except trio.TooSlowError as error:
            late = OutcomeUnknown if is_committing else StoreUnavailable
            raise late(f"{self.name}: no answer in time") from error

    # ------------------------------------------------------------------ the pool

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[TrioConnection]:
        """A connection for one call. Raises `StoreUnavailable`."""
        await self._acquire()
        try:
            connection, expires_s = await self._take()
            self._in_use += 1
            try:
                yield connection
            finally:
                self._in_use -= 1
                self._give_back(connection, expires_s)
        finally:
            self._free.release()

    async def _acquire(self) -> None:
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            await self._wait_for_one()

    async def _wait_for_one(self) -> None:
        try:
            with trio.fail_after(ACQUIRE_S):
                await self._free.acquire()
        except trio.TooSlowError:
            self._refused += 1
            raise StoreUnavailable(f"{self.name}: all connections are in use") from None

    async def _take(self) -> tuple[TrioConnection, float]:
        """The connection used last, if it is good, or a new one."""
        while self._idle:
            connection, expires_s = self._idle.pop()
            if not connection.is_quiet():
                self._discard(connection)
            elif trio.current_time() < expires_s:
                return connection, expires_s
            else:
                connection.abandon()
        if self._closed:
            raise StoreUnavailable("the store is closed")
        with self._translated(is_committing=False):
            connection = await TrioConnection.open(self._conninfo)
        self._opened += 1
        return connection, trio.current_time() + self._rng.uniform(*LIFETIME_S)

    def _give_back(self, connection: TrioConnection, expires_s: float) -> None:
        is_idle = not connection.closed and (
            connection.pgconn.transaction_status == TransactionStatus.IDLE
        )
        if is_idle and not self._closed:
            self._idle.append((connection, expires_s))
        else:
            self._discard(connection)

    def _discard(self, connection: TrioConnection) -> None:
        self._lost += not self._closed
        connection.abandon()

    def close(self) -> None:
        """Lend nothing more. What is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop()[0])

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            self._in_use, len(self._idle), self._free.statistics().tasks_waiting,
            self._opened, self._lost, self._refused,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Database {self.name} {self._in_use} in use, {len(self._idle)} idle>"


def describe(parameters: Mapping[str, object]) -> str:
    """Which database this is, without user and password."""
    host = parameters.get("host") or parameters.get("hostaddr") or "local"
    port = f":{parameters['port']}" if parameters.get("port") else ""
    return f"{host}{port}/{parameters.get('dbname', '')}"
