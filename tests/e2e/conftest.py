"""One server for most tests, with limits out of the way; special ones start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.wire import Server, Wire, serving


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
