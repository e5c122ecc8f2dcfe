"""Between the reference's words and the service's messages, as the gateway translates them."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from actors.chat import commands, messages
from actors.chat.answers import Done, Result
from actors.chat.messages import OWN_CID_PREFIX, Caller
from persistence.records import ClientId, Role, ThreadId, UserId
from tests.actors.chat.model.requests import (
    Add,
    Create,
    Delete,
    DeleteGroup,
    Edit,
    Leave,
    React,
    Remove,
    Request,
    Send,
    SetRole,
    Update,
    cid_of,
)

_own = count(1)


def message_of(request: Request, caller: Caller) -> Any:
    """What the gateway would hand to the user's session."""
    thread = ThreadId(request.thread)
    cid = ClientId(cid_of(request) or f"{OWN_CID_PREFIX}{next(_own)}")
    people: tuple[str, ...] = ()
    command: commands.Command
    match request:
        case Create(_, name, members):
            return messages.GroupCreate(caller, cid, name, members)
        case Send(_, text, _, None, reply_to):
            command = commands.Send(text, reply_to)
        case Send(_, text, _, to, reply_to):
            command, people = commands.Send(text, reply_to), (str(to),)
            return messages.SubmitPost(caller, cid, None, command, people)
        case Edit(_, seq, text):
            command = commands.Edit(seq, text)
        case Delete(_, seqs):
            command = commands.DeleteForAll(seqs)
        case React(_, seq, emoji, on):
            command = commands.React(seq, emoji, on)
        case Update(_, name):
            command = commands.UpdateGroup(name, None, None)
        case Add(_, users):
            command, people = commands.AddMembers(()), users
        case Remove(_, user):
            command, people = commands.RemoveMember(UserId("")), (user,)
        case SetRole(_, user, role):
            command, people = commands.SetRole(UserId(""), Role(role)), (user,)
        case Leave():
            command = commands.LeaveGroup()
        case DeleteGroup():
            command = commands.DeleteGroup()
    return messages.SubmitPost(caller, cid, thread, command, people)


def fields_of(result: Result) -> dict[str, Any] | None:
    """The fields of an `ok` as a client reads them; None for a refusal."""
    if not isinstance(result, Done):
        return None
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(result.fields))
    return fields
