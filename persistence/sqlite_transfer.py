"""A data directory as the source of a copy: everything in it, in the order it was written.

The directory is held like a server holds it, so nobody serves from it and nothing changes. Rows
come from cursors that stay open, page by page; no statement sorts, so memory does not grow with the
data.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from persistence.blocking import Lane
from persistence.records import Cursor, Event, Head, Span, ThreadId
from persistence.sqlite import SqliteStores, open_sqlite
from persistence.sqlite_files import DATABASE, connect_reader, translated
from persistence.transfer import PAGE_ROWS, PAGE_THREADS, Pages, thread_checksum
from persistence.transfer_rows import (
    TABLES,
    Checksum,
    Row,
    Rows,
    Table,
    ThreadState,
    pointer_rows,
)

T = TypeVar("T")

_INITIAL = "substr(w.word, 1, 1)"
_MEMBER = "CROSS JOIN threads t ON t.key = m.thread"

STATEMENTS: Final = {
    "accounts": "SELECT 'u' || id, user, name, password_hash, created_ms, about, avatar, last_seen,"
    " receipts, seen_ms, 1 FROM accounts ORDER BY id",
    "handles": "SELECT user, 'u' || id FROM accounts ORDER BY id",
    # Once for each initial of an account: with the least of its words.
    "word_sets": f"SELECT {_INITIAL}, 'u' || w.account, 1 FROM account_words w WHERE w.word <> ''"
    " AND NOT EXISTS (SELECT 1 FROM account_words v WHERE v.account = w.account"
    f" AND v.word < w.word AND v.word >= {_INITIAL}) ORDER BY w.account, w.word",
    "words": f"SELECT {_INITIAL}, 'u' || w.account, w.word, a.user FROM account_words w"
    " CROSS JOIN accounts a ON a.id = w.account WHERE w.word <> '' ORDER BY w.account, w.word",
    "sessions": "SELECT uid, id, device, token_hash, created_ms, seen_ms, expires_ms FROM sessions"
    " ORDER BY id",
    "tokens": "SELECT token_hash, uid FROM sessions ORDER BY id",
    "books": "SELECT uid, version FROM books ORDER BY uid",
    "contacts": "SELECT uid, peer, alias, listed, blocked FROM contacts ORDER BY uid, peer",
    "reservations": "SELECT creator, id, cid, digest, created_ms FROM reservations ORDER BY id",
    "threads": "SELECT thread, kind, name, about, avatar, created_ms, deleted, applied_seq"
    " FROM threads ORDER BY key",
    "members": f"SELECT t.thread, m.uid, m.role, m.join_seq, m.left_seq FROM members m {_MEMBER}"
    " ORDER BY m.key",
    "user_threads": "SELECT m.uid, t.thread, m.muted_until_ms, m.pinned, m.archived"
    f" FROM members m {_MEMBER} ORDER BY m.key",
    "hidden": "SELECT m.uid, t.thread, h.seq FROM hidden h CROSS JOIN members m ON m.key = h.member"
    f" {_MEMBER} ORDER BY h.member, h.seq",
}
"""The rows of each of `TABLES`, in an order that is always the same."""

THREADS: Final = "SELECT thread FROM heads ORDER BY key"
_NUMBERS: Final = (
    "SELECT column1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = column2), 0) FROM"
    " (VALUES ('account_numbers', 'accounts'), ('group_numbers', 'reservations'),"
    " ('session_numbers', 'sessions'))"
)
_HEAD: Final = "SELECT epoch, seq, n, meta_seq, ts_ms, msg_seq FROM heads WHERE thread = ?"
_CURSORS: Final = (
    "SELECT c.uid, c.recv, c.read, c.read_n FROM heads h CROSS JOIN cursors c ON c.thread = h.key"
    " WHERE h.thread = ?"
)


class SqliteSource:
    """`Tables` and `LogsSource`. Made by `open_source`."""

    def __init__(self, stores: SqliteStores, path: Path, connection: sqlite3.Connection) -> None:
        self._stores = stores
        self._path = path
        self._connection = connection
        self._lane = Lane("sqlite copying", 1)

    def __str__(self) -> str:
        return str(self._path.parent)

    # ------------------------------------------------------------------ users and threads

    def pages(self, table: Table, skip: int = 0) -> Pages[Row]:
        kinds = list(table.columns.values())

        def convert(row: Row) -> Row:
            flags = ((kind == "boolean", value) for kind, value in zip(kinds, row, strict=True))
            return tuple(bool(value) if is_flag else value for is_flag, value in flags)

        return self._pages(STATEMENTS[table.name], PAGE_ROWS, skip, convert)

    async def numbers(self) -> Rows:
        return await self._run(lambda: self._connection.execute(_NUMBERS).fetchall())

    # ------------------------------------------------------------------ the message log

    def threads(self, skip: int = 0) -> Pages[ThreadId]:
        return self._pages(THREADS, PAGE_THREADS, skip, lambda row: ThreadId(row[0]))

    async def state(self, thread: ThreadId) -> ThreadState | None:
        def read() -> ThreadState | None:
            row = self._connection.execute(_HEAD, (thread,)).fetchone()
            cursors = self._connection.execute(_CURSORS, (thread,)).fetchall()
            if row is None:
                return None
            return ThreadState(
                Head(*row[:5]), row[5], {uid: Cursor(*fields) for uid, *fields in cursors}
            )

        return await self._run(read)

    async def events(self, thread: ThreadId, after: int, limit: int) -> Sequence[Event]:
        """Raises `Corrupt` for an event that does not match its checksums."""
        return await self._stores.log.read(thread, Span(), limit, after=after)

    async def pointers(self, thread: ThreadId, events: Sequence[Event]) -> Rows:  # noqa: ARG002
        """Here they are columns of the events."""
        return pointer_rows(events)

    async def checksums(self, threads: Sequence[ThreadId]) -> Sequence[Checksum]:
        return [await thread_checksum(self, thread, is_source=True) for thread in threads]

    # ------------------------------------------------------------------ both

    def _pages(self, statement: str, size: int, skip: int, convert: Callable[[Row], T]) -> Pages[T]:
        cursors: list[sqlite3.Cursor] = []

        def fetch() -> list[T]:
            if not cursors:
                paged = f"{statement} LIMIT -1 OFFSET ?"
                cursors.append(self._connection.execute(paged, (skip,)))
            return [convert(row) for row in cursors[0].fetchmany(size)]

        return Pages(partial(self._run, fetch))

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await self._lane.run(call)
        except sqlite3.Error as error:
            raise translated(error, self._path) from error


@asynccontextmanager
async def open_source(directory: Path) -> AsyncIterator[SqliteSource]:
    """Hold a data directory, its schema brought up to date, for a copy of it.

    Raises `FileNotFoundError` where there is no database, and as `open_sqlite` does.
    """
    path = directory / DATABASE
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no database", str(path))
    async with open_sqlite(directory) as stores:
        connection = await trio.to_thread.run_sync(connect_reader, path)
        try:
            yield SqliteSource(stores, path, connection)
        finally:
            connection.close()


assert set(STATEMENTS) == {table.name for table in TABLES}
