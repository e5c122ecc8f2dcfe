"""How an append is divided among the buckets of a thread's log."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.cql_buckets import Aside, Buckets, Standing, decoded, encoded, share_of
from persistence.errors import Corrupt
from persistence.records import Append, Cursor, EventKind, Head, Rewrite
from tests.contracts.stores import ANN, DM, append, event

FOUR = Buckets(4)
sizes = st.integers(1, 7).map(Buckets)


@given(sizes, st.integers(1, 100))
def test_every_seq_lies_in_one_bucket(buckets: Buckets, seq: int) -> None:
    bucket = buckets.of(seq)
    assert buckets.first(bucket) <= seq <= buckets.last(bucket)
    assert buckets.last(bucket) - buckets.first(bucket) + 1 == buckets.size


@given(sizes, st.integers(1, 40), st.integers(-3, 40))
def test_spans_cover_a_range_downwards_without_overlap(
    buckets: Buckets, low: int, high: int
) -> None:
    spans = list(buckets.spans(low, high))
    seqs = [seq for _, bottom, top in spans for seq in range(top, bottom - 1, -1)]
    assert seqs == list(range(high, low - 1, -1))
    assert all(buckets.of(bottom) == buckets.of(top) == bucket for bucket, bottom, top in spans)


def test_append_within_a_bucket_has_nothing_aside_but_cursors() -> None:
    share = share_of(append(DM, 1, 1, event(2), event(3), cursors={ANN: Cursor(3, 2, 1)}), FOUR)
    assert (share.bucket, share.events, share.rewrites) == (0, (event(2), event(3)), ())
    assert share.aside == Aside(1, cursors={ANN: (3, 2, 1)})


def test_append_across_the_end_leaves_its_last_events_aside() -> None:
    share = share_of(append(DM, 1, 2, *map(event, range(3, 8)), meta_seq=6), FOUR)
    assert (share.bucket, share.events, share.meta_seq) == (0, (event(3), event(4)), None)
    assert share.aside == Aside(2, rest=(event(5), event(6), event(7)), meta_seq=6)
    early = share_of(append(DM, 1, 2, *map(event, range(3, 8)), meta_seq=4), FOUR)
    assert (early.meta_seq, early.aside.meta_seq) == (4, None)
    alone = share_of(append(DM, 1, 2, meta_seq=6), FOUR)
    assert (alone.meta_seq, alone.aside.meta_seq) == (6, None), "nothing is opened to hold it"


def test_append_after_a_full_bucket_works_in_the_next() -> None:
    assert share_of(append(DM, 1, 4, event(5)), FOUR).bucket == 1
    assert share_of(append(DM, 1, 4, cursors={ANN: Cursor()}), FOUR).bucket == 1
    assert share_of(append(DM, 1, 3, cursors={ANN: Cursor()}), FOUR).bucket == 0


def test_append_that_would_end_two_buckets_is_a_mistake() -> None:
    share_of(append(DM, 1, 0, *map(event, range(1, 8))), FOUR)
    with pytest.raises(AssertionError, match="ends a second bucket"):
        share_of(append(DM, 1, 0, *map(event, range(1, 9))), FOUR)


def test_rewrites_go_where_their_events_lie() -> None:
    seqs = (2, 5, 6, 7, 9)
    rewrites = tuple(Rewrite(seq, b"%d" % seq) for seq in seqs)
    share = share_of(append(DM, 1, 6, *map(event, (7, 8, 9)), rewrites=rewrites), FOUR)
    assert share.events == (replace(event(7), body=b"7"), event(8))
    assert share.aside.rest == (replace(event(9), body=b"9"),)
    assert share.rewrites == (Rewrite(5, b"5"), Rewrite(6, b"6"))
    assert share.aside.rewrites == (Rewrite(2, b"2"),)


@given(st.integers(0, 20), st.integers(0, 3), sizes.filter(lambda buckets: buckets.size > 3))
def test_no_event_is_lost_or_doubled(expected: int, count: int, buckets: Buckets) -> None:
    events = [event(expected + 1 + index) for index in range(count)]
    share = share_of(append(DM, 1, expected, *events), buckets)
    assert [*share.events, *share.aside.rest] == events
    assert {buckets.of(each.seq) for each in share.events} <= {share.bucket}
    assert {buckets.of(each.seq) for each in share.aside.rest} <= {share.bucket + 1}


def test_record_survives_encoding() -> None:
    given = Append(
        DM, 1, 3, (event(4), event(5, cid="c", target=1, text="ü")), (Rewrite(1, b"{}"),),
        {ANN: Cursor(5, 4, 3)}, 5,
    )  # fmt: skip
    aside = share_of(replace(given, rewrites=(Rewrite(1, b"{}"),)), Buckets(4)).aside
    assert decoded(encoded(aside)) == aside
    with pytest.raises(Corrupt, match="aside"):
        decoded(b"\x93nonsense")


def test_standing_moves_with_events() -> None:
    standing = Standing(0, 7, 3, 2, 50, 1, 2)
    assert standing.head == Head(7, 3, 2, 1, 50)
    assert standing.after([], None) == standing
    after = standing.after([event(4), event(5, 4, EventKind.REACT)], 5)
    assert after == Standing(0, 7, 5, 4, event(5).ts_ms, 5, 4)
