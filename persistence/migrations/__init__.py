"""Numbered schema changes, applied once, in order, each in a transaction of its own.

A table `migrations` remembers number, name and checksum of what was applied. An applied file that
changed since, or one this program does not know, stops the start: a newer or foreign schema is
nothing to guess about. The runner asks a database only for `execute` and a script in a transaction,
so that every SQL engine can use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from persistence.errors import Corrupt


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `number` from its name's digits, `checksum` over its text."""

    number: int
    name: str
    script: str
    checksum: str


def load(engine: str) -> tuple[Migration, ...]:
    """The migrations that ship for an engine, in order; their numbers are 1, 2, 3 …"""
    folder = files("persistence.migrations") / engine
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".sql"):
            script = entry.read_text("utf-8")
            checksum = hashlib.sha256(script.encode()).hexdigest()
            found.append(Migration(int(entry.name[:4]), entry.name, script, checksum))
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    return tuple(found)


def pending(
    known: Sequence[Migration], applied: Iterable[tuple[int, str, str]]
) -> tuple[Migration, ...]:
    """What is still to apply. `applied` are (number, name, checksum). Raises `Corrupt` when what was
    applied is not a prefix of what is known."""
    done = sorted(applied)
    for number, name, checksum in done:
        if number > len(known):
            raise Corrupt(f"the schema is newer than this program: it has {name}")
        if known[number - 1].checksum != checksum:
            raise Corrupt(f"the migration {name} was applied with other contents")
    return tuple(known[len(done) :])


def apply(
    known: Sequence[Migration],
    applied: Iterable[tuple[int, str, str]],
    run: Callable[[Migration], None],
) -> int:
    """Run what is pending, in order; how many that were."""
    todo = pending(known, applied)
    for migration in todo:
        run(migration)
    return len(todo)
