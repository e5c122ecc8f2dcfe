"""Faults at the ports, and the bridge to threads."""

from __future__ import annotations

import threading

import pytest
import trio

from persistence.blocking import Lane
from persistence.errors import OutcomeUnknown, StoreUnavailable
from persistence.faulty import faulty
from persistence.memory import MemoryStores
from persistence.records import ThreadId
from tests.contracts.stores import ANN, account, append, event

DM = ThreadId("d:u1:u2")


async def test_hook_hears_every_call_before_it_happens() -> None:
    stores = MemoryStores()
    points = []

    async def before(point: str) -> None:
        points.append(point)

    log, accounts = faulty(stores.log, "log", before), faulty(stores.accounts, "accounts", before)
    claim = await log.claim(DM, 5)
    await log.append([append(DM, claim.head.epoch, 0, event(1))])
    ann = await accounts.create(account("ann"))
    assert await accounts.by_ids([ann.uid]) == {ANN: ann}
    assert points == ["log.claim", "log.append", "accounts.create", "accounts.by_ids"]


async def test_what_the_hook_raises_keeps_the_call_from_happening() -> None:
    stores = MemoryStores()

    async def before(point: str) -> None:
        raise StoreUnavailable(point)

    with pytest.raises(StoreUnavailable, match=r"log\.claim"):
        await faulty(stores.log, "log", before).claim(DM, 0)
    assert (await stores.log.claim(DM, 0)).head.epoch == 1


async def test_answer_can_get_lost_after_the_call_has_happened() -> None:
    stores = MemoryStores()

    async def passing(point: str) -> None:
        pass

    async def after(point: str) -> None:
        raise OutcomeUnknown(point)

    with pytest.raises(OutcomeUnknown):
        await faulty(stores.log, "log", passing, after).claim(DM, 0)
    assert (await stores.log.claim(DM, 0)).head.epoch == 2


def test_unknown_method_is_an_attribute_error() -> None:
    async def before(point: str) -> None:
        pass

    with pytest.raises(AttributeError):
        faulty(MemoryStores().log, "log", before).nonsense  # type: ignore[attr-defined]  # noqa: B018


async def test_lane_lets_so_many_calls_in_and_finishes_what_it_started() -> None:
    lane = Lane("test", 1)
    started, release, finished = trio.Event(), threading.Event(), []

    def call() -> None:
        trio.from_thread.run_sync(started.set)
        assert release.wait(10)
        finished.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.run, call)
        await started.wait()
        assert "1/1 in use" in repr(lane)
        with trio.move_on_after(0):
            await lane.run(lambda: finished.append("never"))
        nursery.cancel_scope.cancel()
        release.set()
    assert finished == ["first"]
