"""One server for most tests, with limits out of the way; special ones start their own.

With `COPPICE_TEST_SQL` users and threads of every server are on so many PostgreSQL databases, new
ones for each data directory. With `COPPICE_TEST_LOG` the message log of each is on that server,
`cassandra-1` or `cassandra-3`, in a keyspace of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests import servers
from tests.e2e import wire
from tests.e2e.wire import Server, Wire, serving
from tests.servers import cassandra
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session", autouse=True)
def databases(request: pytest.FixtureRequest) -> None:
    count, log = int(os.environ.get("COPPICE_TEST_SQL", "0")), os.environ.get("COPPICE_TEST_LOG")
    postgres: PostgresServer | None = request.getfixturevalue("postgres") if count else None

    def engines(_: object) -> dict[str, str]:
        chosen = {}
        if postgres is not None:
            chosen["COPPICE_SQL"] = ",".join(postgres.create(count))
        if log:
            url = cassandra.url(log)
            assert url is not None, f"{log} does not run: {servers.HINT}"
            chosen["COPPICE_LOG"] = url.replace("/coppice?", f"/e2e_{uuid.uuid4().hex}?")
        return chosen

    wire.engines = cache(engines)


@pytest.fixture
def embedded_log() -> None:
    """For what only a log in the data directory can do, or suffer."""
    if os.environ.get("COPPICE_TEST_LOG"):
        pytest.skip("the log of this run is not embedded")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("e2e")) as server:
        yield server


@pytest.fixture
def alice(server: Server) -> Iterator[Wire]:
    wire = server.user()
    yield wire
    wire.close()


@pytest.fixture
def bob(server: Server) -> Iterator[Wire]:
    wire = server.user()
    yield wire
    wire.close()


@pytest.fixture
def carol(server: Server) -> Iterator[Wire]:
    wire = server.user()
    yield wire
    wire.close()


@pytest.fixture
def special(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server with settings, or a log, of its own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving(tmp_path, **options))
