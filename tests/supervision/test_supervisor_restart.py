"""Stories of restarts: strategies, types, windows, backoff, failing starts (laws L4 to L12)."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio

from actors.runtime import KILL, NORMAL, SHUTDOWN, Custom, ExitReason, Ref, Shutdown
from actors.runtime.tracing import Escalated, Event, Restarted, RestartScheduled, Started
from actors.testkit import advance, settle
from supervision import AutoShutdown, Backoff, ChildSpec, StartAttemptFailed, Strategy
from supervision.admin import ChildStarted, Done, RestartChild, TerminateChild
from tests.supervision.actors import (
    SOON,
    TEMPORARY,
    TRANSIENT,
    Polite,
    Slow,
    Stage,
    Worker,
    World,
    ids,
)

ALL, REST = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE
AT_ONCE = Backoff(min_s=0.0, max_s=0.0)


@pytest.mark.otp("supervisor_SUITE.one_for_one", "supervisor_SUITE.permanent_abnormal")
async def test_one_for_one_restarts_only_the_crashed(stage: Stage) -> None:
    await stage.supervise("a", "b", "c")
    stage.world.take()
    await stage.crash("b")
    assert stage.world.take() == ["-b ValueError"]
    await advance(0.011)
    assert stage.world.take() == ["+b"]
    assert stage.ref("b").incarnation == 2


async def test_the_first_restart_is_fast(stage: Stage) -> None:
    """No client notices: well under 20 ms with the default backoff."""
    await stage.supervise(stage.spec("a", backoff=None))
    crashed_s = trio.current_time()
    stage.ref("a").tell("crash")
    while not stage.events.of(Restarted):
        await advance(0.001)
    assert trio.current_time() - crashed_s < 0.012


@pytest.mark.otp("supervisor_SUITE.one_for_all")
async def test_one_for_all_restarts_everybody_in_order(stage: Stage) -> None:
    await stage.supervise("a", "b", "c", strategy=ALL)
    stage.world.take()
    await stage.crash("b")
    await advance(0.011)
    assert stage.world.take() == [
        "-b ValueError", "-c shutdown", "-a shutdown", "+a", "+b", "+c",
    ]  # fmt: skip


@pytest.mark.otp("supervisor_SUITE.rest_for_one")
async def test_rest_for_one_restarts_those_after_the_crashed(stage: Stage) -> None:
    await stage.supervise("a", "b", "c", "d", strategy=REST)
    stage.world.take()
    await stage.crash("b")
    await advance(0.011)
    assert stage.world.take() == [
        "-b ValueError", "-d shutdown", "-c shutdown", "+b", "+c", "+d",
    ]  # fmt: skip
    assert stage.ref("a").incarnation == 1


async def test_a_group_waits_for_the_last_of_it_to_stop(stage: Stage) -> None:
    await stage.supervise(stage.spec("a", Slow), "b", strategy=ALL)
    stage.world.take()
    await stage.crash("b")
    await advance(2.9)
    assert stage.world.take() == ["-b ValueError"]
    await advance(0.2)
    assert stage.world.take() == ["bye a", "-a shutdown", "+a", "+b"]


class Plain(Worker):
    """Starts without waiting for anything; may break when it is made, or ask for its own end."""

    made = 0
    broken: ClassVar[list[type[Exception]]] = []

    def __init__(self, world: World, label: str) -> None:
        super().__init__(world, label)
        Plain.made += 1
        if Plain.broken:
            raise Plain.broken.pop()

    def on_start(self) -> None:  # type: ignore[override]  # the other workers start with a task
        self.world.log.append(f"+{self.label}")


def plain(stage: Stage) -> ChildSpec:
    return stage.spec("a", Plain, backoff=AT_ONCE)


async def test_without_delay_a_plain_child_is_up_before_any_task_has_run(stage: Stage) -> None:
    class Steps(trio.abc.Instrument):
        """Logs every step that a task takes."""

        def before_task_step(self, _task: trio.lowlevel.Task) -> None:
            stage.world.log.append("step")

    await stage.supervise(plain(stage))
    trio.lowlevel.add_instrument(Steps())
    await stage.crash("a")
    log = stage.world.take()
    crashed = log.index("-a ValueError")
    assert log[crashed + 1] == "+a", "the end, the plan and the start are turns of actors"
    assert [event.restarts for event in stage.events.of(Restarted)] == [1]


async def test_a_child_terminated_before_the_task_of_its_restart_stays_down(stage: Stage) -> None:
    sup = await stage.supervise(plain(stage))
    stage.ref("a").tell("crash")
    request = sup.ask(TerminateChild("a"), block=False)
    await settle()
    assert await request == Done()
    assert stage.system.whereis("a") is None
    answer = await sup.call(RestartChild("a"))
    assert answer == ChildStarted(stage.system.whereis("a"))


async def test_a_supervisor_stopped_before_the_task_of_a_restart_leaves_nobody(
    stage: Stage,
) -> None:
    sup = await stage.supervise(plain(stage))

    def stop(event: Event) -> None:
        if isinstance(event, Started) and event.incarnation == 2:
            sup._cell.request_stop(SHUTDOWN)

    stage.system.events.subscribe(stop)
    await stage.crash("a")
    assert stage.world.log[-2:] == ["-a shutdown", "-sup shutdown"]
    assert list(stage.system.actors()) == []


async def test_a_restart_that_cannot_be_made_is_one_failure(stage: Stage) -> None:
    await stage.supervise(plain(stage))
    made, Plain.broken = Plain.made, [ValueError]
    await stage.crash("a")
    await settle()
    assert Plain.made - made == 2
    assert len(stage.events.of(StartAttemptFailed)) == 1
    assert stage.ref("a").is_alive()


async def test_a_restart_waits_for_a_name_that_a_stranger_holds(stage: Stage) -> None:
    await stage.supervise(plain(stage))
    stranger: list[Ref] = []
    stage.ref("a").on_exit(
        lambda _ref, _reason: stranger.append(
            stage.system.spawn(Worker, stage.world, "x", name="a")
        )
    )
    await stage.crash("a")
    assert len(stage.events.of(StartAttemptFailed)) == 3, "tried until the window was full"
    assert stranger[0].is_alive()


ENDS: list[ExitReason] = [NORMAL, SHUTDOWN, Shutdown("done"), Custom("odd")]


@pytest.mark.otp("law.L12")
@pytest.mark.parametrize("reason", ENDS, ids=str)
async def test_a_transient_child_comes_back_unless_it_ended_as_intended(
    stage: Stage, reason: ExitReason
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TRANSIENT))
    stage.ref("a").tell(reason)
    await advance(0.02)
    assert (stage.system.whereis("a") is not None) == (reason == Custom("odd"))
    assert ids(sup) == ["a"], "its spec stays"


@pytest.mark.otp("supervisor_SUITE.temporary_bystander", "law.L11")
@pytest.mark.parametrize("strategy", [ALL, REST])
async def test_a_temporary_bystander_does_not_come_back(stage: Stage, strategy: Strategy) -> None:
    sup = await stage.supervise("a", stage.spec("b", restart=TEMPORARY), strategy=strategy)
    await stage.crash("a")
    await advance(0.02)
    assert stage.ref("a").incarnation == 2
    assert ids(sup) == ["a"]


async def test_a_bystander_that_ends_while_the_group_stops_comes_back_once(stage: Stage) -> None:
    await stage.supervise("a", stage.spec("b", Slow), "c", strategy=ALL)
    stage.world.take()
    await stage.crash("c")
    await advance(1.0)
    await stage.crash("a")
    await advance(3.0)
    assert stage.world.take() == [
        "-c ValueError", "-a ValueError", "bye b", "-b shutdown", "+a", "+b", "+c",
    ]  # fmt: skip
    assert len(stage.events.of(RestartScheduled)) == 1, "a group restart costs one"


# ---------------------------------------------------------------------- windows


@pytest.mark.otp("supervisor_SUITE.one_for_one", "law.L6")
async def test_a_full_window_ends_the_supervisor(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=2)
    for _ in range(2):
        await stage.crash("b")
        await advance(0.02)
    stage.world.take()
    await stage.crash("b")
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.world.take() == ["-b ValueError", "-a shutdown", "-sup shutdown"]
    assert [event.child for event in stage.events.of(Escalated)] == ["b"]


@pytest.mark.otp("supervisor_SUITE.multiple_restarts")
async def test_crashes_far_apart_do_not_fill_the_window(stage: Stage) -> None:
    await stage.supervise("a", intensity=1, period_s=1.0)
    for _ in range(5):
        await stage.crash("a")
        await advance(1.1)
    assert stage.ref("a").incarnation == 6


async def test_the_window_is_shared_by_all_children(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=1)
    await stage.crash("a")
    await stage.crash("b")
    assert await sup.wait_exit() == SHUTDOWN


@pytest.mark.otp("law.L4")
async def test_a_group_restart_costs_one(stage: Stage) -> None:
    await stage.supervise("a", "b", "c", strategy=ALL, intensity=2)
    for _ in range(2):
        await stage.crash("c")
        await advance(0.02)
    assert stage.ref("a").incarnation == 3, "each life under a name counts"
    assert stage.ref("c").is_alive()


@pytest.mark.otp("law.L7")
async def test_escalation_climbs_two_levels(stage: Stage) -> None:
    """A leaf that always crashes is started (1 + 1) · (1 + 1) times before the root gives up."""
    leaf = stage.spec("leaf")
    inner = stage.nest("inner", leaf, intensity=1)
    sup = await stage.supervise("other", inner, intensity=1)
    while sup.is_alive():
        await stage.crash("leaf")
        await advance(0.03)
    assert stage.world.log.count("+leaf") == 4
    assert [event.name for event in stage.events.of(Escalated)] == ["inner", "inner", "sup"]
    assert sup.exit_reason == SHUTDOWN
    assert list(stage.system.actors()) == []


@pytest.mark.otp("law.L7")
async def test_a_transient_supervisor_that_gave_up_stays_down(stage: Stage) -> None:
    """Its reason is `SHUTDOWN`, which a transient child may end with: a classic surprise."""
    await stage.supervise(stage.nest("inner", stage.spec("leaf"), intensity=0, restart=TRANSIENT))
    await stage.crash("leaf")
    await advance(1.0)
    assert stage.system.whereis("inner") is None
    assert stage.ref("sup").is_alive()


async def test_a_killed_supervisor_is_restarted_with_its_children(stage: Stage) -> None:
    await stage.supervise("a", stage.nest("inner", stage.spec("x"), stage.spec("y")))
    stage.ref("inner").exit(KILL)
    await advance(0.02)
    assert stage.ref("x").incarnation == 2
    assert stage.ref("y").incarnation == 2
    assert stage.ref("a").incarnation == 1


async def test_a_supervisor_waits_for_what_its_predecessor_left_behind(stage: Stage) -> None:
    """Children that trap exits outlive their killed supervisor for a while, names included."""
    deep = stage.nest("deep", stage.spec("x", Slow), name=None)
    await stage.supervise(stage.nest("inner", deep, stage.spec("y", Slow)), intensity=1)
    first = stage.ref("x")
    stage.ref("inner").exit(KILL)
    await advance(2.0)
    assert stage.ref("x") is first
    await advance(5.0)
    assert stage.ref("x") is not first
    assert stage.ref("y").is_alive()
    assert not stage.events.of(Escalated)


# ---------------------------------------------------------------------- failing starts


@pytest.mark.otp("law.L8")
async def test_a_start_that_fails_is_tried_again_later_and_longer(stage: Stage) -> None:
    backoff = Backoff(min_s=1.0, max_s=4.0, jitter=0.0)
    await stage.supervise(stage.spec("a", backoff=backoff), intensity=10, period_s=60.0)
    stage.world.fail_next("a", 4)
    await stage.crash("a")
    crashed_s = trio.current_time()
    await advance(20.0)
    assert [event.delay_s for event in stage.events.of(RestartScheduled)] == [
        1.0,
        2.0,
        4.0,
        4.0,
        4.0,
    ]
    assert len(stage.events.of(StartAttemptFailed)) == 4
    assert stage.events.of(Restarted)[0].at_s - crashed_s == pytest.approx(15.0, abs=0.1)


async def test_a_child_that_recovered_starts_over_with_short_delays(stage: Stage) -> None:
    backoff = Backoff(min_s=1.0, max_s=8.0, jitter=0.0)
    await stage.supervise(stage.spec("a", backoff=backoff), intensity=10, period_s=60.0)
    for up_s in (0.0, 1.0, 9.0):
        await advance(up_s)
        await stage.crash("a")
        await advance(stage.events.of(RestartScheduled)[-1].delay_s)
    assert [event.delay_s for event in stage.events.of(RestartScheduled)] == [1.0, 2.0, 1.0]


@pytest.mark.otp("law.L4")
async def test_starts_that_fail_count_against_the_window(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=3)
    stage.world.fail_next("b", 10)
    await stage.crash("b")
    assert await sup.wait_exit() == SHUTDOWN
    assert len(stage.events.of(StartAttemptFailed)) == 3


@pytest.mark.otp("supervisor_SUITE.one_for_all_other_child_fails_restart", "law.L10")
async def test_one_for_all_starts_everybody_again_when_one_fails(stage: Stage) -> None:
    """Also those just restarted are stopped first (L10)."""
    await stage.supervise("a", "b", "c", strategy=ALL)
    stage.world.take()
    stage.world.fail_next("b")
    await stage.crash("a")
    await advance(0.03)
    assert stage.world.take() == [
        "-a ValueError", "-c shutdown", "-b shutdown", "+a", "-b ValueError",
        "-a shutdown", "+a", "+b", "+c",
    ]  # fmt: skip


@pytest.mark.otp("supervisor_SUITE.rest_for_one_other_child_fails_restart", "law.L10")
async def test_rest_for_one_resumes_at_the_one_that_failed(stage: Stage) -> None:
    await stage.supervise("a", "b", "c", strategy=REST)
    stage.world.take()
    stage.world.fail_next("b")
    await stage.crash("a")
    await advance(0.03)
    assert stage.world.take() == [
        "-a ValueError", "-c shutdown", "-b shutdown", "+a", "-b ValueError", "+b", "+c",
    ]  # fmt: skip


async def test_a_slow_start_delays_nobody_under_one_for_one(stage: Stage) -> None:
    await stage.supervise("a", "b")
    gate = stage.world.hold_next("a")
    await stage.crash("a")
    await advance(1.0)
    await stage.crash("b")
    await advance(0.02)
    assert stage.ref("b").incarnation == 2
    gate.set()
    await settle()
    assert [event.child for event in stage.events.of(Restarted)] == ["b", "a"]


async def test_a_crash_while_others_start_is_not_lost(stage: Stage) -> None:
    gate = stage.world.hold_next("b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.supervise, "a", "b")
        await settle()
        await stage.crash("a")
        await advance(1.0)
        assert stage.system.whereis("a") is None, "first the start, then the restarts"
        gate.set()
    await advance(0.02)
    assert stage.ref("a").incarnation == 2


@pytest.mark.otp("law.L8")
async def test_a_supervisor_can_be_shut_down_while_it_waits_for_a_restart(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=100)
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(1.0)
    sup.exit(SHUTDOWN)
    await advance(0.1)
    assert not sup.is_alive()
    assert list(stage.system.actors()) == []


async def test_a_restart_that_hangs_is_ended_and_tried_again(stage: Stage) -> None:
    await stage.supervise(stage.spec("a", start_s=5.0))
    stage.world.hold_next("a")
    await stage.crash("a")
    await advance(4.9)
    assert stage.ref("a").incarnation == 2
    await advance(0.2)
    assert stage.ref("a").incarnation == 3


async def test_a_later_plan_covers_an_earlier_one(stage: Stage) -> None:
    """The last child waits for its restart when one before it crashes: order comes first."""
    slow = Backoff(3.0, 3.0, 0.0)
    await stage.supervise(stage.spec("a", backoff=slow), "b", strategy=REST)
    stage.world.take()
    await stage.crash("b")
    await stage.crash("a")
    await advance(2.0)
    assert stage.world.take() == ["-b ValueError", "-a ValueError"]
    await advance(1.1)
    assert stage.world.take() == ["+a", "+b"]


async def test_nothing_starts_any_more_while_a_supervisor_stops(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", Slow), "b")
    stage.world.hold_next("b")
    await stage.crash("b")
    await advance(1.0)
    stage.world.take()
    sup.exit(SHUTDOWN)
    await advance(1.0)
    assert stage.world.take() == ["-b shutdown"]
    await advance(2.1)
    assert stage.world.take() == ["bye a", "-a shutdown", "-sup shutdown"]


# ---------------------------------------------------------------------- significant children

ANY, EVERY = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


async def test_the_end_of_a_significant_child_ends_the_supervisor(stage: Stage) -> None:
    a = stage.spec("a", restart=TRANSIENT, significant=True)
    sup = await stage.supervise(a, "b", auto_shutdown=ANY)
    await stage.crash("a")
    await advance(0.02)
    assert sup.is_alive(), "it crashed, and was restarted"
    stage.ref("a").tell(NORMAL)
    assert await sup.wait_exit() == SHUTDOWN


async def test_the_last_significant_child_ends_the_supervisor(stage: Stage) -> None:
    options: dict[str, Any] = {"restart": TEMPORARY, "significant": True}
    sup = await stage.supervise(
        stage.spec("a", **options), stage.spec("b", **options), "c", auto_shutdown=EVERY
    )
    await stage.crash("a")
    assert sup.is_alive()
    await stage.crash("b")
    assert await sup.wait_exit() == SHUTDOWN


async def test_a_significant_bystander_does_not_end_the_supervisor(stage: Stage) -> None:
    a = stage.spec("a", Polite, restart=TEMPORARY, significant=True, backoff=SOON)
    sup = await stage.supervise(a, "b", strategy=ALL, auto_shutdown=ANY)
    await stage.crash("b")
    await advance(0.02)
    assert sup.is_alive()
    assert stage.system.whereis("a") is None
