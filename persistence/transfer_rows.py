"""What a whole store consists of, and checksums of it that do not depend on the engine. Pure.

**Problem.** A copy is right when both sides hold the same. They keep it differently: in one
database or in shares, in orders of their own, with other indexes.

**Rule.** Both are read as the same rows, and a checksum is their number and the sum of their
hashes: the order does not matter, and the checksums of shares add up. What is stored twice, such as
a login name that leads to its account, is rows of its own, read from where it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from persistence.records import Cursor, Event, Head, ThreadId, UserId

Row = tuple[Any, ...]
Rows = Sequence[Row]

MARK: Final = "copying"
"""The table that an engine has from the beginning of a copy into it until the end."""

UNFINISHED: Final = "a copy into it has not ended: run `run.py copy` again"
"""Why an engine that has the mark is not served from."""

_HASH_BYTES: Final = 16
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Checksum:
    """Of rows, whatever their order. Equal for equal rows, and (but for 1 in 2**128) only then."""

    rows: int = 0
    total: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows += 1
            self.total += int.from_bytes(blake2b(_encode(row), digest_size=_HASH_BYTES).digest())
        self.total %= 2 ** (8 * _HASH_BYTES)

    def __str__(self) -> str:
        return f"{self.rows} rows {self.total:0{2 * _HASH_BYTES}x}"


# ---------------------------------------------------------------------------- users and threads


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind. `columns` have types of SQL; the first `key` of them name a row, and the
    first alone says which of several databases it is in."""

    name: str
    columns: Mapping[str, str]
    key: int


_WORDS: Final = {"text": "text", "number": "bigint", "flag": "boolean", "bytes": "bytea"}


def _table(name: str, key: int, columns: str) -> Table:
    pairs = (column.split(":") for column in columns.split())
    return Table(name, {column: _WORDS[kind] for column, kind in pairs}, key)


TABLES: Final = (
    _table(
        "accounts", 1,
        "uid:text login:text name:text password_hash:text created_ms:number about:text avatar:text"
        " last_seen:text receipts:text seen_ms:number version:number",
    ),
    _table("handles", 1, "login:text uid:text"),
    _table("word_sets", 2, "initial:text uid:text version:number"),
    _table("words", 3, "initial:text uid:text word:text login:text"),
    _table(
        "sessions", 2,
        "uid:text number:number device:text token_hash:bytes created_ms:number seen_ms:number"
        " expires_ms:number",
    ),
    _table("tokens", 1, "token_hash:bytes uid:text"),
    _table("books", 1, "uid:text version:number"),
    _table("contacts", 2, "uid:text peer:text alias:text listed:flag blocked:flag"),
    _table("reservations", 2, "uid:text number:number cid:text digest:bytes created_ms:number"),
    _table(
        "threads", 1,
        "thread:text kind:text name:text about:text avatar:text created_ms:number deleted:flag"
        " applied_seq:number",
    ),
    _table("members", 2, "thread:text uid:text role:text join_seq:number left_seq:number"),
    _table(
        "user_threads", 2, "uid:text thread:text muted_until_ms:number pinned:flag archived:flag"
    ),
    _table("hidden", 3, "uid:text thread:text seq:number"),
)  # fmt: skip
"""In the order in which they are copied."""

NUMBERS: Final = ("account_numbers", "group_numbers", "session_numbers")
"""The counters of ids; each is at the last number that was ever given out, 0 before the first."""


# ---------------------------------------------------------------------------- the message log


@dataclass(frozen=True, slots=True)
class ThreadState:
    """What a thread's log has beside its events. `msg_seq` is the newest `msg` event's, or 0."""

    head: Head
    msg_seq: int
    cursors: Mapping[UserId, Cursor]


def state_rows(thread: ThreadId, state: ThreadState) -> Rows:
    head = state.head
    fields = (head.epoch, head.seq, head.n, head.meta_seq, head.ts_ms, state.msg_seq)
    return [
        ("head", thread, *fields),
        *(
            ("cursor", thread, uid, cursor.recv, cursor.read, cursor.read_n)
            for uid, cursor in state.cursors.items()
        ),
    ]


def event_rows(thread: ThreadId, events: Iterable[Event]) -> Rows:
    return [
        (
            "event", thread, event.seq, event.n, event.kind.value, event.sender, event.ts_ms,
            event.body, event.cid, event.digest, event.target,
        )
        for event in events
    ]  # fmt: skip


def pointer_rows(events: Iterable[Event]) -> Rows:
    """What leads to these events: their cids, and the events that they speak of."""
    rows: list[Row] = []
    for event in events:
        if event.cid is not None:
            rows.append(("cid", event.sender, event.cid, event.seq))
        if event.target is not None:
            rows.append(("target", event.seq))
    return rows
