"""What may be done to a thread: the commands of PROTOCOL.md §2 that write to its log.

Users are uids here and exist; texts are within their limits. Whether somebody may do it is for the
thread's channel to say (`channel_draft`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from persistence.records import Role, UserId


@dataclass(frozen=True, slots=True)
class Send:
    text: str = field(repr=False)
    reply_to: int | None = None
    mentions: tuple[UserId, ...] = ()
    opens_dm: bool = False
    """Addressed to a user: the direct thread is created if need be."""


@dataclass(frozen=True, slots=True)
class Edit:
    target: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeleteForAll:
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class React:
    target: int
    emoji: str
    on: bool


@dataclass(frozen=True, slots=True)
class CreateGroup:
    name: str
    founders: tuple[UserId, ...]
    """The creator first."""


@dataclass(frozen=True, slots=True)
class UpdateGroup:
    name: str | None
    about: str | None
    avatar: str | None


@dataclass(frozen=True, slots=True)
class AddMembers:
    users: tuple[UserId, ...]


@dataclass(frozen=True, slots=True)
class RemoveMember:
    user: UserId


@dataclass(frozen=True, slots=True)
class SetRole:
    user: UserId
    role: Role


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    pass


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    pass


Command = (
    Send
    | Edit
    | DeleteForAll
    | React
    | CreateGroup
    | UpdateGroup
    | AddMembers
    | RemoveMember
    | SetRole
    | LeaveGroup
    | DeleteGroup
)
