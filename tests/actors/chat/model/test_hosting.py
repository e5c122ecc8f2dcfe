"""A hosted loop does nothing while nobody calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.actors.chat.model.hosting import Hosted


class Restless:
    """A stage with a task that never rests."""

    steps = 0

    async def run(self) -> None:
        while True:
            self.steps += 1
            await trio.lowlevel.checkpoint()

    async def look(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.steps

    async def fail(self) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("oak")


@asynccontextmanager
async def restless(_: MockClock) -> AsyncIterator[Restless]:
    stage = Restless()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        yield stage
        nursery.cancel_scope.cancel()


def test_the_loop_stands_still_between_two_calls() -> None:
    hosted = Hosted(restless)
    try:
        for _ in range(1000):
            assert hosted.call(hosted.stage.look) == hosted.stage.steps
        assert hosted.stage.steps > 0
    finally:
        hosted.close()


def test_a_call_that_fails_raises_here_and_ends_nothing() -> None:
    hosted = Hosted(restless)
    try:
        with pytest.raises(KeyError, match="oak"):
            hosted.call(hosted.stage.fail)
        assert hosted.call(hosted.stage.look) > 0
    finally:
        hosted.close()


def test_a_loop_that_fails_says_so_to_whoever_calls_and_whoever_closes() -> None:
    @asynccontextmanager
    async def failing(_: MockClock) -> AsyncIterator[Restless]:
        async with trio.open_nursery() as nursery:
            yield Restless()
            nursery.start_soon(Restless().fail)
            await trio.sleep_forever()

    hosted = Hosted(failing)
    with pytest.raises(ExceptionGroup, match="nursery"):
        hosted.close()
    with pytest.raises(AssertionError, match="has ended"):
        hosted.call(hosted.stage.look)


def test_a_stage_that_does_not_open_says_so() -> None:
    @asynccontextmanager
    async def closed(_: MockClock) -> AsyncIterator[Restless]:
        await Restless().fail()
        yield Restless()

    with pytest.raises(KeyError, match="oak"):
        Hosted(closed)
