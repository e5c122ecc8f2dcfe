"""Every message between the chat actors, and between them and the gateway.

Messages are small frozen values. Three ideas hold them together:

* A **Caller** says who asks and where the answer goes: a user, one of their devices, and the number
  the gateway gave the request. Answers travel back through the user's session actor, behind the
  events that precede them, so that on each device replies and events stay in order.
* A **Post** is a command (`commands`) to one thread. Every post has a `cid`; where the client gave
  none, the gateway made one up, so that resending after a crash is always safe.
* A **Published** event is encoded once. Whoever writes it to a socket first leaves the finished
  frame in it for all others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.chat.answers import Done, Refused, Result
from actors.chat.commands import Command
from persistence.records import (
    ClientId,
    EventKind,
    SessionId,
    ThreadId,
    UserId,
)

OWN_CID_PREFIX = "\x1f"
"""Marks a cid that the server made up: it is never shown to a client."""


def channel_name(thread: ThreadId) -> str:
    return f"channel:{thread}"


def session_name(uid: UserId) -> str:
    return f"session:{uid}"


def dm_thread(a: UserId, b: UserId) -> ThreadId:
    """The id of the direct thread of two users: `d:<smaller>:<larger>`, compared as text."""
    low, high = sorted((a, b))
    return ThreadId(f"d:{low}:{high}")


def dm_members(thread: ThreadId) -> tuple[UserId, ...]:
    """The one or two users of a direct thread's id; empty for any other id."""
    parts = thread.split(":")
    if len(parts) != 3 or parts[0] != "d" or not (parts[1] and parts[2]) or parts[1] > parts[2]:
        return ()
    users = (UserId(parts[1]), UserId(parts[2]))
    return users[:1] if users[0] == users[1] else users


# ---------------------------------------------------------------------------- devices


class Published:
    """A durable event on its way to sockets.

    `body` is the event's JSON object without `op` and `cid`. `origin` and `request` name the device
    and request that caused it, for which the `ok` with `answer` stands in its place. `frame` and
    `author_frame` are the gateway's to fill: encoded once, shared by every socket.
    """

    __slots__ = (
        "answer", "author", "author_frame", "body", "cid", "frame", "kind", "n", "origin",
        "request", "seq", "thread",
    )  # fmt: skip

    def __init__(
        self, thread: ThreadId, seq: int, n: int, kind: EventKind, body: bytes, author: UserId
    ) -> None:
        self.thread = thread
        self.seq = seq
        self.n = n
        self.kind = kind
        self.body = body
        self.author = author
        self.cid: ClientId | None = None
        self.origin = 0
        self.request = 0
        self.answer: Done | None = None
        self.frame: bytes | None = None
        self.author_frame: bytes | None = None

    def __repr__(self) -> str:
        return f"<Published {self.kind.value} {self.thread} #{self.seq}>"


class Device(Protocol):
    """One authenticated socket, as a session actor sees it. No method blocks or raises."""

    number: int
    """Unique in this process, never reused."""
    sid: SessionId

    def attached(self) -> None:
        """The session knows this device now."""

    def answer(self, request: int, result: Result) -> bool:
        """Answer a request. False, and nothing is done, if the number is unknown or was answered
        before: then an event that the answer would have stood for is to be delivered."""

    def deliver(self, event: Published) -> None:
        """Queue a durable event. When the queue is full it is dropped and a `gap` remembered."""

    def show(self, key: tuple[str, ...], body: bytes) -> None:
        """Queue a state event; under pressure the newest per key wins."""

    def hint(self, body: bytes) -> None:
        """Queue a lossy event; dropped first."""

    def close(self, code: int, reason: str) -> None:
        """Close the socket after what is queued."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from which device, and the number to answer."""

    uid: UserId
    device: int
    request: int


# ---------------------------------------------------------------------------- to a session


@dataclass(frozen=True, slots=True)
class Attach:
    """A device is online. `since_ms`: it was attached to an earlier incarnation until then, and may
    have missed events since."""

    device: Device
    fresh_login: bool = False
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Detach:
    device: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Committed events of one thread, in order."""

    events: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A result for one of the session's devices."""

    caller: Caller
    result: Result


@dataclass(frozen=True, slots=True)
class Show:
    """A state event for the user's devices, `but` one."""

    key: tuple[str, ...]
    body: bytes
    but: int = 0


@dataclass(frozen=True, slots=True)
class Hint:
    """A lossy event for the user's devices."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Revoked:
    """These login sessions are no more: close their sockets (4006)."""

    sids: frozenset[SessionId]


@dataclass(frozen=True, slots=True)
class OnlineSids:
    """Ask a session which login sessions have a socket here; answered with a frozenset."""


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """What the session remembers of the user's membership of a thread is out of date."""

    thread: ThreadId


# Requests a device makes of its session.


