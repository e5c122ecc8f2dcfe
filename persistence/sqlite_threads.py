"""Threads, memberships and per-user settings on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from persistence.records import (
    ClientId,
    Member,
    Membership,
    Projection,
    Reservation,
    Role,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    ThreadView,
    UserId,
)
from persistence.sqlite_files import as_json, fetch_json
from persistence.sqlite_readers import Readers
from persistence.sqlite_writer import Writer

MetaRow = tuple[ThreadId, ThreadKind, str, str, str, int, int, int]
MemberRow = tuple[UserId, Role, int, int | None]
ViewRow = tuple[int | None, int, int]

_META = (
    "json_array(t.thread, t.kind, t.name, t.about, t.avatar, t.created_ms, t.deleted,"
    " t.applied_seq)"
)
_MEMBER = "json_array(m.uid, m.role, m.join_seq, m.left_seq)"
_OWN = "uid = ? AND thread = (SELECT key FROM threads WHERE thread = ?)"

_loaded = msgspec.json.Decoder(tuple[MetaRow, list[MemberRow]] | None)
_memberships = msgspec.json.Decoder(list[tuple[MetaRow, MemberRow, ViewRow, frozenset[int]]])


class SqliteThreads:
    """`ThreadStore`. A group's id is `g` and the number of its reservation."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def reserve(
        self, creator: UserId, cid: ClientId | None, digest: bytes, now_ms: int
    ) -> Reservation:
        def insert(connection: sqlite3.Connection) -> Reservation:
            number = connection.execute(
                "INSERT INTO reservations (creator, cid, digest, created_ms) VALUES (?, ?, ?, ?)",
                (creator, cid, digest, now_ms),
            ).lastrowid
            return Reservation(ThreadId(f"g{number}"), digest, fresh=True)

        def find(connection: sqlite3.Connection) -> Reservation:
            """The creator has used this cid before, or the insertion would have gone well."""
            for number, stored in connection.execute(
                "SELECT id, digest FROM reservations WHERE creator = ? AND cid = ?", (creator, cid)
            ).fetchall():
                return Reservation(ThreadId(f"g{number}"), stored, fresh=False)
            return insert(connection)

        return await self._writer.submit(find, fast=insert)

    async def load(self, thread: ThreadId) -> tuple[ThreadMeta, Sequence[Member]] | None:
        found = await self._readers.read(
            lambda connection: fetch_json(
                connection,
                _loaded,
                f"SELECT coalesce((SELECT json_array({_META}, json((SELECT"
                f" json_group_array({_MEMBER}) FROM (SELECT * FROM members WHERE thread = t.key"
                " ORDER BY join_seq, uid) m))) FROM threads t WHERE t.thread = ?), 'null')",
                (thread,),
            )
        )
        return found and (_meta(found[0]), [Member(*row) for row in found[1]])

    async def project(self, projection: Projection) -> None:
        await self._writer.submit(partial(_project, projection))

    async def memberships(
        self, uid: UserId, threads: Collection[ThreadId] | None = None
    ) -> Sequence[Membership]:
        asked = None if threads is None else as_json(sorted(set(threads)))
        rows = await self._readers.read(
            lambda connection: fetch_json(
                connection,
                _memberships,
                f"SELECT json_group_array(json_array({_META}, {_MEMBER},"
                " json_array(m.muted_until_ms, m.pinned, m.archived),"
                " json((SELECT json_group_array(h.seq) FROM hidden h WHERE h.member = m.key))))"
                f" FROM {_OF_USER if asked is None else _OF_USER_AMONG}",
                (uid,) if asked is None else (uid, asked),
            )
        )
        return [
            Membership(
                _meta(meta),
                Member(*member),
                ThreadView(muted_until_ms, bool(pinned), bool(archived)),
                hidden,
            )
            for meta, member, (muted_until_ms, pinned, archived), hidden in sorted(rows)
        ]

    async def set_view(self, uid: UserId, thread: ThreadId, view: ThreadView) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"UPDATE members SET muted_until_ms = ?, pinned = ?, archived = ? WHERE {_OWN}",
                (view.muted_until_ms, view.pinned, view.archived, uid, thread),
            )

        await self._writer.submit(work, fast=work)

    async def hide(self, uid: UserId, thread: ThreadId, seqs: Collection[int]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO hidden SELECT m.key, asked.value"
                f" FROM json_each(?) asked JOIN members m ON {_OWN}",
                (as_json(sorted(set(seqs))), uid, thread),
            )

        await self._writer.submit(work, fast=work)


_OF_USER = "members m JOIN threads t ON t.key = m.thread WHERE m.uid = ?"
_OF_USER_AMONG = (
    "(SELECT ? AS uid) own JOIN json_each(?) asked JOIN threads t ON t.thread = asked.value"
    " JOIN members m ON m.thread = t.key AND m.uid = own.uid"
)


def _project(projection: Projection, connection: sqlite3.Connection) -> None:
    meta = projection.meta
    if projection.is_promise:
        _put_members(projection, connection, "NOTHING")
        return
    applied = connection.execute(
        "INSERT INTO threads (thread, kind, name, about, avatar, created_ms, deleted, applied_seq)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (thread) DO UPDATE SET kind = excluded.kind,"
        " name = excluded.name, about = excluded.about, avatar = excluded.avatar,"
        " created_ms = excluded.created_ms, deleted = excluded.deleted,"
        " applied_seq = excluded.applied_seq WHERE excluded.applied_seq > applied_seq",
        (
            meta.thread, meta.kind.value, meta.name, meta.about, meta.avatar, meta.created_ms,
            meta.deleted, meta.applied_seq,
        ),
    ).rowcount  # fmt: skip
    if not applied:
        return
    _put_members(
        projection,
        connection,
        "UPDATE SET role = excluded.role, join_seq = excluded.join_seq,"
        " left_seq = excluded.left_seq",
    )


def _put_members(projection: Projection, connection: sqlite3.Connection, otherwise: str) -> None:
    """Insert rows; `otherwise` says what becomes of those that are there."""
    members = [(m.uid, m.role.value, m.join_seq, m.left_seq) for m in projection.members]
    connection.execute(
        "INSERT INTO members (thread, uid, role, join_seq, left_seq)"
        " SELECT t.key, m.value ->> 0, m.value ->> 1, m.value ->> 2, m.value ->> 3"
        " FROM json_each(?) m JOIN threads t ON t.thread = ? WHERE true"
        f" ON CONFLICT (thread, uid) DO {otherwise}",
        (as_json(members), projection.meta.thread),
    )


def _meta(row: MetaRow) -> ThreadMeta:
    return ThreadMeta(*row[:6], deleted=bool(row[6]), applied_seq=row[7])
