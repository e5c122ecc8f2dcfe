"""What follows when a child raises, by the class of the exception (`ChildSpec.on_error`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actors.runtime import SHUTDOWN, Actor, Crash, Ref
from actors.runtime.exits import directive_of
from actors.runtime.tracing import Escalated, Restarted, RestartScheduled, Resumed
from actors.testkit import advance, settle
from supervision import (
    AutoShutdown,
    ChildSpec,
    ChildState,
    Directive,
    DynamicSupervisor,
    InvalidSpec,
    NotStarted,
    OnError,
    Problem,
    Restart,
    Strategy,
    admin,
    read_child,
    read_supervisor,
    report_of,
)
from supervision.strategy import ChildView, Plan, plan
from tests.supervision.actors import SOON, TEMPORARY, TRANSIENT, Stage, Worker, ids

RESUME: OnError = {ValueError: Directive.RESUME}
RESTART: OnError = {ValueError: Directive.RESTART}
STOP: OnError = {ValueError: Directive.STOP}
ESCALATE: OnError = {ValueError: Directive.ESCALATE}

TOLD_TO_CRASH = Crash("ValueError", "told to crash")


# ---------------------------------------------------------------------- the plan


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
def test_stop_and_escalate_are_the_same_under_every_strategy(
    strategy: Strategy, restart: Restart
) -> None:
    children = [ChildView("a", Restart.PERMANENT), ChildView("b", restart)]

    def decide(directive: Directive | None) -> Plan:
        rules = strategy, AutoShutdown.NEVER
        return plan(*rules, children, "b", abnormal=True, directive=directive)

    forgotten = ("b",) if restart is TEMPORARY else ()
    assert decide(Directive.STOP) == Plan(forget=forgotten)
    assert decide(Directive.ESCALATE) == Plan(escalates=True)
    assert decide(Directive.RESTART) == decide(None)


@pytest.mark.parametrize("auto_shutdown", AutoShutdown)
def test_a_significant_child_that_stops_is_done(auto_shutdown: AutoShutdown) -> None:
    children = [ChildView("a", TRANSIENT, significant=True)]
    decided = plan(
        Strategy.ONE_FOR_ONE, auto_shutdown, children, "a",
        abnormal=True, directive=Directive.STOP,
    )  # fmt: skip
    assert decided.shut_down == (auto_shutdown is not AutoShutdown.NEVER)


# ---------------------------------------------------------------------- specs


def problems(on_error: Any, restart: str = "permanent") -> list[str]:
    given = {"id": "a", "actor": Actor, "on_error": on_error, "restart": restart}
    with pytest.raises(InvalidSpec) as invalid:
        read_child(given)
    return [str(problem) for problem in invalid.value.problems]


def test_words_are_read_as_directives() -> None:
    words = {"resume", "restart", "stop", "escalate"}
    for word in words:
        child = read_child({"id": "a", "actor": Actor, "on_error": {KeyError: word}})
        assert child.on_error == {KeyError: Directive(word)}
    given = {"children": [{"id": "a", "actor": Actor, "on_error": {KeyError: "stop"}}]}
    assert read_supervisor(given).children[0].on_error == {KeyError: Directive.STOP}


def test_what_makes_no_sense_is_told_with_its_path() -> None:
    assert problems({KeyError: "panic", OSError: "stop"}) == [
        "supervisor.a.on_error.KeyError: 'panic' is no directive"
    ]
    assert problems({"KeyError": "stop"}) == [
        "supervisor.a.on_error: 'KeyError' is no exception class"
    ]
    assert problems({KeyboardInterrupt: "stop"}) == [
        "supervisor.a.on_error: <class 'KeyboardInterrupt'> is no exception class"
    ]
    assert problems(["stop"]) == ["supervisor.a.on_error: ['stop'] says nothing of exceptions"]
    assert problems({KeyError: "restart"}, "temporary") == [
        "supervisor.a.on_error.KeyError: a temporary child is never restarted"
    ]


async def test_a_child_that_is_added_is_read_too(stage: Stage) -> None:
    sup = await stage.supervise()
    given = {"id": "a", "actor": Actor, "on_error": {KeyError: "panic"}}
    answer = await admin.start_child(sup, given)
    where = "supervisor.a.on_error.KeyError"
    assert answer == admin.BadSpec((Problem(where, "'panic' is no directive"),))


# ---------------------------------------------------------------------- a fixed supervisor


async def test_resumed_is_not_restarted(stage: Stage) -> None:
    await stage.supervise(stage.spec("a", on_error=RESUME), intensity=0)
    ref = stage.ref("a")
    for _ in range(10):
        await stage.crash("a")
    assert stage.ref("a") is ref
    assert len(stage.events.of(Resumed)) == 10
    assert stage.world.take() == ["+a"]


async def test_only_those_classes(stage: Stage) -> None:
    on_error = {Exception: Directive.RESUME, ValueError: Directive.RESTART}
    await stage.supervise(stage.spec("a", on_error=on_error))
    first = stage.ref("a")
    await stage.crash("a")
    await advance(1.0)
    assert stage.world.take() == ["+a", "-a ValueError", "+a"]
    assert stage.ref("a") is not first


@pytest.mark.parametrize("restart", [Restart.PERMANENT, TRANSIENT])
async def test_restart_is_what_the_restart_type_says(stage: Stage, restart: Restart) -> None:
    await stage.supervise(stage.spec("a", restart=restart, on_error=RESTART))
    await stage.crash("a")
    await advance(1.0)
    assert [event.restarts for event in stage.events.of(Restarted)] == [1]


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
async def test_stopped_stays_down_and_leaves_the_others_alone(
    stage: Stage, strategy: Strategy, restart: Restart
) -> None:
    stopping = stage.spec("b", restart=restart, on_error=STOP)
    sup = await stage.supervise("a", stopping, "c", strategy=strategy, intensity=0)
    ref = stage.ref("b")
    await stage.crash("b")
    await advance(10.0)
    assert stage.world.take() == ["+a", "+b", "+c", "-b ValueError"]
    assert ref.exit_reason == TOLD_TO_CRASH, "links and monitors hear the truth"
    assert stage.events.of(RestartScheduled) == []
    assert ids(sup) == (["a", "c"] if restart is TEMPORARY else ["a", "b", "c"])
    if restart is not TEMPORARY:
        info = await admin.which_child(sup, "b")
        assert isinstance(info, admin.ChildInfo)
        assert info.state is ChildState.STOPPED
        assert isinstance(await admin.restart_child(sup, "b"), admin.ChildStarted)


async def test_a_sibling_that_fails_brings_a_stopped_one_back(stage: Stage) -> None:
    """As in OTP: a group that starts anew is complete."""
    stopping = stage.spec("b", on_error=STOP)
    await stage.supervise("a", stopping, strategy=Strategy.ONE_FOR_ALL)
    await stage.crash("b")
    await stage.crash("a")
    await advance(1.0)
    assert stage.world.take() == ["+a", "+b", "-b ValueError", "-a ValueError", "+a", "+b"]


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
async def test_escalating_ends_the_supervisor_for_its_own_to_act(
    stage: Stage, strategy: Strategy, restart: Restart
) -> None:
    escalating = stage.spec("b", restart=restart, on_error=ESCALATE)
    group = stage.nest("group", stage.spec("a"), escalating, strategy=strategy, intensity=100)
    await stage.supervise(group, "z")
    stage.world.take()
    await stage.crash("b")
    await advance(1.0)
    log = stage.world.take()
    assert log == ["-b ValueError", "-a shutdown", "-group shutdown", "+a", "+b"]
    assert [(event.name, event.child) for event in stage.events.of(Escalated)] == [("group", "b")]
    report = report_of(stage.events.of(Escalated)[0])
    assert report is not None
    assert report.reason == "escalated: ValueError: told to crash"
    assert [event.child for event in stage.events.of(Restarted)] == ["group"]


async def test_a_window_that_is_full_is_reported_in_its_own_words(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", on_error=RESTART), intensity=0)
    await stage.crash("a")
    assert await sup.wait_exit() == SHUTDOWN
    report = report_of(stage.events.of(Escalated)[0])
    assert report is not None
    assert report.reason.startswith("reached_max_restart_intensity: ")


# ---------------------------------------------------------------------- hooks


async def test_a_restart_that_fails_is_decided_on_too(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", on_error=STOP))
    stage.world.fail_next("a")
    stage.ref("a").tell(SHUTDOWN)
    await advance(10.0)
    assert stage.world.take() == ["+a", "-a shutdown", "-a ValueError"]
    info = await admin.which_child(sup, "a")
    assert isinstance(info, admin.ChildInfo)
    assert info.state is ChildState.STOPPED


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
@pytest.mark.parametrize("restart", Restart)
async def test_a_group_starts_anew_without_one_that_stops_then(
    stage: Stage, strategy: Strategy, restart: Restart
) -> None:
    stopping = stage.spec("b", on_error=STOP, restart=restart)
    sup = await stage.supervise("a", stopping, "c", strategy=strategy)
    stage.world.fail_next("b")
    stage.world.take()
    await stage.crash("a")
    await advance(10.0)
    log = ["-a ValueError", "-c shutdown", "-b shutdown", "+a", "-b ValueError", "+c"]
    if restart is TEMPORARY:  # it does not come back in any case
        log.remove("-b ValueError")
    assert stage.world.take() == log
    states = {info.id: info.state for info in await admin.which_children(sup)}
    assert states["a"] is states["c"] is ChildState.RUNNING
    assert states.get("b") is (None if restart is TEMPORARY else ChildState.STOPPED)


async def test_a_restart_that_fails_is_not_resumed_but_tried_again(stage: Stage) -> None:
    await stage.supervise(stage.spec("a", on_error=RESUME))
    stage.world.fail_next("a")
    stage.ref("a").tell(SHUTDOWN)
    await advance(1.0)
    assert stage.world.take() == ["+a", "-a shutdown", "-a ValueError", "+a"]


async def test_a_start_somebody_asked_for_just_fails(stage: Stage) -> None:
    sup = await stage.supervise("a")
    stage.world.fail_next("b")
    answer = await admin.start_child(sup, stage.spec("b", on_error=ESCALATE))
    assert answer == NotStarted(Crash("ValueError", "told to fail"))
    assert (ids(sup), sup.is_alive()) == (["a"], True)


# ---------------------------------------------------------------------- whose failure it is


class Linked(Worker):
    """Ends with another child."""

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await super().on_start()
        other = self.system.whereis("a")
        assert other is not None
        self.link(other)


async def test_an_end_that_another_childs_caused_is_decided_on_its_own(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", on_error=STOP), stage.spec("b", Linked))
    b = stage.ref("b")
    await stage.crash("a")
    assert (b.exit_reason, directive_of(b.exit_reason or SHUTDOWN)) == (TOLD_TO_CRASH, None)
    states = {info.id: info.state for info in await admin.which_children(sup)}
    assert states["a"] is ChildState.STOPPED
    assert states["b"] is ChildState.RESTARTING


# ---------------------------------------------------------------------- a dynamic supervisor


async def pool(stage: Stage, on_error: Mapping[str, OnError], **options: Any) -> Ref:
    def make(name: str) -> ChildSpec:
        given = {"restart": TRANSIENT, "on_error": on_error.get(name, {}), **options}
        return stage.spec(name, **given)

    ref = await stage.system.start(DynamicSupervisor, make, name="pool", backoff=SOON)
    assert ref is not None
    return ref


def ensure(sup: Ref, name: str) -> Ref | None:
    actor = sup._actor
    assert isinstance(actor, DynamicSupervisor)
    return actor.ensure(name)


async def test_a_dynamic_child_is_resumed(stage: Stage) -> None:
    sup = await pool(stage, {"a": RESUME})
    ref = ensure(sup, "a")
    await settle()
    await stage.crash("a")
    assert ensure(sup, "a") is ref
    assert len(stage.events.of(Resumed)) == 1


@pytest.mark.parametrize("restart", Restart)
async def test_a_dynamic_child_that_stops_is_forgotten_until_it_is_needed(
    stage: Stage, restart: Restart
) -> None:
    sup = await pool(stage, {"a": STOP}, restart=restart)
    ensure(sup, "a")
    await settle()
    await stage.crash("a")
    await advance(10.0)
    assert (stage.world.take(), ids(sup)) == (["+a", "-a ValueError"], [])
    assert ensure(sup, "a") is not None


async def test_a_dynamic_child_that_escalates_ends_all_others(stage: Stage) -> None:
    sup = await pool(stage, {"a": ESCALATE})
    for name in ("a", "b"):
        ensure(sup, name)
        await settle()
    await stage.crash("a")
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.world.take() == ["+a", "+b", "-a ValueError", "-b shutdown", "-pool shutdown"]
    assert [(event.name, event.child) for event in stage.events.of(Escalated)] == [("pool", "a")]
