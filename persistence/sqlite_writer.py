"""Group commit: one writer for all ports, and the checkpoints between its commits.

**Problem.** An fsync costs as much as inserting a hundred rows. And sqlite3 gives the interpreter
lock up and takes it back around every statement and every row fetched; while the main thread is
busy, each taking back may wait for a whole switch interval.

**Rule.** While one transaction runs, jobs gather; the next transaction carries them all, each under
a savepoint, so that one that fails fails alone. Nobody is told anything before the commit has
returned. A job may bring a `fast` form of itself, a single statement, which is atomic without a
savepoint; alone in its batch it needs no transaction around it either, so the usual commit of the
message log is one statement in all (see `sqlite_rows`).

**Checkpoints.** SQLite would run them inside some unlucky commit; here the writer runs a passive
one after it has answered, every `CHECKPOINT_ROWS` changed rows. Should readers keep the log from
ever starting over, at `WAL_BYTES_MAX` they are held back for the moment it takes to empty it.

The writer's loop is a system task, not a child of whoever opened the store: a failure or a
cancellation there must not end it between a commit and its answer. `close` ends it.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from persistence.blocking import Lane
from persistence.errors import OutcomeUnknown, StoreError, StoreUnavailable
from persistence.sqlite_files import BUSY_TIMEOUT_MS, translated
from persistence.sqlite_readers import Readers

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

JOBS_MAX = 256
"""Jobs in one transaction: what keeps the slowest of them within some 20 ms."""

QUEUE_JOBS_MAX = 20_000
"""Jobs waiting, over which new ones are refused: seconds of work, more than anybody waits for."""

CHECKPOINT_ROWS = 6_000
"""Changed rows after which the write-ahead log is copied back. A message changes some four rows, a
row adds 0.5 (large batches) to 1.4 (single messages) pages of 4 KiB: 15 to 30 MB, 10 ms of writing.
Rows are counted for nothing; asking SQLite how long the log is would be a statement."""

WAL_BYTES_MAX = 128 * 1024 * 1024
"""Size of the write-ahead log over which readers are held back to empty it."""

HOLD_BACK_S = 0.25
"""How long writes may wait for queries to end so that the log can be emptied. A query that takes
longer must not hold up everybody; then the log may grow to twice its size before the next try."""

_NOTHING_DONE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
"""Errors of a commit that surely left nothing behind. Of others one cannot know."""


class _Job(Generic[T]):
    __slots__ = ("done", "error", "fast", "result", "work")

    def __init__(self, work: Work[T], fast: Work[T] | None) -> None:
        self.work = work
        self.fast = fast
        self.done = trio.Event()
        self.result: T | None = None
        self.error: Exception | None = None


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """Since opening: durable `commits` with `jobs` in them, the `largest` of them, `checkpoints`;
    now: `waiting` jobs, `wal_bytes` of write-ahead log on disk."""

    commits: int
    jobs: int
    largest: int
    checkpoints: int
    waiting: int
    wal_bytes: int


class Writer:
    """Owns the writer connection. Must be made, used and closed in one trio run."""

    def __init__(self, connection: sqlite3.Connection, path: Path, readers: Readers) -> None:
        self._connection = connection
        self._path = path
        self._lane = Lane("sqlite writer", 1)
        self._checkpoints = Checkpoints(connection, path, readers, self._lane)
        self._queue: deque[_Job[Any]] = deque()
        self._arrived = trio.Event()
        self._closing = False
        self._stopped = trio.Event()
        self._commits = self._jobs = self._largest = 0
        trio.lowlevel.spawn_system_task(self._run, name="sqlite writer")

    async def submit(self, work: Work[T], *, fast: Work[T] | None = None) -> T:
        """Run `work` in the next transaction; return what it returned once that is durable.

        What it raises undoes its own changes alone. `fast` does the same in one statement, or
        raises `sqlite3.IntegrityError`; then `work` is run. Cancelled while it waits, the outcome
        is unknown.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing:
            raise StoreUnavailable("the store is closed")
        if len(self._queue) >= QUEUE_JOBS_MAX:
            raise StoreUnavailable(f"{QUEUE_JOBS_MAX} writes are waiting")
        job = _Job(work, fast)
        self._queue.append(job)
        self._arrived.set()
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result  # type: ignore[assignment]  # without an error there is a result
        return result

    async def close(self) -> None:
        """Finish what waits, fold the log into the database, close the connection."""
        self._closing = True
        self._arrived.set()
        await self._stopped.wait()
        await self._lane.run(self._connection.close)

    def statistics(self) -> WriterStatistics:
        return WriterStatistics(
            self._commits,
            self._jobs,
            self._largest,
            self._checkpoints.count,
            len(self._queue),
            self._checkpoints.wal_bytes(),
        )

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._arrived = trio.Event()
                await self._arrived.wait()
                continue
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), JOBS_MAX))]
            with trio.CancelScope(shield=True):
                try:
                    await self._lane.run(partial(commit, self._connection, batch, self._path))
                except RuntimeError as error:  # no thread could be started
                    _fail(batch, StoreUnavailable(f"{self._path}: {error}"))
                for job in batch:
                    job.done.set()
                self._commits += 1
                self._jobs += len(batch)
                self._largest = max(self._largest, len(batch))
                await self._checkpoints.run_if_due()
        self._stopped.set()


