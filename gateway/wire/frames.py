"""Every request a client may make, one frozen struct each, told apart by the field `op`.

The types are the validation: a frame that decodes into one of these has every required field,
with the right kind of value. Rules that need state (who, how long, how often) are not here.
Unknown fields are ignored. A `null` counts as absent, except where a struct says what it clears.

Integers are held within 64 bits, which is what stores keep; `codec` saturates larger ones, so a
bound far outside a log stays a bound outside the log.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

INT_MAX = 2**63 - 1
INT_MIN = -(2**63)

Int = Annotated[int, msgspec.Meta(ge=INT_MIN, le=INT_MAX)]
"""An integer that every store can hold."""

RequestId = int | str
"""A client's own name for a request, echoed unchanged."""

RoleName = Literal["owner", "admin", "member"]
AudienceName = Literal["everyone", "contacts", "nobody"]


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="op"):
    """What every request has: an optional id. Without one, success is not answered."""

    id: RequestId | None = None


# ------------------------------------------------------------------------------ account, devices


class Register(Frame, frozen=True, kw_only=True, gc=False, tag="register"):
    user: str
    pass_: str = msgspec.field(name="pass")
    name: str | None = None
    device: str | None = None


class Login(Frame, frozen=True, kw_only=True, gc=False, tag="login"):
    user: str
    pass_: str = msgspec.field(name="pass")
    device: str | None = None


class Auth(Frame, frozen=True, kw_only=True, gc=False, tag="auth"):
    token: str


class Logout(Frame, frozen=True, kw_only=True, gc=False, tag="logout"):
    pass


class Passwd(Frame, frozen=True, kw_only=True, gc=False, tag="passwd"):
    old: str
    new: str
    keep_others: bool = False


class SessionList(Frame, frozen=True, kw_only=True, gc=False, tag="session.list"):
    pass


class SessionRevoke(Frame, frozen=True, kw_only=True, gc=False, tag="session.revoke"):
    """`sid` is a session's id or the word `others`."""

    sid: str


class UserGet(Frame, frozen=True, kw_only=True, gc=False, tag="user.get"):
    uids: list[str]


class UserSearch(Frame, frozen=True, kw_only=True, gc=False, tag="user.search"):
    q: str
    limit: Int | None = None


class ProfileSet(Frame, frozen=True, kw_only=True, gc=False, tag="profile.set"):
    name: str | None = None
    about: str | None = None
    avatar: str | None = None


class PrivacySet(Frame, frozen=True, kw_only=True, gc=False, tag="privacy.set"):
    last_seen: AudienceName | None = None
    receipts: AudienceName | None = None


# -------------------------------------------------------------------------------------- contacts


class ContactList(Frame, frozen=True, kw_only=True, gc=False, tag="contact.list"):
    v: Int | None = None


class ContactAdd(Frame, frozen=True, kw_only=True, gc=False, tag="contact.add"):
    """Names exactly one of `user` and `uid`."""

    user: str | None = None
    uid: str | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        if (self.user is None) == (self.uid is None):
            raise ValueError("`user` or `uid`: exactly one of them is needed")


class ContactAlias(Frame, frozen=True, kw_only=True, gc=False, tag="contact.alias"):
    """`alias` null or empty takes the alias away."""

    uid: str
    alias: str | None


class ContactRemove(Frame, frozen=True, kw_only=True, gc=False, tag="contact.remove"):
    uid: str


class Block(Frame, frozen=True, kw_only=True, gc=False, tag="block"):
    uid: str


class Unblock(Frame, frozen=True, kw_only=True, gc=False, tag="unblock"):
    uid: str


# --------------------------------------------------------------------------------------- threads


class ThreadList(Frame, frozen=True, kw_only=True, gc=False, tag="thread.list"):
    """`after` is the text `next` of the page before."""

    limit: Int | None = None
    after: str | None = None


class ThreadSet(Frame, frozen=True, kw_only=True, gc=False, tag="thread.set"):
    """`muted_until` null (or 0) ends the muting; absent fields stay as they are."""

    thread: str
    muted_until: Int | UnsetType | None = UNSET
    pinned: bool | None = None
    archived: bool | None = None


class GroupCreate(Frame, frozen=True, kw_only=True, gc=False, tag="group.create"):
    """`members` are uids or `@name`s, the creator not needed among them."""

    name: str
    members: list[str]
    cid: str | None = None


