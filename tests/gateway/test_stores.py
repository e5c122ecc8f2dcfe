"""What a server's stores say about their health."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from gateway import stores as module
from gateway.config import Settings
from gateway.stores import HEALTH_AGE_S, Engine, Stores, open_stores
from persistence.cql_session import REQUEST_S, SECOND_READ_S
from persistence.errors import StoreError, StoreUnavailable
from persistence.memory import MemoryStores
from tests import servers
from tests.servers import cassandra
from tests.servers.postgres import PostgresServer


class Faulty:
    """An engine that does as it is told."""

    def __init__(self) -> None:
        self.error: StoreError | None = None
        self.hangs = False
        self.takes_s = 0.0
        self.asked = 0

    async def health(self) -> None:
        self.asked += 1
        if self.hangs:
            await trio.sleep_forever()
        await trio.sleep(self.takes_s)
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


async def test_log_that_gets_around_a_frozen_node_is_healthy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = Faulty()
    log.takes_s = REQUEST_S + 2 * SECOND_READ_S
    stores = made(log=log)
    await stores.check()
    assert stores.health() == {"log": "ok"}


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


async def test_engines_that_are_elsewhere_need_no_data_directory(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Each engine is asked under its name; a directory is made for what is embedded only."""
    sql, data = postgres.emptied(1), tmp_path / "data"
    rng = random.Random(1)
    async with open_stores(Settings(data=data), rng) as stores:
        assert list(stores.engines) == ["store"]
    async with open_stores(Settings(data=data, sql=sql), rng) as stores:
        assert list(stores.engines) == ["sql", "log"]
        await stores.check()
        assert stores.healthy() == {"sql": 1, "log": 1}
    url = cassandra.url("cassandra-1")
    if url is None:
        pytest.skip(f"cassandra-1 does not run: {servers.HINT}")
    log = url.replace("/coppice", "/contracts")
    async with open_stores(Settings(data=tmp_path / "none", sql=sql, log=log), rng) as stores:
        await stores.check()
        assert stores.health() == {"sql": "ok", "log": "ok"}
        assert not (tmp_path / "none").exists()
        assert stores.engines["log"].statistics()


async def test_nothing_is_made_for_stores_that_cannot_be_opened(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", sql=("postgresql://127.0.0.1:1/x",))
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/x"):
        async with open_stores(settings, random.Random(1)):
            pass
    assert not settings.data.exists()
