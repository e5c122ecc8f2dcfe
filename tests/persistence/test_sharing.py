"""Identical reads at once: how many reach the store, and what everybody hears."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from persistence.errors import StoreUnavailable
from persistence.sharing import SharedReads


class Store:
    """Answers one read after the other, each with its number, when told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.failing = False
        self._going: list[trio.Event] = []

    async def fetch(self) -> int:
        self.begun += 1
        number, going = self.begun, trio.Event()
        self._going.append(going)
        await going.wait()
        if self.failing:
            raise StoreUnavailable("down")
        return number

    async def answer(self) -> None:
        self._going.pop(0).set()
        await wait_all_tasks_blocked()


def asking(
    sharing: SharedReads, store: Store, heard: list[int | str]
) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        try:
            heard.append(await sharing.read("page", store.fetch))
        except StoreUnavailable as error:
            heard.append(str(error))

    return ask


async def test_who_comes_during_a_read_shares_the_next() -> None:
    sharing, store, heard = SharedReads(), Store(), list[int | str]()
    ask = asking(sharing, store, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        for _ in range(5):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert store.begun == 1, "the one under way may be older than what they know"
        await store.answer()
        assert (heard, store.begun) == ([1], 2)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await store.answer()
        assert heard == [1, 2, 2, 2, 2, 2]
        await store.answer()
    assert heard == [1, 2, 2, 2, 2, 2, 3]
    assert sharing.shared == 4


async def test_other_reads_share_nothing() -> None:
    sharing, store = SharedReads(), Store()
    async with trio.open_nursery() as nursery:
        for key in "abc":
            nursery.start_soon(sharing.read, key, store.fetch)
        await wait_all_tasks_blocked()
        assert store.begun == 3
        for _ in range(3):
            await store.answer()


async def test_a_failure_is_everybodys_who_shared_it() -> None:
    sharing, store, heard = SharedReads(), Store(), list[int | str]()
    ask = asking(sharing, store, heard)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await store.answer()
        store.failing = True
        await store.answer()
    assert heard == [1, "down", "down"]


@pytest.mark.parametrize("begun", [1, 2], ids=["while it waits", "while it reads"])
async def test_another_reads_when_the_reader_is_cancelled(begun: int) -> None:
    sharing, store, heard = SharedReads(), Store(), list[int | str]()
    ask = asking(sharing, store, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as leader:
            async with trio.open_nursery() as inner:
                inner.start_soon(ask)
                await wait_all_tasks_blocked()
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                if begun == 2:
                    await store.answer()
                assert store.begun == begun
                leader.cancel()
        await wait_all_tasks_blocked()
        while len(heard) < 2:
            await store.answer()
    assert len(heard) == 2
