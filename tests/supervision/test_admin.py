"""Stories of administering a running supervisor (laws L8, L9, L14, L15, L18, L20)."""

from __future__ import annotations

import pytest
import trio

from actors.runtime import KILL, Ref, Shutdown
from actors.testkit import Logs, advance, settle
from supervision import (
    BadSpec,
    ChildStarted,
    Done,
    NotStarted,
    Refusal,
    Strategy,
    admin,
)
from tests.supervision.actors import TEMPORARY, Broken, Deaf, Polite, Slow, Stage


async def states(sup: Ref) -> dict[str, str]:
    return {info.id: str(info.state) for info in await admin.which_children(sup)}


async def test_a_temporary_child_is_forgotten_when_stopped(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TEMPORARY))
    assert await admin.terminate_child(sup, "a") == Done()
    assert await states(sup) == {}


async def test_a_child_started_by_hand_stops_first(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await admin.start_child(sup, stage.spec("b"))
    stage.world.take()
    await stage.system.stop(sup)
    assert stage.world.take() == ["-b shutdown", "-a shutdown", "-sup shutdown"]


async def test_a_child_that_fails_to_start_by_hand_is_not_kept(stage: Stage) -> None:
    sup = await stage.supervise()
    stage.world.fail_next("a")
    assert isinstance(await admin.start_child(sup, stage.spec("a")), NotStarted)
    assert isinstance(await admin.start_child(sup, stage.spec("b", Broken)), NotStarted)
    await advance(1.0)
    assert await states(sup) == {}


async def test_a_restart_by_hand_that_fails_is_not_tried_again(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await admin.terminate_child(sup, "a")
    stage.world.fail_next("a")
    assert isinstance(await admin.restart_child(sup, "a"), NotStarted)
    await advance(1.0)
    assert await states(sup) == {"a": "stopped"}


async def test_a_bad_spec_is_refused_with_its_problems(stage: Stage) -> None:
    sup = await stage.supervise()
    answer = await admin.start_child(sup, stage.spec("a", shutdown_s=-1.0))
    assert isinstance(answer, BadSpec)
    assert [problem.path for problem in answer.problems] == ["supervisor.a.shutdown_s"]


@pytest.mark.otp("law.L9")
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_child_that_waits_for_its_restart(stage: Stage, strategy: Strategy) -> None:
    sup = await stage.supervise("a", strategy=strategy, intensity=100)
    stage.world.fail_next("a", 3)
    await stage.crash("a")
    assert await states(sup) == {"a": "restarting"}
    assert await admin.restart_child(sup, "a") is Refusal.RESTARTING
    assert await admin.delete_child(sup, "a") is Refusal.RESTARTING
    assert await admin.start_child(sup, stage.spec("a")) is Refusal.ALREADY_PRESENT
    assert (await admin.count_children(sup)).restarting == 1
    assert await admin.terminate_child(sup, "a") == Done()
    await advance(1.0)
    assert await states(sup) == {"a": "stopped"}, "its retry was cancelled"


@pytest.mark.otp("law.L15")
async def test_a_supervisor_answers_while_a_child_starts(stage: Stage) -> None:
    sup = await stage.supervise("a")
    gate = stage.world.hold_next("a")
    await stage.crash("a")
    await advance(1.0)
    asked_s = trio.current_time()
    assert await states(sup) == {"a": "starting"}
    assert trio.current_time() == asked_s
    gate.set()
    await settle()
    assert await states(sup) == {"a": "running"}


async def test_terminating_a_child_that_hangs_in_its_start(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", strategy=Strategy.REST_FOR_ONE)
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(1.0)
    assert await admin.terminate_child(sup, "a") == Done()
    await settle()
    assert await states(sup) == {"a": "stopped", "b": "running"}


async def test_requests_wait_for_a_slow_stop_in_order(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", Slow))
    answers: list[object] = []

    async def terminate() -> None:
        answers.append(await admin.terminate_child(sup, "a"))

    async def restart() -> None:
        answers.append(await admin.restart_child(sup, "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminate)
        await advance(1.0)
        assert await states(sup) == {"a": "stopping"}
        nursery.start_soon(restart)
    assert answers == [Done(), ChildStarted(stage.ref("a"))]


async def test_requests_still_waiting_are_refused_when_the_supervisor_ends(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", Deaf, shutdown_s=50.0))
    answers: list[object] = []

    async def terminate() -> None:
        answers.append(await admin.terminate_child(sup, "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminate)
        await advance(1.0)
        sup.exit(Shutdown("enough"))
    assert answers == [Refusal.ENDING]
    assert await admin.restart_child(sup, "a") is Refusal.ENDING
    assert await admin.start_child(sup, stage.spec("z")) is Refusal.ENDING
    sup.exit(KILL)


async def test_an_unexpected_message_is_dropped(stage: Stage, logs: Logs) -> None:
    sup = await stage.supervise("a", stage.spec("b", Polite))
    sup.tell("what is this")
    await settle()
    assert sup.is_alive()
    logs.expect("dropped a message of type str")
