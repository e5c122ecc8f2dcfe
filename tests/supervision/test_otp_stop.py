"""Stopping as OTP's supervisors do: limits, kills, and children that end by themselves."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import trio

from actors.runtime import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason, Shutdown
from actors.runtime.exits import Crash
from actors.runtime.tracing import Exited
from actors.testkit import advance, settle
from supervision import (
    BRUTAL_KILL,
    ChildSpec,
    Restart,
    SpawnerHandle,
    Strategy,
    UncleanShutdown,
    UncleanShutdowns,
    admin,
)
from supervision.strategy import is_clean_end
from tests.supervision.actors import (
    TEMPORARY,
    TRANSIENT,
    Deaf,
    Polite,
    Slow,
    Stage,
    Willful,
    Worker,
)
from tests.supervision.test_dynamic import start

REASONS: list[ExitReason] = [NORMAL, SHUTDOWN, Shutdown("done"), Custom("odd")]


def willful(stage: Stage, id_: str, reason: ExitReason, **options: Any) -> ChildSpec:
    return ChildSpec(id_, Willful, (stage.world, id_, reason), name=id_, **options)


def reasons(stage: Stage) -> dict[str | None, ExitReason]:
    return {event.name: event.reason for event in stage.events.of(Exited)}


@pytest.mark.otp("supervisor_SUITE.sup_stop_infinity")
async def test_workers_and_supervisors_may_take_all_the_time_they_want(stage: Stage) -> None:
    class Patient(Slow):
        stop_s = 25.0

    inner = stage.nest("inner", stage.spec("b"), shutdown_s=None)
    sup = await stage.supervise(stage.spec("a", Patient, shutdown_s=None), inner)
    asked_s = trio.current_time()
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN
    assert trio.current_time() - asked_s == pytest.approx(25.0, abs=0.1)
    assert set(reasons(stage).values()) == {SHUTDOWN}


@pytest.mark.otp("supervisor_SUITE.sup_stop_timeout")
async def test_one_that_ignores_its_shutdown_is_killed_and_its_sibling_is_not(
    stage: Stage,
) -> None:
    sup = await stage.supervise("a", stage.spec("b", Deaf, shutdown_s=1.0), "c")
    asked_s = trio.current_time()
    sup.exit(SHUTDOWN)
    await sup.wait_exit()
    assert trio.current_time() - asked_s == pytest.approx(1.0)
    assert reasons(stage) == {"a": SHUTDOWN, "b": KILLED, "c": SHUTDOWN, "sup": SHUTDOWN}


@pytest.mark.otp("supervisor_SUITE.sup_stop_timeout_dynamic")
async def test_a_dynamic_child_that_ignores_its_shutdown_is_killed(stage: Stage) -> None:
    _, sup = await start(stage)
    await admin.start_child(sup, stage.spec("x", Deaf, shutdown_s=1.0))
    await admin.start_child(sup, stage.spec("y", Polite))
    asked_s = trio.current_time()
    await stage.system.stop(sup)
    assert trio.current_time() - asked_s == pytest.approx(1.0)
    assert reasons(stage) == {"x": KILLED, "y": SHUTDOWN, "dyn": SHUTDOWN}


@pytest.mark.otp("supervisor_SUITE.sup_stop_brutal_kill")
async def test_a_child_to_be_killed_is_not_asked(stage: Stage) -> None:
    sup = await stage.supervise("a", stage.spec("b", Polite, shutdown_s=BRUTAL_KILL))
    sup.exit(SHUTDOWN)
    await sup.wait_exit()
    assert "bye b" not in stage.world.log
    assert reasons(stage) == {"a": SHUTDOWN, "b": KILLED, "sup": SHUTDOWN}
    assert stage.events.of(UncleanShutdown) == []


@pytest.mark.otp("supervisor_SUITE.sup_stop_brutal_kill_dynamic")
async def test_ten_dynamic_children_are_killed(stage: Stage) -> None:
    spawner, sup = await start(stage, Polite, shutdown_s=BRUTAL_KILL)
    names = [f"x{index}" for index in range(10)]
    for name in names:
        spawner.ensure(name)
    await settle()
    await stage.system.stop(sup)
    assert [reasons(stage)[name] for name in names] == [KILLED] * 10
    assert stage.events.of(UncleanShutdowns) == []


@pytest.mark.otp("supervisor_SUITE.sup_stop_race")
@pytest.mark.parametrize(("restart", "reason"), list(product(Restart, REASONS)))
async def test_whoever_ends_while_the_supervisor_stops_keeps_its_reason(
    stage: Stage, restart: Restart, reason: ExitReason
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=restart), stage.spec("b", Slow))
    sup.exit(SHUTDOWN)
    await advance(1.0)
    stage.ref("a").tell(reason)
    assert await sup.wait_exit() == SHUTDOWN
    assert reasons(stage)["a"] == reason
    assert stage.world.log.count("+a") == 1, "nobody is restarted any more"


@pytest.mark.otp("supervisor_SUITE.sup_stop_non_shutdown_exit_dynamic")
@pytest.mark.parametrize("restart", list(Restart))
async def test_dynamic_children_may_end_for_reasons_of_their_own(
    stage: Stage, restart: Restart
) -> None:
    _, sup = await start(stage)
    for index, reason in enumerate(REASONS):
        await admin.start_child(sup, willful(stage, f"x{index}", reason, restart=restart))
    await stage.system.stop(sup)
    assert sup.exit_reason == SHUTDOWN
    assert [reasons(stage)[f"x{index}"] for index in range(4)] == REASONS


@pytest.mark.otp("law.L13")
@pytest.mark.parametrize(("restart", "reason"), list(product(Restart, REASONS)))
async def test_an_end_that_was_not_asked_for_is_reported(
    stage: Stage, restart: Restart, reason: ExitReason
) -> None:
    """For a permanent child even a normal one."""
    sup = await stage.supervise(willful(stage, "a", reason, restart=restart))
    await admin.terminate_child(sup, "a")
    is_odd = reason == Custom("odd") or (
        restart is Restart.PERMANENT and reason in (NORMAL, Shutdown("done"))
    )
    expected = [("a", reason)] if is_odd else []
    assert [(event.child, event.reason) for event in stage.events.of(UncleanShutdown)] == expected


@pytest.mark.otp("law.L13")
def test_what_is_a_clean_end() -> None:
    permanent = ChildSpec("a", Worker)
    brutal = ChildSpec("a", Worker, shutdown_s=BRUTAL_KILL)
    transient = ChildSpec("a", Worker, restart=TRANSIENT, shutdown_s=BRUTAL_KILL)
    assert is_clean_end(permanent, SHUTDOWN)
    assert not is_clean_end(permanent, KILLED), "it had to be killed"
    assert is_clean_end(brutal, KILLED)
    assert not is_clean_end(brutal, SHUTDOWN), "it ended on its own just before"
    assert is_clean_end(transient, SHUTDOWN)
    assert not is_clean_end(transient, Crash("ValueError", ""))


@pytest.mark.otp("supervisor_SUITE.format_log_2")
async def test_unclean_ends_of_many_are_one_report_for_each_reason(stage: Stage) -> None:
    _, sup = await start(stage)
    for index in range(20):
        reason = Custom("odd") if index % 4 else Custom({"un": "hashable"})
        await admin.start_child(sup, willful(stage, f"x{index}", reason, restart=TEMPORARY))
    await admin.start_child(sup, stage.spec("y", Deaf))
    await stage.system.stop(sup, timeout_s=30.0)
    reports = {
        (event.children, event.reason.__class__) for event in stage.events.of(UncleanShutdowns)
    }
    assert len(stage.events.of(UncleanShutdowns)) == 3
    assert reports == {(15, Custom), (5, Custom), (1, type(KILLED))}


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_shutdown", "law.L3")
async def test_dynamic_children_stop_together_within_their_limit(stage: Stage) -> None:
    class Quick(Slow):
        stop_s = 1.0

    class Sluggish(Slow):
        stop_s = 5.0

    _, sup = await start(stage)
    for name, actor in (("a", Quick), ("b", Quick), ("c", Sluggish)):
        await admin.start_child(sup, stage.spec(name, actor, shutdown_s=2.0))
    asked_s = trio.current_time()
    await stage.system.stop(sup)
    assert trio.current_time() - asked_s == pytest.approx(2.0, abs=0.01)
    assert reasons(stage) == {"a": SHUTDOWN, "b": SHUTDOWN, "c": KILLED, "dyn": SHUTDOWN}


@pytest.mark.otp("supervisor_SUITE.order_of_children", "law.L3")
async def test_children_start_in_order_and_stop_in_reverse_in_part_and_in_full(
    stage: Stage,
) -> None:
    sup = await stage.supervise("a", "b", "c", "d", strategy=Strategy.REST_FOR_ONE)
    assert stage.world.take() == ["+a", "+b", "+c", "+d"]
    await stage.crash("c")
    await advance(0.02)
    assert stage.world.take() == ["-c ValueError", "-d shutdown", "+c", "+d"]
    sup.exit(SHUTDOWN)
    await sup.wait_exit()
    assert stage.world.take() == [
        "-d shutdown", "-c shutdown", "-b shutdown", "-a shutdown", "-sup shutdown",
    ]  # fmt: skip


async def test_what_is_asked_for_while_a_dynamic_supervisor_stops_is_shown(stage: Stage) -> None:
    _, sup = await start(stage, Slow)
    SpawnerHandle(stage.system, "dyn").ensure("x")
    await settle()
    sup.exit(SHUTDOWN, stage.ref("sup"))
    await advance(1.0)
    assert [str(info.state) for info in await admin.which_children(sup)] == ["stopping"]
