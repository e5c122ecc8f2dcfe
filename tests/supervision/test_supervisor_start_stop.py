"""Stories of starting and stopping: order, failure, deadlines (laws L1 to L3, L13)."""

from __future__ import annotations

import pytest
import trio

from actors.runtime import KILL, KILLED, SHUTDOWN, Custom, Shutdown, StartFailed
from actors.runtime.exits import Crash
from actors.runtime.tracing import Unkillable
from actors.testkit import Logs, advance, settle
from supervision import (
    FailedToStart,
    InvalidSpec,
    Supervisor,
    SupervisorSpec,
    UncleanShutdown,
)
from tests.supervision.actors import TEMPORARY, Broken, Deaf, Polite, Shielded, Slow, Stage, ids


@pytest.mark.otp("law.L1")
async def test_children_start_one_after_the_other(stage: Stage) -> None:
    gate = stage.world.hold_next("b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.supervise, "a", "b", "c")
        await settle()
        assert stage.world.take() == ["+a"]
        assert not stage.system.is_ready("sup")
        assert stage.system.whereis("c") is None
        gate.set()
    assert stage.world.take() == ["+b", "+c"]
    assert stage.system.is_ready("sup")


@pytest.mark.otp("law.L3", "supervisor_SUITE.order_of_children")
async def test_children_stop_in_reverse(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", "c")
    stage.world.take()
    assert await stage.system.stop(sup) == SHUTDOWN
    assert stage.world.take() == ["-c shutdown", "-b shutdown", "-a shutdown", "-sup shutdown"]


async def test_one_that_takes_long_to_stop_delays_those_before_it(stage: Stage) -> None:
    sup = await stage.supervise("a", stage.spec("b", Slow))
    sup.exit(SHUTDOWN)
    await advance(2.9)
    assert sup.is_alive()
    assert stage.system.whereis("a") is not None
    await advance(0.2)
    assert not sup.is_alive()
    assert stage.world.take()[2:] == [
        "bye b", "-b shutdown", "-a shutdown", "-sup shutdown",
    ]  # fmt: skip


async def test_a_child_that_does_not_listen_is_killed_after_its_time(stage: Stage) -> None:
    sup = await stage.supervise("a", stage.spec("b", Deaf, shutdown_s=2.0))
    started_s = trio.current_time()
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN
    assert trio.current_time() - started_s == pytest.approx(2.0)
    assert stage.world.take()[3:] == ["-b killed", "-a shutdown", "-sup shutdown"]
    assert [(e.child, e.reason) for e in stage.events.of(UncleanShutdown)] == [("b", KILLED)]


@pytest.mark.otp("supervisor_SUITE.child_unlink")
async def test_a_child_that_unlinked_itself_is_stopped_all_the_same(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await stage.ref("a").call("unlink")
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.system.whereis("a") is None


async def test_a_child_that_unlinked_itself_is_restarted_all_the_same(stage: Stage) -> None:
    await stage.supervise("a")
    await stage.ref("a").call("unlink")
    await stage.crash("a")
    await advance(0.02)
    assert stage.ref("a").incarnation == 2


@pytest.mark.otp("law.L2")
async def test_a_failing_start_ends_those_before_it_and_leaves_nothing(stage: Stage) -> None:
    stage.world.fail_next("c")
    with pytest.raises(StartFailed) as failed:
        await stage.supervise("a", stage.spec("b", Polite), "c", "d")
    reason = failed.value.reason
    assert isinstance(reason, Shutdown)
    assert isinstance(reason.detail, FailedToStart)
    assert reason.detail.child == "c"
    assert isinstance(reason.detail.reason, Crash)
    await settle()
    assert stage.world.take() == [
        "+a", "+b", "-c ValueError", "bye b", "-b shutdown", "-a shutdown", "-sup shutdown",
    ]  # fmt: skip
    assert list(stage.system.actors()) == []


async def test_a_child_that_cannot_be_made_fails_the_start(stage: Stage) -> None:
    with pytest.raises(StartFailed) as failed:
        await stage.supervise("a", stage.spec("b", Broken))
    assert "cannot be made" in str(failed.value.reason)
    await settle()
    assert list(stage.system.actors()) == []


async def test_a_child_that_is_not_ready_in_time_fails_the_start(stage: Stage) -> None:
    stage.world.hold_next("b")
    with pytest.raises(StartFailed) as failed:
        await stage.supervise("a", stage.spec("b", start_s=4.0))
    reason = failed.value.reason
    assert isinstance(reason, Shutdown)
    assert isinstance(reason.detail, FailedToStart)
    assert reason.detail.reason == Custom("not ready in time")
    assert trio.current_time() == pytest.approx(4.0, abs=0.1)


async def test_an_ignoring_child_keeps_its_spec_unless_it_is_temporary(stage: Stage) -> None:
    stage.world.ignore_next("a")
    stage.world.ignore_next("b")
    sup = await stage.supervise("a", stage.spec("b", restart=TEMPORARY), "c")
    assert ids(sup) == ["a", "c"]
    assert stage.system.whereis("a") is None


async def test_a_supervisor_told_to_end_while_it_starts_ends(stage: Stage) -> None:
    stage.world.hold_next("b")
    ref = stage.system.spawn(
        Supervisor, SupervisorSpec(children=(stage.spec("a"), stage.spec("b"))), name="sup"
    )
    await settle()
    ref.exit(SHUTDOWN)
    assert await ref.wait_exit() == SHUTDOWN
    await settle()
    assert stage.world.take() == ["+a", "-b shutdown", "-a shutdown", "-sup shutdown"]


@pytest.mark.parametrize("hold", [True, False])
async def test_a_killed_supervisor_takes_its_children_along(stage: Stage, hold: bool) -> None:
    if hold:
        stage.world.hold_next("c")
    spec = SupervisorSpec(children=(stage.spec("a"), stage.spec("b", Polite), stage.spec("c")))
    ref = stage.system.spawn(Supervisor, spec, name="sup")
    await settle()
    ref.exit(KILL)
    await advance(0.1)
    assert list(stage.system.actors()) == []


async def test_a_supervisor_killed_while_it_stops_a_child_still_ends_it(stage: Stage) -> None:
    sup = await stage.supervise("a", stage.spec("b", Deaf, shutdown_s=None))
    sup.exit(SHUTDOWN)
    await advance(1.0)
    assert stage.world.take()[2:] == ["b does not listen"]
    sup.exit(KILL)
    await advance(1.0)
    assert "b does not listen" in stage.world.take(), "told a second time, by its link"


async def test_code_that_cannot_be_killed_is_reported_and_left_behind(
    stage: Stage, logs: Logs
) -> None:
    sup = await stage.supervise("a", stage.spec("b", Shielded, shutdown_s=2.0))
    held_s = trio.current_time()
    stage.ref("b").tell("hold")
    await settle()
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN
    assert trio.current_time() - held_s < 5.0, "nothing hangs"
    await advance(5.0)
    assert [event.name for event in stage.events.of(Unkillable)] == ["b"]
    logs.expect("does not end")
    await advance(60.0)
    logs.expect("ended 60.0 s after its actor")


async def test_an_invalid_spec_starts_nothing(stage: Stage) -> None:
    with pytest.raises(InvalidSpec):
        await stage.supervise("a", "a")
    assert list(stage.system.actors()) == []
