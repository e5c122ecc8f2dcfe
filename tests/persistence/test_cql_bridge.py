"""The way from the driver's thread to trio."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from persistence.cql_bridge import Bridge


class Future:
    """As the driver's: calls back from whatever thread answers it."""

    def __init__(self) -> None:
        self._succeed: Callable[[Any], None] | None = None
        self._fail: Callable[[Any], None] | None = None

    def add_callbacks(
        self, succeed: Any, fail: Any, args: Any, kwargs: Any, fail_args: Any, fail_kwargs: Any
    ) -> None:
        self._succeed = lambda rows: succeed(rows, *args, **kwargs)
        self._fail = lambda error: fail(error, *fail_args, **fail_kwargs)

    def succeed(self, rows: Any) -> None:
        assert self._succeed is not None
        self._succeed(rows)

    def fail(self, error: Exception) -> None:
        assert self._fail is not None
        self._fail(error)


async def in_thread(call: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(call)
    await wait_all_tasks_blocked()


async def test_a_burst_of_answers_is_one_wake() -> None:
    bridge, futures, heard = Bridge(), [Future() for _ in range(50)], []

    async def ask(number: int) -> None:
        heard.append(await bridge.call(lambda: futures[number]))

    def answer() -> None:
        for number, future in enumerate(futures):
            future.succeed(number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number)
        await wait_all_tasks_blocked()
        assert bridge.statistics().under_way == 50
        answering = threading.Thread(target=answer)
        answering.start()
        answering.join()  # trio does not run meanwhile
    assert sorted(heard) == list(range(50))
    assert (bridge.statistics().under_way, bridge.statistics().wakes) == (0, 1)


async def test_errors_are_raised_to_who_asked() -> None:
    bridge, future = Bridge(), Future()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ValueError, match="from the server"):
                await bridge.call(lambda: future)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await in_thread(lambda: future.fail(ValueError("from the server")))


async def test_what_cannot_be_sent_takes_no_place() -> None:
    bridge = Bridge(1)

    def refuse() -> Future:
        raise RuntimeError("shut down")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="shut down"):
            await bridge.call(refuse)


async def test_requests_under_way_are_bounded_even_when_nobody_waits_for_them() -> None:
    bridge, futures, sent = Bridge(2), [Future() for _ in range(3)], []

    async def ask(number: int) -> None:
        def send() -> Future:
            sent.append(number)
            return futures[number]

        await bridge.call(send)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.01):
            async with trio.open_nursery() as impatient:
                impatient.start_soon(ask, 0)
                impatient.start_soon(ask, 1)
        nursery.start_soon(ask, 2)
        await wait_all_tasks_blocked()
        assert sorted(sent) == [0, 1], "a cancelled caller's request still has its place"
        await in_thread(lambda: futures[0].succeed([]))
        assert sorted(sent) == [0, 1, 2]
        await in_thread(lambda: futures[2].succeed([]))
    assert bridge.statistics().under_way == 1


async def test_a_second_answer_to_one_request_is_dropped() -> None:
    """The driver calls back twice when a read that it sent to two replicas is answered by both."""
    bridge, future = Bridge(1), Future()

    def answer() -> None:
        future.succeed("first")
        future.succeed("second")

    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            assert await bridge.call(lambda: future) == "first"

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await in_thread(answer)
    assert bridge.statistics().under_way == 0
