"""The message log on SQLite: a batch of many threads in a handful of statements.

Each statement takes all rows of the batch as one `VALUES` list, so the interpreter lock is given up
a fixed number of times a commit and the inserts run beside the busy loop. The usual case needs one
probe for repeated cids, one update that moves all heads past their fences, one insert of all events
and one of all cursors; only when a count is not as expected is it found out which thread it was.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from persistence.errors import Corrupt
from persistence.records import (
    Append,
    Claim,
    ClientId,
    Committed,
    Cursor,
    Deposed,
    Event,
    EventKind,
    Head,
    Outcome,
    Repeated,
    Span,
    Summary,
    ThreadId,
    UserId,
)
from persistence.sqlite_files import SqliteFile

CHUNK_ROWS = (256, 64, 16, 4, 1)
"""Row counts that statements are prepared for: few texts, so the statement cache holds them all."""

_EVENT = "e.seq, e.n, e.kind, e.sender, e.ts_ms, e.body, e.cid, e.digest, e.target, e.checksum"


class SqliteLog:
    """`MessageLog` on a `SqliteFile`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        return await self._file.write(lambda connection: _claim(connection, thread, recent))

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        return await self._file.write(lambda connection: append_batch(connection, batch))

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        low = span.low if after is None else max(span.low, after + 1)
        high = span.high if before is None else min(span.high or before - 1, before - 1)
        return await self._file.read(
            lambda connection: _read(connection, thread, low, high, limit, newest=after is None)
        )

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        return await self._file.read(lambda connection: _related(connection, thread, targets))

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        return await self._file.read(lambda connection: _find(connection, thread, sender, cid))

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        return await self._file.read(lambda connection: _summaries(connection, spans, readers))


# ---------------------------------------------------------------------------- writing


def _claim(connection: sqlite3.Connection, thread: ThreadId, recent: int) -> Claim:
    (row,) = connection.execute(
        "INSERT INTO heads (thread, epoch, seq, n, meta_seq, ts_ms) VALUES (?, 1, 0, 0, 0, 0)"
        " ON CONFLICT (thread) DO UPDATE SET epoch = epoch + 1"
        " RETURNING id, epoch, seq, n, meta_seq, ts_ms",
        (thread,),
    ).fetchall()
    rows = connection.execute(
        f"SELECT {_EVENT} FROM events e WHERE e.head = ? ORDER BY e.seq DESC LIMIT ?",  # noqa: S608
        (row[0], recent),
    ).fetchall()
    events = tuple(_event(thread, found) for found in reversed(rows))
    head = Head(*row[1:])
    newest = events[-1].seq if events else 0
    if recent and newest != head.seq:
        raise Corrupt(f"the log of {thread} ends at {newest}, its head says {head.seq}")
    cursors = connection.execute(
        "SELECT uid, recv, read, read_n FROM cursors WHERE head = ?", (row[0],)
    )
    return Claim(head, events, {UserId(uid): Cursor(*rest) for uid, *rest in cursors})


def append_batch(connection: sqlite3.Connection, batch: Sequence[Append]) -> Sequence[Outcome]:
    """The work of one `append`, inside a transaction."""
    outcomes: list[Outcome] = [Committed()] * len(batch)
    accepted = list(enumerate(batch))
    if _count_repeats(connection, batch):
        for index, append in accepted:
            repeated = _repeats(connection, append)
            if repeated:
                outcomes[index] = Repeated(repeated)
        accepted = [entry for entry in accepted if isinstance(outcomes[entry[0]], Committed)]
    moved = _move_heads(connection, [append for _, append in accepted])
    if moved != len(accepted):
        for index, append in accepted:
            head = _head(connection, append.thread)
            new_seq = append.events[-1].seq if append.events else append.expected_seq
            if head.epoch != append.epoch or head.seq != new_seq:
                outcomes[index] = Deposed(head)
        accepted = [entry for entry in accepted if isinstance(outcomes[entry[0]], Committed)]
    _write(connection, [append for _, append in accepted])
    return outcomes


