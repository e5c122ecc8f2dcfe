"""The CQL log for tests: one connection for a whole run, threads of its own for each test.

Schema changes take long on a cluster. So every test shares a keyspace, and its threads get a prefix
that nobody else has.
"""

from __future__ import annotations

import fcntl
import functools
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cassandra.cluster import Cluster

from persistence.cql_bridge import Bridge
from persistence.cql_buckets import Buckets
from persistence.cql_log import CqlLog
from persistence.cql_session import Connected, CqlSession, Suspects, connect, open_session
from persistence.cql_settings import parse
from persistence.memory import MemoryStores
from persistence.protocols import MessageLog
from persistence.records import (
    Append,
    Claim,
    ClientId,
    Event,
    Outcome,
    Span,
    Summary,
    ThreadId,
    UserId,
)
from tests import servers
from tests.servers import cassandra

_clusters: list[Cluster] = []

REQUEST_S = 15.0
"""A busy machine is slow; an outcome that is unknown for it would be no story of these tests."""


class CqlStores(MemoryStores):
    """A log on a CQL server among stores in memory."""

    def __init__(self, log: MessageLog) -> None:
        super().__init__()
        self.log = log  # type: ignore[assignment, misc]


def cql_log(name: str, prefix: str | None = None, bucket_events: int = 8) -> MessageLog:
    """A log on the server of this name, with no thread that another test knows; with the same
    prefix, the same threads. Inside trio."""
    log = CqlLog(CqlSession(connected(name), Bridge()), Buckets(bucket_events))
    return Prefixed(log, prefix or fresh_prefix())


@functools.cache
def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test, and says why, if the server of this name does not run."""
    reason = f"{name} does not run: {servers.HINT}"
    return pytest.mark.skipif(cassandra.url(name) is None, reason=reason)


def on(name: str, *more: Any) -> Any:
    """A parameter: the server of this name, and whatever goes with it."""
    return pytest.param(name, *more, marks=needs(name))


@pytest.fixture(scope="module", autouse=True)
def driver_ends_with_the_module() -> Iterator[None]:
    """The driver's threads wait with `time.sleep`, which tests of other modules replace."""
    yield
    _connected.cache_clear()
    while _clusters:
        _clusters.pop().shutdown()


def fresh_prefix() -> str:
    return f"{uuid.uuid4().hex}:"


def connected(name: str) -> Connected:
    url = cassandra.url(name)
    assert url is not None, f"{name} does not run: {servers.HINT}"
    return _connected(url)


@functools.cache
def _connected(url: str) -> Connected:
    settings, suspects = replace(parse(url), keyspace="contracts"), Suspects()
    cluster = connect(settings, suspects, REQUEST_S)
    _clusters.append(cluster)
    with (servers.directory() / "contracts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this run makes the keyspace, too
        return open_session(cluster, settings, suspects)


class Prefixed:
    """`MessageLog`: another one, whose threads are all named with a prefix."""

    def __init__(self, log: MessageLog, prefix: str) -> None:
        self._log = log
        self._prefix = prefix
        self.commits_at_once = log.commits_at_once

    def _named(self, thread: ThreadId) -> ThreadId:
        return ThreadId(self._prefix + thread)

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        return await self._log.claim(self._named(thread), recent)

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        named = [replace(append, thread=self._named(append.thread)) for append in batch]
        return await self._log.append(named)

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        named = self._named(thread)
        return await self._log.read(named, span, limit, after=after, before=before)

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        return await self._log.related(self._named(thread), targets)

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        return await self._log.find(self._named(thread), sender, cid)

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        found = await self._log.summaries(
            {self._named(thread): span for thread, span in spans.items()},
            {self._named(thread): uids for thread, uids in readers.items()},
        )
        size = len(self._prefix)
        return {ThreadId(thread[size:]): summary for thread, summary in found.items()}