@dataclass(frozen=True, slots=True)
class ThreadList:
    caller: Caller
    limit: int
    after: str | None


@dataclass(frozen=True, slots=True)
class ThreadSet:
    caller: Caller
    thread: ThreadId
    change: Mapping[str, Any]
    """Of `muted_until`, `pinned`, `archived`: those to set."""


@dataclass(frozen=True, slots=True)
class History:
    caller: Caller
    thread: ThreadId
    limit: int
    before: int | None = None
    after: int | None = None
    around: int | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    caller: Caller
    cursors: Mapping[ThreadId, int]
    limit: int


@dataclass(frozen=True, slots=True)
class HideMine:
    """`delete` for `me`."""

    caller: Caller
    thread: ThreadId
    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupCreate:
    caller: Caller
    cid: ClientId
    name: str
    members: tuple[str, ...]
    """Uids or `@name`s."""


@dataclass(frozen=True, slots=True)
class SubmitPost:
    """Pass a command on to its thread.

    `people` (uids or `@name`s) are looked up first: for a `Send` without a thread its addressee,
    for `AddMembers` and the like the users meant."""

    caller: Caller
    cid: ClientId
    thread: ThreadId | None
    command: Command
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubmitMark:
    """`recv` or `read` for a thread; `answered`: the request has an id."""

    caller: Caller
    thread: ThreadId
    recv: int | None
    read: int | None
    answered: bool


@dataclass(frozen=True, slots=True)
class SubmitTyping:
    caller: Caller
    thread: ThreadId
    on: bool
    answered: bool


@dataclass(frozen=True, slots=True)
class GroupInfo:
    caller: Caller
    thread: ThreadId
    after: UserId | None
    limit: int


# ---------------------------------------------------------------------------- to a channel


@dataclass(frozen=True, slots=True)
class Post:
    """A command, who gave it, and its idempotency key."""

    caller: Caller
    cid: ClientId
    command: Command


@dataclass(frozen=True, slots=True)
class Mark:
    """Received or read up to a seq. `answered`: an `ok` is awaited, so the cursor is made durable
    first."""

    caller: Caller
    recv: int | None
    read: int | None
    answered: bool


@dataclass(frozen=True, slots=True)
class Typing:
    caller: Caller
    on: bool
    answered: bool


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Ask a live channel for a page; it answers the session with a `Page`."""

    request: History


@dataclass(frozen=True, slots=True)
class Page:
    """A channel's answer to `ReadPage`: the range of seqs the caller may see of what they asked,
    and the bodies if the channel holds them in memory."""

    request: History
    low: int
    high: int
    head: int
    more: bool
    bodies: tuple[tuple[int, bytes], ...] | None


@dataclass(frozen=True, slots=True)
class NoPage:
    """A channel's refusal of `ReadPage`."""

    request: History
    refused: Refused


@dataclass(frozen=True, slots=True)
class BlockChanged:
    """A direct thread's members' block or receipt settings changed: read them again."""


# ---------------------------------------------------------------------------- journal


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """A commit did not happen (`known`), or may have happened. Why is in the log."""

    known: bool


# ---------------------------------------------------------------------------- presence


@dataclass(frozen=True, slots=True)
class Lease:
    """A gateway is alive and holds these users online. `users` None only renews."""

    gateway: str
    users: Collection[UserId] | None = None


@dataclass(frozen=True, slots=True)
class UserUp:
    gateway: str
    uid: UserId


@dataclass(frozen=True, slots=True)
class UserDown:
    """The user's last socket here is gone; `last_ms` is when it was last heard."""

    gateway: str
    uid: UserId
    last_ms: int


@dataclass(frozen=True, slots=True)
class Poll:
    caller: Caller
    device: Device
    uids: tuple[UserId, ...]
    v: int | None


@dataclass(frozen=True, slots=True)
class RelationChanged:
    """A block, contact or privacy setting between these users (or of the first alone) changed."""

    uid: UserId
    peer: UserId | None = None


# ---------------------------------------------------------------------------- accounts


@dataclass(frozen=True, slots=True)
class Register:
    device: Device
    request: int
    user: str
    password: str = field(repr=False)
    name: str | None
    label: str
    address: str


@dataclass(frozen=True, slots=True)
class Login:
    device: Device
    request: int
    user: str
    password: str = field(repr=False)
    label: str
    address: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    device: Device
    request: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """A request of an authenticated user to the accounts actor.

    `verb` is the protocol's op, `fields` its validated fields."""

    caller: Caller
    device: Device
    verb: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """A request of an authenticated user to the contacts actor."""

    caller: Caller
    device: Device
    verb: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What the gateway needs to know of a successful register, login or auth. It stands in the
    `fields` of `Done` under `"login"` and never reaches the wire as such."""

    uid: UserId
    sid: SessionId
    label: str
    fresh: bool
