"""The embedded default: all five stores in one SQLite file of one data directory.

One process has a directory at a time; a second is refused with a clear error. Reading order:
`sqlite_files` for the writer and its group commit, `sqlite_log` for the message log, then
`sqlite_directory` and `sqlite_threads`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from persistence.sqlite_directory import SqliteAccounts, SqliteContacts, SqliteSessions
from persistence.sqlite_files import (
    DATABASE,
    FileStatistics,
    SqliteFile,
    backup_file,
    locked,
)
from persistence.sqlite_log import SqliteLog
from persistence.sqlite_threads import SqliteThreads


@dataclass(frozen=True, slots=True)
class SqliteStores:
    """The stores of one data directory."""

    accounts: SqliteAccounts
    sessions: SqliteSessions
    contacts: SqliteContacts
    threads: SqliteThreads
    log: SqliteLog
    file: SqliteFile

    async def backup(self, path: Path) -> None:
        """Copy everything into a new file while serving."""
        await trio.to_thread.run_sync(self.file.backup, path)

    async def health(self) -> None:
        """Prove that a transaction can be committed. Raises `StoreUnavailable`."""
        await self.file.write(lambda connection: connection.execute("SELECT 1").fetchone())

    def statistics(self) -> FileStatistics:
        return self.file.statistics()


@asynccontextmanager
async def open_sqlite(directory: Path) -> AsyncIterator[SqliteStores]:
    """Open a data directory, creating it if need be, and close it on leaving.

    Raises `DataDirectoryInUse` or `Corrupt`.
    """
    with locked(directory):
        file = SqliteFile(directory / DATABASE)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(file.run)
                yield SqliteStores(
                    SqliteAccounts(file),
                    SqliteSessions(file),
                    SqliteContacts(file),
                    SqliteThreads(file),
                    SqliteLog(file),
                    file,
                )
                nursery.cancel_scope.cancel()
        finally:
            file.close()


def backup_directory(directory: Path, target: Path) -> None:
    """Copy the data of a directory into a new file, from any process, while a server serves it."""
    backup_file(directory / DATABASE, target)
