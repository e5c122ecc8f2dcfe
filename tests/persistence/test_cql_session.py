"""Requests through the real driver to a server that fails: what is sent again, what is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from cassandra.policies import RetryPolicy

from persistence import cql_session
from persistence.cql_bridge import Bridge
from persistence.cql_session import Connected, CqlSession, Suspects, connect
from persistence.cql_settings import CqlSettings
from persistence.errors import OutcomeUnknown, StoreUnavailable
from tests.persistence.cql_server import (
    APPLIED,
    UNAVAILABLE,
    WRITE_TIMEOUT,
    FakeCluster,
    fake_cluster,
)

REQUEST_S = 0.3


@asynccontextmanager
async def session_to(fake: FakeCluster, monkeypatch: Any) -> AsyncIterator[tuple[CqlSession, Any]]:
    """A session, and a statement of one value."""
    monkeypatch.setattr(cql_session, "SECOND_READ_S", 10.0)
    suspects = Suspects()
    cluster = connect(CqlSettings((fake.HOSTS[0],), fake.port), suspects, REQUEST_S)
    try:
        session = await trio.to_thread.run_sync(partial(cluster.connect, wait_for_all_pools=True))
        statement = await trio.to_thread.run_sync(session.prepare, "UPDATE t SET a = ? IF b = 1")
        connected = Connected(session, SimpleNamespace(), suspects)  # type: ignore[arg-type]
        yield CqlSession(connected, Bridge()), statement
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(cluster.shutdown)


@pytest.fixture
async def fake() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as fake:
        yield fake


@pytest.mark.parametrize(
    "answer", [FakeCluster.DROP, WRITE_TIMEOUT, None], ids=["dropped", "write timeout", "silence"]
)
async def test_a_conditional_write_of_unknown_outcome_is_sent_once(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    async with session_to(fake, monkeypatch) as (session, statement):
        fake.script.append(answer)
        with pytest.raises(OutcomeUnknown):
            await session.conditional((statement, ("x",)))
        assert len(fake.batches) == 1
        assert await session.conditional((statement, ("x",)))
        assert len(fake.batches) == 2


async def test_the_drivers_own_policy_would_have_sent_it_twice(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is a policy of ours at all; when this fails, the driver has changed."""
    monkeypatch.setattr(cql_session, "FallthroughRetryPolicy", RetryPolicy)
    async with session_to(fake, monkeypatch) as (session, statement):
        fake.script.append(FakeCluster.DROP)
        assert await session.conditional((statement, ("x",))), "and says that all is well"
        assert sorted(fake.batches) == list(fake.HOSTS)


async def test_a_refused_write_is_known_not_to_have_happened(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session_to(fake, monkeypatch) as (session, statement):
        fake.script.append(UNAVAILABLE)
        with pytest.raises(StoreUnavailable):
            await session.conditional((statement, ("x",)))
        assert len(fake.batches) == 1


async def test_reads_and_idempotent_writes_are_sent_again(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session_to(fake, monkeypatch) as (session, statement):
        fake.script.extend([FakeCluster.DROP, WRITE_TIMEOUT, APPLIED])
        await session.write((statement, ("x",)))
        assert len(fake.executions) == 3
        fake.script.extend([UNAVAILABLE] * 3)
        with pytest.raises(StoreUnavailable):
            await session.read(statement, "x")
        assert len(fake.executions) == 6


async def test_a_host_that_lets_a_request_time_out_is_asked_last(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session_to(fake, monkeypatch) as (session, statement):
        fake.script.append(None)
        with pytest.raises(OutcomeUnknown):
            await session.conditional((statement, ("x",)))
        for _ in range(6):
            await session.conditional((statement, ("x",)))
        (silent, *others) = fake.batches
        assert set(others) == set(fake.HOSTS) - {silent}
