"""Starts at bad moments: cut short by a kill, a terminate or the end of the supervisor, asked for
while it is busy, due to the last bit. Found by the reference (`tests/supervision/model`)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors.runtime import KILL, SHUTDOWN
from actors.runtime.tracing import Restarted
from actors.testkit import Logs, advance, settle
from supervision import (
    ChildInfo,
    ChildSpec,
    ChildStarted,
    Done,
    DynamicSupervisor,
    NotStarted,
    Refusal,
    Restart,
    RestartChild,
    SpawnerHandle,
    StartChild,
    Strategy,
    Supervisor,
    SupervisorSpec,
    TerminateChild,
    admin,
)
from tests.supervision.actors import TEMPORARY, Polite, Slow, Stage
from tests.supervision.test_dynamic import start


async def test_children_of_a_supervisor_killed_before_it_was_ready_end(stage: Stage) -> None:
    stage.world.hold_next("b")
    inner = stage.nest("inner", stage.spec("a", Polite), stage.spec("b"), restart=TEMPORARY)
    stage.system.spawn(Supervisor, SupervisorSpec(children=(inner,)), name="sup")
    await settle()
    polite = stage.ref("a")
    stage.ref("inner").exit(KILL)
    await settle()
    assert not polite.is_alive(), "it traps exits, and heard of the end all the same"


async def test_a_restart_that_was_terminated_is_none(stage: Stage) -> None:
    sup = await stage.supervise("a")
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(0.02)
    assert await admin.terminate_child(sup, "a") == Done()
    assert stage.events.of(Restarted) == []
    info = await admin.which_child(sup, "a")
    assert isinstance(info, ChildInfo)
    assert (str(info.state), info.restarts) == ("stopped", 0)


@pytest.mark.parametrize("what", ["start", "restart"])
async def test_who_asked_for_a_start_hears_that_it_was_terminated(stage: Stage, what: str) -> None:
    sup = await stage.supervise("a")
    await admin.terminate_child(sup, "a")
    stage.world.hold_next("a")
    stage.world.hold_next("b")
    answers: list[Any] = []

    async def ask() -> None:
        if what == "start":
            answers.append(await admin.start_child(sup, stage.spec("b")))
        else:
            answers.append(await admin.restart_child(sup, "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        await admin.terminate_child(sup, "b" if what == "start" else "a")
    assert answers == [NotStarted(SHUTDOWN)]


async def test_a_supervisor_that_ends_is_not_hurried(stage: Stage) -> None:
    """A refused request changes nothing: who starts still waits for his turn to be stopped."""
    sup = await stage.supervise("a", stage.spec("last", Slow))
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(0.02)
    sup.exit(SHUTDOWN)
    await settle()
    assert await admin.terminate_child(sup, "a") is Refusal.ENDING
    await settle()
    assert stage.ref("a").is_alive()
    await advance(3.0)
    assert stage.world.take()[-4:] == ["bye last", "-last shutdown", "-a shutdown", "-sup shutdown"]


async def test_a_dynamic_supervisor_that_ends_starts_nobody(stage: Stage) -> None:
    """Not even one that was retired, and is asked for by hand."""
    spawner, sup = await start(stage, Slow, intensity=0, retire_s=60.0)
    spawner.ensure("x")
    spawner.ensure("y")
    await settle()
    await stage.crash("x")
    sup.exit(SHUTDOWN)
    await settle()
    for request in (RestartChild("x"), TerminateChild("y")):
        assert await sup.call(request) is Refusal.ENDING
    assert stage.system.whereis("x") is None


@pytest.mark.parametrize("restart", [TEMPORARY, Restart.PERMANENT])
async def test_whoever_waits_for_his_first_start_is_no_sibling(
    stage: Stage, restart: Restart
) -> None:
    """It is asked for while its supervisor is busy, and before that looks at an end that concerns
    all."""
    sup = await stage.supervise("a", "b", strategy=Strategy.ONE_FOR_ALL)
    held = stage.world.hold_next("b")
    await stage.crash("b")
    await advance(0.02)
    await stage.crash("a")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await admin.start_child(sup, stage.spec("new", restart=restart)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        held.set()
    assert answers == [ChildStarted(stage.ref("new"))]
    assert [event.child for event in stage.events.of(Restarted)] == ["a", "b"]


async def test_who_waits_when_a_supervisor_ends_hears_in_the_order_he_asked(stage: Stage) -> None:
    """In every run: what follows from the answers may depend on their order."""
    sup = await stage.supervise("a", strategy=Strategy.ONE_FOR_ALL)
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(0.02)
    heard: list[int] = []
    for number in range(50):
        future = sup.ask(StartChild(stage.spec(f"x{number}")), block=False)
        future.on_done(partial(heard.append, number))
    await settle()
    sup.exit(SHUTDOWN)
    await settle()
    assert heard == list(range(50))


async def test_a_retirement_ends_when_it_ends_to_the_last_bit(stage: Stage, logs: Logs) -> None:
    """0.18 + (0.9 - 0.18) is a little less than 0.9: a timer set by what is left comes early."""
    specs = [stage.spec("x")]

    def factory(_: str) -> ChildSpec:
        if trio.current_time() == 0.0:
            raise ValueError("not yet")
        return specs[0]

    await stage.system.start(DynamicSupervisor, factory, intensity=0, retire_s=0.9, name="dyn")
    spawner = SpawnerHandle(stage.system, "dyn")
    assert spawner.ensure("x") is None
    await trio.sleep_until(0.18)
    assert spawner.ensure("x") is None, "retired: it is started as soon as it may"
    await trio.sleep_until(1.0)
    assert stage.ref("x").is_alive()
    logs.expect("could not make x")
