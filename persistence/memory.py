"""The reference: every port in plain dicts, nothing durable.

Tests use it as the model that real adapters are compared with, and as a store that is always there.
Each method passes one checkpoint first and then works without a break, so it is atomic and a
cancelled call has done nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from trio.lowlevel import checkpoint

from persistence.errors import NameTaken, TooMany
from persistence.memory_log import MemoryLog
from persistence.records import (
    Account,
    AccountChange,
    ClientId,
    Contact,
    LoginSession,
    Member,
    Membership,
    Projection,
    Relation,
    Reservation,
    SessionId,
    ThreadId,
    ThreadMeta,
    ThreadView,
    UserId,
    search_words,
)


class MemoryStores:
    """The five ports over memory."""

    def __init__(self) -> None:
        self.accounts: Final = MemoryAccounts()
        self.sessions: Final = MemorySessions()
        self.contacts: Final = MemoryContacts()
        self.threads: Final = MemoryThreads()
        self.log: Final = MemoryLog()


# ---------------------------------------------------------------------------- accounts


class MemoryAccounts:
    """`AccountStore`."""

    def __init__(self) -> None:
        self._accounts: dict[UserId, Account] = {}
        self._by_name: dict[str, UserId] = {}

    async def create(self, account: Account) -> Account:
        await checkpoint()
        if account.user in self._by_name:
            raise NameTaken(account.user)
        stored = replace(account, uid=UserId(f"u{len(self._accounts) + 1}"))
        self._accounts[stored.uid] = stored
        self._by_name[stored.user] = stored.uid
        return stored

    async def by_name(self, user: str) -> Account | None:
        await checkpoint()
        uid = self._by_name.get(user)
        return None if uid is None else self._accounts[uid]

    async def by_ids(self, uids: Collection[UserId]) -> Mapping[UserId, Account]:
        await checkpoint()
        return {uid: self._accounts[uid] for uid in uids if uid in self._accounts}

    async def search(self, prefix: str, limit: int) -> Sequence[Account]:
        await checkpoint()
        folded = prefix.casefold()
        found = (
            account
            for account in self._accounts.values()
            if any(word.startswith(folded) for word in search_words(account.user, account.name))
        )
        return sorted(found, key=lambda account: account.user)[: max(limit, 0)]

    async def update(self, uid: UserId, change: AccountChange) -> None:
        await checkpoint()
        account = self._accounts.get(uid)
        if account is not None:
            self._accounts[uid] = changed(account, change)


def changed(account: Account, change: AccountChange) -> Account:
    """`account` with the given fields set; `seen_ms` only moves forward."""
    seen = (account.seen_ms, change.seen_ms)
    return replace(
        account,
        name=account.name if change.name is None else change.name,
        about=account.about if change.about is None else change.about,
        avatar=account.avatar if change.avatar is None else change.avatar,
        password_hash=(
            account.password_hash if change.password_hash is None else change.password_hash
        ),
        last_seen=change.last_seen or account.last_seen,
        receipts=change.receipts or account.receipts,
        seen_ms=max((ms for ms in seen if ms is not None), default=None),
    )


# ---------------------------------------------------------------------------- sessions


class MemorySessions:
    """`SessionStore`."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, LoginSession] = {}
        self._given = 0

    async def add(self, session: LoginSession, sessions_max: int) -> LoginSession:
        await checkpoint()
        for old in self._of(session.uid):
            if old.expires_ms <= session.created_ms:
                del self._sessions[old.sid]
        if len(self._of(session.uid)) >= sessions_max:
            raise TooMany(f"{session.uid} has {sessions_max} sessions")
        self._given += 1
        stored = replace(session, sid=SessionId(f"s{self._given}"))
        self._sessions[stored.sid] = stored
        return stored

    async def by_token(self, token_hash: bytes) -> LoginSession | None:
        await checkpoint()
        found = (s for s in self._sessions.values() if s.token_hash == token_hash)
        return next(found, None)

    async def of_user(self, uid: UserId) -> Sequence[LoginSession]:
        await checkpoint()
        return self._of(uid)

    async def revoke(self, uid: UserId, sids: Collection[SessionId]) -> Sequence[SessionId]:
        await checkpoint()
        revoked = [session.sid for session in self._of(uid) if session.sid in sids]
        for sid in revoked:
            del self._sessions[sid]
        return revoked

    async def touch(self, uid: UserId, sid: SessionId, seen_ms: int, expires_ms: int) -> None:
        await checkpoint()
        session = self._sessions.get(sid)
        if session is not None and session.uid == uid:
            self._sessions[sid] = replace(
                session,
                seen_ms=max(session.seen_ms, seen_ms),
                expires_ms=max(session.expires_ms, expires_ms),
            )

    def _of(self, uid: UserId) -> list[LoginSession]:
        return [session for session in self._sessions.values() if session.uid == uid]


# ---------------------------------------------------------------------------- contacts

_NOTHING: Final = Contact(UserId(""), listed=False)


