"""Which schema changes are applied, and what is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from persistence.errors import Corrupt
from persistence.migrations import Applied, Migration, load, pending
from persistence.sqlite import open_sqlite
from persistence.sqlite_files import DATABASE

KNOWN = tuple(Migration(n, f"000{n}_x.sql", f"script {n}", f"sum {n}") for n in (1, 2, 3))
DONE = tuple(Applied(m.number, m.name, m.checksum) for m in KNOWN)


def test_what_was_not_applied_is_pending_in_order() -> None:
    assert pending(KNOWN, []) == KNOWN
    assert pending(KNOWN, DONE[:2]) == KNOWN[2:]
    assert pending(KNOWN, reversed(DONE)) == ()


@pytest.mark.parametrize(
    ("applied", "words"),
    [
        ([Applied(1, "0001_x.sql", "other")], "0001_x.sql was applied with other contents"),
        ([*DONE, Applied(4, "0004_new.sql", "s")], "newer than this program: it has 0004_new"),
        ([DONE[0], DONE[2]], "migration 2 was never applied"),
    ],
)
def test_other_history_than_ours_is_refused(applied: list[Applied], words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        pending(KNOWN, applied)


def test_shipped_migrations_are_numbered_from_one() -> None:
    numbers = [migration.number for migration in load("sqlite")]
    assert numbers == list(range(1, len(numbers) + 1))


async def make(directory: Path) -> Path:
    async with open_sqlite(directory):
        pass
    return directory / DATABASE


async def refusal(directory: Path) -> str:
    with pytest.raises(Corrupt) as caught:
        await make(directory)
    return str(caught.value)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


async def test_directory_opens_again_and_again(tmp_path: Path) -> None:
    assert await make(tmp_path) == await make(tmp_path)


async def test_edited_migration_is_refused(tmp_path: Path) -> None:
    change(await make(tmp_path), "UPDATE migrations SET checksum = 'x' WHERE number = 1")
    assert "0001_initial.sql was applied with other contents" in await refusal(tmp_path)


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    change(await make(tmp_path), "INSERT INTO migrations VALUES (99, '0099_later.sql', 'x')")
    assert "newer than this program: it has 0099_later.sql" in await refusal(tmp_path)


async def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    change(tmp_path / DATABASE, "CREATE TABLE theirs (x)")
    before = (tmp_path / DATABASE).read_bytes()
    assert "not a database of this program" in await refusal(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == before


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"something else entirely " * 100)
    assert "not a database" in await refusal(tmp_path)
