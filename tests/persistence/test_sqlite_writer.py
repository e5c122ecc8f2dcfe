"""Group commit: what is gathered, what fails alone, what is told to whom."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from persistence import sqlite_writer
from persistence.blocking import Lane
from persistence.errors import NameTaken, OutcomeUnknown, StoreError, StoreUnavailable
from persistence.sqlite_files import BUSY_TIMEOUT_MS
from persistence.sqlite_readers import READERS_MAX, Readers
from persistence.sqlite_writer import Checkpoints, Writer, commit

Work = Callable[[sqlite3.Connection], Any]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Writer, Readers, sqlite3.Connection]]:
    connection = sqlite3.connect(path / "x.db", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE t (x INTEGER UNIQUE, text TEXT)")
    readers = Readers(path / "x.db")
    writer = Writer(connection, path / "x.db", readers)
    yield writer, readers, connection
    await readers.close()
    await writer.close()


def insert(*numbers: int) -> Work:
    def work(connection: sqlite3.Connection) -> int:
        for number in numbers:
            connection.execute("INSERT INTO t (x) VALUES (?)", (number,))
        return len(numbers)

    return work


def stored(connection: sqlite3.Connection) -> list[int]:
    return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x").fetchall()]


async def together(writer: Writer, *works: Work) -> list[Any]:
    """Submit all at once; each one's result or error."""
    results: list[Any] = [None] * len(works)

    async def one(index: int, work: Work) -> None:
        try:
            results[index] = await writer.submit(work)
        except Exception as error:  # noqa: BLE001
            results[index] = type(error)

    async with trio.open_nursery() as nursery:
        for index, work in enumerate(works):
            nursery.start_soon(one, index, work)
    return results


async def test_jobs_that_arrive_together_share_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as (writer, readers, _):
        assert await together(writer, *(insert(number) for number in range(100))) == [1] * 100
        statistics = writer.statistics()
        assert await readers.read(stored) == list(range(100))
    assert statistics.jobs == 100
    assert statistics.commits <= 5
    assert statistics.largest >= 20


async def test_batch_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "JOBS_MAX", 10)
    async with opened(tmp_path) as (writer, _, _):
        await together(writer, *(insert(number) for number in range(25)))
        assert writer.statistics().largest == 10
        assert writer.statistics().commits >= 3


async def test_failing_job_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        insert(50)(connection)
        raise NameTaken("ann")

    def crash(connection: sqlite3.Connection) -> None:
        insert(60)(connection)
        raise ZeroDivisionError

    async with opened(tmp_path) as (writer, readers, _):
        works = (insert(1), insert(2, 2), refuse, insert(3), crash, insert(4))
        results = await together(writer, *works)
        assert results == [1, StoreUnavailable, NameTaken, 1, ZeroDivisionError, 1]
        assert await readers.read(stored) == [1, 3, 4]


@pytest.mark.parametrize("error", [NameTaken, ZeroDivisionError])
async def test_failing_job_alone_in_its_batch_leaves_nothing(
    tmp_path: Path, error: type[Exception]
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        insert(1)(connection)
        raise error

    async with opened(tmp_path) as (writer, readers, connection):
        with pytest.raises(error):
            await writer.submit(fail)
        assert not connection.in_transaction
        assert await readers.read(stored) == []


async def test_fast_form_is_used_and_its_refusal_leads_to_the_other(tmp_path: Path) -> None:
    def careful(connection: sqlite3.Connection) -> str:
        return f"refused beside {stored(connection)}"

    async with opened(tmp_path) as (writer, readers, _):
        assert await writer.submit(careful, fast=insert(1)) == 1
        assert await writer.submit(careful, fast=insert(1)) == "refused beside [1]"
        results: list[Any] = []

        async def one(number: int) -> None:
            results.append(await writer.submit(careful, fast=insert(number)))

        async with trio.open_nursery() as nursery:
            for number in (2, 1, 3):
                nursery.start_soon(one, number)
        assert sorted(map(str, results)) == ["1", "1", *sorted(r for r in results if r != 1)]
        assert await readers.read(stored) == [1, 2, 3]


async def test_work_of_a_cancelled_caller_is_finished_or_never_begun(tmp_path: Path) -> None:
    async with opened(tmp_path) as (writer, readers, _):
        with trio.move_on_after(0):
            await writer.submit(insert(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.submit, insert(2))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await writer.submit(insert(3))
        assert await readers.read(stored) == [2, 3]


async def test_closing_finishes_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    async with opened(tmp_path) as (writer, _, _), trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(writer.submit, insert(number))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(writer.close)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable):
            await writer.submit(insert(99))
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert stored(connection) == list(range(50))
    connection.close()


async def test_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "QUEUE_JOBS_MAX", 3)
    async with opened(tmp_path) as (writer, _, _):
        await trio.testing.wait_all_tasks_blocked()  # the writer waits for its first job
        results = await together(writer, *(insert(number) for number in range(10)))
    assert sorted(results, key=str) == [1, 1, 1, *[StoreUnavailable] * 7]


