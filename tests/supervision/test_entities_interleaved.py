"""Entities under any interleaving of messages, passivations, crashes and time."""

from __future__ import annotations

import random
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import KILL, ActorDied, open_system
from actors.testkit import advance, run_virtual
from supervision import Supervisor, SupervisorSpec
from tests.supervision.rooms import Room, Thoughtful, Town, rooms

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
