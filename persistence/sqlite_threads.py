"""Threads, memberships and per-user settings on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

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
from persistence.sqlite_files import SqliteFile

_META = "t.thread, t.kind, t.name, t.about, t.avatar, t.created_ms, t.deleted, t.applied_seq"


class SqliteThreads:
    """`ThreadStore`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def reserve(
        self, creator: UserId, cid: ClientId | None, digest: bytes, now_ms: int
    ) -> Reservation:
        def work(connection: sqlite3.Connection) -> Reservation:
            if cid is not None:
                row = connection.execute(
                    "SELECT id, digest FROM groups WHERE creator = ? AND cid = ?", (creator, cid)
                ).fetchone()
                if row is not None:
                    return Reservation(ThreadId(f"g{row[0]}"), row[1], fresh=False)
            cursor = connection.execute(
                "INSERT INTO groups (creator, cid, digest, created_ms) VALUES (?, ?, ?, ?)",
                (creator, cid, digest, now_ms),
            )
            return Reservation(ThreadId(f"g{cursor.lastrowid}"), digest, fresh=True)

        return await self._file.write(work)

    async def load(self, thread: ThreadId) -> tuple[ThreadMeta, Sequence[Member]] | None:
        def work(connection: sqlite3.Connection) -> tuple[ThreadMeta, list[Member]] | None:
            connection.execute("BEGIN")
            try:
                row = connection.execute(
                    f"SELECT {_META} FROM threads t WHERE t.thread = ?",  # noqa: S608
                    (thread,),
                ).fetchone()
                rows = connection.execute(
                    "SELECT uid, role, join_seq, left_seq FROM members WHERE thread = ?"
                    " ORDER BY join_seq, uid",
                    (thread,),
                ).fetchall()
            finally:
                connection.execute("ROLLBACK")
            return None if row is None else (_meta(row), [_member(found) for found in rows])

        return await self._file.read(work)

    async def project(self, projection: Projection) -> None:
        await self._file.write(lambda connection: _project(connection, projection))

    async def memberships(
        self, uid: UserId, threads: Collection[ThreadId] | None = None
    ) -> Sequence[Membership]:
        return await self._file.read(lambda connection: _memberships(connection, uid, threads))

    async def set_view(self, uid: UserId, thread: ThreadId, view: ThreadView) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE members SET muted_until_ms = ?, pinned = ?, archived = ?"
                " WHERE thread = ? AND uid = ?",
                (view.muted_until_ms, int(view.pinned), int(view.archived), thread, uid),
            )

        await self._file.write(work)

    async def hide(self, uid: UserId, thread: ThreadId, seqs: Collection[int]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR IGNORE INTO hidden VALUES (?, ?, ?)",
                [(uid, thread, seq) for seq in seqs],
            )

        await self._file.write(work)


def _project(connection: sqlite3.Connection, projection: Projection) -> None:
    meta = projection.meta
    row = connection.execute(
        "SELECT applied_seq FROM threads WHERE thread = ?", (meta.thread,)
    ).fetchone()
    if row is not None and row[0] >= meta.applied_seq:
        return
    connection.execute(
        "INSERT INTO threads VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (thread) DO UPDATE SET"
        " name = excluded.name, about = excluded.about, avatar = excluded.avatar,"
        " deleted = excluded.deleted, applied_seq = excluded.applied_seq",
        (
            meta.thread, meta.kind.value, meta.name, meta.about, meta.avatar, meta.created_ms,
            int(meta.deleted), meta.applied_seq,
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO members (thread, uid, role, join_seq, left_seq) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (thread, uid) DO UPDATE SET role = excluded.role,"
        " join_seq = excluded.join_seq, left_seq = excluded.left_seq",
        [
            (meta.thread, member.uid, member.role.value, member.join_seq, member.left_seq)
            for member in projection.members
        ],
    )


def _memberships(
    connection: sqlite3.Connection, uid: UserId, threads: Collection[ThreadId] | None
) -> list[Membership]:
    condition = ""
    parameters: list[str] = [uid]
    if threads is not None:
        condition = f" AND m.thread IN ({', '.join('?' * len(threads))})"
        parameters += threads
    connection.execute("BEGIN")
    try:
        rows = connection.execute(
            f"SELECT {_META}, m.uid, m.role, m.join_seq, m.left_seq, m.muted_until_ms, m.pinned,"  # noqa: S608
            " m.archived FROM members m JOIN threads t ON t.thread = m.thread WHERE m.uid = ?"
            f"{condition} ORDER BY m.thread",
            parameters,
        ).fetchall()
        hidden: dict[str, set[int]] = {}
        condition = condition.replace("m.thread", "thread")
        for thread, seq in connection.execute(
            f"SELECT thread, seq FROM hidden WHERE uid = ?{condition}",  # noqa: S608
            parameters,
        ):
            hidden.setdefault(thread, set()).add(seq)
    finally:
        connection.execute("ROLLBACK")
    return [
        Membership(
            _meta(row[:8]),
            _member(row[8:12]),
            ThreadView(row[12], bool(row[13]), bool(row[14])),
            frozenset(hidden.get(row[0], ())),
        )
        for row in rows
    ]


def _meta(row: tuple[Any, ...]) -> ThreadMeta:
    thread, kind, name, about, avatar, created_ms, deleted, applied_seq = row
    return ThreadMeta(
        ThreadId(thread), ThreadKind(kind), name, about, avatar, created_ms, bool(deleted),
        applied_seq,
    )  # fmt: skip


def _member(row: tuple[Any, ...]) -> Member:
    uid, role, join_seq, left_seq = row
    return Member(UserId(uid), Role(role), join_seq, left_seq)
