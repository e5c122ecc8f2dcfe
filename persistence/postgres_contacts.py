"""Contacts on PostgreSQL. A row that is neither listed nor blocked does not exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from persistence.postgres_connection import TrioConnection
from persistence.postgres_shards import SqlShards
from persistence.postgres_statements import (
    BOOK,
    BOOK_VERSION,
    CONTACT,
    DELETE_CONTACT,
    LOCK_BOOK,
    OWN_BLOCKS,
    PUT_CONTACT,
    THEIR_CONTACTS,
    TURN_BOOK,
)
from persistence.records import Contact, Relation, UserId


class PostgresContacts:
    """`ContactStore`. A book is at its user; how others stand to the user is asked of theirs."""

    def __init__(self, shards: SqlShards) -> None:
        self._shards = shards

    async def book(self, uid: UserId) -> tuple[int, Sequence[Contact]]:
        """The version is read first: rows that are newer than it are only fetched once more."""
        database = self._shards.of(uid)
        versions = await database.read(BOOK_VERSION, {"uid": uid})
        rows = await database.read(BOOK, {"uid": uid})
        return versions[0][0] if versions else 0, [Contact(*row) for row in rows]

    async def put(self, uid: UserId, peer: UserId, alias: str | None) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, listed=True, alias=old.alias if alias is None else alias or None)

        return not (await self._change(uid, peer, change)).listed

    async def remove(self, uid: UserId, peer: UserId) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, listed=False, alias=None)

        return (await self._change(uid, peer, change)).listed

    async def set_block(self, uid: UserId, peer: UserId, *, blocked: bool) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, blocked=blocked)

        return (await self._change(uid, peer, change)).blocked != blocked

    async def relations(self, uid: UserId, peers: Collection[UserId]) -> Mapping[UserId, Relation]:
        if not peers:
            return {}
        asked = {"uid": uid, "peers": sorted(set(peers))}
        own = await self._shards.of(uid).read(OWN_BLOCKS, asked)
        blocked = {peer for (peer,) in own}
        theirs = {
            peer: (blocks, lists)
            for peer, blocks, lists in await self._shards.read_each(
                THEIR_CONTACTS, peers, {"peer": uid}
            )
        }
        return {
            peer: Relation(peer in blocked or blocks, lists)
            for peer in peers
            for blocks, lists in (theirs.get(peer, (False, False)),)
        }

    async def blocked_by(self, uid: UserId, peers: Collection[UserId]) -> frozenset[UserId]:
        rows = await self._shards.read_each(THEIR_CONTACTS, peers, {"peer": uid})
        return frozenset(peer for peer, blocks, _ in rows if blocks)

    async def _change(
        self, uid: UserId, peer: UserId, change: Callable[[Contact], Contact]
    ) -> Contact:
        return await self._shards.of(uid).transact(partial(_change_contact, uid, peer, change))


async def _change_contact(
    uid: UserId, peer: UserId, change: Callable[[Contact], Contact], connection: TrioConnection
) -> Contact:
    """Replace a row of a book by what `change` makes of it; the row as it was. The book's own row
    is locked, so changes of one book follow each other."""
    key = {"uid": uid, "peer": peer}
    await connection.fetch(LOCK_BOOK, key)
    rows = await connection.fetch(CONTACT, key)
    old = Contact(peer, *rows[0]) if rows else Contact(peer, listed=False)
    new = change(old)
    if new == old:
        return old
    if new.listed or new.blocked:
        values = {"alias": new.alias, "listed": new.listed, "blocked": new.blocked}
        await connection.fetch(PUT_CONTACT, key | values)
    else:
        await connection.fetch(DELETE_CONTACT, key)
    await connection.fetch(TURN_BOOK, key)
    return old