def _count_repeats(connection: sqlite3.Connection, batch: Sequence[Append]) -> int:
    rows = [
        (append.thread, event.sender, event.cid)
        for append in batch
        for event in append.events
        if event.cid is not None
    ]
    found = 0
    for values, parameters in _chunks(rows, 3):
        found += connection.execute(
            f"SELECT count(*) FROM (VALUES {values}) v"  # noqa: S608  (placeholders only)
            " JOIN heads h ON h.thread = v.column1"
            " JOIN events e ON e.head = h.id AND e.sender = v.column2 AND e.cid = v.column3",
            parameters,
        ).fetchone()[0]
    return found


def _repeats(connection: sqlite3.Connection, append: Append) -> tuple[Event, ...]:
    found = (
        _find(connection, append.thread, event.sender, event.cid)
        for event in append.events
        if event.cid is not None
    )
    return tuple(event for event in found if event is not None)


def _move_heads(connection: sqlite3.Connection, appends: Sequence[Append]) -> int:
    """Move the heads whose epoch and seq are as expected; how many those were."""
    rows = []
    for append in appends:
        last = append.events[-1] if append.events else None
        rows.append(
            (
                append.thread,
                append.epoch,
                append.expected_seq,
                last.seq if last else append.expected_seq,
                last.n if last else None,
                append.meta_seq,
                last.ts_ms if last else None,
            )
        )
    moved = 0
    for values, parameters in _chunks(rows, 7):
        moved += connection.execute(
            "UPDATE heads SET seq = v.column4, n = coalesce(v.column5, n),"
            " meta_seq = coalesce(v.column6, meta_seq), ts_ms = coalesce(v.column7, ts_ms)"
            f" FROM (VALUES {values}) v WHERE heads.thread = v.column1"
            " AND heads.epoch = v.column2 AND heads.seq = v.column3",
            parameters,
        ).rowcount
    return moved


def _write(connection: sqlite3.Connection, appends: Sequence[Append]) -> None:
    events = [
        (
            append.thread, event.seq, event.n, event.kind.value, event.sender, event.ts_ms,
            event.cid, event.digest.hex(), event.target, event.body.decode(),
            _checksum(event.seq, event.body),
        )
        for append in appends
        for event in append.events
    ]  # fmt: skip
    for values, parameters in _chunks(events, 11):
        connection.execute(
            "INSERT INTO events (head, seq, n, kind, sender, ts_ms, cid, digest, target, body,"
            " checksum) SELECT h.id, v.column2, v.column3, v.column4, v.column5, v.column6,"
            " v.column7, v.column8, v.column9, v.column10, v.column11"
            f" FROM (VALUES {values}) v JOIN heads h ON h.thread = v.column1",
            parameters,
        )
    cursors = [
        (append.thread, uid, cursor.recv, cursor.read, cursor.read_n)
        for append in appends
        for uid, cursor in append.cursors.items()
    ]
    for values, parameters in _chunks(cursors, 5):
        connection.execute(
            "INSERT INTO cursors (head, uid, recv, read, read_n)"
            " SELECT h.id, v.column2, v.column3, v.column4, v.column5"
            f" FROM (VALUES {values}) v JOIN heads h ON h.thread = v.column1 WHERE true"
            " ON CONFLICT (head, uid) DO UPDATE SET recv = max(recv, excluded.recv),"
            " read = max(read, excluded.read), read_n = max(read_n, excluded.read_n)",
            parameters,
        )
    for append in appends:
        for rewrite in append.rewrites:
            connection.execute(
                "UPDATE events SET body = ?, checksum = ? WHERE seq = ?"
                " AND head = (SELECT id FROM heads WHERE thread = ?)",
                (
                    rewrite.body.decode(),
                    _checksum(rewrite.seq, rewrite.body),
                    rewrite.seq,
                    append.thread,
                ),
            )


def _chunks(rows: Sequence[tuple[Any, ...]], columns: int) -> Iterator[tuple[str, list[Any]]]:
    """Rows cut into chunks of the prepared sizes, each with its placeholders."""
    start = 0
    while start < len(rows):
        size = next(size for size in CHUNK_ROWS if size <= len(rows) - start)
        chunk = rows[start : start + size]
        start += size
        yield _placeholders(size, columns), [value for row in chunk for value in row]


_PLACEHOLDERS: dict[tuple[int, int], str] = {}


def _placeholders(rows: int, columns: int) -> str:
    key = (rows, columns)
    if key not in _PLACEHOLDERS:
        row = "(" + ", ".join("?" * columns) + ")"
        _PLACEHOLDERS[key] = ", ".join([row] * rows)
    return _PLACEHOLDERS[key]


