"""Process groups: joined, left, ended, watched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILL,
    ActorSystem,
    GroupJoined,
    GroupLeft,
    NotJoined,
    ProcessGroups,
    open_system,
)
from actors.testkit import Probe, run_virtual, settle
from tests.actors.runtime.support import Puppet, puppet


@pytest.mark.otp("names.pg_join_leave")
async def test_joining_twice_is_two_entries_and_leaving_takes_one(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    a, b = (await puppet(system)).ref, (await puppet(system)).ref
    groups.join("g", a)
    groups.join("g", [b, a])
    assert groups.members("g") == [a, b, a]
    groups.leave("g", a)
    assert groups.members("g") == [a, b]
    groups.leave("g", [a, b])
    assert (groups.members("g"), groups.groups()) == ([], []), "an empty group is none"
    assert not a._cell.more().holdings, "it is told of nothing any more"


@pytest.mark.otp("names.pg_join_leave")
async def test_leaving_what_was_not_joined_is_told(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    a, b = (await puppet(system)).ref, (await puppet(system)).ref
    with pytest.raises(NotJoined):
        groups.leave("g", a)
    groups.join("g", a)
    with pytest.raises(NotJoined):
        groups.leave("g", b)
    groups.leave("g", [a, b])
    assert groups.groups() == [], "one of them was there"


@pytest.mark.otp("names.pg_scopes")
async def test_scopes_know_nothing_of_each_other(system: ActorSystem) -> None:
    one, two = ProcessGroups(system, "one"), ProcessGroups(system, "two")
    a = (await puppet(system)).ref
    one.join("g", a)
    two.join("g", a)
    one.leave("g", a)
    assert (one.members("g"), two.members("g")) == ([], [a])
    a.exit(KILL)
    assert two.groups() == []
    assert repr(two) == "<ProcessGroups two: 0 groups>"


@pytest.mark.otp("names.pg_local_only")
async def test_only_actors_of_this_system_join(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    here = (await puppet(system)).ref
    async with open_system() as other:
        there = other.spawn(Puppet)
        with pytest.raises(ValueError, match="this system"):
            groups.join("g", [here, there])
    assert groups.groups() == []


@pytest.mark.otp("names.pg_death")
async def test_an_end_leaves_every_group_before_anybody_hears_of_it(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    watcher, actor = await puppet(system), await puppet(system)
    ref = actor.ref
    for group in ("g", "g", "h"):
        groups.join(group, ref)
    groups.join("h", watcher.ref)
    seen: list[list[Any]] = []
    ref.on_exit(lambda _ref, _reason: seen.append([groups.groups(), groups.members("h")]))
    ref.exit(KILL)
    assert seen == [[["h"], [watcher.ref]]]
    groups.leave("g", ref)
    groups.join("g", ref)
    assert groups.members("g") == [], "leaving in the moment of the end is no error"


@pytest.mark.otp("names.pg_monitor")
async def test_a_group_or_a_scope_is_watched(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    a, b, watcher = await puppet(system), await puppet(system), Probe(system)
    groups.join("g", a.ref)
    whole, there = groups.monitor_scope(watcher.ref)
    one, members = groups.monitor("h", watcher.ref)
    assert (there, members) == ({"g": [a.ref]}, [])
    groups.join("h", [a.ref, b.ref])
    groups.leave("g", a.ref)
    a.ref.exit(KILL)
    await settle()
    assert watcher.messages == [
        GroupJoined(whole, "h", (a.ref, b.ref)),
        GroupJoined(one, "h", (a.ref, b.ref)),
        GroupLeft(whole, "g", (a.ref,)),
        GroupLeft(whole, "h", (a.ref,)),
        GroupLeft(one, "h", (a.ref,)),
    ]


@pytest.mark.otp("names.pg_monitor")
async def test_after_demonitor_nothing_is_heard(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    a, watcher = await puppet(system), Probe(system)
    one, _ = groups.monitor("g", watcher.ref)
    groups.join("g", a.ref)
    assert [groups.demonitor(one), groups.demonitor(one)] == [True, False], "it was on its way"
    groups.leave("g", a.ref)
    await watcher.expect_nothing()


@pytest.mark.otp("names.pg_monitor")
async def test_monitors_end_with_their_watcher(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    watcher = await puppet(system)
    groups.monitor("g", watcher.ref)
    groups.monitor_scope(watcher.ref)
    watcher.ref.exit(KILL)
    monitor, there = groups.monitor_scope(watcher.ref)
    assert there == {}
    assert groups.demonitor(monitor) is False
    assert not groups._of_group
    assert not groups._of_scope
    assert not groups._monitors


async def test_a_message_to_all(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    actors = [await puppet(system) for _ in range(3)]
    groups.join("g", [actor.ref for actor in actors])
    assert groups.broadcast("g", "hello") == 3
    assert groups.broadcast("nobody", "hello") == 0
    await settle()
    assert [actor.got for actor in actors] == [["hello"]] * 3


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "end"]), st.integers(0, 3), st.sampled_from("gh")),
    max_size=30,
)


@pytest.mark.otp("names.pg_join_leave", "names.pg_death", "names.pg_monitor")
@given(steps)
def test_a_watcher_can_follow_from_what_it_is_told(wanted: list[tuple[str, int, str]]) -> None:
    """The snapshot and the messages after it add up to what is there."""

    async def story() -> None:
        async with open_system() as system:
            groups = ProcessGroups(system)
            refs = [(await puppet(system)).ref for _ in range(4)]
            watcher = Probe(system)
            groups.monitor_scope(watcher.ref)
            for what, who, group in wanted:
                if what == "join":
                    groups.join(group, refs[who])
                elif what == "end":
                    refs[who].exit(KILL)
                elif refs[who] in groups.members(group):
                    groups.leave(group, refs[who])
            await settle()
            followed: dict[Any, list[Any]] = {"g": [], "h": []}
            for change in watcher.messages:
                for ref in change.refs:
                    if isinstance(change, GroupJoined):
                        followed[change.group].append(ref)
                    else:
                        followed[change.group].remove(ref)
            for group, followed_refs in followed.items():
                assert sorted(ref.id for ref in followed_refs) == sorted(
                    ref.id for ref in groups.members(group)
                )
                assert all(ref.is_alive() for ref in groups.members(group))

    run_virtual(story)
