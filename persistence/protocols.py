"""The ports: what the service asks of a store, at most six methods each.

All methods are `async` and may be cancelled: a cancelled read has no effect, a cancelled write has
an unknown outcome. Every method may raise `StoreUnavailable`; writes also `OutcomeUnknown`. A write
that returned is durable (fsynced, or acknowledged by a quorum). The contract suite in
`tests/contracts` states each rule as a case and runs on every adapter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from persistence.records import (
    Account,
    AccountChange,
    Append,
    Claim,
    ClientId,
    Contact,
    Event,
    LoginSession,
    Member,
    Membership,
    Outcome,
    Projection,
    Relation,
    Reservation,
    SessionId,
    Span,
    Summary,
    ThreadId,
    ThreadMeta,
    ThreadView,
    UserId,
)


class AccountStore(Protocol):
    """Users by id and by name."""

    async def create(self, account: Account) -> Account:
        """Store a new account; `account.uid` is ignored and a fresh id (`u1`, `u2`, …) given.

        Raises `NameTaken` when the name is in use, or ever was.
        """

    async def by_name(self, user: str) -> Account | None:
        """The account with this case-folded login name."""

    async def by_ids(self, uids: Collection[UserId]) -> Mapping[UserId, Account]:
        """The accounts that exist among `uids`."""

    async def search(self, prefix: str, limit: int) -> Sequence[Account]:
        """Accounts whose login name, display name, or a word of it starts with `prefix`, ignoring
        case; ordered by login name."""

    async def update(self, uid: UserId, change: AccountChange) -> None:
        """Set the given fields. `seen_ms` only moves forward. Unknown uid: no effect."""


class SessionStore(Protocol):
    """Logged-in devices and their tokens."""

    async def add(self, session: LoginSession, sessions_max: int) -> LoginSession:
        """Store a new session; `sid` is ignored and a fresh id (`s1`, …) given.

        Sessions of the user that have expired by `created_ms` are removed first. Raises `TooMany`
        when the user then has `sessions_max` already (checked in the same transaction).
        """

    async def by_token(self, token_hash: bytes) -> LoginSession | None:
        """The session whose token has this SHA-256, expired or not."""

    async def of_user(self, uid: UserId) -> Sequence[LoginSession]:
        """All sessions of a user, oldest first."""

    async def revoke(self, uid: UserId, sids: Collection[SessionId]) -> Sequence[SessionId]:
        """Delete those of `sids` that belong to `uid`; answers which they were, oldest first."""

    async def touch(self, uid: UserId, sid: SessionId, seen_ms: int, expires_ms: int) -> None:
        """Note use of a session of `uid`: both times only move forward. Others': no effect."""


class ContactStore(Protocol):
    """Address books and blocks."""

    async def book(self, uid: UserId) -> tuple[int, Sequence[Contact]]:
        """The user's version `v` (0 at first, grows with every change) and rows, by peer id."""

    async def put(self, uid: UserId, peer: UserId, alias: str | None) -> bool:
        """List `peer` under `alias`. False when already listed (alias then unchanged if None).
        An empty alias removes it.

        A blocked stranger becomes a listed, still blocked contact."""

    async def remove(self, uid: UserId, peer: UserId) -> bool:
        """Unlist `peer` and forget the alias; a block stays. False when not listed."""

    async def set_block(self, uid: UserId, peer: UserId, *, blocked: bool) -> bool:
        """Block or unblock. False when it already was so."""

    async def relations(self, uid: UserId, peers: Collection[UserId]) -> Mapping[UserId, Relation]:
        """How each of `peers` stands to `uid`; every asked peer is in the answer."""

    async def blocked_by(self, uid: UserId, peers: Collection[UserId]) -> frozenset[UserId]:
        """Those of `peers` who have blocked `uid`."""


class ThreadStore(Protocol):
    """Threads, memberships and per-user settings: the projection of the log that lists need."""

    async def reserve(
        self, creator: UserId, cid: ClientId | None, digest: bytes, now_ms: int
    ) -> Reservation:
        """A fresh group thread id (`g1`, `g2`, …), or the one reserved before under this creator
        and cid. Without a cid always fresh."""

    async def load(self, thread: ThreadId) -> tuple[ThreadMeta, Sequence[Member]] | None:
        """A thread's description and all members in order of joining, those who left included, and
        those only promised. None if it was never projected."""

    async def project(self, projection: Projection) -> None:
        """Apply a change idempotently (see `Projection`): member rows of `projection` replace the
        stored ones, others stay."""

    async def memberships(
        self, uid: UserId, threads: Collection[ThreadId] | None = None
    ) -> Sequence[Membership]:
        """The user's threads (of `threads`, or all) by id, left, deleted and promised ones
        included."""

    async def set_view(self, uid: UserId, thread: ThreadId, view: ThreadView) -> None:
        """Replace the user's settings for a thread they are or were a member of; of another, no
        effect."""

    async def hide(self, uid: UserId, thread: ThreadId, seqs: Collection[int]) -> None:
        """Add to the seqs the user deleted for themselves, if they are or were a member."""


class MessageLog(Protocol):
    """The append-only log, its heads, and read cursors."""

    @property
    def commits_at_once(self) -> int:
        """How many batches are best appended side by side, the rest gathering meanwhile."""

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        """Raise the thread's epoch by one (creating the head at 0) and read the newest `recent`
        events. From here on appends under an older epoch are refused."""

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Commit many threads' appends in one durable step; one outcome for each, in order.

        Appends do not affect one another: a deposed or repeated one is left out, the others are
        written. One that is both is `Deposed`. At most one append per thread in a batch. An append
        without events only merges cursors and rewrites; it is fenced all the same.
        """

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        """Events within `span`, ascending. With `after`, the first `limit` above it; with `before`,
        the last `limit` below it; with neither, the newest `limit` of the span. A bound outside the
        log is no error."""

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        """The events at `targets` and every event whose `target` is one of them, ascending."""

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        """The event that this sender wrote under this cid."""

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        """Heads, newest messages within the spans, and the cursors of `readers`, for every thread
        asked that has a head."""
