"""What a server's stores say about their health."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gateway import stores as module
from gateway.stores import HEALTH_AGE_S, Engine, Stores
from persistence.errors import StoreError, StoreUnavailable
from persistence.memory import MemoryStores


class Faulty:
    """An engine that does as it is told."""

    def __init__(self) -> None:
        self.error: StoreError | None = None
        self.hangs = False
        self.asked = 0

    async def health(self) -> None:
        self.asked += 1
        if self.hangs:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error

    def statistics(self) -> object:
        return {}


def made(**engines: Engine) -> Stores:
    memory = MemoryStores()
    return Stores(memory, memory.log, engines)


async def test_each_engine_is_told_from_the_others(autojump_clock: trio.testing.MockClock) -> None:
    sql, log = Faulty(), Faulty()
    stores = made(sql=sql, log=log)
    sql.error = StoreUnavailable("h/db:\nno answer")
    await stores.check()
    assert stores.health() == {"sql": "h/db: no answer", "log": "ok"}
    assert stores.healthy() == {"sql": 0, "log": 1}
    sql.error = None
    await trio.sleep(HEALTH_AGE_S)
    await stores.check()
    assert stores.health() == {"sql": "ok", "log": "ok"}


async def test_an_engine_that_hangs_is_not_healthy(autojump_clock: trio.testing.MockClock) -> None:
    engine = Faulty()
    engine.hangs = True
    stores = made(store=engine)
    await stores.check()
    assert stores.health() == {"store": "no answer in time"}
    assert trio.current_time() == module.HEALTH_DEADLINE_S


async def test_many_who_ask_at_once_get_one_answer(autojump_clock: trio.testing.MockClock) -> None:
    engine = Faulty()
    stores = made(store=engine)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(stores.check)
    assert engine.asked == 1


async def test_a_mistake_is_not_taken_for_an_outage() -> None:
    class Broken(Faulty):
        async def health(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup):
        await made(store=Broken()).check()
