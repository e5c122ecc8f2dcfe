"""What copies are made of, and to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from persistence import cql_session, cql_settings
from persistence.sqlite import open_sqlite
from persistence.sqlite_files import DATABASE
from tests import servers
from tests.persistence.copying import empty
from tests.persistence.whole_store import fill
from tests.servers import cassandra
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def filled_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: `source` is a copy of it."""
    directory = tmp_path_factory.mktemp("copy") / "data"

    async def run() -> None:
        async with open_sqlite(directory) as stores:
            await fill(stores)

    trio.run(run)
    return directory


@pytest.fixture
def source(filled_directory: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / DATABASE).write_bytes((filled_directory / DATABASE).read_bytes())
    return tmp_path / "data"


@pytest.fixture(params=[1, 3])
def databases(request: pytest.FixtureRequest, postgres: PostgresServer) -> tuple[str, ...]:
    return postgres.emptied(request.param)


@pytest.fixture(scope="session")
def own_keyspace() -> Iterator[tuple[str, Any]]:
    """A keyspace of this run's own, and a session in it."""
    if cassandra.url("cassandra-1") is None:
        pytest.skip(f"cassandra-1 does not run: {servers.HINT}")
    settings = cql_settings.CqlSettings(("127.0.0.1",), keyspace=f"copy_{os.getpid()}")
    url = f"cql://127.0.0.1:9042/{settings.keyspace}?replication=1"
    suspects = cql_session.Suspects()
    cluster = cql_session.connect(settings, suspects)
    try:
        session = cql_session.open_session(cluster, cql_settings.parse(url), suspects).session
        yield url, session
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
    finally:
        cluster.shutdown()


@pytest.fixture
def keyspace(own_keyspace: tuple[str, Any]) -> str:
    url, session = own_keyspace
    empty(session)
    return url
