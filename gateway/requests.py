"""From wire frames to messages: one function for each operation.

Here a frame's shape and sizes are checked against the advertised limits and its fields become a
message for the actor that answers the operation. What needs state (who is a member, what exists) is
that actor's to say.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from msgspec import UNSET

from actors.chat import commands, messages
from actors.chat.answers import Code, Refused
from actors.chat.messages import (
    OWN_CID_PREFIX,
    Caller,
    Device,
)
from gateway.wire import frames, limits
from gateway.wire.limits import Limits
from persistence.records import ClientId, Role, ThreadId, UserId

CID_CHARS_MAX = 128
ID_CHARS_MAX = 128
"""Ids of threads, users and sessions are ours and short; longer ones cannot exist."""
EMOJI_CHARS_MAX = 32
MENTIONS_MAX = 256
DELETE_SEQS_MAX = 100
CURSORS_MAX = 10_000
GROUP_NAME_CHARS_MAX = 128
GROUP_ABOUT_CHARS_MAX = 500
AVATAR_CHARS_MAX = 2048
HISTORY_LIMIT_DEFAULT = 50
LIST_LIMIT_DEFAULT = 100


class Order(Enum):
    """How a request stands to the others of its connection."""

    BESIDE = "beside"
    """Appends to a thread, which keeps order itself: waits for those that are `ALONE` only."""
    AFTER = "after"
    """Waits for all before it; only what is `BESIDE` does not wait for it. It is read from the
    stores, or makes what nobody can name yet, so that no post can depend on it."""
    ALONE = "alone"
    """Waits for all before it, and all wait for it."""


class Target(Enum):
    """Which actor answers a request."""

    ACCOUNTS = "accounts"
    CONTACTS = "contacts"
    PRESENCE = "presence"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks: the device, the number given to the request, the peer's address, the limits."""

    device: Device
    uid: UserId
    request: int
    address: str
    limits: Limits

    @property
    def caller(self) -> Caller:
        return Caller(self.uid, self.device.number, self.request)


@dataclass(frozen=True, slots=True)
class Route:
    """How an operation is handled.

    `build` makes the message or a refusal. `is_repeatable`: doing it again after its actor died
    unanswered changes nothing."""

    target: Target
    build: Callable[[Any, Context], Any]
    order: Order = Order.ALONE
    is_repeatable: bool = True
    is_send: bool = False


# ---------------------------------------------------------------------------- accounts, contacts


def _register(frame: frames.Register, context: Context) -> Any:
    return messages.Register(
        context.device, context.request, frame.user, frame.pass_, frame.name, frame.device or "",
        context.address,
    )  # fmt: skip


def _login(frame: frames.Login, context: Context) -> Any:
    return messages.Login(
        context.device, context.request, frame.user, frame.pass_, frame.device or "",
        context.address,
    )  # fmt: skip


def _auth(frame: frames.Auth, context: Context) -> Any:
    return messages.Authenticate(context.device, context.request, frame.token)


def _account(frame: frames.Frame, context: Context) -> Any:
    return messages.AccountRequest(context.caller, context.device, _op(frame), _fields(frame))


def _user_get(frame: frames.UserGet, context: Context) -> Any:
    if len(frame.uids) > limits.USER_GET_MAX:
        return Refused(Code.LIMIT, f"uids: at most {limits.USER_GET_MAX}")
    return _account(frame, context)


def _contact(frame: frames.Frame, context: Context) -> Any:
    return messages.ContactRequest(context.caller, context.device, _op(frame), _fields(frame))


def _op(frame: frames.Frame) -> str:
    return str(frame.__struct_config__.tag)


def _fields(frame: frames.Frame) -> Mapping[str, Any]:
    return {name: getattr(frame, name) for name in frame.__struct_fields__ if name != "id"}


# ---------------------------------------------------------------------------- posts


