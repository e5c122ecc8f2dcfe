"""One database through its bad days: what is answered, what is written, and that the pool is whole.

`RECORD` is one row in a table of its own; who was told that it is written finds it there.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from persistence import postgres_connection, postgres_pool
from persistence.errors import OutcomeUnknown, StoreUnavailable
from persistence.postgres import open_postgres
from persistence.postgres_connection import TrioConnection
from persistence.postgres_pool import Database
from tests.servers.postgres import OwnServer, PostgresServer

CONNECTIONS = 4
RECORD = "INSERT INTO records VALUES (%(number)s)"
SLOW_RECORD = f"{RECORD} RETURNING pg_sleep(600)"
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


class Records:
    """A database with a table, empty, and another way to it."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.url = url
        self._server = server
        server.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} RESET ALL")
        self.execute("DROP TABLE IF EXISTS records; CREATE TABLE records (number int)")
        self.database = Database(self.url, random.Random(1), CONNECTIONS)

    def execute(self, script: str) -> list[tuple[Any, ...]]:
        return self._server.execute(script, urlsplit(self.url).path[1:])

    def numbers(self) -> list[int]:
        return sorted(number for (number,) in self.execute("SELECT number FROM records"))

    async def asleep(self) -> int:
        """The process that sleeps in a statement, once there is one."""
        while True:
            for (pid,) in self.execute(f"{SLEEPING} AND datname = current_database()"):
                return int(pid)
            await trio.lowlevel.checkpoint()

    async def cut(self) -> None:
        """End the connection whose statement sleeps."""
        self.execute(f"SELECT pg_terminate_backend({await self.asleep()})")

    async def works(self) -> None:
        """As many transactions as there are connections get through at the same time."""
        inside = 0
        all_inside = trio.Event()

        async def enter(connection: TrioConnection) -> None:
            nonlocal inside
            inside += 1
            if inside == CONNECTIONS:
                all_inside.set()
            await all_inside.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(self.database.transact, enter)


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    return postgres.create(1, "template0")[0]


@pytest.fixture
async def records(postgres: PostgresServer, url: str) -> AsyncIterator[Records]:
    records = Records(postgres, url)
    yield records
    records.database.close()


@pytest.fixture
async def own_records(own_postgres: OwnServer, url: str) -> AsyncIterator[Records]:
    records = Records(own_postgres, url)
    yield records
    records.database.close()


def recording(number: int, statement: str = RECORD) -> Callable[[TrioConnection], Awaitable[int]]:
    async def work(connection: TrioConnection) -> int:
        await connection.fetch(statement, {"number": number})
        return number

    return work


def slow_commit(records: Records, seconds: float) -> None:
    """Have every commit that wrote a record sleep."""
    records.execute(f"""
        CREATE OR REPLACE FUNCTION wait() RETURNS trigger
            AS 'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END' LANGUAGE plpgsql;
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON records DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait()
    """)


