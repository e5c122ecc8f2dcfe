"""Stories of entities: they come with a message, go when idle, and nothing is lost between."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILL,
    NORMAL,
    Actor,
    ActorDied,
    CallTimeout,
    MailboxFull,
    NameUp,
    Overflow,
    open_system,
)
from actors.testkit import advance, run_virtual, settle
from supervision import (
    ChildSpec,
    Entities,
    InvalidSpec,
    Passivated,
    Passivation,
    Supervisor,
    SupervisorSpec,
)
from supervision.residents import Resident
from tests.supervision.actors import Stage
from tests.supervision.rooms import Room, Thoughtful, Town, open_town, rooms


async def test_the_first_message_starts_an_entity_and_the_next_find_it(stage: Stage) -> None:
    entities, town = await open_town(stage)
    wood = entities.entity("room", "wood")
    assert town.lives == {}
    assert wood.cast("first")
    assert await wood.call("second") == 1
    assert town.topics("wood") == ["first", "second"]
    assert stage.ref("room:wood").is_alive()


async def test_only_messages_through_the_region_keep_an_entity(stage: Stage) -> None:
    entities, _ = await open_town(stage, idle_s=100.0)
    for name in ("used", "talked to past the region"):
        await entities.entity("room", name).call("hello")
    past = stage.ref("room:talked to past the region")
    for _ in range(4):
        await advance(40.0)
        entities.entity("room", "used").cast("again")
        past.cast("again")
    assert not past.is_alive()
    assert past.exit_reason == NORMAL
    assert stage.ref("room:used").incarnation == 1
    assert [(event.name, event.why) for event in stage.events.of(Passivated)] == [
        (past.name, Passivation.IDLE)
    ]
    await advance(130.0)
    assert entities.statistics() == {
        "here": 0, "coming": 0, "leaving": 0, "waiting": 0, "refused": 0
    }  # fmt: skip


async def test_what_is_sent_while_an_entity_ends_waits_for_the_next(stage: Stage) -> None:
    entities, town = await open_town(stage, Thoughtful)
    town.stop_s = 5.0
    wood = entities.entity("room", "wood")
    wood.cast("a")
    await settle()
    wood.cast("b")
    wood.passivate()
    assert wood.cast("c")
    answers: list[int] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await wood.call("d", timeout_s=30.0))

        nursery.start_soon(ask)
        await advance(3.0)
        assert town.topics("wood") == ["a", "b"], "what it had, it did"
        assert entities.statistics()["waiting"] == 2
    assert town.topics("wood") == ["a", "b", "c", "d"]
    assert answers == [2]
    assert [event.why for event in stage.events.of(Passivated)] == [Passivation.ASKED]


async def test_an_entity_asks_for_its_own_passivation(stage: Stage) -> None:
    entities, town = await open_town(stage)

    class Guest(Room):
        def on_receive(self, message: Any) -> Any:
            entities.entity("room", self.id).passivate()
            return super().on_receive(message)

    entities._kinds["room"] = lambda id_: ChildSpec(id_, Guest, (town, id_))
    wood = entities.entity("room", "wood")
    await wood.call(0)
    for number in range(1, 10):
        wood.cast(number)
    await settle()
    assert town.topics("wood") == list(range(10))
    assert town.lives["wood"] >= 2
    assert stage.system.whereis("room:wood") is None


async def test_beyond_the_limit_the_least_recently_used_makes_room(stage: Stage) -> None:
    entities, _ = await open_town(stage, live_max=2)
    for name in ("a", "b", "a", "c"):
        await entities.entity("room", name).call(f"to {name}")
    assert sorted(stage.system.names)[:2] == ["room:a", "room:c"]
    assert stage.system.whereis("room:b") is None
    assert [(e.name, e.why) for e in stage.events.of(Passivated)] == [
        ("room:b", Passivation.MAKES_ROOM)
    ]


async def test_a_crowd_beyond_the_limit_is_served_in_turn(stage: Stage) -> None:
    entities, town = await open_town(stage, live_max=2)
    most = 0

    def count(_: Any) -> None:
        nonlocal most
        most = max(most, sum(name.startswith("room:") for name in stage.system.names))

    stage.system.events.subscribe(count)
    names = [f"{number}" for number in range(20)]
    for round_ in range(3):
        for name in names:
            assert entities.entity("room", name).cast(round_)
    await settle()
    assert {name: town.topics(name) for name in names} == {name: [0, 1, 2] for name in names}
    assert most == 2, "the limit holds at every moment"


async def test_one_too_busy_to_make_room_is_asked_again(stage: Stage) -> None:
    entities, town = await open_town(stage, Thoughtful, live_max=1)
    busy, other = entities.entity("room", "busy"), entities.entity("room", "other")
    await busy.call(0)
    for number in range(1, 1 + Room.mailbox_max):
        busy.cast(number)
    assert await other.call("a", timeout_s=60.0) == 1
    assert town.topics("busy") == list(range(1 + Room.mailbox_max))


async def test_what_waits_outlives_starts_that_fail(stage: Stage) -> None:
    entities, town = await open_town(stage)
    fails = iter([True, True, False])

    async def start(_: str) -> None:
        if next(fails):
            raise OSError("no store")

    town.start = start
    wood = entities.entity("room", "wood")
    wood.cast("a")
    assert await wood.call("b") == 1
    assert town.topics("wood") == ["a", "b"]


async def test_what_waits_outlives_retirement(stage: Stage) -> None:
    entities, town = await open_town(stage, intensity=0, retire_s=30.0)
    wood = entities.entity("room", "wood")
    await wood.call("a")
    wood.cast("crash")
    await settle()
    with pytest.raises(CallTimeout):
        await wood.call("b", timeout_s=1.0)
    assert entities.statistics()["waiting"] == 1
    await advance(30.0)
    assert town.topics("wood") == ["a", "b"]


async def test_a_crash_takes_its_mailbox_and_nothing_else(stage: Stage) -> None:
    entities, town = await open_town(stage)
    wood = entities.entity("room", "wood")
    await wood.call("a")
    wood.cast("crash")
    with pytest.raises(ActorDied):
        await wood.call("lost")
    assert wood.cast("b")
    await advance(1.0)
    assert town.topics("wood") == ["a", "b"]


async def test_an_entity_that_crashed_is_known_again_without_a_message(stage: Stage) -> None:
    entities, _ = await open_town(stage, idle_s=50.0)
    entities.entity("room", "wood").cast("crash")
    await advance(1.0)
    assert stage.ref("room:wood").incarnation == 2
    assert entities.statistics()["here"] == 1
    await advance(70.0)
    assert stage.system.whereis("room:wood") is None, "so it may be passivated"


@pytest.mark.parametrize("part", ["rooms", "rooms.spawner"])
async def test_what_waits_outlives_the_region_and_its_supervisor(stage: Stage, part: str) -> None:
    entities, town = await open_town(stage)
    here, leaving, coming = (entities.entity("room", name) for name in ("h", "l", "c"))
    await here.call(0)
    await leaving.call(0)
    town.start_s = town.stop_s = 1.0
    leaving.passivate()
    coming.cast(1)
    await settle()
    stage.ref(part).exit(KILL)
    for entity in (here, leaving, coming):
        assert entity.cast(2)
    await advance(10.0)
    assert town.topics("h") == [0, 2]
    assert town.topics("l") == [0, 2]
    assert town.topics("c") == [1, 2]
    here.passivate()
    await advance(10.0)
    assert entities.statistics()["leaving"] == 0, "the new region hears of ends"


async def test_an_entity_that_dies_as_soon_as_it_is_ready_takes_nothing_along(stage: Stage) -> None:
    class Reaper(Actor):
        def on_receive(self, message: Any) -> None:
            assert isinstance(message, NameUp)
            message.ref.exit(KILL)

    entities, _ = await open_town(stage)
    reaper = await stage.system.start(Reaper)
    assert reaper is not None
    stage.system.watch_name("room:wood", reaper)
    assert await entities.entity("room", "wood").call("a") == 2


async def test_an_entity_that_does_not_end_is_killed_and_comes_back(stage: Stage) -> None:
    entities, town = await open_town(stage, leave_s=8.0)
    town.stop_s = 20.0
    wood = entities.entity("room", "wood")
    await wood.call("a")
    first = stage.ref("room:wood")
    wood.passivate()
    wood.cast("b")
    await advance(11.0)
    assert first.exit_reason is not None
    assert town.topics("wood") == ["a", "b"]


async def test_an_entity_that_takes_long_but_gets_on_is_not_killed(stage: Stage) -> None:
    entities, town = await open_town(stage, Thoughtful, leave_s=8.0)
    wood = entities.entity("room", "wood")
    await wood.call(0)
    for number in range(1, 20):
        wood.cast(number)
    wood.passivate()
    await advance(40.0)
    assert town.topics("wood") == list(range(20))
    assert town.lives["wood"] == 1


async def test_more_idle_entities_than_a_slice_go_in_one_look(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervision.entities.SLICE_ENTITIES", 2)
    entities, _ = await open_town(stage, idle_s=100.0)
    for number in range(7):
        entities.entity("room", f"{number}").cast("hello")
    await advance(99.0)
    assert entities.statistics()["here"] == 7
    await advance(7.0)
    assert entities.statistics()["here"] == 0
    assert {event.at_s for event in stage.events.of(Passivated)} == {105.0}


async def test_too_many_entities_that_do_not_come_are_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervision.entities.OWED_MAX", 2)
    entities, town = await open_town(stage)
    town.start_s = 1.0
    assert [entities.entity("room", name).cast("hello") for name in "abca"] == [
        True, True, False, True,
    ]  # fmt: skip
    with pytest.raises(MailboxFull, match="2 entities are waited for already"):
        await entities.entity("room", "c").call("hello")
    await advance(2.0)
    assert entities.entity("room", "c").cast("hello")


def test_addresses_of_the_same_entity_are_equal() -> None:
    entities = rooms(Town())
    assert entities.entity("room", "a:b") == entities.entity("room", "a:b")
    assert len({entities.entity("room", "a"), entities.entity("room", "a")}) == 1
    assert rooms(Town()).entity("room", "a") != entities.entity("room", "a")
    assert repr(entities.entity("room", "a")) == "EntityRef(name='room:a')"


async def test_what_waits_has_the_bound_of_a_mailbox(stage: Stage) -> None:
    entities, town = await open_town(stage)
    town.start_s = 1.0
    wood = entities.entity("room", "wood")
    taken = [wood.cast(number) for number in range(Room.mailbox_max + 2)]
    assert taken == [True] * Room.mailbox_max + [False] * 2
    with pytest.raises(MailboxFull, match="20 messages wait for room:wood"):
        await wood.call("too much")
    await advance(2.0)
    assert town.topics("wood") == list(range(Room.mailbox_max))
    assert entities.statistics()["refused"] == 3


@pytest.mark.parametrize(
    ("overflow", "third", "waiting"),
    [
        (Overflow.REFUSE, (False, 3), [1, 2]),
        (Overflow.STOP_RECEIVER, (False, 3), [1, 2]),
        (Overflow.DROP_NEWEST, (True, 3), [1, 2]),
        (Overflow.DROP_OLDEST, (True, 1), [2, 3]),
    ],
)
def test_what_waits_overflows_by_the_policy_of_the_mailbox(
    overflow: Overflow, third: tuple[bool, int], waiting: list[int]
) -> None:
    actor = type("Small", (Actor,), {"mailbox_max": 2, "overflow": overflow})
    resident = Resident("room:wood", actor)
    assert [resident.wait(number) for number in (1, 2, 3)] == [(True, None), (True, None), third]
    assert list(resident.waiting) == waiting


def test_bad_settings_and_addresses_are_named() -> None:
    with pytest.raises(InvalidSpec) as told:
        Entities("rooms", {"a:b": rooms(Town())._spec}, live_max=0, idle_s=-1.0)
    paths = [problem.path for problem in told.value.problems]
    assert paths == ["rooms.a:b", "rooms.live_max", "rooms.idle_s"]
    with pytest.raises(ValueError, match="kind: 'hall' is none of rooms: room"):
        rooms(Town()).entity("hall", "wood")


# --------------------------------------------------------------------------- any interleaving

ID = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("send"), ID),
    st.tuples(st.just("send"), ID),
    st.tuples(st.just("ask"), ID),
    st.tuples(st.just("passivate"), ID),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 1.0, 20.0])),
    st.tuples(st.just("turn"), st.just("")),
)
CRASHES = st.one_of(
    STEPS,
    st.tuples(st.just("kill"), ID),
    st.tuples(st.just("fail to start"), st.just("")),
    st.tuples(st.just("kill part"), st.sampled_from(["rooms", "rooms.spawner"])),
)


async def live(steps: list[tuple[str, Any]], actor: type[Room]) -> tuple[Town, dict[str, int], int]:
    """Do all that and let it settle; what was sent to each, and how many asks got no answer."""
    town, sent, failures, unanswered = Town(), dict.fromkeys("abc", 0), 0, 0

    async def start(_: str) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError("no store")

    town.start, town.start_s, town.stop_s = start, 0.2, 0.2
    entities = rooms(town, actor, live_max=2, idle_s=10.0, intensity=100)
    part = entities.child_spec()
    async with open_system(random.Random(3)) as system, trio.open_nursery() as nursery:
        spec = SupervisorSpec(intensity=1000, children=(part,))
        await system.start(Supervisor, spec)

        async def ask(id_: str) -> None:
            nonlocal unanswered
            number, sent[id_] = sent[id_], sent[id_] + 1
            try:
                await entities.entity("room", id_).call(number, timeout_s=1000.0)
            except ActorDied:
                unanswered += 1

        for what, about in steps:
            match what:
                case "send":
                    assert entities.entity("room", about).cast(sent[about])
                    sent[about] += 1
                case "ask":
                    nursery.start_soon(ask, about)
                    await trio.lowlevel.checkpoint()
                case "passivate":
                    entities.entity("room", about).passivate()
                case "wait":
                    await advance(about)
                case "turn":
                    await trio.lowlevel.checkpoint()
                case "fail to start":
                    failures += 1
                case _:
                    ref = system.whereis(about if what == "kill part" else f"room:{about}")
                    if ref is not None:
                        ref.exit(KILL)
        await advance(40.0)
        assert entities.statistics() == {
            "here": 0, "coming": 0, "leaving": 0, "waiting": 0, "refused": 0
        }  # fmt: skip
        assert not [name for name in system.names if name.startswith("room:")]
    return town, sent, unanswered


@given(steps=st.lists(STEPS, max_size=15))
def test_without_a_crash_every_message_is_handled_once_and_in_order(
    steps: list[tuple[str, Any]],
) -> None:
    town, sent, unanswered = run_virtual(live, steps, Thoughtful)
    assert {id_: town.topics(id_) for id_ in sent} == {id_: [*range(n)] for id_, n in sent.items()}
    assert unanswered == 0


@given(steps=st.lists(CRASHES, max_size=15))
def test_whatever_crashes_no_message_is_handled_twice_or_out_of_order(
    steps: list[tuple[str, Any]],
) -> None:
    town, sent, _ = run_virtual(live, steps, Room)
    for id_, count in sent.items():
        heard = town.topics(id_)
        assert heard == sorted(set(heard))
        assert set(heard) <= set(range(count))


@given(steps=st.lists(CRASHES.filter(lambda step: step[0] != "kill"), max_size=15))
def test_a_region_that_crashes_or_a_start_that_fails_loses_nothing(
    steps: list[tuple[str, Any]],
) -> None:
    steps = [step for step in steps if step != ("kill part", "rooms.spawner")]
    town, sent, unanswered = run_virtual(live, steps, Room)
    assert {id_: town.topics(id_) for id_ in sent} == {id_: [*range(n)] for id_, n in sent.items()}
    assert unanswered == 0