def _send(frame: frames.Send, context: Context) -> Any:
    refused = _check_text(frame.text, context.limits)
    if refused is not None:
        return refused
    if frame.mentions and len(frame.mentions) > MENTIONS_MAX:
        return Refused(Code.LIMIT, f"mentions: at most {MENTIONS_MAX}")
    if frame.file is not None:
        return Refused(Code.BAD_REQUEST, "file: this server keeps no files")
    mentions = tuple(UserId(uid) for uid in frame.mentions or ())
    command = commands.Send(frame.text, frame.reply_to, mentions)
    people = () if frame.to is None else (frame.to,)
    return _submit(frame.thread, command, context, frame.cid, people)


def _edit(frame: frames.Edit, context: Context) -> Any:
    command = commands.Edit(frame.seq, frame.text)
    refused = _check_text(frame.text, context.limits)
    return refused or _submit(frame.thread, command, context, frame.cid)


def _check_text(text: str, limit: Limits) -> Refused | None:
    if len(text) > limit.text_chars:
        return Refused(Code.TOO_LARGE, f"text: at most {limit.text_chars} characters")
    if not text:
        return Refused(Code.BAD_REQUEST, "text: must not be empty")
    return None


def _delete(frame: frames.Delete, context: Context) -> Any:
    seqs = tuple(dict.fromkeys(frame.seqs))
    if not seqs:
        return Refused(Code.BAD_REQUEST, "seqs: must not be empty")
    if len(seqs) > DELETE_SEQS_MAX:
        return Refused(Code.LIMIT, f"seqs: at most {DELETE_SEQS_MAX}")
    if frame.for_ == "me":
        return messages.HideMine(context.caller, ThreadId(frame.thread), seqs)
    return _submit(frame.thread, commands.DeleteForAll(seqs), context)


def _react(frame: frames.React, context: Context) -> Any:
    if not frame.emoji.strip():
        return Refused(Code.BAD_REQUEST, "emoji: must not be empty")
    if len(frame.emoji) > EMOJI_CHARS_MAX:
        return Refused(Code.TOO_LARGE, f"emoji: at most {EMOJI_CHARS_MAX} characters")
    return _submit(frame.thread, commands.React(frame.seq, frame.emoji, frame.on), context)


def _submit(
    thread: str | None,
    command: commands.Command,
    context: Context,
    cid: str | None = None,
    people: tuple[str, ...] = (),
) -> Any:
    refused = _check_cid(cid)
    if refused is not None:
        return refused
    return messages.SubmitPost(
        context.caller, _cid(cid), None if thread is None else ThreadId(thread), command, people
    )


def _check_cid(cid: str | None) -> Refused | None:
    if cid == "":
        return Refused(Code.BAD_REQUEST, "cid: must not be empty")
    if cid is not None and cid.startswith(OWN_CID_PREFIX):
        return Refused(Code.BAD_REQUEST, "cid: must not begin with U+001F")
    return _check_size("cid", cid, CID_CHARS_MAX)


def _cid(cid: str | None) -> ClientId:
    """The client's cid, or one of our own: so resending after a crash is always safe."""
    return ClientId(cid if cid is not None else OWN_CID_PREFIX + secrets.token_hex(8))


# ---------------------------------------------------------------------------- groups


def _group_create(frame: frames.GroupCreate, context: Context) -> Any:
    refused = _check_cid(frame.cid) or _check_name(frame.name)
    if refused is not None:
        return refused
    if len(frame.members) > context.limits.group_members:
        return Refused(
            Code.LIMIT, f"members: a group has at most {context.limits.group_members} members"
        )
    people = tuple(dict.fromkeys(frame.members))
    return messages.GroupCreate(context.caller, _cid(frame.cid), frame.name, people)


def _check_name(name: str | None) -> Refused | None:
    if name is not None and not name.strip():
        return Refused(Code.BAD_REQUEST, "name: must not be empty")
    return _check_size("name", name, GROUP_NAME_CHARS_MAX)


