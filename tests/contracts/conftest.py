"""The adapters under contract. Another one joins by another branch of `stores`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persistence.memory import MemoryStores
from persistence.postgres import open_postgres
from persistence.sqlite import open_sqlite
from tests.contracts.stores import Directories, Stores

LOGS = ("memory", "sqlite")
DIRECTORIES = (*LOGS, "postgres-1", "postgres-3")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Modules about the log get the adapters that have one, all others the rest as well."""
    if "stores" in metafunc.fixturenames:
        is_log = "test_log" in metafunc.module.__name__
        metafunc.parametrize("stores", LOGS if is_log else DIRECTORIES, indirect=True)


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