# ---------------------------------------------------------------------------- in the thread


def commit(connection: sqlite3.Connection, batch: Sequence[_Job[Any]], path: Path) -> None:
    """Commit a batch and fill in every job's result or error. Raises nothing."""
    try:
        if len(batch) > 1 or not _commit_alone(connection, batch[0], path):
            _commit_together(connection, batch, path)
    except Exception as error:  # noqa: BLE001  (the writer must go on; those who wait hear of it)
        _fail(batch, OutcomeUnknown(f"{path}: {error!r}"))
    with suppress(sqlite3.Error):
        connection.rollback()  # does nothing after a commit


def _commit_alone(connection: sqlite3.Connection, job: _Job[Any], path: Path) -> bool:
    """Run a job's single statement as a transaction of its own. False if that cannot be."""
    if job.fast is None:
        return False
    try:
        job.result = job.fast(connection)
    except sqlite3.IntegrityError:
        return False
    except sqlite3.Error as error:
        job.error = _of_commit(error, path)
    return True


def _commit_together(
    connection: sqlite3.Connection, batch: Sequence[_Job[Any]], path: Path
) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            _run_job(connection, job, path)
            if not connection.in_transaction:  # a full disk, say, undoes everything at once
                raise sqlite3.OperationalError("the transaction was rolled back")
    except sqlite3.Error as error:
        _fail(batch, translated(error, path))
        return
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        # Those that were refused for what another job of the batch wrote were refused for nothing.
        _fail(batch, _of_commit(error, path))


def _run_job(connection: sqlite3.Connection, job: _Job[Any], path: Path) -> None:
    if job.fast is not None:
        try:
            job.result = job.fast(connection)
        except sqlite3.IntegrityError:
            pass  # the statement undid itself
        else:
            return
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except sqlite3.Error as error:
        job.error = translated(error, path)
    except Exception as error:  # noqa: BLE001  (it belongs to whoever submitted the job)
        job.error = error
    if not connection.in_transaction:
        return
    if job.error is not None:
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def _fail(batch: Sequence[_Job[Any]], error: Exception) -> None:
    for job in batch:
        job.error = type(error)(*error.args)  # each waiter raises, and so marks, its own


def _of_commit(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return translated(error, path) if code in _NOTHING_DONE else OutcomeUnknown(f"{path}: {error}")


# ---------------------------------------------------------------------------- checkpoints


class Checkpoints:
    """Decides when the write-ahead log is copied back, and does it between two commits."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, readers: Readers, lane: Lane
    ) -> None:
        self._connection = connection
        self._wal = path.with_name(f"{path.name}-wal")
        self._readers = readers
        self._lane = lane
        self._rows = connection.total_changes
        self._guard_bytes = WAL_BYTES_MAX
        self.count = 0

    def wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    async def run_if_due(self) -> None:
        if self._connection.total_changes - self._rows < CHECKPOINT_ROWS:
            return
        with suppress(RuntimeError):  # no thread could be started
            await self._lane.run(self._passive)
            if self.wal_bytes() >= self._guard_bytes:
                self._guard_bytes = 2 * self.wal_bytes()
                with trio.move_on_after(HOLD_BACK_S):
                    async with self._readers.held_back():
                        await self._lane.run(self._truncate)

    def _passive(self) -> None:
        self._rows = self._connection.total_changes
        with suppress(sqlite3.Error):  # nothing is lost: the log grows on until an attempt succeeds
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self.count += 1

    def _truncate(self) -> None:
        """Start the log over. Somebody outside, a backup, may still read it: then not now, and not
        before it has doubled."""
        try:
            self._connection.execute("PRAGMA busy_timeout=0").fetchall()
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            busy = 1
        finally:
            with suppress(sqlite3.Error):
                self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").fetchall()
        self._guard_bytes = 2 * self.wal_bytes() if busy else WAL_BYTES_MAX