def _check_size(field: str, text: str | None, most: int) -> Refused | None:
    if text is not None and len(text) > most:
        return Refused(Code.TOO_LARGE, f"{field}: at most {most} characters")
    return None


def _group_update(frame: frames.GroupUpdate, context: Context) -> Any:
    refused = (
        _check_name(frame.name)
        or _check_size("about", frame.about, GROUP_ABOUT_CHARS_MAX)
        or _check_size("avatar", frame.avatar, AVATAR_CHARS_MAX)
    )
    if refused is not None:
        return refused
    if frame.name is None and frame.about is None and frame.avatar is None:
        return Refused(Code.BAD_REQUEST, "name: give name, about or avatar")
    command = commands.UpdateGroup(frame.name, frame.about, frame.avatar)
    return _submit(frame.thread, command, context)


def _group_add(frame: frames.GroupAdd, context: Context) -> Any:
    people = tuple(dict.fromkeys(frame.users))
    if not people:
        return Refused(Code.BAD_REQUEST, "users: must not be empty")
    if len(people) > context.limits.group_members:
        return Refused(Code.LIMIT, f"users: at most {context.limits.group_members}")
    return _submit(frame.thread, commands.AddMembers(()), context, people=people)


def _group_remove(frame: frames.GroupRemove, context: Context) -> Any:
    command = commands.RemoveMember(UserId(""))
    return _submit(frame.thread, command, context, people=(frame.user,))


def _group_role(frame: frames.GroupRole, context: Context) -> Any:
    command = commands.SetRole(UserId(""), Role(frame.role))
    return _submit(frame.thread, command, context, people=(frame.user,))


def _group_leave(frame: frames.GroupLeave, context: Context) -> Any:
    return _submit(frame.thread, commands.LeaveGroup(), context)


def _group_delete(frame: frames.GroupDelete, context: Context) -> Any:
    return _submit(frame.thread, commands.DeleteGroup(), context)


def _group_info(frame: frames.GroupInfo, context: Context) -> Any:
    after = None if frame.after is None else UserId(frame.after)
    limit = _limit(frame.limit, LIST_LIMIT_DEFAULT, limits.PAGE_MAX)
    return messages.GroupInfo(context.caller, ThreadId(frame.thread), after, limit)


def _limit(given: int | None, default: int, most: int) -> int:
    return min(max(1, default if given is None else given), most)


# ---------------------------------------------------------------------------- reading


def _thread_list(frame: frames.ThreadList, context: Context) -> Any:
    limit = _limit(frame.limit, LIST_LIMIT_DEFAULT, limits.PAGE_MAX)
    return messages.ThreadList(context.caller, limit, frame.after)


def _thread_set(frame: frames.ThreadSet, context: Context) -> Any:
    change: dict[str, Any] = {}
    if frame.muted_until is not UNSET:
        change["muted_until_ms"] = frame.muted_until or None
    for name in ("pinned", "archived"):
        if getattr(frame, name) is not None:
            change[name] = getattr(frame, name)
    return messages.ThreadSet(context.caller, ThreadId(frame.thread), change)


def _history(frame: frames.History, context: Context) -> Any:
    limit = _limit(frame.limit, HISTORY_LIMIT_DEFAULT, context.limits.history_events)
    return messages.History(
        context.caller, ThreadId(frame.thread), limit, frame.before, frame.after, frame.around
    )


def _sync(frame: frames.Sync, context: Context) -> Any:
    if len(frame.cursors) > CURSORS_MAX:
        return Refused(Code.LIMIT, f"cursors: at most {CURSORS_MAX}")
    most = context.limits.sync_events
    cursors = {ThreadId(thread): max(0, seq) for thread, seq in frame.cursors.items()}
    return messages.Sync(context.caller, cursors, _limit(frame.limit, most, most))