# ---------------------------------------------------------------------------- reading


def _checksum(seq: int, body: bytes) -> int:
    """Of an event's body at its seq: a page that was swapped or torn does not go unnoticed."""
    return zlib.crc32(body, seq & 0xFFFFFFFF)


def _event(thread: ThreadId, row: tuple[Any, ...]) -> Event:
    seq, n, kind, sender, ts_ms, text, cid, digest, target, checksum = row
    body = text.encode()
    if _checksum(seq, body) != checksum:
        raise Corrupt(f"event {seq} of {thread}: its checksum does not match")
    return Event(
        seq, n, EventKind(kind), UserId(sender), ts_ms, body, cid, bytes.fromhex(digest), target
    )


def _head(connection: sqlite3.Connection, thread: ThreadId) -> Head:
    row = connection.execute(
        "SELECT epoch, seq, n, meta_seq, ts_ms FROM heads WHERE thread = ?", (thread,)
    ).fetchone()
    return Head() if row is None else Head(*row)


def _read(
    connection: sqlite3.Connection,
    thread: ThreadId,
    low: int,
    high: int | None,
    limit: int,
    *,
    newest: bool,
) -> list[Event]:
    order = "DESC" if newest else "ASC"
    rows = connection.execute(
        f"SELECT {_EVENT} FROM events e WHERE e.head = (SELECT id FROM heads WHERE thread = ?)"  # noqa: S608
        f" AND e.seq BETWEEN ? AND ? ORDER BY e.seq {order} LIMIT ?",
        (thread, low, 2**63 - 1 if high is None else high, limit),
    ).fetchall()
    if newest:
        rows.reverse()
    return [_event(thread, row) for row in rows]


def _related(
    connection: sqlite3.Connection, thread: ThreadId, targets: Collection[int]
) -> list[Event]:
    found: dict[int, Event] = {}
    for target in targets:
        rows = connection.execute(
            f"SELECT {_EVENT} FROM events e WHERE e.head = (SELECT id FROM heads WHERE thread = ?)"  # noqa: S608
            " AND (e.seq = ? OR e.target = ?)",
            (thread, target, target),
        )
        found.update((row[0], _event(thread, row)) for row in rows)
    return [found[seq] for seq in sorted(found)]


def _find(
    connection: sqlite3.Connection, thread: ThreadId, sender: UserId, cid: ClientId
) -> Event | None:
    row = connection.execute(
        f"SELECT {_EVENT} FROM events e WHERE e.head = (SELECT id FROM heads WHERE thread = ?)"  # noqa: S608
        " AND e.sender = ? AND e.cid = ?",
        (thread, sender, cid),
    ).fetchone()
    return None if row is None else _event(thread, row)


def _summaries(
    connection: sqlite3.Connection,
    spans: Mapping[ThreadId, Span],
    readers: Mapping[ThreadId, Collection[UserId]],
) -> dict[ThreadId, Summary]:
    found: dict[ThreadId, Summary] = {}
    connection.execute("BEGIN")
    try:
        for thread, span in spans.items():
            row = connection.execute(
                "SELECT id, epoch, seq, n, meta_seq, ts_ms FROM heads WHERE thread = ?", (thread,)
            ).fetchone()
            if row is None:
                continue
            high = row[2] if span.high is None else span.high
            last = connection.execute(
                f"SELECT {_EVENT} FROM events e WHERE e.head = ? AND e.seq BETWEEN ? AND ?"  # noqa: S608
                " AND e.kind = 'msg' ORDER BY e.seq DESC LIMIT 1",
                (row[0], span.low, high),
            ).fetchone()
            cursors: dict[UserId, Cursor] = {}
            for uid in readers.get(thread, ()):
                cursor = connection.execute(
                    "SELECT recv, read, read_n FROM cursors WHERE head = ? AND uid = ?",
                    (row[0], uid),
                ).fetchone()
                if cursor is not None:
                    cursors[uid] = Cursor(*cursor)
            event = None if last is None else _event(thread, last)
            found[thread] = Summary(Head(*row[1:]), event, cursors)
    finally:
        connection.execute("ROLLBACK")
    return found
