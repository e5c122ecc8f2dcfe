"""What the stores keep: ids and frozen records.

Ids are text on the wire and text here; each kind has its own `NewType`. An event carries the JSON
object that clients see, encoded once when it was committed (`body`), beside the few fields that the
rules and the indexes need. Storing the wire form makes a history page a join of byte strings.

Times are integers, milliseconds since the epoch. `seq` and `n` follow PROTOCOL.md §4.2: `seq` is
dense from 1 in each thread, `n` counts `msg` events up to and including this event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

UserId = NewType("UserId", str)
ThreadId = NewType("ThreadId", str)
SessionId = NewType("SessionId", str)
ClientId = NewType("ClientId", str)
"""A client's own id of a request (`cid`), unique per thread and sender."""


def id_number(text: str, prefix: str) -> int | None:
    """The row number in an id of ours (`u12`); None for what cannot be one."""
    digits = text[len(prefix) :]
    if not text.startswith(prefix) or not (digits.isascii() and digits.isdigit()):
        return None
    return None if digits[0] == "0" or len(digits) > 18 else int(digits)


class EventKind(StrEnum):
    """The durable event kinds of PROTOCOL.md §3."""

    MSG = "msg"
    EDIT = "edit"
    DEL = "del"
    REACT = "react"
    MEMBER = "member"
    THREAD = "thread"


class ThreadKind(StrEnum):
    DM = "dm"
    GROUP = "group"


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Audience(StrEnum):
    """Who may see a privacy-governed fact (`privacy.set`)."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    NOBODY = "nobody"


# ---------------------------------------------------------------------------- accounts, sessions


@dataclass(frozen=True, slots=True)
class Account:
    """A registered user. `user` is the case-folded login name; `password_hash` an argon2 string."""

    uid: UserId
    user: str
    name: str
    password_hash: str
    created_ms: int
    about: str = ""
    avatar: str = ""
    last_seen: Audience = Audience.EVERYONE
    receipts: Audience = Audience.EVERYONE
    seen_ms: int | None = None
    """When the user was last online; None before the first time."""


def search_words(user: str, name: str) -> frozenset[str]:
    """What `AccountStore.search` looks among: login name, display name and its words, folded."""
    folded = name.casefold()
    return frozenset({user, folded, *folded.split()})


def prefix_end(prefix: str) -> str:
    """The least text above all that start with `prefix`, in the order of code points."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < 0x10FFFF:
            following = 0xE000 if last == 0xD7FF else last + 1  # surrogates are no characters
            return prefix[: end - 1] + chr(following)
    return "\U0010ffff" * 64  # an empty prefix: everything


@dataclass(frozen=True, slots=True)
class AccountChange:
    """Fields to set; None leaves a field as it is."""

    name: str | None = None
    about: str | None = None
    avatar: str | None = None
    password_hash: str | None = None
    last_seen: Audience | None = None
    receipts: Audience | None = None
    seen_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LoginSession:
    """One logged-in device. Only the SHA-256 of its token is kept."""

    sid: SessionId
    uid: UserId
    device: str
    token_hash: bytes
    created_ms: int
    seen_ms: int
    expires_ms: int


# ---------------------------------------------------------------------------- contacts


@dataclass(frozen=True, slots=True)
class Contact:
    """A row of one user's address book. A blocked stranger is a row with `listed` False."""

    peer: UserId
    alias: str | None = None
    blocked: bool = False
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Relation:
    """How a peer stands to a user: any block between them, and whether the peer lists the user."""

    blocked: bool = False
    lists_me: bool = False


# ---------------------------------------------------------------------------- threads


@dataclass(frozen=True, slots=True)
class Member:
    """One user's membership of a thread.

    `join_seq` is the first seq the member may read; `left_seq` is the seq of the removal event, the
    last they may read, or None while they are in.
    """

    uid: UserId
    role: Role
    join_seq: int
    left_seq: int | None = None

    @property
    def is_promised(self) -> bool:
        """A row written before the event that will say more: its span is empty, and it stands for
        no membership. Whoever meets it asks the log."""
        return self.left_seq is not None and self.left_seq < self.join_seq


@dataclass(frozen=True, slots=True)
class ThreadMeta:
    """What is true of a thread as a whole. `applied_seq` is the last event projected into it."""

    thread: ThreadId
    kind: ThreadKind
    name: str = ""
    about: str = ""
    avatar: str = ""
    created_ms: int = 0
    deleted: bool = False
    applied_seq: int = 0


