"""Reads while the thread tables lag behind the log: a commit comes before its projection, and a
crash may come between the two."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from actors.chat import reading, settings
from actors.chat.answers import Done, Refused, Result
from actors.chat.channel_draft import Draft
from actors.chat.channel_plan import Rules
from actors.chat.channel_state import ThreadState
from actors.chat.commands import AddMembers, Command, CreateGroup, RemoveMember, Send
from actors.chat.messages import Caller, HideMine, History, Show, ThreadSet
from actors.chat.services import Services
from actors.runtime import Spawner
from persistence.memory import MemoryStores
from persistence.records import (
    Account,
    Committed,
    Member,
    Membership,
    Projection,
    Role,
    ThreadKind,
    ThreadMeta,
    UserId,
)
from tests.actors.chat.threads import GROUP, A, B, C, D, post


class Desk:
    """A group of three whose log is written by hand, and its tables only when told to."""

    def __init__(self) -> None:
        stores = MemoryStores()
        nobody = cast("Spawner", None)
        self.services = Services(
            stores.accounts, stores.sessions, stores.contacts, stores.threads, stores.log,
            nobody, nobody, wall_ms=lambda: 1000,
        )  # fmt: skip
        self.state: ThreadState

    async def open(self) -> None:
        for user in ("ann", "bob", "cat"):
            await self.services.accounts.create(Account(UserId(""), user, user, "", 0))
        claim = await self.services.log.claim(GROUP, 0)
        roles = {A: Role.OWNER, B: Role.MEMBER, C: Role.MEMBER}
        members = {uid: Member(uid, role, join_seq=1) for uid, role in roles.items()}
        meta = ThreadMeta(GROUP, ThreadKind.GROUP, "Wood")
        self.state = ThreadState(GROUP, claim.head, meta, members)
        await self.services.threads.project(Projection(meta, tuple(members.values())))
        await self.write((A, CreateGroup("Wood", (A, B, C))))

    async def write(self, *commands: tuple[UserId, Command], is_projected: bool = True) -> None:
        """One commit, and what follows from it."""
        draft = Draft(self.state, 1000, Rules())
        for uid, command in commands:
            draft.plan(post(uid, command))
        assert await self.services.log.append([draft.to_append()]) == [Committed()]
        draft.apply()
        if is_projected and draft.meta_seq is not None:
            assert draft.meta is not None
            changed = tuple(draft.changed.values())
            await self.services.threads.project(Projection(draft.meta, changed))

    async def promise(self, uid: UserId) -> None:
        """What precedes a commit that adds somebody."""
        assert self.state.meta is not None
        row = Member(uid, Role.MEMBER, join_seq=1, left_seq=0)
        await self.services.threads.project(Projection(self.state.meta, (row,)))

    async def view(self, uid: UserId) -> Membership:
        (row,) = await self.services.threads.memberships(uid, (GROUP,))
        return row


@pytest.fixture
async def desk() -> Desk:
    opened = Desk()
    await opened.open()
    return opened


def fields(result: Result) -> dict[str, Any]:
    """The answer as a client decodes it."""
    assert isinstance(result, Done), result
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(result.fields))
    return decoded


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events]


async def test_a_removed_member_reads_nothing_of_what_came_after(desk: Desk) -> None:
    """Not even if it was committed together with the removal, and the tables know of neither."""
    await desk.write((A, Send("for all")))
    await desk.write((A, RemoveMember(B)), (A, Send("not for bob")), is_projected=False)
    page = fields(await reading.sync(desk.services, B, {}, 100))
    assert seqs(page["events"][GROUP]) == [1, 2, 3]
    assert page["removed"] == [GROUP]
    (line,) = page["threads"]
    assert (line["head"], line["head_n"], line["last"]["text"]) == (3, 1, "for all")
    (line,) = fields(await reading.thread_list(desk.services, B, 10, None))["threads"]
    assert line["last"]["text"] == "for all"
    history = await reading.cold_page(
        desk.services, History(Caller(B, 1, 1), GROUP, 100), await desk.view(B)
    )
    assert seqs(fields(history)["events"]) == [1, 2, 3]
    refused = await reading.group_info(desk.services, B, GROUP, None, 10)
    assert isinstance(refused, Refused)
    assert refused.code == "not_member"


async def test_a_view_from_before_the_removal_reads_no_further_either(desk: Desk) -> None:
    old = await desk.view(B)
    await desk.write((A, RemoveMember(B)))
    await desk.write((A, Send("not for bob")))
    history = await reading.cold_page(desk.services, History(Caller(B, 1, 1), GROUP, 100), old)
    assert seqs(fields(history)["events"]) == [1, 2]


async def test_who_comes_back_reads_from_the_new_join(desk: Desk) -> None:
    await desk.write((A, RemoveMember(B)), (A, Send("not for bob")))
    await desk.write((A, AddMembers((B,))), (A, Send("welcome back")), is_projected=False)
    page = fields(await reading.sync(desk.services, B, {}, 100))
    assert seqs(page["events"][GROUP]) == [4, 5]
    assert page["removed"] == []


async def test_those_who_stay_see_everything_at_once(desk: Desk) -> None:
    await desk.write((A, RemoveMember(B)), (A, Send("go on")), is_projected=False)
    page = fields(await reading.sync(desk.services, C, {}, 100))
    assert seqs(page["events"][GROUP]) == [1, 2, 3]


async def test_who_was_added_finds_the_thread_by_a_promise(desk: Desk) -> None:
    """The tables know no more of them than that there was to be something."""
    await desk.write((A, Send("not for dan")))
    await desk.promise(D)
    await desk.write((A, AddMembers((D,))), (A, Send("welcome")), is_projected=False)
    page = fields(await reading.sync(desk.services, D, {}, 100))
    assert (seqs(page["events"][GROUP]), page["removed"]) == ([3, 4], [])
    (line,) = fields(await reading.thread_list(desk.services, D, 10, None))["threads"]
    assert (line["role"], line["unread"], line["last"]["text"]) == ("member", 1, "welcome")
    history = History(Caller(D, 1, 1), GROUP, 100)
    found = await reading.cold_page(desk.services, history, await desk.view(D))
    assert seqs(fields(found)["events"]) == [3, 4]
    for uid in (A, D):
        info = fields(await reading.group_info(desk.services, uid, GROUP, None, 10))
        assert [member["uid"] for member in info["members"]] == [A, B, C, D]
    mute = ThreadSet(Caller(D, 1, 2), GROUP, {"pinned": True})
    assert isinstance(await settings.set_view(desk.services, D, mute), Show)
    assert (await desk.view(D)).view.pinned


async def test_a_promise_that_nothing_came_of_is_seen_by_nobody(desk: Desk) -> None:
    await desk.write((A, Send("not for dan")))
    await desk.promise(D)
    services, caller = desk.services, Caller(D, 1, 1)
    page = fields(await reading.sync(services, D, {}, 100))
    assert (page["threads"], page["events"], page["removed"]) == ([], {}, [])
    assert fields(await reading.thread_list(services, D, 10, None))["threads"] == []
    refusals = [
        await reading.cold_page(services, History(caller, GROUP, 100), await desk.view(D)),
        await reading.group_info(services, D, GROUP, None, 10),
        await settings.set_view(services, D, ThreadSet(caller, GROUP, {"pinned": True})),
        await settings.hide(services, D, HideMine(caller, GROUP, (2,))),
    ]
    assert [getattr(refused, "code", None) for refused in refusals] == ["not_found"] * 4
    info = fields(await reading.group_info(services, A, GROUP, None, 10))
    assert [member["uid"] for member in info["members"]] == [A, B, C]
