"""The same seed gives the same run, different seeds give different ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.runtime import open_system
from actors.runtime.determinism import seeded_scheduler
from tests.actors.runtime.support import AsyncPuppet


def run(seed: int) -> list[Any]:
    """What some tasks and async actors do, in the order they did it."""
    log: list[Any] = []

    async def story() -> None:
        async with open_system(random.Random(seed)) as system:
            refs = [system.spawn(AsyncPuppet) for _ in range(4)]

            async def work(number: int) -> None:
                for step in range(3):
                    await refs[(number + step) % 4].call(number)
                    await trio.sleep(system.rng.random())
                    log.append((number, step, trio.current_time()))

            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(work, number)

    with seeded_scheduler(seed):
        trio.run(story, clock=MockClock(autojump_threshold=0))
    return log


@given(st.integers(0, 2**32))
def test_a_seed_decides_the_run(seed: int) -> None:
    assert run(seed) == run(seed)


def test_seeds_differ() -> None:
    assert len({tuple(run(seed)) for seed in range(10)}) == 10


def test_trio_is_left_as_it_was() -> None:
    from trio._core import _run

    private: Any = _run
    before = (private._ALLOW_DETERMINISTIC_SCHEDULING, private._r.getstate())
    run(1)
    assert before == (private._ALLOW_DETERMINISTIC_SCHEDULING, private._r.getstate())


def test_a_trio_without_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio._core import _run

    monkeypatch.delattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    with pytest.raises(RuntimeError, match="no scheduler"), seeded_scheduler(1):
        pass
