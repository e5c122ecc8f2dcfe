"""Which cids need no look-up, and when they are forgotten."""

from __future__ import annotations

import pytest

from persistence import cql_cids
from persistence.cql_cids import KnownCids
from persistence.records import Claim, Event, Head
from tests.contracts.stores import BOB, DM, GROUP, OTHER, append, event


def claim(epoch: int, head: int, *recent: Event) -> Claim:
    return Claim(Head(epoch, head, head), recent, {})


def test_a_claim_with_every_event_knows_every_cid() -> None:
    known = KnownCids()
    known.claimed(DM, claim(3, 2, event(1, cid="a"), event(2)))
    assert known.repeats(append(DM, 3, 2, event(3, cid="b"), event(4))) == []
    assert known.repeats(append(DM, 3, 2, event(3, cid="b"), event(4, cid="a"))) == [1]
    assert known.repeats(append(DM, 3, 2, event(3, cid="a", sender=BOB))) == []


def test_a_claim_with_some_events_knows_nothing() -> None:
    known = KnownCids()
    known.claimed(DM, claim(3, 2, event(2, cid="a")))
    assert known.repeats(append(DM, 3, 2, event(3, cid="a"))) is None
    assert known.repeats(append(OTHER, 3, 2, event(3, cid="a"))) is None


def test_what_is_committed_under_the_epoch_is_known() -> None:
    known = KnownCids()
    known.claimed(DM, claim(3, 0))
    known.committed(append(DM, 3, 0, event(1, cid="a")))
    known.committed(append(DM, 2, 0, event(1, cid="b")))
    assert known.repeats(append(DM, 3, 1, event(2, cid="a"), event(3, cid="b"))) == [1]
    assert known.repeats(append(DM, 2, 1, event(2, cid="a"))) is None
    known.forget(DM)
    assert known.repeats(append(DM, 3, 1, event(2, cid="a"))) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cql_cids, "THREAD_CIDS_MAX", 3)
    known = KnownCids(cids_max=5)
    for thread in (DM, GROUP, OTHER):
        known.claimed(thread, claim(1, 2, event(1, cid="a"), event(2, cid="b")))
    assert known.repeats(append(DM, 1, 2, event(3, cid="a"))) is None, "claimed first"
    assert known.repeats(append(OTHER, 1, 2, event(3, cid="a"))) == [1]
    known.committed(append(OTHER, 1, 2, event(3, cid="c"), event(4, cid="d")))
    assert known.repeats(append(OTHER, 1, 4, event(5, cid="a"))) is None, "too many"
    assert known.repeats(append(GROUP, 1, 2, event(3, cid="a"))) == [1]
