"""The message log on SQLite: fenced appends, checked reads.

The usual append of the journal, many threads at once, is one statement (`sqlite_rows`). Only when
that statement refuses is it found out which of the batch were deposed or repeated; the others are
then written. Reads answer one JSON value each, for the reason given at `fetch_json`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import msgspec

from persistence.batching import check_append
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
from persistence.sqlite_files import as_json, fetch_json
from persistence.sqlite_readers import Readers
from persistence.sqlite_rows import ROWS_MAX, Row, checksums, insert, rows_of
from persistence.sqlite_writer import Writer

CHECKED_EVENTS = 1_000
"""Newest events that are checked when a database is opened: what a crash could have harmed."""

EventRow = tuple[
    int, int, EventKind, UserId, int, str, ClientId | None, str, int | None, int, int
]  # fmt: skip
HeadRow = tuple[int, int, int, int, int]
CursorRow = tuple[UserId, int, int, int]

_EVENT = (
    "json_array(e.seq, e.n, e.kind, e.sender, e.ts_ms, e.body, e.cid, hex(e.digest), e.target,"
    " e.fields_crc, e.body_crc)"
)
_HEAD = "json_array(h.epoch, h.seq, h.n, h.meta_seq, h.ts_ms)"
_KEY = "(SELECT key FROM heads WHERE thread = ?1)"

_events = msgspec.json.Decoder(list[EventRow])
_located_events = msgspec.json.Decoder(list[tuple[ThreadId, EventRow]])
_heads = msgspec.json.Decoder(list[tuple[ThreadId, HeadRow]])
_cursors = msgspec.json.Decoder(list[CursorRow])
_claims = msgspec.json.Decoder(tuple[list[EventRow], list[CursorRow]])
_summaries = msgspec.json.Decoder(
    list[tuple[ThreadId, HeadRow, EventRow | None, list[CursorRow]]]
)  # fmt: skip


class SqliteLog:
    """`MessageLog`."""

    commits_at_once = 1
    """Each is an fsync: the more goes with one, the better."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        raise_epoch = partial(_raise_epoch, thread=thread)
        head = await self._writer.submit(raise_epoch, fast=raise_epoch)
        # What is up to this head can no longer change, save by whoever claims it next.
        events, cursors = await self._readers.read(partial(_recent, thread, head, recent))
        return Claim(head, events, cursors)

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        assert len({append.thread for append in batch}) == len(batch), "a thread twice in a batch"
        rows: list[Row] = []
        for append in batch:
            check_append(append)
            rows += rows_of(append)
        if not rows:
            return []

        def fast(connection: sqlite3.Connection) -> Sequence[Outcome]:
            insert(connection, rows)
            return [Committed()] * len(batch)

        return await self._writer.submit(
            lambda connection: append_apart(connection, batch),
            fast=fast if len(rows) <= ROWS_MAX else None,
        )

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        page = span.narrowed(after, before)
        return await self._readers.read(
            partial(_page, thread, page.low, page.high, max(limit, 0), ascending=after is not None)
        )

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        return await self._readers.read(partial(_related, thread, sorted(set(targets))))

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        return await self._readers.read(partial(_find, thread, sender, cid))

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        asked = [
            (thread, span.low, span.high, sorted(set(readers.get(thread, ()))))
            for thread, span in spans.items()
        ]
        return await self._readers.read(partial(_summarise, asked))


# ---------------------------------------------------------------------------- writing


def _raise_epoch(connection: sqlite3.Connection, thread: ThreadId) -> Head:
    ((*fields,),) = connection.execute(
        "INSERT INTO heads (thread, epoch) VALUES (?, 1)"
        " ON CONFLICT (thread) DO UPDATE SET epoch = epoch + 1"
        " RETURNING epoch, seq, n, meta_seq, ts_ms",
        (thread,),
    ).fetchall()
    return Head(*fields)


