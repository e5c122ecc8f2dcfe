"""psycopg on trio: what is used of it, and that no cancellation leaves a connection unusable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import reduce
from importlib import import_module
from typing import Any

import psycopg
import pytest
import trio

from persistence.postgres_connection import PRIVATE_NAMES, TrioConnection
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def connection(postgres: PostgresServer) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.open(postgres.url("postgres"))
    yield connection
    await connection.close()


async def works(connection: TrioConnection) -> bool:
    return await connection.fetch("SELECT 1") == [(1,)]


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_private_name_of_psycopg_is_there(name: str) -> None:
    """Of instances `_closed` and `_autocommit` are slots or set by the constructor."""
    module = next(
        part for part in (name.rpartition(".")[0], "psycopg") if not part.endswith("Connection")
    )
    rest = name.removeprefix(f"{module}.").split(".")
    if rest[-1] in ("_closed", "_autocommit"):
        base = import_module("psycopg._connection_base").BaseConnection
        assert rest[-1] in base.__init__.__code__.co_names
    else:
        assert callable(reduce(getattr, rest, import_module(module)))


@pytest.mark.parametrize("size", [0, 1, 30_000_000])
async def test_parameters_of_any_size_come_back(connection: TrioConnection, size: int) -> None:
    """Thirty megabytes fill the socket's buffers in both directions."""
    value = b"x" * size
    assert await connection.fetch("SELECT %(value)s::bytea", {"value": value}) == [(value,)]


async def test_values_keep_their_types(connection: TrioConnection) -> None:
    values: dict[str, Any] = {"text": "Ö 😀", "number": 2**62, "nothing": None, "list": ["a", "ß"]}
    statement = "SELECT %(text)s, %(number)s::bigint, %(nothing)s::bigint, %(list)s::text[]"
    assert await connection.fetch(statement, values) == [tuple(values.values())]


async def test_cancelled_query_is_cancelled_at_the_server_too(
    connection: TrioConnection, postgres: PostgresServer
) -> None:
    pid = connection.pgconn.backend_pid
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.fetch, "SELECT pg_sleep(600)")
        while not postgres.execute(
            f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
        ):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await works(connection)


async def test_statement_of_a_cancelled_caller_is_not_sent(connection: TrioConnection) -> None:
    await connection.fetch("CREATE TEMP TABLE seen (x int)")
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.fetch("INSERT INTO seen VALUES (1)")
    assert await connection.fetch("SELECT count(*) FROM seen") == [(0,)]


async def test_connection_is_usable_after_an_error(connection: TrioConnection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.fetch("SELECT * FROM nowhere")
    assert await works(connection)


async def test_ended_connection_is_heard_of_without_a_question(
    connection: TrioConnection, postgres: PostgresServer
) -> None:
    assert connection.is_quiet()
    postgres.execute(f"SELECT pg_terminate_backend({connection.pgconn.backend_pid}, 10000)")
    await trio.lowlevel.wait_readable(connection.pgconn.socket)
    assert not connection.is_quiet()
    with pytest.raises(psycopg.OperationalError):
        await connection.fetch("SELECT 1")


async def test_refusals_name_every_address_that_was_tried() -> None:
    with pytest.raises(psycopg.OperationalError, match=r"port 1 [^;]*; .*port 2 "):
        await TrioConnection.open("host=127.0.0.1,127.0.0.1 port=1,2 user=x dbname=x")
