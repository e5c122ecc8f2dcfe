"""What a user changes for themselves alone: settings of a thread, messages deleted for them, and
the reservation of a new group. Each function is one request; nothing here touches an actor's state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from actors.chat import reading
from actors.chat.answers import Code, Refused
from actors.chat.channel_plan import digest_of
from actors.chat.channel_state import standing, viewing
from actors.chat.commands import CreateGroup
from actors.chat.messages import GroupCreate, HideMine, Show, ThreadSet
from actors.chat.services import Services
from persistence.records import ThreadId, UserId


async def set_view(services: Services, uid: UserId, request: ThreadSet) -> Show | Refused:
    """`thread.set`: the `inbox` event for the user's other devices, once the change is stored."""
    row = await reading.membership_of(services, uid, request.thread)
    if row is None:
        return reading.NOT_FOUND
    may = standing(row.meta, row.member)
    if isinstance(may, Refused):
        return may
    view = replace(row.view, **request.change)
    await services.threads.set_view(uid, request.thread, view)
    fields = {
        "muted_until": view.muted_until_ms,
        "pinned": view.pinned,
        "archived": view.archived,
    }
    return _inbox(request.thread, ("inbox", request.thread), fields)


async def hide(services: Services, uid: UserId, request: HideMine) -> Show | Refused:
    """`delete` for `me`: nothing is written to the log; the event stays at its seq for others."""
    row = await reading.membership_of(services, uid, request.thread)
    if row is None:
        return reading.NOT_FOUND
    may = viewing(row.meta, row.member)
    if isinstance(may, Refused):
        return may
    refused = await reading.check_hideable(services, row, request.seqs)
    if refused is not None:
        return refused
    await services.threads.hide(uid, request.thread, request.seqs)
    key = ("inbox", request.thread, *map(str, request.seqs))
    return _inbox(request.thread, key, {"hidden": request.seqs})


def _inbox(thread: ThreadId, key: tuple[str, ...], fields: dict[str, Any]) -> Show:
    return Show(key, msgspec.json.encode({"e": "inbox", "thread": thread} | fields))


async def reserve_group(
    services: Services, uid: UserId, request: GroupCreate
) -> tuple[ThreadId, CreateGroup] | Refused:
    """The thread id that belongs to this creator and cid, and the creation to post to it."""
    found = await reading.find_people(services, request.members)
    for person in request.members:
        if person not in found:
            return Refused(Code.NOT_FOUND, f"members: no such user: {person}")
    founders = tuple(dict.fromkeys((uid, *(found[person] for person in request.members))))
    maximum = services.limits.group_members
    if len(founders) > maximum:
        return Refused(Code.LIMIT, f"members: a group has at most {maximum} members")
    command = CreateGroup(request.name, founders)
    digest = digest_of(command)
    reserved = await services.threads.reserve(uid, request.cid, digest, services.wall_ms())
    if reserved.digest != digest:
        return Refused(Code.CONFLICT, "cid: already used for other content")
    return reserved.thread, command
