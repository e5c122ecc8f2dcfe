"""How a group commit of the message log is one statement.

**Problem.** A batch moves heads, inserts events, replaces bodies and merges cursors. A statement
for each row means a hand-over of the interpreter lock for each row, and even a statement for each
table means ten of them a commit. While the main thread is busy, a hand-over costs up to a switch
interval, or more.

**Rule.** The writer inserts all rows of a batch, of every kind, into a view `append_rows`, with one
`VALUES` list. Triggers of the view do the work, row by row, inside that one statement: no lock is
given back before everything is written and synced. A broken fence raises there, as does a repeated
cid; a statement is atomic, so nothing of the batch remains, and the caller then looks closer.

View and triggers are temporary: they belong to the connection, and to this module, not the file.

**Alternatives measured** (64 appends of one 200-byte event and one cursor to 64 threads of 2000,
`synchronous=FULL`, two cores, Python 3.11; the main thread idle, or computing without pause in
slices of 1.2 ms with a poll between, at a switch interval of 5 ms and of 0.1 ms):

| | idle | CPU an event | busy, 5 ms | busy, 0.1 ms | p99 of that |
|---|---|---|---|---|---|
| `executemany`, three statements | 33 k/s | 24 µs | 0.7 k/s | 10.6 k/s | 36 ms |
| `json_each`, three statements | 22 k/s | 39 µs | 0.1–5 k/s | 7 k/s | 19 ms |
| `VALUES` lists, three statements | 26 k/s | 32 µs | 3 k/s | 9 k/s | 14 ms |
| one statement, `json_each` | 25 k/s | 31 µs | 0.2 k/s | 14.7 k/s | 12 ms |
| one statement, `VALUES` | 25 k/s | 28 µs | 0.4 k/s | 14.2 k/s | 12 ms |

At 5 ms no way of writing helps: the main thread's poll gives the lock up and has it back before the
writer wakes, which starts the writer's wait anew. A server should set a switch interval of 0.1 ms.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from persistence.records import Append, Event, ThreadId

ROWS_MAX: Final = 2048
"""Rows in one statement; above, the caller splits. 14 parameters each, and SQLite allows 32,766."""

_SIZES: Final = (
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
)  # fmt: skip
"""Row counts that statements are prepared for; a batch is padded with rows that do nothing."""

_EVENT, _CURSOR, _REWRITE, _META, _FENCE = range(1, 6)
_COLUMNS: Final = (
    "what", "thread", "epoch", "seq", "n", "kind", "sender", "ts_ms", "cid", "digest", "target",
    "fields_crc", "body_crc", "body",
)  # fmt: skip
_PADDING: Final = (None,) * len(_COLUMNS)

_KEY = "(SELECT key FROM heads WHERE thread = new.thread)"
_TRIGGERS = {
    # Each event moves the head by one, so an append is fenced at its first event.
    _EVENT: f"""
        UPDATE heads SET seq = new.seq, n = new.n, ts_ms = new.ts_ms,
            msg_seq = iif(new.kind = 'msg', new.seq, msg_seq)
            WHERE thread = new.thread AND epoch = new.epoch AND seq = new.seq - 1;
        SELECT RAISE(ABORT, 'fence') WHERE changes() <> 1;
        INSERT INTO events (thread, seq, n, kind, sender, ts_ms, cid, digest, target, fields_crc,
            body_crc, body)
            VALUES ({_KEY}, new.seq, new.n, new.kind, new.sender, new.ts_ms, new.cid, new.digest,
            new.target, new.fields_crc, new.body_crc, new.body);
        """,
    # sender, seq, n, ts_ms are here uid, recv, read, read_n.
    _CURSOR: f"""
        INSERT INTO cursors VALUES ({_KEY}, new.sender, new.seq, new.n, new.ts_ms)
            ON CONFLICT (thread, uid) DO UPDATE SET recv = max(recv, excluded.recv),
            read = max(read, excluded.read), read_n = max(read_n, excluded.read_n);
        """,
    _REWRITE: f"""
        UPDATE events SET body = new.body, body_crc = new.body_crc
            WHERE thread = {_KEY} AND seq = new.seq;
        SELECT RAISE(ABORT, 'rewrite of what is not there') WHERE changes() <> 1;
        """,
    _META: "UPDATE heads SET meta_seq = new.seq WHERE thread = new.thread;",
    _FENCE: """
        SELECT RAISE(ABORT, 'fence') WHERE NOT EXISTS (SELECT 1 FROM heads
            WHERE thread = new.thread AND epoch = new.epoch AND seq = new.seq);
        """,
}  # fmt: skip

Row = tuple[Any, ...]


def prepare(connection: sqlite3.Connection) -> None:
    """Give a writer connection the view and its triggers."""
    columns = ", ".join(f"NULL AS {column}" for column in _COLUMNS)
    connection.execute(f"CREATE TEMP VIEW append_rows AS SELECT {columns} WHERE 0")
    for what, body in _TRIGGERS.items():
        connection.execute(
            f"CREATE TEMP TRIGGER append_rows_{what} INSTEAD OF INSERT ON append_rows"
            f" WHEN new.what = {what} BEGIN {body} END"
        )


def rows_of(append: Append) -> list[Row]:
    """What writes an append, in order; fenced by its first row."""
    thread = append.thread
    rows: list[Row] = []
    if not append.events:
        rows.append((_FENCE, thread, append.epoch, append.expected_seq, *_PADDING[4:]))
    for event in append.events:
        fields_crc, body_crc = checksums(thread, event)
        rows.append(
            (
                _EVENT, thread, append.epoch, event.seq, event.n, event.kind.value, event.sender,
                event.ts_ms, event.cid, event.digest, event.target, fields_crc, body_crc,
                event.body.decode(),
            )
        )  # fmt: skip
    for rewrite in append.rewrites:
        crc = body_checksum(thread, rewrite.seq, rewrite.body)
        text = rewrite.body.decode()
        rows.append((_REWRITE, thread, None, rewrite.seq, *_PADDING[4:-2], crc, text))
    for uid, cursor in append.cursors.items():
        recv, read, read_n = cursor.recv, cursor.read, cursor.read_n
        rows.append((_CURSOR, thread, None, recv, read, None, uid, read_n, *_PADDING[8:]))
    if append.meta_seq is not None:
        rows.append((_META, thread, None, append.meta_seq, *_PADDING[4:]))
    return rows


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Carry out up to `ROWS_MAX` rows in one statement, whole or not at all.

    Raises `sqlite3.IntegrityError` for a broken fence or a cid that is in the log already.
    """
    size = next(size for size in _SIZES if size >= len(rows))
    padding = (_PADDING,) * (size - len(rows))
    connection.execute(_STATEMENTS[size], tuple(chain.from_iterable((*rows, *padding))))


def _statement(size: int) -> str:
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO append_rows VALUES {', '.join([row] * size)}"


_STATEMENTS: Final = {size: _statement(size) for size in _SIZES}


# ---------------------------------------------------------------------------- checksums


def checksums(thread: ThreadId, event: Event) -> tuple[int, int]:
    """CRC-32 of an event's fixed fields and of its body, both seeded with its place."""
    place = zlib.crc32(b"%b\0%d" % (thread.encode(), event.seq))
    fields = (
        f"{event.n}\0{event.kind.value}\0{event.sender}\0{event.ts_ms}\0{event.cid}\0{event.target}"
    )
    fields_crc = zlib.crc32(event.digest, zlib.crc32(fields.encode(), place))
    return fields_crc, zlib.crc32(event.body, place)


def body_checksum(thread: ThreadId, seq: int, body: bytes) -> int:
    """The second of `checksums`, for a body that replaces another."""
    return zlib.crc32(body, zlib.crc32(b"%b\0%d" % (thread.encode(), seq)))