def _recv(frame: frames.Recv, context: Context) -> Any:
    return messages.SubmitMark(
        context.caller, ThreadId(frame.thread), max(0, frame.seq), None, frame.id is not None
    )


def _read(frame: frames.Read, context: Context) -> Any:
    return messages.SubmitMark(
        context.caller, ThreadId(frame.thread), None, max(0, frame.seq), frame.id is not None
    )


def _typing(frame: frames.Typing, context: Context) -> Any:
    return messages.SubmitTyping(
        context.caller, ThreadId(frame.thread), frame.on, frame.id is not None
    )


def _presence(frame: frames.Presence, context: Context) -> Any:
    if len(frame.uids) > context.limits.presence_uids:
        return Refused(Code.LIMIT, f"uids: at most {context.limits.presence_uids}")
    uids = tuple(UserId(uid) for uid in frame.uids)
    return messages.Poll(context.caller, context.device, uids, frame.v)


def _at_session(build: Callable[[Any, Context], Any], order: Order = Order.ALONE) -> Route:
    return Route(Target.SESSION, build, order)


ROUTES: Mapping[type[frames.Frame], Route] = {
    frames.Register: Route(Target.ACCOUNTS, _register, is_repeatable=False),
    frames.Login: Route(Target.ACCOUNTS, _login, is_repeatable=False),
    frames.Auth: Route(Target.ACCOUNTS, _auth),
    frames.Logout: Route(Target.ACCOUNTS, _account),
    frames.Passwd: Route(Target.ACCOUNTS, _account, is_repeatable=False),
    frames.SessionList: Route(Target.ACCOUNTS, _account, Order.AFTER),
    frames.SessionRevoke: Route(Target.ACCOUNTS, _account, is_repeatable=False),
    frames.UserGet: Route(Target.ACCOUNTS, _user_get, Order.AFTER),
    frames.UserSearch: Route(Target.ACCOUNTS, _account, Order.AFTER),
    frames.ProfileSet: Route(Target.ACCOUNTS, _account),
    frames.PrivacySet: Route(Target.ACCOUNTS, _account),
    frames.ContactList: Route(Target.CONTACTS, _contact, Order.AFTER),
    frames.ContactAdd: Route(Target.CONTACTS, _contact),
    frames.ContactAlias: Route(Target.CONTACTS, _contact),
    frames.ContactRemove: Route(Target.CONTACTS, _contact, is_repeatable=False),
    frames.Block: Route(Target.CONTACTS, _contact),
    frames.Unblock: Route(Target.CONTACTS, _contact),
    frames.ThreadList: _at_session(_thread_list, Order.AFTER),
    frames.ThreadSet: _at_session(_thread_set),
    frames.GroupCreate: _at_session(_group_create, Order.AFTER),
    frames.GroupUpdate: _at_session(_group_update),
    frames.GroupAdd: _at_session(_group_add),
    frames.GroupRemove: _at_session(_group_remove),
    frames.GroupRole: _at_session(_group_role),
    frames.GroupLeave: _at_session(_group_leave),
    frames.GroupDelete: _at_session(_group_delete),
    frames.GroupInfo: _at_session(_group_info, Order.AFTER),
    frames.Send: Route(Target.SESSION, _send, Order.BESIDE, is_send=True),
    frames.Edit: _at_session(_edit, Order.BESIDE),
    frames.Delete: _at_session(_delete),
    frames.React: _at_session(_react, Order.BESIDE),
    frames.History: _at_session(_history, Order.AFTER),
    frames.Sync: _at_session(_sync, Order.AFTER),
    frames.Recv: _at_session(_recv, Order.BESIDE),
    frames.Read: _at_session(_read, Order.BESIDE),
    frames.Typing: _at_session(_typing, Order.BESIDE),
    frames.Presence: Route(Target.PRESENCE, _presence, Order.BESIDE),
}
"""Every operation but `hb` and `bye`, which the connection answers itself."""