class GroupUpdate(Frame, frozen=True, kw_only=True, gc=False, tag="group.update"):
    thread: str
    name: str | None = None
    about: str | None = None
    avatar: str | None = None


class GroupAdd(Frame, frozen=True, kw_only=True, gc=False, tag="group.add"):
    thread: str
    users: list[str]


class GroupRemove(Frame, frozen=True, kw_only=True, gc=False, tag="group.remove"):
    thread: str
    user: str


class GroupRole(Frame, frozen=True, kw_only=True, gc=False, tag="group.role"):
    thread: str
    user: str
    role: RoleName


class GroupLeave(Frame, frozen=True, kw_only=True, gc=False, tag="group.leave"):
    thread: str


class GroupDelete(Frame, frozen=True, kw_only=True, gc=False, tag="group.delete"):
    thread: str


class GroupInfo(Frame, frozen=True, kw_only=True, gc=False, tag="group.info"):
    """`after` is the text `next` of the page before."""

    thread: str
    after: str | None = None
    limit: Int | None = None


# -------------------------------------------------------------------------------------- messages


class Send(Frame, frozen=True, kw_only=True, gc=False, tag="send"):
    """Names exactly one of `thread` and `to` (a uid or `@name`)."""

    text: str
    thread: str | None = None
    to: str | None = None
    cid: str | None = None
    reply_to: Int | None = None
    mentions: list[str] | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.thread is None) == (self.to is None):
            raise ValueError("`thread` or `to`: exactly one of them is needed")


class Edit(Frame, frozen=True, kw_only=True, gc=False, tag="edit"):
    thread: str
    seq: Int
    text: str
    cid: str | None = None


class Delete(Frame, frozen=True, kw_only=True, gc=False, tag="delete"):
    thread: str
    seqs: list[Int]
    for_: Literal["all", "me"] = msgspec.field(name="for")


class React(Frame, frozen=True, kw_only=True, gc=False, tag="react"):
    thread: str
    seq: Int
    emoji: str
    on: bool


class History(Frame, frozen=True, kw_only=True, gc=False, tag="history"):
    """At most one bound; none asks for the newest page."""

    thread: str
    before: Int | None = None
    after: Int | None = None
    around: Int | None = None
    limit: Int | None = None

    def __post_init__(self) -> None:
        if (self.before, self.after, self.around).count(None) < 2:
            raise ValueError("`before`, `after`, `around`: at most one of them may be given")


class Sync(Frame, frozen=True, kw_only=True, gc=False, tag="sync"):
    cursors: dict[str, Int]
    limit: Int | None = None


class Recv(Frame, frozen=True, kw_only=True, gc=False, tag="recv"):
    thread: str
    seq: Int


class Read(Frame, frozen=True, kw_only=True, gc=False, tag="read"):
    thread: str
    seq: Int


class Typing(Frame, frozen=True, kw_only=True, gc=False, tag="typing"):
    thread: str
    on: bool


# -------------------------------------------------------------------------------------- presence


class Heartbeat(Frame, frozen=True, kw_only=True, gc=False, tag="hb"):
    pass


class Presence(Frame, frozen=True, kw_only=True, gc=False, tag="presence"):
    uids: list[str]
    v: Int | None = None


class Bye(Frame, frozen=True, kw_only=True, gc=False, tag="bye"):
    pass


Request = (
    Send
    | Heartbeat
    | Recv
    | Read
    | Typing
    | Register
    | Login
    | Auth
    | Logout
    | Passwd
    | SessionList
    | SessionRevoke
    | UserGet
    | UserSearch
    | ProfileSet
    | PrivacySet
    | ContactList
    | ContactAdd
    | ContactAlias
    | ContactRemove
    | Block
    | Unblock
    | ThreadList
    | ThreadSet
    | GroupCreate
    | GroupUpdate
    | GroupAdd
    | GroupRemove
    | GroupRole
    | GroupLeave
    | GroupDelete
    | GroupInfo
    | Edit
    | Delete
    | React
    | History
    | Sync
    | Presence
    | Bye
)
"""Any request; match on the class."""

REQUESTS: tuple[type[Frame], ...] = Request.__args__
"""The request classes."""