@dataclass(frozen=True, slots=True)
class Projection:
    """A membership or description change to apply to the thread tables, after its commit.

    `meta` is the whole new description with `applied_seq` set to the event's seq; `members` are the
    rows that changed. Applying is idempotent: a projection whose `applied_seq` is not above the
    stored one changes nothing. The exception is one of promised members alone, written before their
    commit: to a thread that is there it adds those who have no row, and it changes nothing else.
    """

    meta: ThreadMeta
    members: tuple[Member, ...]

    @property
    def is_promise(self) -> bool:
        return bool(self.members) and all(member.is_promised for member in self.members)


@dataclass(frozen=True, slots=True)
class ThreadView:
    """One user's settings for one thread (`thread.set`)."""

    muted_until_ms: int | None = None
    pinned: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """A thread as one user's list shows it: description, own membership, own settings."""

    meta: ThreadMeta
    member: Member
    view: ThreadView
    hidden: frozenset[int] = frozenset()
    """Seqs of messages this user deleted for themselves."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The thread id that belongs to a creator's `group.create` cid, and the request's digest."""

    thread: ThreadId
    digest: bytes
    fresh: bool


# ---------------------------------------------------------------------------- message log


@dataclass(frozen=True, slots=True)
class Event:
    """One committed event of a thread.

    `body` is the event's JSON object as clients see it, without `op` and `cid`. `target` is the seq
    an edit, deletion or reaction speaks of. `digest` identifies the content of the request, so that
    a repeat under the same cid can be told from a conflict even after the text is gone.
    """

    seq: int
    n: int
    kind: EventKind
    sender: UserId
    ts_ms: int
    body: bytes
    cid: ClientId | None = None
    digest: bytes = b""
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a user has received and read a thread. Forward only."""

    recv: int = 0
    read: int = 0
    read_n: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Where a thread's log stands. `epoch` fences writers; `meta_seq` is the last event that
    changed membership or description; `ts_ms` is the head event's time."""

    epoch: int = 0
    seq: int = 0
    n: int = 0
    meta_seq: int = 0
    ts_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rewrite:
    """New body for an event already in the log: the one permitted change of the past (an edited or
    deleted text)."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """One thread's share of a group commit.

    Applied whole or not at all, in one atomic step: if the stored head still has `epoch` and stands
    at `expected_seq`, write `events` (seqs `expected_seq + 1 …`, contiguous), apply `rewrites` (to
    these events too), merge `cursors` forward, field by field, and move the head.
    """

    thread: ThreadId
    epoch: int
    expected_seq: int
    events: tuple[Event, ...]
    rewrites: tuple[Rewrite, ...] = ()
    cursors: Mapping[UserId, Cursor] = field(default_factory=dict)
    meta_seq: int | None = None
    """The new `Head.meta_seq`, or None to keep it."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The append is durable."""


@dataclass(frozen=True, slots=True)
class Deposed:
    """Nothing was written: another writer holds a later epoch, or the head is not as expected.
    `head` is where the log stands; its epoch is 0 if nobody ever claimed the thread."""

    head: Head


@dataclass(frozen=True, slots=True)
class Repeated:
    """Nothing was written: these events of the log, ascending, carry (sender, cid) of new ones."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """This append could not be carried out, or (not `known`) may or may not have been: then it is
    settled by the next claim. A store that commits threads one by one has an outcome for each."""

    known: bool
    reason: str


Outcome = Committed | Deposed | Repeated | Failed


@dataclass(frozen=True, slots=True)
class Claim:
    """What a writer learns when it takes a thread over: the new epoch in `head`, the newest events
    in ascending order, and every member's cursor."""

    head: Head
    recent: tuple[Event, ...]
    cursors: Mapping[UserId, Cursor]


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds of what may be read: both ends included. `high` None means up to the head."""

    low: int = 1
    high: int | None = None

    def narrowed(self, after: int | None, before: int | None) -> Span:
        """What of it lies above `after` or below `before`; one of them at most."""
        assert after is None or before is None, "one bound at most"
        low = self.low if after is None else max(self.low, after + 1)
        highs = (self.high, None if before is None else before - 1)
        return Span(low, min((seq for seq in highs if seq is not None), default=None))


@dataclass(frozen=True, slots=True)
class Summary:
    """A thread's line in a list: head, newest `msg` event within the reader's span, the cursors of
    the users asked for."""

    head: Head
    last: Event | None
    cursors: Mapping[UserId, Cursor]
