"""The adapters under contract. Another one joins by another branch of `stores`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persistence.memory import MemoryStores
from persistence.postgres import open_postgres
from persistence.sqlite import open_sqlite
from tests.contracts.cql import (
    CqlStores,
    cql_log,
    driver_ends_with_the_module,  # noqa: F401  (a fixture)
    on,
)
from tests.contracts.stores import Directories, Stores
from tests.servers import cassandra

BOTH = ("memory", "sqlite")
LOGS = (*BOTH, *(on(name) for name in cassandra.NAMES))
DIRECTORIES = (*BOTH, "postgres-1", "postgres-3")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test gets the adapters that have what it is about: the log, or all the other stores."""
    if "stores" in metafunc.fixturenames:
        of_log = metafunc.module.__name__.rpartition(".")[2].startswith("test_log")
        metafunc.parametrize("stores", LOGS if of_log else DIRECTORIES, indirect=True)


@pytest.fixture
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    match request.param.split("-"):
        case ["memory"]:
            yield MemoryStores()
        case ["sqlite"]:
            async with open_sqlite(tmp_path / "data") as opened:
                yield opened
        case ["postgres", count]:
            server = request.getfixturevalue("postgres")
            async with open_postgres(server.emptied(int(count))) as directories:
                yield Directories(directories)
        case _:
            yield CqlStores(cql_log(request.param))
