"""Threads, memberships and per-user settings on PostgreSQL.

The truth about a membership is at its thread. A user's rows say which threads there are to ask, and
hold the user's own settings. A thread is added to them through the outbox and never taken away, so
telling it twice, or late, changes nothing; role and span are always read from the thread.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from persistence.postgres_connection import Row, TrioConnection
from persistence.postgres_outbox import Entry, Outbox
from persistence.postgres_shards import SqlShards
from persistence.postgres_statements import (
    ADD_USER_THREADS,
    HIDE,
    LOAD,
    MEMBERSHIPS,
    NEXT_GROUP,
    PROJECT_MEMBERS,
    PROJECT_THREAD,
    PROMISE_MEMBERS,
    RESERVATION,
    RESERVE,
    SET_VIEW,
    SOME_VIEWS,
    VIEWS,
)
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

MEMBERS: Final = "members"
"""Outbox topic: the targets are members of a thread."""

_META_COLUMNS: Final = 8


class PostgresThreads:
    """`ThreadStore`."""

    def __init__(self, shards: SqlShards, outbox: Outbox) -> None:
        self._shards = shards
        self._outbox = outbox

    async def reserve(
        self, creator: UserId, cid: ClientId | None, digest: bytes, now_ms: int
    ) -> Reservation:
        database = self._shards.of(creator)
        values = {"uid": creator, "cid": cid, "digest": digest, "created_ms": now_ms}
        while True:
            for number, stored in await database.read(RESERVATION, values):
                return Reservation(ThreadId(f"g{number}"), stored, fresh=False)
            ((number,),) = await self._shards.first.read(NEXT_GROUP, {})
            if await database.write(RESERVE, values | {"number": number}):
                return Reservation(ThreadId(f"g{number}"), digest, fresh=True)

    async def load(self, thread: ThreadId) -> tuple[ThreadMeta, Sequence[Member]] | None:
        rows = await self._shards.of(thread).read(LOAD, {"thread": thread})
        if not rows:
            return None
        members = [_member(row) for row in rows if row[_META_COLUMNS] is not None]
        return _meta(rows[0]), members

    async def project(self, projection: Projection) -> None:
        """Returns when it is durable at the thread. Users who cannot be told now will be."""
        database = self._shards.of(projection.meta.thread)
        entry = await database.transact(partial(self._project, projection))
        if entry is not None:
            await self._outbox.deliver_or_leave(entry)

    async def _project(self, projection: Projection, connection: TrioConnection) -> Entry | None:
        meta, members = projection.meta, projection.members
        values = {
            "thread": meta.thread, "kind": meta.kind.value, "name": meta.name, "about": meta.about,
            "avatar": meta.avatar, "created_ms": meta.created_ms, "deleted": meta.deleted,
            "applied_seq": meta.applied_seq,
        }  # fmt: skip
        if not projection.is_promise and (
            not await connection.fetch(PROJECT_THREAD, values) or not members
        ):
            return None
        rows = await connection.fetch(
            PROMISE_MEMBERS if projection.is_promise else PROJECT_MEMBERS,
            {
                "thread": meta.thread,
                "uids": [member.uid for member in members],
                "roles": [member.role.value for member in members],
                "join_seqs": [member.join_seq for member in members],
                "left_seqs": [member.left_seq for member in members],
            },
        )
        if not rows:
            return None
        return await self._outbox.add(connection, meta.thread, MEMBERS, [uid for (uid,) in rows])

    async def memberships(
        self, uid: UserId, threads: Collection[ThreadId] | None = None
    ) -> Sequence[Membership]:
        own = self._shards.of(uid)
        if threads is None:
            rows = await own.read(VIEWS, {"uid": uid})
        elif threads:
            rows = await own.read(SOME_VIEWS, {"uid": uid, "threads": sorted(set(threads))})
        else:
            return []
        views = {row[0]: (ThreadView(*row[1:4]), frozenset(row[4] or ())) for row in rows}
        asked = views if threads is None else threads
        found = await self._shards.read_each(MEMBERSHIPS, asked, {"uid": uid})
        unset = (ThreadView(), frozenset[int]())
        return [
            Membership(_meta(row), _member(row), *views.get(row[0], unset)) for row in sorted(found)
        ]

    async def set_view(self, uid: UserId, thread: ThreadId, view: ThreadView) -> None:
        values = {
            "uid": uid, "thread": thread, "muted_until_ms": view.muted_until_ms,
            "pinned": view.pinned, "archived": view.archived,
        }  # fmt: skip
        await self._shards.of(uid).write(SET_VIEW, values)

    async def hide(self, uid: UserId, thread: ThreadId, seqs: Collection[int]) -> None:
        values = {"uid": uid, "thread": thread, "seqs": sorted(set(seqs))}
        await self._shards.of(uid).write(HIDE, values)


class MembersProjection:
    """Tells users of their threads: the outbox's `MEMBERS`."""

    def __init__(self, shards: SqlShards) -> None:
        self._shards = shards

    async def joined(self, source: str, uids: Sequence[str]) -> None:
        await self._shards.write_each(ADD_USER_THREADS, uids, {"thread": source})


def _meta(row: Row) -> ThreadMeta:
    thread, kind, *rest = row[:_META_COLUMNS]
    return ThreadMeta(thread, ThreadKind(kind), *rest)


def _member(row: Row) -> Member:
    uid, role, join_seq, left_seq = row[_META_COLUMNS:]
    return Member(uid, Role(role), join_seq, left_seq)
