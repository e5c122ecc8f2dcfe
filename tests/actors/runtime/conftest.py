"""Virtual time, a system, and logs in which everything must have been expected."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from actors.runtime import ActorSystem, open_system
from actors.testkit import Logs, capture_logs
from tests.virtual import on_virtual_time

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    on_virtual_time(items, HERE)


@pytest.fixture(autouse=True)
def logs(request: pytest.FixtureRequest) -> Iterator[Logs]:
    """Warnings and errors must be expected. Those of crashes need not be in a story marked so."""
    with capture_logs(level=logging.WARNING) as logs:
        if request.node.get_closest_marker("crashes"):
            logs.allow(" crashed")
            logs.allow(" failed and goes on")
        yield logs


@pytest.fixture
async def system() -> AsyncIterator[ActorSystem]:
    async with open_system(random.Random(7)) as opened:
        yield opened
