"""A system on virtual time for every story."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from actors.runtime import ActorSystem, open_system


@pytest.fixture
async def system(autojump_clock: MockClock) -> AsyncIterator[ActorSystem]:
    """Whenever all tasks wait, the clock jumps to what they wait for."""
    async with open_system(random.Random(7)) as opened:
        yield opened
