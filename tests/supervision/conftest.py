"""A stage for every story: virtual time that jumps, a seeded system, and no log but of crashes."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from actors.runtime import open_system
from actors.testkit import Logs, capture_logs
from supervision import Tasks
from tests.supervision.actors import Stage, World
from tests.supervision.jobs import TASKS, Job, task_supervisor
from tests.virtual import on_virtual_time

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    on_virtual_time(items, HERE)


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    """Crashes are what the stories are about; any other error or warning has to be expected."""
    with capture_logs(level=logging.WARNING) as logs:
        logs.allow(" crashed")
        logs.allow(" failed and goes on")
        yield logs


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_system(random.Random(7)) as system:
        yield Stage(system, World())


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
async def tasks(stage: Stage) -> Tasks:
    """A task supervisor, which is a child."""
    await stage.supervise(task_supervisor())
    return Tasks(stage.system, TASKS)