# ---------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("way", ["write", "transact"])
async def test_storm_of_cancellations_loses_no_connection_and_no_truth(
    records: Records, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed is exactly what was acknowledged, whenever the caller was cancelled."""
    monkeypatch.setattr(postgres_connection, "CANCEL_S", 60.0)
    for name in ("ACQUIRE_S", "STATEMENTS_S", "COMMIT_S"):
        monkeypatch.setattr(postgres_pool, name, 60.0)
    rng = random.Random(7)
    acknowledged: list[int] = []

    async def caller(number: int, patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            if way == "write":
                await records.database.write(RECORD, {"number": number})
            else:
                await records.database.transact(recording(number))
            acknowledged.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(400):
            patience_s = rng.expovariate(1 / 0.1) if number % 10 else math.inf
            nursery.start_soon(caller, number, patience_s)
    assert records.numbers() == sorted(acknowledged)
    assert 0 < len(acknowledged) < 400, "some are in time and some are not"
    statistics = records.database.statistics()
    assert (statistics.in_use, statistics.waiting, statistics.lost_total) == (0, 0, 0)
    assert statistics.opened_total <= CONNECTIONS
    await records.works()


@pytest.mark.parametrize("way", ["write", "transact"])
async def test_caller_cancelled_during_the_commit_is_told_that_it_is_done(
    records: Records, way: str
) -> None:
    slow_commit(records, 0.05)
    told: list[object] = []

    async def caller() -> None:
        if way == "write":
            told.append(await records.database.write(f"{RECORD} RETURNING number", {"number": 1}))
        else:
            told.append(await records.database.transact(recording(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await records.asleep()
        nursery.cancel_scope.cancel()
    assert len(told) == 1
    assert records.numbers() == [1]


async def test_caller_cancelled_before_the_commit_has_written_nothing(records: Records) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.database.transact, recording(1, SLOW_RECORD))
        await records.asleep()
        nursery.cancel_scope.cancel()
    assert records.numbers() == []
    assert records.database.statistics().lost_total == 0
    await records.works()


async def test_what_the_work_raises_undoes_it(records: Records) -> None:
    async def work(connection: TrioConnection) -> None:
        await connection.fetch(RECORD, {"number": 1})
        raise LookupError

    with pytest.raises(LookupError):
        await records.database.transact(work)
    assert records.numbers() == []
    await records.works()


# ---------------------------------------------------------------------------- faults


async def test_exhausted_pool_refuses_and_recovers(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "ACQUIRE_S", 0.05)
    done = trio.Event()

    async def hold(*, task_status: trio.TaskStatus[None]) -> None:
        async def work(_: TrioConnection) -> None:
            task_status.started()
            await done.wait()

        await records.database.transact(work)

    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            await nursery.start(hold)
        with pytest.raises(StoreUnavailable, match="all connections are in use"):
            await records.database.read("SELECT 1", {})
        assert records.database.statistics().refused_total == 1
        done.set()
    await records.works()


@pytest.mark.parametrize(
    ("way", "error"),
    [("read", StoreUnavailable), ("write", OutcomeUnknown), ("transact", StoreUnavailable)],
)
async def test_connection_cut_in_the_middle_of_a_statement(
    records: Records, way: str, error: type[Exception]
) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "read": partial(records.database.read, SLOW_RECORD, {"number": 1}),
        "write": partial(records.database.write, SLOW_RECORD, {"number": 1}),
        "transact": partial(records.database.transact, recording(1, SLOW_RECORD)),
    }

    async def caller() -> None:
        with pytest.raises(error, match="terminating connection"):
            await calls[way]()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await records.cut()
    assert records.numbers() == []
    assert records.database.statistics().lost_total == 1
    await records.works()


async def test_connection_cut_during_the_commit_leaves_it_open(records: Records) -> None:
    slow_commit(records, 600)

    async def caller() -> None:
        with pytest.raises(OutcomeUnknown):
            await records.database.transact(recording(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await records.cut()
    await records.works()


async def test_statement_that_the_server_refuses_has_done_nothing(records: Records) -> None:
    records.execute(
        "ALTER DATABASE "
        + urlsplit(records.url).path[1:]
        + " SET default_transaction_read_only = on"
    )
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        await records.database.write(RECORD, {"number": 1})
    assert records.database.statistics().lost_total == 0
    await records.works()


async def test_restarted_server_is_not_noticed_by_the_next_call(
    own_records: Records, own_postgres: OwnServer
) -> None:
    await own_records.works()
    own_postgres.stop()
    own_postgres.start()
    await own_records.database.write(RECORD, {"number": 1})
    assert own_records.numbers() == [1]
    await own_records.works()
    statistics = own_records.database.statistics()
    assert (statistics.lost_total, statistics.opened_total) == (CONNECTIONS, 2 * CONNECTIONS)


async def test_server_that_is_down_is_unavailable_until_it_is_up(
    own_records: Records, own_postgres: OwnServer
) -> None:
    own_postgres.stop()
    for _ in range(2 * CONNECTIONS):
        with pytest.raises(StoreUnavailable):
            await own_records.database.write(RECORD, {"number": 1})
    own_postgres.start()
    await own_records.works()
    assert own_records.numbers() == []


async def test_frozen_server_keeps_nobody_waiting(
    own_records: Records, own_postgres: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write may have arrived; a read, and a connection that is made, are no harm."""
    await own_records.works()
    for module, name in (
        (postgres_pool, "STATEMENTS_S"),
        (postgres_pool, "COMMIT_S"),
        (postgres_connection, "CANCEL_S"),
        (postgres_connection, "CONNECT_S"),
    ):
        monkeypatch.setattr(module, name, 0.1)
    with own_postgres.frozen():
        with pytest.raises(OutcomeUnknown, match="no answer in time"):
            await own_records.database.write(RECORD, {"number": 1})
        assert own_records.database.statistics().idle == 0, "others will not answer either"
        with pytest.raises(StoreUnavailable, match="no answer"):
            await own_records.database.read("SELECT 1", {})
    monkeypatch.undo()
    await own_records.works()
    assert own_records.numbers() in ([], [1])


# ---------------------------------------------------------------------------- the pool


async def test_old_connections_are_replaced(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "LIFETIME_S", (-1.0, -1.0))
    for _ in range(3):
        await records.database.read("SELECT 1", {})
    statistics = records.database.statistics()
    assert (statistics.opened_total, statistics.lost_total) == (3, 0)


async def test_one_connection_is_enough_for_one_caller(records: Records) -> None:
    for number in range(5):
        await records.database.write(RECORD, {"number": number})
    statistics = records.database.statistics()
    assert (statistics.opened_total, statistics.idle) == (1, 1)


async def test_closed_pool_lends_nothing(records: Records) -> None:
    await records.database.read("SELECT 1", {})
    records.database.close()
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await records.database.read("SELECT 1", {})
    assert records.database.statistics().idle == 0


async def test_secrets_are_in_no_name(postgres: PostgresServer) -> None:
    database = Database("postgresql://user:secret@h:5/db", random.Random(1))
    assert (database.name, "secret" in repr(database)) == ("h:5/db", False)


async def test_standby_or_read_only_database_is_not_healthy(postgres: PostgresServer) -> None:
    urls = postgres.create(2)
    async with open_postgres(urls) as stores:
        await stores.health()
        name = urlsplit(urls[1]).path[1:]
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connections = f"pg_stat_activity WHERE datname = '{name}'"
        postgres.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM {connections}")
        with pytest.raises(StoreUnavailable, match=f"/{name}: takes no writes now"):
            await stores.health()
