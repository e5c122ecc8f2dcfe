"""The embedded default: all five stores in one SQLite file of one data directory.

Reading order: `sqlite_files` for what lies in the directory and who may touch it, `sqlite_writer`
for the group commit, `sqlite_rows` and `sqlite_log` for the message log, then `sqlite_directory`
and `sqlite_threads`.

kill -9 at any moment leaves what was committed, and everything acknowledged was. Opening checks the
newest events and heads (`sqlite_log.check_newest`); every read checks what it reads.

Measured through `MessageLog.append`, events of 200 bytes with a cursor each, to 2000 threads,
synced, on two cores of a small machine (fdatasync 0.23 ms): 1.6 k/s one at a time (0.6 ms each),
8.5 k/s in batches of 8, 23 k/s of 64 (2.3 ms), 32 k/s of 256 (6.6 ms); 28–36 µs of CPU an event, of
which 3.4 hold the interpreter lock; 330 bytes on disk an event. What a busy main thread makes of
it depends on the switch interval, see `sqlite_rows`.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from persistence.blocking import Lane
from persistence.errors import StoreUnavailable
from persistence.sqlite_directory import SqliteAccounts, SqliteContacts, SqliteSessions
from persistence.sqlite_files import DATABASE, connect_writer, copy_database, locked, translated
from persistence.sqlite_log import SqliteLog, check_newest
from persistence.sqlite_readers import Readers
from persistence.sqlite_rows import prepare
from persistence.sqlite_threads import SqliteThreads
from persistence.sqlite_writer import Writer, WriterStatistics

DISK_FREE_BYTES_MIN = 64 * 1024 * 1024
"""Free space under which the store calls itself unhealthy, while it can still write."""


@dataclass(frozen=True, slots=True)
class SqliteStatistics:
    """What the writer did and has waiting; `reads` since opening; bytes of the database file."""

    writer: WriterStatistics
    reads: int
    database_bytes: int


class SqliteStores:
    """The five ports over one open data directory. Made by `open_sqlite`."""

    def __init__(self, path: Path, writer: Writer, readers: Readers) -> None:
        self.accounts: Final = SqliteAccounts(writer, readers)
        self.sessions: Final = SqliteSessions(writer, readers)
        self.contacts: Final = SqliteContacts(writer, readers)
        self.threads: Final = SqliteThreads(writer, readers)
        self.log: Final = SqliteLog(writer, readers)
        self._path = path
        self._writer = writer
        self._readers = readers
        self._copying = Lane("sqlite backup", 1)

    async def backup(self, path: Path) -> None:
        """Copy everything that is committed into a new file, while serving; on disk on return.

        To restore, put the file into an empty data directory under the name `coppice.db`.
        Raises `FileExistsError`.
        """
        await self._copying.run(partial(copy_database, self._path, path))

    async def health(self) -> None:
        """Prove that transactions can be committed and read. Raises `StoreError` if not."""
        await self._writer.submit(_touch)
        free = await self._readers.read(lambda _: shutil.disk_usage(self._path.parent).free)
        if free < DISK_FREE_BYTES_MIN:
            raise StoreUnavailable(f"{self._path.parent}: {free} bytes of free space are left")

    def statistics(self) -> SqliteStatistics:
        size = self._path.stat().st_size
        return SqliteStatistics(self._writer.statistics(), self._readers.count, size)

    def __repr__(self) -> str:
        return f"<SqliteStores {self._path} {self._writer.statistics()}>"


@asynccontextmanager
async def open_sqlite(directory: Path) -> AsyncIterator[SqliteStores]:
    """Open a data directory, made and brought up to date if need be; close it on leaving.

    Writes that wait then are still committed. Raises `DataDirectoryInUse`, `Corrupt`,
    `StoreUnavailable`, `OSError`.
    """
    path = directory / DATABASE
    with locked(directory):
        connection = await Lane("sqlite opening", 1).run(partial(_open, path))
        readers = Readers(path)
        writer = Writer(connection, path, readers)
        try:
            yield SqliteStores(path, writer, readers)
        finally:
            with trio.CancelScope(shield=True):
                await readers.close()
                await writer.close()


def backup_directory(directory: Path, target: Path) -> None:
    """As `SqliteStores.backup`, blocking, from any process, whether or not a server has it open.

    Raises `FileExistsError`, `FileNotFoundError`, `StoreError`.
    """
    copy_database(directory / DATABASE, target)


def _open(path: Path) -> sqlite3.Connection:
    connection = connect_writer(path)
    try:
        prepare(connection)
        check_newest(connection)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _touch(connection: sqlite3.Connection) -> None:
    """A transaction that has something to write, and so to sync."""
    connection.execute("UPDATE migrations SET name = name WHERE number = 1")
