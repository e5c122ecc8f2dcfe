"""A stage for every story: virtual time that jumps, a seeded system."""

from __future__ import annotations

import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.runtime import open_system
from tests.supervision.actors import Stage, World

HERE = Path(__file__).parent


def on_virtual_time(story: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Whenever all tasks wait, the clock jumps to what they wait for."""
    return trio.run(story, **{**options, "clock": MockClock(autojump_threshold=0)})


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if HERE in item.path.parents and inspect.iscoroutinefunction(function):
            item.add_marker(pytest.mark.trio(run=on_virtual_time), append=False)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_system(random.Random(7)) as system:
        yield Stage(system, World())
