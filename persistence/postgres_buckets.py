"""Which database a row lives in: key → bucket → database.

A key (a user id, a login name, a thread id …) falls into one of `BUCKETS` by its hash, for ever.
Each database says which ranges of buckets are its own, in its table `placement`; a server reads
that when it opens them and refuses to start unless every bucket has exactly one owner. So the order
of the URLs does not matter, one that is missing is noticed, and moving a bucket is copying its rows
and changing two rows of `placement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from itertools import pairwise
from typing import Final

from persistence.errors import Corrupt

BUCKETS: Final = 4096
"""Far more than there will be databases, so that ranges can be split; few enough to look at."""

Range = tuple[int, int]
"""Buckets from the first number up to, not including, the second."""


def bucket_of(key: str | bytes) -> int:
    """The bucket of a key. Must never change: it says where everything stored is.

    The first three digits of its MD5, which SQL can say too: whoever moves rows has to.
    """
    encoded = key.encode() if isinstance(key, str) else key
    return int(md5(encoded, usedforsecurity=False).hexdigest()[:3], 16)


def even_ranges(databases: int) -> list[Range]:
    """All buckets in equal shares, one for each of so many new databases."""
    assert 0 < databases <= BUCKETS
    bounds = [index * BUCKETS // databases for index in range(databases + 1)]
    return list(pairwise(bounds))


def owners(names: Sequence[str], placements: Sequence[Sequence[Range]]) -> tuple[int, ...]:
    """For every bucket the index of the database that has it.

    `placements` are the stored ranges of the databases called `names`. Raises `Corrupt` when a
    bucket has no owner or two.
    """
    owner: list[int | None] = [None] * BUCKETS
    for index, ranges in enumerate(placements):
        if not ranges:
            raise Corrupt(f"{names[index]} has no buckets, but another database given has some")
        for low, high in ranges:
            for bucket in range(low, high):
                other = owner[bucket]
                if other is not None:
                    raise Corrupt(f"bucket {bucket} is in {names[other]} and in {names[index]}")
                owner[bucket] = index
    if None in owner:
        missing = owner.index(None)
        raise Corrupt(f"bucket {missing} is in none of {', '.join(names)}: is a database missing?")
    return tuple(index for index in owner if index is not None)
