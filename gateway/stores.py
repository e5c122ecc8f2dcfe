"""The stores of a server, by its settings: opened, composed, and asked how they are.

Users and threads, and the message log, are two engines or one. `/ready` and the metrics name each
engine (`sql`, `log`; the embedded one, which is both, `store`), so that an outage of one is told
from an outage of the other.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from gateway.config import CQL, EMBEDDED, Settings
from gateway.failures import in_one_line
from persistence.errors import StoreError
from persistence.protocols import (
    AccountStore,
    ContactStore,
    MessageLog,
    SessionStore,
    ThreadStore,
)
from persistence.sqlite import SqliteStores, open_sqlite

if TYPE_CHECKING:  # each takes as long to import as all the rest
    from persistence.cql_log import CqlLog
    from persistence.postgres import PostgresStores

HEALTH_AGE_S: Final = 1.0
"""Who asks within this time of somebody else gets the same answer: the embedded store writes and
syncs a row for each."""
HEALTH_DEADLINE_S: Final = 4.0
"""A cluster gets around a node that froze when one request has timed out, after 2 s. A store that
takes longer would make every request late: not healthy."""

logger = structlog.get_logger("stores")


class Engine(Protocol):
    """What is asked of an engine beside its ports."""

    async def health(self) -> None:
        """Raises `StoreError` if it cannot be used."""

    def statistics(self) -> object:
        """Numbers for the metrics."""


class Directories(Protocol):
    """The ports of users and threads."""

    @property
    def accounts(self) -> AccountStore: ...
    @property
    def sessions(self) -> SessionStore: ...
    @property
    def contacts(self) -> ContactStore: ...
    @property
    def threads(self) -> ThreadStore: ...


@dataclass(slots=True)
class Stores:
    """The five ports, and the engines behind them by name."""

    directories: Directories
    log: MessageLog
    engines: Mapping[str, Engine]
    _problems: dict[str, str] = field(default_factory=dict)
    _checking: trio.Lock = field(default_factory=trio.Lock)
    _fresh_until_s: float = -math.inf

    def health(self) -> Mapping[str, str]:
        """For each engine `ok`, or what was wrong with it when it was last asked."""
        return {name: self._problems.get(name, "ok") for name in self.engines}

    def healthy(self) -> Mapping[str, int]:
        """For each engine 1 or 0, for the metrics."""
        return {name: int(name not in self._problems) for name in self.engines}

    async def check(self) -> None:
        """Ask every engine how it is; `health` and `healthy` then tell."""
        async with self._checking:
            if trio.current_time() < self._fresh_until_s:
                return
            async with trio.open_nursery() as nursery:
                for name, engine in self.engines.items():
                    nursery.start_soon(self._ask, name, engine)
            self._fresh_until_s = trio.current_time() + HEALTH_AGE_S

    async def _ask(self, name: str, engine: Engine) -> None:
        was = self._problems.get(name)
        try:
            with trio.fail_after(HEALTH_DEADLINE_S):
                await engine.health()
        except (StoreError, trio.TooSlowError) as error:
            self._problems[name] = in_one_line(error) or "no answer in time"
            if was is None:
                logger.warning("store_unavailable", store=name, reason=self._problems[name])
        else:
            if self._problems.pop(name, None) is not None:
                logger.warning("store_available", store=name)


@asynccontextmanager
async def open_stores(settings: Settings, rng: random.Random) -> AsyncIterator[Stores]:
    """Everything opened; closed on leaving. The data directory is opened, and made, only if one of
    the stores is in it. Raises `StoreError`, `OSError`."""
    async with AsyncExitStack() as stack:
        opened: list[SqliteStores] = []

        async def embedded() -> SqliteStores:
            if not opened:
                opened.append(await stack.enter_async_context(open_sqlite(settings.data)))
            return opened[0]

        urls = databases(settings.sql)
        if urls:
            sql: SqliteStores | PostgresStores = await stack.enter_async_context(_sql(urls, rng))
        else:
            sql = await embedded()
        if settings.log.startswith(CQL):
            log = await stack.enter_async_context(_cql(settings.log))
            yield Stores(sql, log, {"sql": sql, "log": log})
        else:
            both = await embedded()
            engines: dict[str, Engine] = {"sql": sql, "log": both}
            yield Stores(sql, both.log, {"store": both} if sql is both else engines)


def databases(urls: Sequence[str]) -> Sequence[str]:
    """Those of the URLs in `Settings.sql` that name a database."""
    return [url for url in urls if not url.startswith(EMBEDDED)]


def _sql(urls: Sequence[str], rng: random.Random) -> AbstractAsyncContextManager[PostgresStores]:
    from persistence.postgres import open_postgres

    return open_postgres(urls, rng)


def _cql(url: str) -> AbstractAsyncContextManager[CqlLog]:
    from persistence.cql import open_log

    return open_log(url)
