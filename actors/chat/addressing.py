"""To whom and where a request goes: names and uids resolved from what is already known.

Pure: what is not known yet is answered with None, and the session looks it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from actors.chat.answers import Code, Refused
from actors.chat.commands import AddMembers, Command, RemoveMember, Send, SetRole
from actors.chat.messages import (
    History,
    SubmitMark,
    SubmitPost,
    SubmitTyping,
    dm_members,
    dm_thread,
)
from persistence.records import ThreadId, UserId

Ordered = SubmitPost | SubmitMark | SubmitTyping | History
"""Requests whose thread or people may have to be looked up first. Those of one device to one thread
stay in order."""


def people_of(request: Ordered) -> tuple[str, ...]:
    """The uids and `@name`s a request speaks of."""
    return request.people if isinstance(request, SubmitPost) else ()


def may_overtake(request: Ordered, waiting: Iterable[Ordered]) -> bool:
    """Whether a request is surely to another thread than any of those that wait for a look-up: one
    that names a person instead may be to any direct thread."""
    thread = request.thread
    if thread is None:
        return False
    is_direct = bool(dm_members(thread))
    return not any(
        is_direct if other.thread is None else other.thread == thread for other in waiting
    )


def resolve(
    request: SubmitPost, uid: UserId, known: Mapping[str, UserId]
) -> tuple[ThreadId, Command] | None:
    """The thread and the command with its people as uids; None if someone is unknown yet."""
    if not all(person in known for person in request.people):
        return None
    people = tuple(known[person] for person in request.people)
    command = request.command
    match command:
        case Send() if people:
            return dm_thread(uid, people[0]), replace(command, opens_dm=True)
        case AddMembers():
            command = AddMembers(people)
        case RemoveMember():
            command = RemoveMember(people[0])
        case SetRole():
            command = SetRole(people[0], command.role)
    assert request.thread is not None
    return request.thread, command


def missing(request: Ordered, known: Mapping[str, UserId]) -> Refused:
    """Why a request cannot be passed on after everything was looked up."""
    for person in people_of(request):
        if person not in known:
            field = _field_of(request.command) if isinstance(request, SubmitPost) else "user"
            return Refused(Code.NOT_FOUND, f"{field}: no such user: {person}")
    return Refused(Code.NOT_FOUND, "thread: no such thread")


def _field_of(command: Command) -> str:
    """The field of a request in which its people are named."""
    match command:
        case Send():
            return "to"
        case AddMembers():
            return "users"
    return "user"
