"""Starting as OTP's supervisors do: what init gives, what children's starts give, specs as maps."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.runtime import (
    SHUTDOWN,
    Custom,
    Ignore,
    Ref,
    Shutdown,
    StartFailed,
)
from actors.runtime.exits import Crash
from actors.testkit import Probe, advance, settle
from supervision import (
    BadSpec,
    ChildSpec,
    ChildStarted,
    Counts,
    FailedToStart,
    NotStarted,
    Refusal,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    admin,
)
from tests.supervision.actors import TEMPORARY, Stage, Worker, ids
from tests.supervision.test_dynamic import start


async def start_linked(stage: Stage, init: Any) -> tuple[Any, list[Any]]:
    """What a start linked to somebody answers, and what is left in his mailbox afterwards."""
    caller = Probe(stage.system)
    answer: Any
    try:
        answer = await stage.system.start(Supervisor, init, link_to=caller.ref)
    except StartFailed as failed:
        answer = failed.reason
    await settle()
    return answer, caller.messages


def fails() -> SupervisorSpec:
    raise ValueError("no configuration")


def ignores() -> SupervisorSpec:
    raise Ignore


@pytest.mark.otp("supervisor_SUITE.sup_start_normal")
async def test_an_empty_supervisor_starts_and_ends_with_what_it_was_sent(stage: Stage) -> None:
    sup = await stage.supervise()
    assert await admin.which_children(sup) == []
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN


@pytest.mark.otp("supervisor_SUITE.sup_start_ignore_init")
async def test_a_supervisor_that_is_not_needed_leaves_no_trace(stage: Stage) -> None:
    assert await start_linked(stage, ignores) == (None, [])


async def test_a_start_that_takes_too_long_leaves_nothing_behind(stage: Stage) -> None:
    """Neither the children already started nor a message for the linked caller."""
    stage.world.hold_next("b")
    caller = Probe(stage.system)
    spec = SupervisorSpec(children=(stage.spec("a"), stage.spec("b")))
    with pytest.raises(StartFailed, match="timeout"):
        await stage.system.start(Supervisor, spec, link_to=caller.ref, timeout_s=2.0)
    await caller.expect_nothing(for_s=1.0)
    assert list(stage.system.actors()) == [caller.ref]


@pytest.mark.otp("supervisor_SUITE.sup_start_error_return")
async def test_an_init_that_returns_nonsense_fails_the_start(stage: Stage) -> None:
    reason, got = await start_linked(stage, lambda: 7)
    assert reason == Crash("InvalidSpec", "supervisor: 7 is no supervisor spec")
    assert got == []


@pytest.mark.otp("supervisor_SUITE.sup_start_fail")
async def test_an_init_that_raises_fails_the_start_with_a_summary(stage: Stage) -> None:
    reason, got = await start_linked(stage, fails)
    assert reason == Crash("ValueError", "no configuration")
    assert "in fails" in reason.traceback
    assert got == []


async def test_an_init_is_asked_at_each_start(stage: Stage) -> None:
    children = [stage.spec("a")]
    inner = ChildSpec(
        "inner", Supervisor, (lambda: SupervisorSpec(children=tuple(children)),),
        name="inner", kind="supervisor",
    )  # fmt: skip
    await stage.supervise(inner)
    children.append(stage.spec("b"))
    assert ids(stage.ref("inner")) == ["a"]
    stage.ref("inner").exit(Custom("again"))
    await advance(1.0)
    assert ids(stage.ref("inner")) == ["a", "b"]


# ---------------------------------------------------------------------- children that ignore


@pytest.mark.otp("supervisor_SUITE.sup_start_ignore_child")
async def test_a_permanent_child_that_ignores_keeps_its_spec(stage: Stage) -> None:
    sup = await stage.supervise("a")
    stage.world.ignore_next("b")
    assert await admin.start_child(sup, stage.spec("b")) == ChildStarted(None)
    found = await admin.which_child(sup, "b")
    assert found is not Refusal.NOT_FOUND
    assert isinstance(found, admin.ChildInfo)
    assert found.ref is None
    assert await admin.count_children(sup) == Counts(2, 1, 0, 2)


@pytest.mark.otp("supervisor_SUITE.sup_start_ignore_temporary_child")
async def test_a_temporary_child_that_ignores_is_forgotten(stage: Stage) -> None:
    stage.world.ignore_next("a")
    sup = await stage.supervise(stage.spec("a", restart=TEMPORARY), "b")
    assert ids(sup) == ["b"]
    assert await admin.count_children(sup) == Counts(1, 1, 0, 1)


@pytest.mark.otp("supervisor_SUITE.sup_start_ignore_temporary_child_start_child")
async def test_a_temporary_child_that_ignores_by_hand_is_forgotten(stage: Stage) -> None:
    sup = await stage.supervise("b")
    stage.world.ignore_next("a")
    assert await admin.start_child(sup, stage.spec("a", restart=TEMPORARY)) == ChildStarted(None)
    assert await admin.count_children(sup) == Counts(1, 1, 0, 1)


@pytest.mark.otp(
    "supervisor_SUITE.sup_start_ignore_temporary_child_start_child_simple",
    "supervisor_SUITE.sup_start_ignore_permanent_child_start_child_simple",
)
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.PERMANENT])
async def test_a_dynamic_child_that_ignores_is_not_stored(stage: Stage, restart: Restart) -> None:
    _, sup = await start(stage)
    stage.world.ignore_next("x")
    assert await admin.start_child(sup, stage.spec("x", restart=restart)) == ChildStarted(None)
    await advance(1.0)
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)
    sup.exit(SHUTDOWN, stage.ref("sup"))
    assert await sup.wait_exit() == SHUTDOWN


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_restart_ignore")
async def test_a_dynamic_child_that_ignores_its_restart_is_dropped(stage: Stage) -> None:
    _, sup = await start(stage)
    await admin.start_child(sup, stage.spec("x", restart=Restart.PERMANENT))
    stage.world.ignore_next("x")
    await stage.crash("x")
    await advance(10.0)
    assert stage.system.whereis("x") is None
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)


# ---------------------------------------------------------------------- children that fail


@pytest.mark.otp("supervisor_SUITE.sup_start_child_returns_error", "law.L20")
async def test_the_reason_a_child_gives_comes_back_and_nothing_is_kept(stage: Stage) -> None:
    sup = await stage.supervise()
    stage.world.refuse_next("a", Custom({"odd": "term"}))
    answer = await admin.start_child(sup, stage.spec("a"))
    assert answer == NotStarted(Custom({"odd": "term"}))
    stage.world.refuse_next("a", Custom("ignore"))
    answer = await admin.start_child(sup, stage.spec("a"))
    assert answer == NotStarted(Custom("ignore")), "a word of its own, not Ignore"
    stage.world.fail_next("a")
    assert await admin.start_child(sup, stage.spec("a")) == NotStarted(
        Crash("ValueError", "told to fail")
    )
    assert ids(sup) == []


@pytest.mark.otp("supervisor_SUITE.sup_start_restart_child_returns_error")
async def test_a_restart_by_hand_that_fails_keeps_the_spec_and_is_left_at_that(
    stage: Stage,
) -> None:
    sup = await stage.supervise("a")
    await admin.terminate_child(sup, "a")
    stage.world.refuse_next("a", Custom("not today"))
    assert await admin.restart_child(sup, "a") == NotStarted(Custom("not today"))
    await advance(60.0)
    assert await admin.count_children(sup) == Counts(1, 0, 0, 1)
    assert stage.world.log.count("+a") == 1


@pytest.mark.otp("supervisor_SUITE.sup_start_child_returns_error_simple")
async def test_a_dynamic_child_that_gives_a_reason_is_not_kept(stage: Stage) -> None:
    _, sup = await start(stage)
    stage.world.refuse_next("x", Custom("odd"))
    assert await admin.start_child(sup, stage.spec("x")) == NotStarted(Custom("odd"))
    await advance(1.0)
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)


@pytest.mark.otp("supervisor_SUITE.already_started_outside_supervisor")
async def test_a_name_held_by_a_stranger_is_told(stage: Stage) -> None:
    stranger = stage.system.spawn(Worker, stage.world, "s", name="a")
    await settle()
    sup = await stage.supervise()
    assert await admin.start_child(sup, stage.spec("a")) == admin.AlreadyRunning(stranger)
    assert ids(sup) == []
    assert stranger.is_alive()


@pytest.mark.otp("supervisor_SUITE.faulty_application_shutdown", "law.L2")
async def test_a_start_that_fails_deep_down_tells_the_whole_chain(stage: Stage) -> None:
    stage.world.refuse_next("leaf", Custom("no disk"))
    inner = stage.nest("inner", stage.spec("first"), stage.spec("leaf"))
    with pytest.raises(StartFailed) as failed:
        await stage.supervise("a", stage.nest("middle", inner))
    leaf = Shutdown(FailedToStart("leaf", Custom("no disk")))
    assert failed.value.reason == Shutdown(
        FailedToStart("middle", Shutdown(FailedToStart("inner", leaf)))
    )
    await settle()
    assert list(stage.system.actors()) == []
    assert stage.world.take()[:3] == ["+a", "+first", "-leaf no disk"], "tried once"


# ---------------------------------------------------------------------- specs as maps


def plain(stage: Stage, id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "actor": Worker, "args": (stage.world, id_)} | more


@pytest.mark.otp("supervisor_SUITE.sup_start_map", "law.L19")
async def test_a_supervisor_from_plain_maps_has_the_defaults(stage: Stage) -> None:
    given = {"strategy": "rest_for_one", "children": [plain(stage, "a"), plain(stage, "b")]}
    sup = await stage.system.start(Supervisor, given)
    assert isinstance(sup, Ref)
    spec = await admin.get_child_spec(sup, "a")
    assert spec == ChildSpec("a", Worker, (stage.world, "a"))
    assert isinstance(spec, ChildSpec)
    assert (spec.restart, spec.kind, spec.significant) == (Restart.PERMANENT, "worker", False)
    assert spec.shutdown_limit_s == 5.0
    assert await admin.get_child_spec(sup, "z") is Refusal.NOT_FOUND
    details = sup.details()
    assert isinstance(details, dict)
    assert (details["strategy"], details["intensity"]) == (Strategy.REST_FOR_ONE, 3)


@pytest.mark.otp("supervisor_SUITE.sup_start_map_simple")
async def test_the_spec_of_a_dynamic_child_is_found_by_its_ref(stage: Stage) -> None:
    spawner, sup = await start(stage)
    ref = spawner.ensure("x")
    stranger = stage.system.spawn(Worker, stage.world, "s")
    await settle()
    assert ref is not None
    assert await admin.get_child_spec(sup, ref) == stage.spec("x", restart=Restart.TRANSIENT)
    assert await admin.get_child_spec(sup, "x") == await admin.get_child_spec(sup, ref)
    assert await admin.get_child_spec(sup, stranger) is Refusal.NOT_FOUND


@pytest.mark.otp("supervisor_SUITE.sup_start_map_faulty_specs", "law.L19")
@pytest.mark.parametrize(
    ("child", "problem"),
    [
        ({"actor": Worker}, "supervisor: the id is missing"),
        ({"id": "a"}, "supervisor.a: the actor is missing"),
        ("a", "supervisor: 'a' is no child spec"),
        ({"id": "a", "actor": Worker, "restart": "often"}, "supervisor.a.restart: 'often' is no"),
        ({"id": "a", "actor": Worker, "args": 7}, "supervisor.a.args: are no arguments"),
    ],
)
async def test_faulty_maps_are_told_apart_at_the_start_and_by_hand(
    stage: Stage, child: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        await stage.system.start(Supervisor, {"children": [child]})
    sup = await stage.supervise()
    answer = await admin.start_child(sup, child)
    assert isinstance(answer, BadSpec)
    assert str(answer.problems[0]).startswith(problem)
    good = plain(stage, "b", shutdown_s="brutal_kill", colour="green")
    assert isinstance(await admin.start_child(sup, good), ChildStarted), "unknown keys are ignored"


@pytest.mark.otp("law.L1", "law.L15")
async def test_a_slow_start_by_hand_keeps_the_supervisor_responsive(stage: Stage) -> None:
    sup = await stage.supervise("a")
    gate = stage.world.hold_next("b")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await admin.start_child(sup, stage.spec("b")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await advance(1.0)
        assert (await admin.count_children(sup)).active == 2
        assert answers == [], "it answers when the child is ready"
        gate.set()
    assert answers == [ChildStarted(stage.ref("b"))]


async def test_a_linked_start_that_succeeds_stays_linked(stage: Stage) -> None:
    caller = Probe(stage.system)
    sup = await stage.system.start(Supervisor, SupervisorSpec(), link_to=caller.ref)
    assert sup is not None
    sup.exit(SHUTDOWN)
    await caller.expect_exit(sup, SHUTDOWN)