async def test_lack_of_threads_refuses_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(tmp_path) as (writer, readers, _):
        with monkeypatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", run_sync)
            with pytest.raises(StoreUnavailable, match="thread"):
                await writer.submit(insert(1))
        await writer.submit(insert(2))
        assert await readers.read(stored) == [2]


async def test_full_disk_refuses_and_passes(tmp_path: Path) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t (text) VALUES (?)", ("x" * 1_000_000,))

    async with opened(tmp_path) as (writer, readers, connection):
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count={pages + 20}").fetchall()
        for fast in (None, fill):
            with pytest.raises(StoreUnavailable, match="full"):
                await writer.submit(fill, fast=fast)
        assert set(await together(writer, fill, fill)) == {StoreUnavailable}
        assert await writer.submit(insert(1)) == 1
        assert await readers.read(stored) == [1]


class Failing:
    """A connection whose COMMIT fails, having done its work or not."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection = connection
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("the disk said no")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(statement, *rest)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(sqlite3.SQLITE_FULL, StoreUnavailable), (sqlite3.SQLITE_IOERR_FSYNC, OutcomeUnknown)],
)
async def test_failed_commit_is_told_to_everybody_in_it(
    tmp_path: Path, code: int, expected: type[StoreError]
) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise NameTaken("ann")

    async with opened(tmp_path) as (_, readers, connection):
        batch = [sqlite_writer._Job(work, None) for work in (insert(1), refuse, insert(2))]
        failing: Any = Failing(connection, code)
        await trio.to_thread.run_sync(partial(commit, failing, batch, tmp_path))
        assert [type(job.error) for job in batch] == [expected] * 3, "also who was refused"
        assert len({id(job.error) for job in batch}) == 3, "each raises its own"
        assert not connection.in_transaction
        assert await readers.read(stored) == []


async def test_write_ahead_log_is_copied_back_and_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_ROWS", 100)
    async with opened(tmp_path) as (writer, readers, _):
        sizes = []
        for start in range(0, 3_000, 10):
            await writer.submit(insert(*range(start, start + 10)))
            sizes.append(writer.statistics().wal_bytes)
        assert writer.statistics().checkpoints >= 20
        assert max(sizes[20:]) == max(sizes), "it is used again, not prolonged"
        assert max(sizes) < 1_000_000
        assert len(await readers.read(stored)) == 3_000


async def test_readers_are_held_back_when_the_log_gets_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_ROWS", 10)
    monkeypatch.setattr(sqlite_writer, "WAL_BYTES_MAX", 200_000)
    sizes = []
    async with opened(tmp_path) as (writer, readers, _), trio.open_nursery() as nursery:

        async def keep_reading() -> None:
            while True:
                await readers.read(stored)

        for _ in range(2 * READERS_MAX):
            nursery.start_soon(keep_reading)
        for number in range(400):
            await writer.submit(insert(number))
            sizes.append(writer.statistics().wal_bytes)
        nursery.cancel_scope.cancel()
    assert max(sizes) < 600_000


async def test_log_that_somebody_outside_reads_may_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_ROWS", 10)
    monkeypatch.setattr(sqlite_writer, "WAL_BYTES_MAX", 100_000)
    async with opened(tmp_path) as (writer, _, _):
        await writer.submit(insert(-1))
        outside = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        outside.execute("BEGIN")
        outside.execute("SELECT * FROM t").fetchall()
        for number in range(200):
            await writer.submit(insert(number))
        grown = writer.statistics().wal_bytes
        assert grown > 200_000
        outside.execute("COMMIT")
        outside.close()
        for number in range(200, 1_000):
            await writer.submit(insert(number))
        assert writer.statistics().wal_bytes < 1.5 * grown, "it started over"


async def test_a_reader_that_does_not_end_holds_up_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the log has become: it is emptied another time."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_ROWS", 10)
    monkeypatch.setattr(sqlite_writer, "WAL_BYTES_MAX", 100_000)
    monkeypatch.setattr(sqlite_writer, "HOLD_BACK_S", 0.01)
    ends = threading.Event()

    def endless(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM t").fetchall()
        ends.wait(20.0)
        connection.execute("COMMIT")

    async with opened(tmp_path) as (writer, readers, _), trio.open_nursery() as nursery:
        nursery.start_soon(readers.read, endless)
        with trio.fail_after(10.0):
            for number in range(120):
                await writer.submit(insert(number))
        assert writer.statistics().wal_bytes > 100_000
        ends.set()
        for number in range(120, 200):
            await writer.submit(insert(number))
        assert await readers.read(stored) == list(range(200))


async def test_a_truncation_that_fails_leaves_the_patience_of_the_writer(tmp_path: Path) -> None:
    class Failing:
        total_changes = 0

        def __init__(self, connection: sqlite3.Connection) -> None:
            self.connection = connection

        def execute(self, statement: str) -> sqlite3.Cursor:
            if "wal_checkpoint" in statement:
                raise sqlite3.OperationalError("disk I/O error")
            return self.connection.execute(statement)

    async with opened(tmp_path) as (_, readers, connection):
        failing: Any = Failing(connection)
        checkpoints = Checkpoints(failing, tmp_path / "x.db", readers, Lane("test", 1))
        checkpoints._truncate()
        (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
        assert patience == BUSY_TIMEOUT_MS
