"""Stories of children started on demand: ensure, retire, passivate, outlive a crash."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.runtime import KILL, NORMAL, SHUTDOWN, Actor, NameUp, Ref
from actors.runtime.tracing import ChildRetired, Restarted, RestartScheduled
from actors.testkit import Logs, Probe, advance, settle
from supervision import (
    BRUTAL_KILL,
    AlreadyRunning,
    ChildSpec,
    ChildStarted,
    Counts,
    Done,
    DynamicSupervisor,
    NotStarted,
    Refusal,
    SpawnerHandle,
    Strategy,
    admin,
)
from tests.supervision.actors import TEMPORARY, TRANSIENT, Broken, Deaf, Polite, Slow, Stage, Worker

DYN = "dyn"


def dynamic(stage: Stage, actor: type[Actor] = Worker, **options: Any) -> ChildSpec:
    """A dynamic supervisor as a child; options of the children and of itself."""
    own = ("max_children", "intensity", "period_s", "retire_s")
    kwargs = {key: options.pop(key) for key in own if key in options}
    options = {"restart": TRANSIENT} | options

    def factory(name: str) -> ChildSpec:
        return stage.spec(name, actor, **options)

    return ChildSpec(DYN, DynamicSupervisor, (factory,), kwargs, name=DYN, kind="supervisor")


async def start(
    stage: Stage, actor: type[Actor] = Worker, **options: Any
) -> tuple[SpawnerHandle, Ref]:
    await stage.supervise(dynamic(stage, actor, **options))
    return SpawnerHandle(stage.system, DYN), stage.ref(DYN)


async def test_ensure_starts_a_child_once(stage: Stage) -> None:
    spawner, _ = await start(stage)
    first = spawner.ensure("x")
    assert first is not None
    assert first.is_alive(), "it takes messages before it is ready"
    assert spawner.ensure("x") is first
    assert await first.call("hello") == "hello"
    assert stage.world.take() == ["+x"]


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one")
async def test_a_crashed_child_comes_back_by_itself_and_soon(stage: Stage) -> None:
    spawner, _ = await start(stage)
    spawner.ensure("x")
    await settle()
    await stage.crash("x")
    assert spawner.ensure("x") is None, "not now"
    await advance(0.011)
    assert stage.ref("x").incarnation == 2
    assert [event.child for event in stage.events.of(Restarted)] == ["x"]


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN], ids=str)
async def test_a_passivated_child_is_forgotten_and_may_start_again(
    stage: Stage, reason: object
) -> None:
    spawner, sup = await start(stage)
    spawner.ensure("x")
    await settle()
    stage.ref("x").tell(reason)
    await advance(1.0)
    assert stage.system.whereis("x") is None
    assert await admin.which_children(sup) == []
    assert spawner.ensure("x") is not None


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one")
async def test_a_poisoned_child_is_retired_alone(stage: Stage) -> None:
    spawner, sup = await start(stage, intensity=2, retire_s=30.0)
    other = spawner.ensure("other")
    spawner.ensure("x")
    for _ in range(3):
        await settle()
        await stage.crash("x")
        await advance(0.02)
    assert [(e.child, e.retire_s) for e in stage.events.of(ChildRetired)] == [("x", 30.0)]
    assert spawner.ensure("other") is other
    assert sup.is_alive()
    assert (await admin.count_children(sup)).retired == 1
    await advance(29.0)
    assert stage.system.whereis("x") is None
    await advance(1.1)
    assert stage.ref("x").is_alive(), "it failed, so it was not done"
    assert (await admin.count_children(sup)).retired == 0


async def test_windows_of_children_do_not_mix(stage: Stage) -> None:
    spawner, _ = await start(stage, intensity=1)
    for name in ("x", "y", "z"):
        spawner.ensure(name)
        await settle()
        await stage.crash(name)
    await advance(0.02)
    assert stage.events.of(ChildRetired) == []
    assert len(stage.events.of(Restarted)) == 3


async def test_crashes_far_apart_do_not_retire(stage: Stage) -> None:
    spawner, _ = await start(stage, intensity=1, period_s=10.0)
    spawner.ensure("x")
    for _ in range(4):
        await advance(10.1)
        await stage.crash("x")
    await advance(0.02)
    assert stage.ref("x").incarnation == 5


async def test_a_long_window_is_not_forgotten_early(stage: Stage) -> None:
    spawner, _ = await start(stage, intensity=3, period_s=60.0)
    spawner.ensure("x")
    for _ in range(4):
        await advance(7.0)
        await stage.crash("x")
    assert len(stage.events.of(ChildRetired)) == 1


async def test_who_asked_for_a_retired_child_gets_it_when_it_may_start(stage: Stage) -> None:
    """A watcher asks once; nobody has to ask again."""
    watcher = Probe(stage.system)
    spawner, _ = await start(stage, intensity=0, retire_s=10.0)
    spawner.ensure("x")
    await settle()
    await stage.crash("x")
    assert spawner.ensure("x") is None
    stage.system.watch_name("x", watcher.ref)
    await watcher.expect_nothing(for_s=9.0)
    await watcher.expect(NameUp, within_s=1.1, name="x")


async def test_who_asked_before_the_retirement_gets_it_too(stage: Stage) -> None:
    spawner, _ = await start(stage, intensity=1, retire_s=10.0)
    spawner.ensure("x")
    await settle()
    stage.world.fail_next("x")
    await stage.crash("x")
    assert spawner.ensure("x") is None, "it waits for its restart, which will fail"
    await advance(1.0)
    assert len(stage.events.of(ChildRetired)) == 1
    await advance(9.1)
    assert stage.ref("x").is_alive()


async def test_there_are_never_more_than_max_children(stage: Stage) -> None:
    spawner, _ = await start(stage, max_children=2)
    assert spawner.ensure("x") is not None
    assert spawner.ensure("y") is not None
    assert spawner.ensure("z") is None
    await settle()
    await stage.crash("x")
    assert spawner.ensure("z") is None, "a restart keeps its place"
    await advance(0.02)
    stage.ref("y").tell(NORMAL)
    await settle()
    assert stage.ref("z").is_alive(), "it waited for a place"


async def test_a_child_that_cannot_be_made_harms_nobody(stage: Stage, logs: Logs) -> None:
    spawner, sup = await start(stage, Broken, intensity=3, retire_s=10.0)
    assert spawner.ensure("x") is None
    await advance(1.0)
    assert sup.is_alive()
    assert len(stage.events.of(ChildRetired)) == 1
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0, 0, 1)
    logs.expect("could not make x", times=4)


async def test_a_start_that_fails_is_tried_again(stage: Stage) -> None:
    spawner, _ = await start(stage)
    stage.world.fail_next("x", 2)
    spawner.ensure("x")
    await advance(0.03)
    assert stage.ref("x").incarnation == 3
    assert len(stage.events.of(RestartScheduled)) == 2


async def test_a_start_that_hangs_is_ended(stage: Stage) -> None:
    spawner, _ = await start(stage, start_s=5.0)
    stage.world.hold_next("x")
    spawner.ensure("x")
    await advance(4.9)
    assert stage.ref("x").incarnation == 1
    await advance(1.2)
    assert stage.ref("x").incarnation == 2


async def test_a_start_that_ignores_is_forgotten(stage: Stage) -> None:
    spawner, sup = await start(stage)
    stage.world.ignore_next("x")
    spawner.ensure("x")
    await advance(1.0)
    assert await admin.which_children(sup) == []


# ---------------------------------------------------------------------- the supervisor's own end


async def test_children_stop_together(stage: Stage) -> None:
    await start(stage, Slow)
    spawner = SpawnerHandle(stage.system, DYN)
    for index in range(100):
        spawner.ensure(f"x{index}")
    await settle()
    asked_s = trio.current_time()
    await stage.system.stop(stage.ref("sup"))
    assert trio.current_time() - asked_s == pytest.approx(3.0, abs=0.01)
    assert list(stage.system.actors()) == []


async def test_children_stop_each_within_its_own_limit(stage: Stage) -> None:
    _, sup = await start(stage)
    limits: list[tuple[str, type[Actor], Any]] = [
        ("a", Deaf, 2.0), ("b", Deaf, 1.0), ("c", Polite, BRUTAL_KILL), ("d", Slow, None),
    ]  # fmt: skip
    for name, actor, limit_s in limits:
        await admin.start_child(sup, stage.spec(name, actor, shutdown_s=limit_s))
    stage.world.take()
    await stage.system.stop(stage.ref("sup"))
    ends = [line for line in stage.world.take() if line.startswith("-")]
    assert ends == [
        "-c killed", "-b killed", "-a killed", "-d shutdown", "-dyn shutdown", "-sup shutdown",
    ]  # fmt: skip


@pytest.mark.parametrize("actor", [Worker, Polite])
async def test_a_killed_dynamic_supervisor_takes_its_children_along(
    stage: Stage, actor: type[Actor]
) -> None:
    spawner, sup = await start(stage, actor)
    children = [spawner.ensure(f"x{index}") for index in range(10)]
    await settle()
    sup.exit(KILL)
    await advance(0.02)
    assert not any(child is not None and child.is_alive() for child in children)
    assert stage.ref(DYN).incarnation == 2


async def test_what_was_asked_for_while_the_supervisor_was_down_is_started(stage: Stage) -> None:
    spawner, sup = await start(stage)
    spawner.ensure("x")
    await settle()
    sup.exit(KILL)
    assert spawner.ensure("x") is None
    await advance(0.02)
    assert stage.ref("x").is_alive()


async def test_what_was_asked_for_while_the_supervisor_stopped_is_started(stage: Stage) -> None:
    await stage.supervise("a", dynamic(stage, Slow), strategy=Strategy.ONE_FOR_ALL)
    spawner = SpawnerHandle(stage.system, DYN)
    spawner.ensure("x")
    await settle()
    await stage.crash("a")
    await advance(1.0)
    assert spawner.ensure("y") is None
    await advance(2.1)
    assert stage.ref("y").is_alive()
    assert stage.system.whereis("x") is None, "nobody asked for it since"


async def test_a_stuck_child_of_a_dead_supervisor_does_not_keep_its_name(stage: Stage) -> None:
    spawner, sup = await start(stage, Deaf)
    stuck = spawner.ensure("x")
    await settle()
    sup.exit(KILL)
    await advance(1.0)
    assert spawner.ensure("x") is stuck
    await advance(6.0)
    assert spawner.ensure("x") is not stuck


# ---------------------------------------------------------------------- by hand


async def test_a_life_of_a_dynamic_child_by_hand(stage: Stage) -> None:
    _, sup = await start(stage, intensity=1, max_children=2)
    spec = stage.spec("x", restart=TRANSIENT)
    assert await admin.start_child(sup, spec) == ChildStarted(stage.ref("x"))
    assert await admin.start_child(sup, spec) == AlreadyRunning(stage.ref("x"))
    assert await admin.restart_child(sup, "x") is Refusal.RUNNING
    assert await admin.delete_child(sup, "x") is Refusal.RUNNING
    await stage.crash("x")
    assert await admin.restart_child(sup, "x") is Refusal.RESTARTING
    assert await admin.start_child(sup, spec) is Refusal.ALREADY_PRESENT
    await advance(0.02)
    await stage.crash("x")
    assert [str(info.state) for info in await admin.which_children(sup)] == ["retired"]
    assert await admin.restart_child(sup, "x") == ChildStarted(stage.ref("x")), "pardoned"
    assert await admin.terminate_child(sup, "x") == Done()
    assert await admin.terminate_child(sup, "x") is Refusal.NOT_FOUND
    for name in ("y", "z"):
        await admin.start_child(sup, stage.spec(name, restart=TEMPORARY))
    assert await admin.start_child(sup, spec) is Refusal.MAX_CHILDREN
    await stage.crash("y")
    assert (await admin.count_children(sup)).specs == 1


async def test_a_dynamic_child_that_fails_to_start_by_hand_is_not_kept(stage: Stage) -> None:
    _, sup = await start(stage)
    stage.world.fail_next("x")
    assert isinstance(await admin.start_child(sup, stage.spec("x")), NotStarted)
    assert isinstance(await admin.start_child(sup, stage.spec("y", Broken)), NotStarted)
    await advance(1.0)
    assert await admin.which_children(sup) == []


async def test_terminating_a_child_that_waits_cancels_its_restart(stage: Stage) -> None:
    spawner, sup = await start(stage)
    spawner.ensure("x")
    await settle()
    await stage.crash("x")
    assert await admin.terminate_child(sup, "x") == Done()
    await advance(1.0)
    assert stage.system.whereis("x") is None


async def test_thousands_of_children_come_and_go(stage: Stage) -> None:
    spawner, sup = await start(stage)
    names = [f"x{index}" for index in range(3_000)]
    for name in names:
        spawner.ensure(name)
    await settle()
    assert (await admin.count_children(sup)).active == 3_000
    for name in names:
        stage.ref(name).tell("crash" if name.endswith("7") else NORMAL)
    await advance(0.02)
    counts = await admin.count_children(sup)
    assert (counts.active, counts.restarting) == (300, 0)


async def test_starts_are_watched_by_one_timer_however_many_there_are(stage: Stage) -> None:
    spawner, _ = await start(stage, restart=TEMPORARY)
    for number in range(20):
        spawner.ensure(str(number))
        await advance(0.01)
    assert stage.system.statistics().timers == 1
