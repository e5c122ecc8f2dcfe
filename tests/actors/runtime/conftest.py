"""Virtual time and a system for every story."""

from __future__ import annotations

import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.runtime import ActorSystem, open_system

HERE = Path(__file__).parent

STORY_S = 3600.0
"""Of virtual time. A story in which everybody waits for ever is there at once, and fails."""


def on_virtual_time(story: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Whenever all tasks wait, the clock jumps to what they wait for. A thread's work does not
    count as waiting, so stories with threads set no deadlines."""

    async def bounded() -> Any:
        with trio.fail_after(STORY_S):
            return await story()

    return trio.run(bounded, **{**options, "clock": MockClock(autojump_threshold=0)})


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if HERE in item.path.parents and inspect.iscoroutinefunction(function):
            item.add_marker(pytest.mark.trio(run=on_virtual_time), append=False)


@pytest.fixture
async def system() -> AsyncIterator[ActorSystem]:
    async with open_system(random.Random(7)) as opened:
        yield opened