def append_apart(connection: sqlite3.Connection, batch: Sequence[Append]) -> Sequence[Outcome]:
    """Find out what is wrong with which appends of a refused batch, and write the others."""
    heads = _stored_heads(connection, [append.thread for append in batch])
    repeated = _stored_cids(connection, batch)
    outcomes: list[Outcome] = []
    rows: list[Row] = []
    for append in batch:
        head = heads.get(append.thread, Head())
        if (head.epoch, head.seq) != (append.epoch, append.expected_seq) or not head.epoch:
            outcomes.append(Deposed(head))
        elif append.thread in repeated:
            outcomes.append(Repeated(tuple(repeated[append.thread])))
        else:
            outcomes.append(Committed())
            rows += rows_of(append)
    for start in range(0, len(rows), ROWS_MAX):
        insert(connection, rows[start : start + ROWS_MAX])
    return outcomes


def _stored_heads(
    connection: sqlite3.Connection, threads: Collection[ThreadId]
) -> dict[ThreadId, Head]:
    found = fetch_json(
        connection,
        _heads,
        f"SELECT json_group_array(json_array(h.thread, {_HEAD}))"
        " FROM json_each(?) asked CROSS JOIN heads h ON h.thread = asked.value",
        (as_json(threads),),
    )
    return {thread: Head(*fields) for thread, fields in found}


def _stored_cids(
    connection: sqlite3.Connection, batch: Sequence[Append]
) -> dict[ThreadId, list[Event]]:
    named = [
        (append.thread, event.sender, event.cid)
        for append in batch
        for event in append.events
        if event.cid is not None
    ]
    found = fetch_json(
        connection,
        _located_events,
        f"SELECT json_group_array(json_array(h.thread, {_EVENT})) FROM json_each(?) asked"
        " CROSS JOIN heads h ON h.thread = asked.value ->> 0"
        " CROSS JOIN events e ON e.thread = h.key AND e.sender = asked.value ->> 1"
        " AND e.cid = asked.value ->> 2",
        (as_json(named),),
    )
    events: dict[ThreadId, list[Event]] = {}
    for thread, row in sorted(found):
        events.setdefault(thread, []).append(_event(thread, row))
    return events


# ---------------------------------------------------------------------------- reading


def _recent(
    thread: ThreadId, head: Head, recent: int, connection: sqlite3.Connection
) -> tuple[tuple[Event, ...], Mapping[UserId, Cursor]]:
    rows, cursors = fetch_json(
        connection,
        _claims,
        f"SELECT json_array(json((SELECT json_group_array({_EVENT}) FROM (SELECT * FROM events"
        f" WHERE thread = {_KEY} AND seq > ?2 AND seq <= ?3 ORDER BY seq) e)),"
        " json((SELECT json_group_array(json_array(uid, recv, read, read_n)) FROM cursors"
        f" WHERE thread = {_KEY})))",
        (thread, head.seq - max(recent, 0), head.seq),
    )
    events = tuple(_event(thread, row) for row in rows)
    expected = range(max(head.seq - max(recent, 0), 0) + 1, head.seq + 1)
    if [event.seq for event in events] != list(expected):
        raise Corrupt(f"the log of {thread} has gaps below its head at {head.seq}")
    return events, _cursors_of(cursors)


def _page(
    thread: ThreadId,
    low: int,
    high: int | None,
    limit: int,
    connection: sqlite3.Connection,
    *,
    ascending: bool,
) -> Sequence[Event]:
    order = "ASC" if ascending else "DESC"
    rows = fetch_json(
        connection,
        _events,
        f"SELECT json_group_array({_EVENT}) FROM (SELECT * FROM events WHERE thread = {_KEY}"
        f" AND seq BETWEEN ?2 AND ?3 ORDER BY seq {order} LIMIT ?4) e",
        (thread, low, _SEQ_MAX if high is None else high, limit),
    )
    return [_event(thread, row) for row in (rows if ascending else reversed(rows))]


_SEQ_MAX = 2**63 - 1


def _related(
    thread: ThreadId, targets: list[int], connection: sqlite3.Connection
) -> Sequence[Event]:
    rows = fetch_json(
        connection,
        _events,
        "WITH asked AS (SELECT value AS seq FROM json_each(?2))"
        f" SELECT json_group_array({_EVENT}) FROM (SELECT * FROM events WHERE key IN ("
        f"SELECT e.key FROM asked CROSS JOIN events e ON e.thread = {_KEY} AND e.seq = asked.seq"
        " UNION SELECT e.key FROM asked CROSS JOIN events e"
        f" ON e.thread = {_KEY} AND e.target = asked.seq) ORDER BY seq) e",
        (thread, as_json(targets)),
    )
    return [_event(thread, row) for row in rows]


