"""Trees, crowds and memory: OTP's remaining cases of what supervisors keep, and for how long."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from actors.runtime import KILL, Actor, Custom, Shutdown
from actors.runtime.tracing import Escalated, Exited, RestartScheduled, Started
from actors.testkit import advance, settle
from supervision import (
    ChildReady,
    ChildSpec,
    Counts,
    FailedToStart,
    Level,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    UncleanShutdowns,
    admin,
    report_of,
)
from supervision.events import StartAttemptFailed
from tests.supervision.actors import TEMPORARY, TRANSIENT, Stage, ids
from tests.supervision.test_dynamic import start

ALL, REST = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


@pytest.mark.otp("supervisor_SUITE.tree")
async def test_a_tree_of_three_levels_comes_back_as_it_was_described(stage: Stage) -> None:
    left = stage.nest("left", stage.spec("l1"), strategy=ALL)
    right = stage.nest("right", stage.spec("r1"), restart=TRANSIENT)
    middle = stage.nest("middle", left, right, stage.spec("m1"), strategy=ALL)
    await stage.supervise(middle, "top")
    await admin.start_child(stage.ref("left"), stage.spec("extra"))
    await admin.terminate_child(stage.ref("middle"), "right")
    assert ids(stage.ref("left")) == ["l1", "extra"]
    await stage.crash("m1")
    await advance(0.05)
    assert ids(stage.ref("left")) == ["l1"], "what was added by hand is gone"
    assert stage.ref("l1").is_alive()
    assert stage.ref("r1").is_alive(), "terminated by hand, it returned with its group"
    assert stage.ref("top").incarnation == 1


@pytest.mark.otp("supervisor_SUITE.simple_global_supervisor")
@pytest.mark.parametrize("victim", ["inner", "worker"])
async def test_whoever_is_killed_comes_back_under_its_name(stage: Stage, victim: str) -> None:
    inner = stage.nest("inner", stage.spec("worker"))
    await stage.supervise(inner)
    before = stage.ref(victim)
    before.exit(KILL)
    await advance(0.05)
    assert stage.ref(victim) is not before
    assert stage.ref("inner").is_alive()
    assert await stage.ref("worker").call("hello") == "hello"
    assert ids(stage.ref("inner")) == ["worker"]


@pytest.mark.otp("supervisor_SUITE.count_children", "supervisor_SUITE.count_children_supervisor")
@pytest.mark.parametrize("kind", ["worker", "supervisor"])
async def test_two_thousand_dynamic_children_are_counted(stage: Stage, kind: str) -> None:
    spawner, sup = await start(stage, kind=kind, restart=TEMPORARY)
    names = [f"x{index}" for index in range(2_000)]
    for name in names:
        spawner.ensure(name)
    await settle()
    both = (2_000, 0) if kind == "supervisor" else (0, 2_000)
    for _ in range(2):
        assert await admin.count_children(sup) == Counts(2_000, 2_000, *both)
    for name in names:
        stage.ref(name).exit(KILL)
    await advance(0.02)
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)


# ---------------------------------------------------------------------- memory


class Parcel:
    """An argument that may be large."""


class Light(Actor):
    """Does not keep what it is given."""

    def __init__(self, parcel: Parcel) -> None:
        super().__init__()

    def on_receive(self, message: Any) -> None:
        raise ValueError("told to crash")


def light(id_: str, restart: Restart) -> tuple[ChildSpec, weakref.ref[Parcel]]:
    parcel = Parcel()
    return ChildSpec(id_, Light, (parcel,), name=id_, restart=restart), weakref.ref(parcel)


def is_kept(parcel: weakref.ref[Parcel]) -> bool:
    gc.collect()
    return parcel() is not None


@pytest.mark.otp("supervisor_SUITE.do_not_save_start_parameters_for_temporary_children", "law.L11")
@pytest.mark.parametrize("strategy", [*Strategy, None], ids=str)
async def test_only_arguments_that_may_be_needed_again_are_kept(
    stage: Stage, strategy: Strategy | None
) -> None:
    """Without a strategy: under a dynamic supervisor."""
    if strategy is None:
        _, sup = await start(stage)
    else:
        sup = await stage.supervise(strategy=strategy)
    kept = {}
    for restart in Restart:
        spec, kept[restart] = light(restart.value, restart)
        await admin.start_child(sup, spec)
        del spec
    assert {restart: is_kept(parcel) for restart, parcel in kept.items()} == {
        Restart.PERMANENT: True, Restart.TRANSIENT: True, Restart.TEMPORARY: False,
    }  # fmt: skip
    known = await admin.get_child_spec(sup, "temporary")
    assert isinstance(known, ChildSpec)
    assert (known.args, known.actor) == ((), Light)


@pytest.mark.otp("supervisor_SUITE.do_not_save_start_parameters_for_temporary_children")
async def test_arguments_of_initial_temporary_children_are_let_go_too(stage: Stage) -> None:
    parcels: list[weakref.ref[Parcel]] = []

    def init() -> SupervisorSpec:
        spec, parcel = light("a", TEMPORARY)
        parcels.append(parcel)
        return SupervisorSpec(children=(spec,))

    await stage.system.start(Supervisor, init)
    assert stage.ref("a").is_alive()
    assert not is_kept(parcels[0])


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_corruption")
async def test_arguments_are_let_go_also_after_a_temporary_child_died(stage: Stage) -> None:
    _, sup = await start(stage)
    for name in ("a", "b", "c"):
        spec, parcel = light(name, TEMPORARY)
        await admin.start_child(sup, spec)
        del spec
        assert not is_kept(parcel)
        await stage.crash(name)
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)


# ---------------------------------------------------------------------- reports

ORIGIN = (1.0, 7, "sup", 1, "Supervisor")


def nested(depth: int) -> Shutdown:
    reason = Shutdown(FailedToStart("leaf", Custom("no disk")))
    for level in range(depth):
        reason = Shutdown(FailedToStart(f"s{level}", reason))
    return reason


@pytest.mark.otp("supervisor_SUITE.format_log_1")
def test_a_report_is_one_line_or_several() -> None:
    report = report_of(StartAttemptFailed(*ORIGIN, "a", Custom("no\ndisk")))
    assert report is not None
    assert report.text(is_single_line=True) == (
        "supervisor: sup, context: start_error, offender: a, reason: no disk"
    )
    assert report.text().splitlines() == [
        "supervisor: sup", "    context: start_error", "    offender: a", "    reason: no", "disk",
    ]  # fmt: skip


@pytest.mark.otp("supervisor_SUITE.format_log_1")
def test_a_report_is_no_deeper_and_no_longer_than_asked() -> None:
    event = RestartScheduled(*ORIGIN, "a", 0.1, nested(2))
    whole = report_of(event)
    shallow = report_of(event, depth_max=1)
    short = report_of(event, chars_max=12)
    assert whole is not None
    assert shallow is not None
    assert short is not None
    assert whole.reason == ("s1 failed to start: s0 failed to start: leaf failed to start: no disk")
    assert shallow.reason == "s1 failed to start: s0 failed to start: …"
    assert short.reason == "s1 failed t…"
    bottomless = report_of(replace(event, reason=nested(900)))
    assert bottomless is not None
    assert bottomless.reason.endswith("…")


@pytest.mark.otp("supervisor_SUITE.format_log_2")
def test_reports_keep_their_contexts_and_levels() -> None:
    events = [
        ChildReady(*ORIGIN, "a", Level.DEBUG),
        UncleanShutdowns(*ORIGIN, 20, Custom("odd")),
        Escalated(*ORIGIN, "a", Custom("odd")),
    ]
    reports = [report_of(event) for event in events]
    assert [(r.context, r.offender, r.reason, r.level) for r in reports if r is not None] == [
        ("progress", "a", "started", Level.DEBUG),
        ("shutdown_error", "20 children", "odd", Level.WARNING),
        ("shutdown", "a", "reached_max_restart_intensity: odd", Level.WARNING),
    ]


async def test_other_events_are_no_reports(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await stage.system.stop(sup)
    assert {type(event) for event in stage.events} == {Started, Exited, ChildReady}
    assert {type(event) for event in stage.events if report_of(event)} == {ChildReady}
