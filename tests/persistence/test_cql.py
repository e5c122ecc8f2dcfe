"""The CQL log as the server opens it."""

from __future__ import annotations

import uuid

import pytest
from cassandra.cluster import Session

from persistence.cql import open_log
from persistence.errors import Corrupt, StoreUnavailable
from persistence.records import Failed, ThreadId
from tests.contracts.cql import (
    connected,
    driver_ends_with_the_module,  # noqa: F401  (a fixture)
    needs,
)
from tests.contracts.stores import append, event
from tests.servers import cassandra

NAME = "cassandra-1"
pytestmark = needs(NAME)


def url(keyspace: str) -> str:
    found = cassandra.url(NAME)
    assert found is not None
    return found.replace("/coppice?", f"/{keyspace}?")


async def test_opening_makes_a_keyspace_once_and_keeps_what_is_in_it() -> None:
    place = url(f"open_{uuid.uuid4().hex}")
    async with open_log(place) as log:
        await log.health()
        assert (await log.claim(ThreadId("g1"), 0)).head.epoch == 1
        await log.append([append(ThreadId("g1"), 1, 0, event(1))])
        assert log.statistics().under_way == 0
        assert log.statistics().requests > 5
    async with open_log(place) as log:
        assert (await log.claim(ThreadId("g1"), 5)).recent == (event(1),)


async def test_keyspace_of_a_newer_program_is_refused() -> None:
    keyspace = f"newer_{uuid.uuid4().hex}"
    async with open_log(url(keyspace)):
        pass
    session: Session = connected(NAME).session
    session.execute(
        f"INSERT INTO {keyspace}.migrations (number, name, checksum) VALUES (2, '0002_new.cql', '')"
    )
    with pytest.raises(Corrupt, match="newer than this program: it has 0002_new"):
        async with open_log(url(keyspace)):
            pass


async def test_log_whose_tables_are_gone_is_unavailable_until_they_are_back() -> None:
    """As during a restore. Nothing is a crash, and nobody need start anything again."""
    place = url(keyspace := f"gone_{uuid.uuid4().hex}")
    async with open_log(place) as log:
        claim = await log.claim(ThreadId("g1"), 0)
        connected(NAME).session.execute(f"DROP KEYSPACE {keyspace}", timeout=60)
        with pytest.raises(StoreUnavailable):
            await log.health()
        (outcome,) = await log.append([append(ThreadId("g1"), claim.head.epoch, 0, event(1))])
        assert isinstance(outcome, Failed)
        assert outcome.known
        async with open_log(place):
            await log.health()
            assert (await log.claim(ThreadId("g1"), 0)).head.epoch == 1
