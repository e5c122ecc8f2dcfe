"""Which partition a key belongs to: the same in every process and every run.

Python's own `hash` of a text differs from run to run, so it is of no use to whoever wants to find
again what a partition wrote, or to compare two logs.
"""

from __future__ import annotations

import hashlib

Key = int | str | bytes | None | tuple["Key", ...]
"""What routes. Also a `NewType` of these; of an actor take its name or id."""


def partition_of(key: Key, partitions: int) -> int:
    """An integer by its absolute value modulo the number of partitions, as in Elixir; everything
    else by a stable hash. Keys of different types are different, `True` is no 1. Raises `TypeError`
    for what has no stable form."""
    if type(key) is int:
        return abs(key) % partitions
    digest = hashlib.blake2b(_encoded(key), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def _encoded(key: Key) -> bytes:
    """Different for different keys: each part says of which type and how long it is."""
    match key:
        case None:
            kind, content = b"n", b""
        case bool():
            kind, content = b"b", b"%d" % key
        case int():
            kind, content = b"i", b"%d" % key
        case str():
            kind, content = b"s", key.encode("utf-8", "surrogatepass")
        case bytes():
            kind, content = b"y", key
        case tuple():
            kind, content = b"t", b"".join(map(_encoded, key))
        case _:
            raise TypeError(f"key: a {type(key).__name__} has no stable hash")
    return b"%b%d:%b" % (kind, len(content), content)
