"""Entities that are not needed, or have no supervisor or no region: nobody waits for ever."""

from __future__ import annotations

import pytest

from actors.runtime import (
    KILL,
    Actor,
    ActorDied,
    Ignore,
)
from actors.testkit import advance, settle
from supervision import (
    ChildSpec,
    Directive,
    Done,
    SpawnerHandle,
    Supervisor,
    SupervisorSpec,
    admin,
)
from tests.supervision.actors import Stage
from tests.supervision.rooms import Thoughtful, Town, open_town, rooms


async def ignore(_: str) -> None:
    raise Ignore


@pytest.mark.parametrize("busy", [False, True])
async def test_nothing_goes_to_an_orphan_that_still_has_the_name(stage: Stage, busy: bool) -> None:
    class Stubborn(Thoughtful):
        trap_exit = True

    entities, town = await open_town(stage, Stubborn)
    town.stop_s = 1.0
    orphan = SpawnerHandle(stage.system, "rooms.spawner").ensure("room:wood")
    await settle()
    assert orphan is not None
    if busy:
        orphan.cast("from elsewhere")
        await settle()
    stage.ref("rooms.spawner").exit(KILL)
    await advance(0.1)
    assert orphan.is_alive()
    assert await entities.entity("room", "wood").call("a", timeout_s=10.0) == 2
    assert town.topics("wood") == ["from elsewhere", "a"][not busy :]


async def test_an_entity_that_stops_by_its_failure_comes_back_only_for_a_message(
    stage: Stage,
) -> None:
    entities, town = await open_town(stage, on_error={ValueError: Directive.STOP})
    wood = entities.entity("room", "wood")
    await wood.call(1)
    wood.cast("crash")
    await advance(10.0)
    assert town.lives == {"wood": 1}
    assert entities.statistics()["coming"] == 0
    assert await wood.call(2) == 2


async def test_one_that_is_started_when_there_is_place_and_is_not_needed_is_forgotten(
    stage: Stage,
) -> None:
    entities, town = await open_town(stage, live_max=1)
    town.stop_s = 1.0
    await entities.entity("room", "wood").call("a")
    town.start = ignore
    with pytest.raises(ActorDied, match="room:lake is not needed"):
        await entities.entity("room", "lake").call("b")
    assert entities.statistics()["coming"] == 0


async def test_one_that_is_restarted_and_is_not_needed_is_forgotten(stage: Stage) -> None:
    entities, town = await open_town(stage)

    async def fail_once(id_: str) -> None:
        town.start = ignore
        raise ValueError("no bed")

    town.start = fail_once
    with pytest.raises(ActorDied, match="room:wood is not needed"):
        await entities.entity("room", "wood").call("a")


async def test_one_that_an_operator_terminates_comes_when_something_waits(stage: Stage) -> None:
    entities, _ = await open_town(stage, idle_s=4.0)
    wood = entities.entity("room", "wood")
    await wood.call("a")
    wood.cast("crash")
    await settle()
    spawner = stage.ref("rooms.spawner")
    assert wood.cast("b")
    assert await admin.terminate_child(spawner, "room:wood") == Done()
    assert await wood.call("c", timeout_s=2.0) == 2


async def test_one_that_comes_back_while_there_is_no_region_is_passivated(stage: Stage) -> None:
    entities, _ = await open_town(stage)
    wood = entities.entity("room", "wood")
    await wood.call("a")
    wood.cast("crash")
    await settle()
    stage.ref("rooms").exit(KILL)
    await advance(10.0)
    assert stage.ref("room:wood").incarnation == 2
    assert entities.statistics()["here"] == 1
    await advance(200.0)
    assert stage.system.whereis("room:wood") is None


async def test_nothing_goes_to_one_whose_supervisor_has_ended(stage: Stage) -> None:
    class Stubborn(Thoughtful):
        trap_exit = True

    entities, town = await open_town(stage, Stubborn)
    wood = entities.entity("room", "wood")
    wood.cast("a")
    await advance(0.5)
    stage.ref("rooms.spawner").exit(KILL)
    await settle()
    assert stage.ref("room:wood").is_alive(), "it has been told to end, and is not at it yet"
    assert await wood.call("b", timeout_s=10.0) == 2
    assert town.topics("wood") == ["a", "b"]


async def test_entities_serve_those_that_are_stopped_before_them(stage: Stage) -> None:
    class Guest(Actor):
        trap_exit = True

        async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
            answers.append(await wood.call("goodbye"))

    answers: list[int] = []
    entities = rooms(Town())
    wood = entities.entity("room", "wood")
    tree = SupervisorSpec(children=(entities.child_spec(), ChildSpec("guest", Guest)))
    root = await stage.system.start(Supervisor, tree)
    assert root is not None
    await stage.system.stop(root)
    assert answers == [1]


async def test_an_entity_that_is_not_needed_is_not_asked_for_ever(stage: Stage) -> None:
    entities, town = await open_town(stage)
    town.start = ignore
    with pytest.raises(ActorDied, match="room:wood is not needed"):
        await entities.entity("room", "wood").call("a")
    await settle()
    assert entities.statistics() == {
        "here": 0, "coming": 0, "leaving": 0, "waiting": 0, "refused": 1
    }  # fmt: skip
