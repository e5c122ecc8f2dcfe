"""kill -9 at any time: what was acknowledged is there, and what is there is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from persistence.errors import DataDirectoryInUse
from persistence.records import Cursor, Span, ThreadId
from persistence.sqlite import SqliteStores, backup_directory, open_sqlite
from persistence.sqlite_files import DATABASE
from tests.contracts.stores import ANN

SCRIPT = Path(__file__).with_name("crash_writer.py")
ROOT = Path(__file__).parents[2]
ACKNOWLEDGED = (50, 700, 3_000)
"""Lines after which the writer is killed, round for round."""


def started(directory: Path, round_: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, directory, str(round_)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )


def killed_after(directory: Path, round_: int, lines_wanted: int) -> list[str]:
    """Run the writer until it has said so many lines, kill it; everything it said."""
    with started(directory, round_) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(lines_wanted)]
        writer.kill()
        lines += writer.stdout.readlines()
    assert lines[lines_wanted - 1], "the writer ended by itself"
    return [line.strip() for line in lines]


async def check(stores: SqliteStores, seqs: Counter[str], users: set[str]) -> None:
    for thread, acknowledged in seqs.items():
        events = await stores.log.read(ThreadId(thread), Span(), 1_000_000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= acknowledged
        assert all(event.body == b'{"edited":true}' for event in events[:-1])
        claim = await stores.log.claim(ThreadId(thread), 1)
        assert (claim.head.seq, claim.head.n) == (len(events), len(events))
        assert claim.cursors == {ANN: Cursor(*[len(events)] * 3)}
    stored = await stores.accounts.search("user.", 1_000_000)
    assert {account.user for account in stored} >= users


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    seqs: Counter[str] = Counter()
    users: set[str] = set()
    for round_, lines_wanted in enumerate(ACKNOWLEDGED):
        for line in killed_after(tmp_path / "data", round_, lines_wanted):
            thread, value = line.split()
            if thread == "user":
                users.add(value)
            else:
                seqs[thread] = max(seqs[thread], int(value))
        async with open_sqlite(tmp_path / "data") as stores:
            await check(stores, seqs, users)
    assert len(seqs) == 20
    assert users


async def test_backup_of_what_a_crash_left_has_everything(tmp_path: Path) -> None:
    lines = killed_after(tmp_path / "data", 0, 200)
    backup_directory(tmp_path / "data", tmp_path / "backup")
    (tmp_path / "restored").mkdir()
    (tmp_path / "backup").rename(tmp_path / "restored" / DATABASE)
    seqs: Counter[str] = Counter()
    for thread, value in (line.split() for line in lines if not line.startswith("user")):
        seqs[thread] = int(value)
    async with open_sqlite(tmp_path / "restored") as stores:
        await check(stores, seqs, set())


@pytest.mark.parametrize("holder_lives", [True, False])
async def test_directory_is_free_when_its_holder_is_dead(
    tmp_path: Path, holder_lives: bool
) -> None:
    with started(tmp_path, 0) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        if holder_lives:
            with pytest.raises(DataDirectoryInUse) as caught:
                async with open_sqlite(tmp_path):
                    pass
            assert str(caught.value) == f"{tmp_path} is in use by process {writer.pid}"
        writer.kill()
    async with open_sqlite(tmp_path) as stores:
        await stores.health()
