"""The adapters under contract. Another one joins by another branch of `stores`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persistence.memory import MemoryStores
from persistence.sqlite import open_sqlite
from tests.contracts.stores import Stores


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield MemoryStores()
    else:
        async with open_sqlite(tmp_path / "data") as opened:
            yield opened
