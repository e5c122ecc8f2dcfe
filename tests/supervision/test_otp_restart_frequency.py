"""How often is too often: OTP's cases of restart windows, strategy by strategy."""

from __future__ import annotations

import pytest

from actors.runtime import NORMAL, SHUTDOWN, Custom, ExitReason, Shutdown
from actors.runtime.tracing import ChildRetired, Escalated, RestartScheduled
from actors.testkit import advance, settle
from supervision import Counts, Restart, StartAttemptFailed, Strategy, admin
from tests.supervision.actors import TRANSIENT, Stage, ids
from tests.supervision.test_dynamic import start

ONE, ALL, REST = Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


def lives(stage: Stage, *names: str) -> list[int]:
    return [stage.ref(name).incarnation for name in names]


@pytest.mark.otp(
    "supervisor_SUITE.one_for_one", "supervisor_SUITE.one_for_all", "supervisor_SUITE.rest_for_one"
)
@pytest.mark.parametrize(
    ("strategy", "after"), [(ONE, [1, 3, 1]), (ALL, [3, 3, 3]), (REST, [1, 3, 3])]
)
async def test_the_third_crash_of_two_allowed_ends_the_supervisor(
    stage: Stage, strategy: Strategy, after: list[int]
) -> None:
    sup = await stage.supervise("a", "b", "c", strategy=strategy, intensity=2, period_s=10.0)
    for _ in range(2):
        await stage.crash("b")
        await advance(0.02)
    assert lives(stage, "a", "b", "c") == after
    await stage.crash("b")
    assert await sup.wait_exit() == SHUTDOWN
    assert list(stage.system.actors()) == []


@pytest.mark.otp(
    "supervisor_SUITE.one_for_one_escalation", "supervisor_SUITE.one_for_all_escalation",
    "supervisor_SUITE.rest_for_one_escalation", "law.L4", "law.L6",
)  # fmt: skip
@pytest.mark.parametrize(("strategy", "crashing"), [(ONE, "b"), (ALL, "a"), (REST, "a")])
async def test_restarts_that_fail_spend_the_window_and_take_the_siblings_down(
    stage: Stage, strategy: Strategy, crashing: str
) -> None:
    sup = await stage.supervise("a", "b", strategy=strategy, intensity=4, period_s=10.0)
    stage.world.fail_next("b", 100)
    await stage.crash(crashing)
    assert await sup.wait_exit() == SHUTDOWN
    assert len(stage.events.of(StartAttemptFailed)) == 4, (
        "one is for the crash itself, a fifth is none"
    )
    assert [event.child for event in stage.events.of(Escalated)] == ["b"]
    assert stage.world.log[-2:] == ["-a shutdown", "-sup shutdown"]


@pytest.mark.otp("supervisor_SUITE.one_for_all_other_child_fails_restart")
async def test_one_for_all_begins_again_when_the_second_fails(stage: Stage) -> None:
    await stage.supervise("a", "b", strategy=ALL)
    stage.world.take()
    stage.world.refuse_next("b", Custom("not yet"))
    await stage.crash("b")
    await advance(0.05)
    assert stage.world.take() == [
        "-b ValueError", "-a shutdown", "+a", "-b not yet", "-a shutdown", "+a", "+b",
    ]  # fmt: skip


@pytest.mark.otp("supervisor_SUITE.rest_for_one_other_child_fails_restart")
async def test_rest_for_one_goes_on_where_it_failed(stage: Stage) -> None:
    await stage.supervise("a", "b", strategy=REST)
    stage.world.take()
    stage.world.refuse_next("b", Custom("not yet"))
    await stage.crash("a")
    await advance(0.05)
    assert stage.world.take() == ["-a ValueError", "-b shutdown", "+a", "-b not yet", "+b"]


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_escalation")
async def test_a_dynamic_child_whose_restarts_fail_is_retired_alone(stage: Stage) -> None:
    spawner, sup = await start(stage, intensity=4, period_s=10.0, retire_s=30.0)
    spawner.ensure("x")
    spawner.ensure("y")
    await settle()
    stage.world.fail_next("x", 100)
    await stage.crash("x")
    await advance(1.0)
    assert stage.world.log.count("-x ValueError") == 5
    assert [event.child for event in stage.events.of(ChildRetired)] == ["x"]
    assert sup.is_alive()
    assert lives(stage, "y") == [1]


# ---------------------------------------------------------------------- how it ended

INTENDED = [NORMAL, SHUTDOWN, Shutdown("done")]


async def end(stage: Stage, reason: ExitReason | None) -> None:
    """End child `a` for this reason; None: it crashes."""
    stage.ref("a").tell("crash" if reason is None else reason)
    await advance(0.02)


@pytest.mark.otp(
    "supervisor_SUITE.permanent_normal", "supervisor_SUITE.permanent_shutdown",
    "supervisor_SUITE.permanent_abnormal", "law.L12",
)  # fmt: skip
@pytest.mark.parametrize("reason", [*INTENDED, Custom("odd"), None], ids=str)
async def test_a_permanent_child_comes_back_and_its_end_is_told(
    stage: Stage, reason: ExitReason | None
) -> None:
    sup = await stage.supervise("a")
    await end(stage, reason)
    assert lives(stage, "a") == [2]
    assert await admin.count_children(sup) == Counts(1, 1, 0, 1)
    told = [event.reason for event in stage.events.of(RestartScheduled)]
    assert len(told) == 1
    assert reason is None or told == [reason]


@pytest.mark.otp("supervisor_SUITE.transient_normal", "supervisor_SUITE.transient_shutdown")
@pytest.mark.parametrize("reason", INTENDED, ids=str)
async def test_a_transient_child_that_is_done_stays_down(stage: Stage, reason: ExitReason) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TRANSIENT))
    await end(stage, reason)
    assert ids(sup) == ["a"]
    assert await admin.count_children(sup) == Counts(1, 0, 0, 1)


@pytest.mark.otp("supervisor_SUITE.transient_abnormal")
async def test_a_transient_child_that_crashed_comes_back(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TRANSIENT))
    await end(stage, None)
    assert lives(stage, "a") == [2]
    assert await admin.count_children(sup) == Counts(1, 1, 0, 1)


@pytest.mark.otp(
    "supervisor_SUITE.temporary_normal", "supervisor_SUITE.temporary_shutdown",
    "supervisor_SUITE.temporary_abnormal",
)  # fmt: skip
@pytest.mark.parametrize("reason", [*INTENDED, Custom("odd"), None], ids=str)
async def test_a_temporary_child_is_forgotten_however_it_ended(
    stage: Stage, reason: ExitReason | None
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=Restart.TEMPORARY))
    await end(stage, reason)
    assert stage.system.whereis("a") is None
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)
