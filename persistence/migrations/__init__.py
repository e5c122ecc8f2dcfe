"""Numbered schema changes, applied once, in order, each in a transaction of its own.

Every engine has a folder of `NNNN_name.sql` files (`.cql`, and no transaction, where the engine
speaks CQL). Its database remembers in a table `migrations` the number, name and checksum of what
was applied. An applied file that was edited since, or one that this program does not know, stops
the start: a newer or foreign schema is nothing to guess about. Deciding what to apply is the same
for every engine and is here; carrying it out is the adapter's, which knows how its database runs a
script in a transaction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from persistence.errors import Corrupt

FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.(?:sql|cql)")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `number` from the digits of its name, `checksum` the SHA-256 of its text."""

    number: int
    name: str
    script: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of the `migrations` table."""

    number: int
    name: str
    checksum: str


def load(engine: str) -> tuple[Migration, ...]:
    """The migrations that ship for an engine, in order; their numbers are 1, 2, 3 …"""
    found = []
    for entry in (files("persistence.migrations") / engine).iterdir():
        match = FILE_NAME.fullmatch(entry.name)
        if match is not None:
            script = entry.read_text("utf-8")
            checksum = hashlib.sha256(script.encode()).hexdigest()
            found.append(Migration(int(match[1]), entry.name, script, checksum))
    found.sort(key=lambda migration: migration.number)
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    return tuple(found)


def pending(known: Sequence[Migration], applied: Iterable[Applied]) -> tuple[Migration, ...]:
    """What is still to apply, in order.

    Raises `Corrupt` when what was applied is not the beginning of what is known.
    """
    done = sorted(applied, key=lambda row: row.number)
    for expected, row in enumerate(done, start=1):
        if row.number > len(known):
            raise Corrupt(f"the schema is newer than this program: it has {row.name}")
        if row.number != expected:
            raise Corrupt(f"migration {expected} was never applied, but {row.name} was")
        if row.checksum != known[row.number - 1].checksum:
            raise Corrupt(f"{row.name} was applied with other contents than this program has")
    return tuple(known[len(done) :])