@dataclass(slots=True)
class _Book:
    version: int = 0
    rows: dict[UserId, Contact] = field(default_factory=dict)

    def get(self, peer: UserId) -> Contact:
        return self.rows.get(peer, replace(_NOTHING, peer=peer))

    def put(self, contact: Contact) -> None:
        self.version += 1
        if contact.listed or contact.blocked:
            self.rows[contact.peer] = contact
        else:
            del self.rows[contact.peer]


class MemoryContacts:
    """`ContactStore`."""

    def __init__(self) -> None:
        self._books: dict[UserId, _Book] = {}

    async def book(self, uid: UserId) -> tuple[int, Sequence[Contact]]:
        await checkpoint()
        book = self._book(uid)
        return book.version, [book.rows[peer] for peer in sorted(book.rows)]

    async def put(self, uid: UserId, peer: UserId, alias: str | None) -> bool:
        await checkpoint()
        book = self._own(uid)
        old = book.get(peer)
        new = replace(old, listed=True, alias=old.alias if alias is None else alias or None)
        if new != old:
            book.put(new)
        return not old.listed

    async def remove(self, uid: UserId, peer: UserId) -> bool:
        await checkpoint()
        book = self._own(uid)
        old = book.get(peer)
        if old.listed:
            book.put(replace(old, listed=False, alias=None))
        return old.listed

    async def set_block(self, uid: UserId, peer: UserId, *, blocked: bool) -> bool:
        await checkpoint()
        book = self._own(uid)
        old = book.get(peer)
        if old.blocked == blocked:
            return False
        book.put(replace(old, blocked=blocked))
        return True

    async def relations(self, uid: UserId, peers: Collection[UserId]) -> Mapping[UserId, Relation]:
        await checkpoint()
        own = self._book(uid)
        relations = {}
        for peer in peers:
            theirs = self._book(peer).get(uid)
            blocked = own.get(peer).blocked or theirs.blocked
            relations[peer] = Relation(blocked, theirs.listed)
        return relations

    async def blocked_by(self, uid: UserId, peers: Collection[UserId]) -> frozenset[UserId]:
        await checkpoint()
        return frozenset(peer for peer in peers if self._book(peer).get(uid).blocked)

    def _book(self, uid: UserId) -> _Book:
        return self._books.get(uid, _Book())

    def _own(self, uid: UserId) -> _Book:
        return self._books.setdefault(uid, _Book())


# ---------------------------------------------------------------------------- threads


class MemoryThreads:
    """`ThreadStore`."""

    def __init__(self) -> None:
        self._reserved: dict[tuple[UserId, ClientId], Reservation] = {}
        self._given = 0
        self._metas: dict[ThreadId, ThreadMeta] = {}
        self._members: dict[ThreadId, dict[UserId, Member]] = {}
        self._views: dict[tuple[UserId, ThreadId], ThreadView] = {}
        self._hidden: dict[tuple[UserId, ThreadId], frozenset[int]] = {}

    async def reserve(
        self,
        creator: UserId,
        cid: ClientId | None,
        digest: bytes,
        now_ms: int,  # noqa: ARG002  (kept by stores that somebody may look into)
    ) -> Reservation:
        await checkpoint()
        if cid is not None and (creator, cid) in self._reserved:
            return self._reserved[creator, cid]
        self._given += 1
        reservation = Reservation(ThreadId(f"g{self._given}"), digest, fresh=True)
        if cid is not None:
            self._reserved[creator, cid] = replace(reservation, fresh=False)
        return reservation

    async def load(self, thread: ThreadId) -> tuple[ThreadMeta, Sequence[Member]] | None:
        await checkpoint()
        meta = self._metas.get(thread)
        if meta is None:
            return None
        return meta, sorted(self._members[thread].values(), key=lambda m: (m.join_seq, m.uid))

    async def project(self, projection: Projection) -> None:
        await checkpoint()
        meta = projection.meta
        stored = self._metas.get(meta.thread)
        if projection.is_promise:
            for member in projection.members if stored is not None else ():
                self._members[meta.thread].setdefault(member.uid, member)
            return
        if stored is not None and stored.applied_seq >= meta.applied_seq:
            return
        self._metas[meta.thread] = meta
        members = self._members.setdefault(meta.thread, {})
        members.update((member.uid, member) for member in projection.members)

    async def memberships(
        self, uid: UserId, threads: Collection[ThreadId] | None = None
    ) -> Sequence[Membership]:
        await checkpoint()
        asked = self._metas.keys() if threads is None else self._metas.keys() & set(threads)
        return [
            Membership(
                self._metas[thread],
                self._members[thread][uid],
                self._views.get((uid, thread), ThreadView()),
                self._hidden.get((uid, thread), frozenset()),
            )
            for thread in sorted(asked)
            if uid in self._members[thread]
        ]

    async def set_view(self, uid: UserId, thread: ThreadId, view: ThreadView) -> None:
        await checkpoint()
        if uid in self._members.get(thread, ()):
            self._views[uid, thread] = view

    async def hide(self, uid: UserId, thread: ThreadId, seqs: Collection[int]) -> None:
        await checkpoint()
        if uid in self._members.get(thread, ()):
            self._hidden[uid, thread] = self._hidden.get((uid, thread), frozenset()).union(seqs)