def _find(
    thread: ThreadId, sender: UserId, cid: ClientId, connection: sqlite3.Connection
) -> Event | None:
    rows = fetch_json(
        connection,
        _events,
        f"SELECT json_group_array({_EVENT}) FROM events e"
        f" WHERE e.thread = {_KEY} AND e.sender = ?2 AND e.cid = ?3",
        (thread, sender, cid),
    )
    return _event(thread, rows[0]) if rows else None


def _summarise(
    asked: Sequence[tuple[ThreadId, int, int | None, Sequence[UserId]]],
    connection: sqlite3.Connection,
) -> Mapping[ThreadId, Summary]:
    """A head knows its newest message; only who left before it needs a search, backwards."""
    found = fetch_json(
        connection,
        _summaries,
        "WITH asked AS MATERIALIZED (SELECT value ->> 0 AS thread, value ->> 1 AS low,"
        f" coalesce(value ->> 2, {_SEQ_MAX}) AS high, value -> 3 AS uids FROM json_each(?))"
        f" SELECT json_group_array(json_array(h.thread, {_HEAD},"
        f" json(iif(e.key IS NULL, NULL, {_EVENT})),"
        " json((SELECT json_group_array(json_array(c.uid, c.recv, c.read, c.read_n))"
        " FROM json_each(asked.uids) reader CROSS JOIN cursors c"
        " ON c.thread = h.key AND c.uid = reader.value))))"
        " FROM asked CROSS JOIN heads h ON h.thread = asked.thread"
        " LEFT JOIN events e ON e.thread = h.key AND e.seq = iif(h.msg_seq <= asked.high,"
        " iif(h.msg_seq >= asked.low, h.msg_seq, NULL),"
        " (SELECT m.seq FROM events m WHERE m.thread = h.key AND m.kind = 'msg'"
        " AND m.seq BETWEEN asked.low AND asked.high ORDER BY m.seq DESC LIMIT 1))",
        (as_json(asked),),
    )
    return {
        thread: Summary(Head(*head), event and _event(thread, event), _cursors_of(cursors))
        for thread, head, event, cursors in found
    }


def _event(thread: ThreadId, row: EventRow) -> Event:
    """The event of a row whose checksums are right."""
    seq, n, kind, sender, ts_ms, body, cid, digest, target, fields_crc, body_crc = row
    event = Event(
        seq, n, kind, sender, ts_ms, body.encode(), cid, bytes.fromhex(digest), target
    )  # fmt: skip
    if checksums(thread, event) != (fields_crc, body_crc):
        raise Corrupt(f"event {seq} of {thread} does not match its checksums")
    return event


def _cursors_of(rows: Sequence[CursorRow]) -> dict[UserId, Cursor]:
    return {uid: Cursor(recv, read, read_n) for uid, recv, read, read_n in rows}


# ---------------------------------------------------------------------------- at the start


def check_newest(connection: sqlite3.Connection) -> None:
    """Check the newest events, and that their threads' heads stand where their events end.

    Raises `Corrupt`. Costs some milliseconds, however large the log is.
    """
    newest = f"(SELECT * FROM events ORDER BY key DESC LIMIT {CHECKED_EVENTS})"
    for thread, row in fetch_json(
        connection,
        _located_events,
        f"SELECT json_group_array(json_array(h.thread, {_EVENT}))"
        f" FROM {newest} e JOIN heads h ON h.key = e.thread",
        (),
    ):
        _event(thread, row)
    for thread, stated, found in connection.execute(
        "SELECT h.thread, h.seq, (SELECT max(seq) FROM events WHERE thread = h.key) AS found"
        f" FROM heads h WHERE h.key IN (SELECT thread FROM {newest}) AND h.seq <> found"
    ).fetchall():
        raise Corrupt(f"the log of {thread} ends at {found}, its head says {stated}")
