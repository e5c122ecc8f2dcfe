"""One SQLite file, one writer, a few readers.

**Problem.** An fsync costs what a hundred inserts cost, and the interpreter lock is given up and
taken back at every statement: a writer thread that runs one statement for each row waits for the
busy loop's thread at every one of them.

**Rule.** All writes of all ports go through one queue. While one transaction runs, jobs gather; they
are committed together in the next, each under a savepoint, so that one that fails fails alone. Every
job does its work in a fixed handful of statements over JSON arrays, whatever its size. `BEGIN
IMMEDIATE` always: a read transaction that turns into a writer fails at once under WAL. The writer
also checkpoints, between batches, so no other connection ever touches the file's two halves at the
same time; readers are `mode=ro`.

Durability is `synchronous=FULL`: with group commit it costs almost nothing over less.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio

from persistence import migrations
from persistence.errors import Corrupt, DataDirectoryInUse, OutcomeUnknown, StoreUnavailable

DATABASE = "coppice.db"
LOCK = "lock"

SQLITE_VERSION_MIN = (3, 37, 0)
"""STRICT tables."""

BATCH_JOBS_MAX = 256
"""Jobs in one transaction."""

READERS_MAX = 4
CHECKPOINT_BYTES = 4 * 1024 * 1024
"""The write-ahead log is copied back when it has grown by this much."""

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA temp_store=MEMORY",
)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a data directory for this process. Raises `DataDirectoryInUse`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (
                os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "another process"
            )
            raise DataDirectoryInUse(
                f"the data directory {directory} is in use by process {holder}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; the schema is brought up to date."""
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        wanted = ".".join(map(str, SQLITE_VERSION_MIN))
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: {wanted} is needed")
    is_new = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if is_new:
            path.chmod(0o600)
        for pragma in PRAGMAS:
            connection.execute(pragma)
        _migrate(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Corrupt(f"{path}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT"
    )
    applied = connection.execute("SELECT number, name, checksum FROM migrations").fetchall()

    def run(migration: migrations.Migration) -> None:
        row = (migration.number, migration.name, migration.checksum)
        connection.executescript(f"BEGIN IMMEDIATE;\n{migration.script}")
        connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", row)
        connection.execute("COMMIT")

    migrations.apply(migrations.load("sqlite"), applied, run)


def connect_reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA query_only=ON")
    return connection


@dataclass(frozen=True, slots=True)
class FileStatistics:
    """Since opening: `commits` durable transactions with `jobs` in them, `reads`, `checkpoints`."""

    commits: int
    jobs: int
    reads: int
    checkpoints: int


class _Job:
    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class SqliteFile:
    """The writer's queue and the readers' pool of one open file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = connect_writer(path)
        self._writer_limiter = trio.CapacityLimiter(1)
        self._reader_limiter = trio.CapacityLimiter(READERS_MAX)
        self._readers: list[sqlite3.Connection] = []
        self._jobs: deque[_Job] = deque()
        self._wake = trio.Event()
        self._closed = False
        self._commits = self._jobs_done = self._reads = self._checkpoints = 0

    # ------------------------------------------------------------------ writing

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` inside the next transaction and return what it returns, once that is durable.

        What `work` raises undoes its own part alone. Cancelled, its outcome is unknown.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        job = _Job(work)
        self._jobs.append(job)
        self._wake.set()
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def run(self) -> None:
        """Commit what gathers, until cancelled; a transaction under way is always finished."""
        while True:
            if not self._jobs:
                self._wake = trio.Event()
                await self._wake.wait()
            batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), BATCH_JOBS_MAX))]
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._commit, batch, limiter=self._writer_limiter)
            self._commits += 1
            self._jobs_done += len(batch)
            for job in batch:
                job.done.set()

    def _commit(self, batch: list[_Job]) -> None:
        """One transaction, in the writer's thread. Fills in each job's result or error."""
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            _fail(batch, StoreUnavailable(f"{self.path.name}: {error}"))
            return
        for job in batch:
            self._run_job(job)
        try:
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
                _fail(batch, StoreUnavailable(f"{self.path.name}: {error}"))
            else:
                _fail(batch, OutcomeUnknown(f"{self.path.name}: {error}"))
            return
        self._checkpoint()

    def _run_job(self, job: _Job) -> None:
        writer = self._writer
        writer.execute("SAVEPOINT job")
        try:
            job.result = job.work(writer)
        except sqlite3.DatabaseError as error:
            job.error = StoreUnavailable(f"{self.path.name}: {error}")
        except Exception as error:  # noqa: BLE001  (whose it is hears of it; the others go on)
            job.error = error
        if job.error is not None and writer.in_transaction:
            writer.execute("ROLLBACK TO job")
        if writer.in_transaction:
            writer.execute("RELEASE job")

    def _checkpoint(self) -> None:
        wal = self.path.with_name(self.path.name + "-wal")
        try:
            if wal.stat().st_size >= CHECKPOINT_BYTES:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._checkpoints += 1
        except (OSError, sqlite3.Error):
            return  # readers hold it; the next commit tries again

    # ------------------------------------------------------------------ reading

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a thread, on a read-only connection that sees all that was committed."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._reads += 1
        return await trio.to_thread.run_sync(
            self._read, work, limiter=self._reader_limiter, abandon_on_cancel=False
        )

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            reader = self._readers.pop() if self._readers else connect_reader(self.path)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path.name}: {error}") from error
        try:
            return work(reader)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"{self.path.name}: {error}") from error
        finally:
            self._readers.append(reader)

    # ------------------------------------------------------------------ the rest

    def backup(self, target: Path) -> None:
        """A consistent copy, while writing goes on. Blocking: call it in a thread."""
        backup_file(self.path, target)

    def close(self) -> None:
        self._closed = True
        _fail(list(self._jobs), StoreUnavailable("the store is closed"))
        for job in self._jobs:
            job.done.set()
        self._jobs.clear()
        for reader in self._readers:
            reader.close()
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()

    def statistics(self) -> FileStatistics:
        return FileStatistics(self._commits, self._jobs_done, self._reads, self._checkpoints)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.error = error


def backup_file(source: Path, target: Path) -> None:
    """Copy a database into a new file, safely while a server writes to it. The copy is on disk when
    this returns. Raises `FileExistsError`, `FileNotFoundError`."""
    if not source.exists():
        raise FileNotFoundError(f"there is no database at {source}")
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    reader = connect_reader(source)
    copy = sqlite3.connect(target)
    try:
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()
        reader.close()
    for path in (target, target.parent):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
