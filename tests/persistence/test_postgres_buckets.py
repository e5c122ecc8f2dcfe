"""Which database a key's rows are in, and which sets of databases are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.errors import Corrupt
from persistence.postgres_buckets import BUCKETS, bucket_of, even_ranges, owners


@pytest.mark.parametrize(
    ("key", "bucket"),
    [("", 3393), ("u1", 3655), ("u2", 624), ("ann", 2016), ("g1", 18), ("ß", 3601), (b"u1", 3655)],
)
def test_bucket_of_a_key_never_changes(key: str | bytes, bucket: int) -> None:
    assert bucket_of(key) == bucket


def test_keys_spread_evenly() -> None:
    quarters = Counter(bucket_of(f"u{number}") * 4 // BUCKETS for number in range(20_000))
    assert all(4_800 < count < 5_200 for count in quarters.values())
    assert len(quarters) == 4


@given(st.integers(1, 64))
def test_even_ranges_give_every_bucket_one_owner(databases: int) -> None:
    ranges = even_ranges(databases)
    found = owners([f"d{n}" for n in range(databases)], [[each] for each in ranges])
    assert len(found) == BUCKETS
    assert set(Counter(found).values()) <= {BUCKETS // databases, BUCKETS // databases + 1}


def test_order_of_the_databases_does_not_matter() -> None:
    here = owners(["a", "b"], [[(0, 10)], [(10, BUCKETS)]])
    there = owners(["b", "a"], [[(10, BUCKETS)], [(0, 10)]])
    assert [1 - index for index in there] == list(here)


def test_a_database_may_have_several_ranges() -> None:
    found = owners(["a", "b"], [[(0, 5), (9, BUCKETS)], [(5, 9)]])
    assert [found[bucket] for bucket in (0, 4, 5, 8, 9, BUCKETS - 1)] == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("placements", "words"),
    [
        ([[(0, 2048)], []], "b has no buckets, but another database given has some"),
        ([[(0, 2048)], [(2047, BUCKETS)]], "bucket 2047 is in a and in b"),
        ([[(0, 2048)], [(2049, BUCKETS)]], "bucket 2048 is in none of a, b: is a database missing"),
        ([[(0, BUCKETS)], [(0, BUCKETS)]], "bucket 0 is in a and in b"),
    ],
)
def test_databases_that_do_not_belong_together_are_refused(
    placements: list[list[tuple[int, int]]], words: str
) -> None:
    with pytest.raises(Corrupt, match=words):
        owners(["a", "b"], placements)
