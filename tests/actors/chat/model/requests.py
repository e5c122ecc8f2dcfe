"""What a client may ask of one thread, in the protocol's words and not in the product's.

Nothing here knows a class of the service: `reference` answers these values by the text of
PROTOCOL.md, `wire` turns them into what the session actor takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Send:
    """`send`. With `to` (a `@name`) it may open the direct thread, whose id is `thread`."""

    thread: str
    text: str
    cid: str
    to: str | None = None
    reply_to: int | None = None


@dataclass(frozen=True)
class Edit:
    thread: str
    seq: int
    text: str
    cid: str


@dataclass(frozen=True)
class Delete:
    """`delete` for `all`."""

    thread: str
    seqs: tuple[int, ...]


@dataclass(frozen=True)
class React:
    thread: str
    seq: int
    emoji: str
    on: bool


@dataclass(frozen=True)
class Create:
    """`group.create`. `thread` is the id the server gave, empty before its answer."""

    thread: str
    name: str
    members: tuple[str, ...]
    cid: str


@dataclass(frozen=True)
class Update:
    thread: str
    name: str


@dataclass(frozen=True)
class Add:
    thread: str
    users: tuple[str, ...]


@dataclass(frozen=True)
class Remove:
    thread: str
    user: str


@dataclass(frozen=True)
class SetRole:
    thread: str
    user: str
    role: str


@dataclass(frozen=True)
class Leave:
    thread: str


@dataclass(frozen=True)
class DeleteGroup:
    thread: str


Request: TypeAlias = (
    Send | Edit | Delete | React | Create | Update | Add | Remove | SetRole | Leave | DeleteGroup
)
GROUP_ONLY = (Update, Add, Remove, SetRole, Leave, DeleteGroup)


def cid_of(request: Request) -> str | None:
    """The client's key of a request that may be repeated."""
    return request.cid if isinstance(request, Send | Edit | Create) else None


def content_of(request: Request) -> tuple[object, ...]:
    """What must be equal for the same cid not to be a conflict."""
    match request:
        case Send(thread, text, reply_to=reply_to):
            return ("send", thread, text, reply_to)
        case Edit(thread, seq, text):
            return ("edit", thread, seq, text)
        case Create(_, name, members):
            return ("group.create", name, frozenset(members))
        case _:
            raise TypeError(f"{request} has no cid")


def people_of(request: Request) -> tuple[str, ...]:
    """The users a request names, who must exist."""
    match request:
        case Create(members=users) | Add(users=users):
            return users
        case Remove(user=user) | SetRole(user=user):
            return (user,)
        case _:
            return ()
