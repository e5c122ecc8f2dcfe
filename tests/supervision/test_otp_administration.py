"""A running supervisor in somebody's hands: OTP's cases of administration, counts and listings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.runtime import NOPROC, NORMAL, SHUTDOWN, CallError, Custom, Ref
from actors.testkit import Logs, advance, settle
from supervision import (
    AlreadyRunning,
    BadSpec,
    ChildReady,
    ChildStarted,
    Counts,
    Done,
    Level,
    Refusal,
    Restart,
    Strategy,
    Supervisor,
    admin,
)
from tests.supervision.actors import TEMPORARY, TRANSIENT, Deaf, Stage, Telling, Worker, ids
from tests.supervision.test_dynamic import start

ById = Callable[[Ref, str], Awaitable[Any]]
BY_ID: list[ById] = [
    admin.terminate_child, admin.restart_child, admin.delete_child, admin.which_child,
    admin.get_child_spec,
]  # fmt: skip


async def state(sup: Ref, key: admin.Key) -> str:
    found = await admin.which_child(sup, key)
    return str(found.state) if isinstance(found, admin.ChildInfo) else str(found)


# ---------------------------------------------------------------------- fixed supervisors


@pytest.mark.otp("supervisor_SUITE.child_adm", "supervisor_SUITE.which_children")
async def test_a_whole_life_by_hand(stage: Stage) -> None:
    sup = await stage.supervise()
    spec = stage.spec("a")
    assert await admin.start_child(sup, spec) == ChildStarted(stage.ref("a"))
    assert await state(sup, "a") == "running"
    assert await admin.start_child(sup, spec) == AlreadyRunning(stage.ref("a"))
    assert await admin.restart_child(sup, "a") is Refusal.RUNNING
    assert await admin.delete_child(sup, "a") is Refusal.RUNNING
    assert await admin.count_children(sup) == Counts(1, 1, 0, 1)
    for _ in range(2):
        assert await admin.terminate_child(sup, "a") == Done(), "twice is as good"
    assert await state(sup, "a") == "stopped"
    assert await admin.count_children(sup) == Counts(1, 0, 0, 1)
    assert await admin.start_child(sup, spec) is Refusal.ALREADY_PRESENT
    assert await admin.restart_child(sup, "a") == ChildStarted(stage.ref("a"))
    assert await admin.terminate_child(sup, stage.ref("a")) is Refusal.NOT_FOUND, "by its id only"
    await admin.terminate_child(sup, "a")
    assert await admin.delete_child(sup, "a") == Done()
    assert await admin.which_children(sup) == []
    for function in BY_ID:
        assert await function(sup, "a") is Refusal.NOT_FOUND
    assert await admin.start_child(sup, spec) == ChildStarted(stage.ref("a"))


@pytest.mark.otp("supervisor_SUITE.child_adm")
@pytest.mark.parametrize("function", BY_ID)
async def test_a_supervisor_that_is_not_there_cannot_be_asked(stage: Stage, function: ById) -> None:
    sup = await stage.supervise("a")
    await stage.system.stop(sup)
    with pytest.raises(CallError) as failed:
        await function(sup, "a")
    assert failed.value.reason == NOPROC


@pytest.mark.otp("supervisor_SUITE.which_children", "law.L18")
async def test_children_are_listed_in_start_order(stage: Stage) -> None:
    sup = await stage.supervise("b", stage.nest("a"))
    await admin.start_child(sup, stage.spec("c"))
    assert [(info.id, info.kind) for info in await admin.which_children(sup)] == [
        ("b", "worker"), ("a", "supervisor"), ("c", "worker"),
    ]  # fmt: skip
    assert [info.ref for info in await admin.which_children(sup)] == [
        stage.ref("b"), stage.ref("a"), stage.ref("c"),
    ]  # fmt: skip


@pytest.mark.otp("supervisor_SUITE.extra_return", "law.L20")
async def test_what_a_child_says_at_its_start_reaches_whoever_asked(stage: Stage) -> None:
    sup = await stage.supervise()
    spec = stage.spec("a", Telling)
    assert await admin.start_child(sup, spec) == ChildStarted(stage.ref("a"), "a 1")
    await admin.terminate_child(sup, "a")
    assert await admin.restart_child(sup, "a") == ChildStarted(stage.ref("a"), "a 2")
    await stage.crash("a")
    await advance(0.02)
    assert stage.ref("a").incarnation == 3
    await admin.terminate_child(sup, "a")
    stage.world.ignore_next("a")
    assert await admin.restart_child(sup, "a") == ChildStarted(None), "nothing was kept"


@pytest.mark.otp("supervisor_SUITE.external_start_no_progress_log", "law.L21")
async def test_a_start_by_hand_is_progress_for_nobody_else(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await admin.start_child(sup, stage.spec("b"))
    await admin.terminate_child(sup, "b")
    await admin.restart_child(sup, "b")
    await stage.crash("b")
    await advance(0.02)
    assert [(event.child, event.level) for event in stage.events.of(ChildReady)] == [
        ("a", Level.INFO), ("b", Level.DEBUG), ("b", Level.DEBUG), ("b", Level.INFO),
    ]  # fmt: skip


@pytest.mark.otp("law.L21")
async def test_dynamic_children_are_no_progress(stage: Stage) -> None:
    spawner, sup = await start(stage)
    spawner.ensure("x")
    await admin.start_child(sup, stage.spec("y"))
    assert [event.child for event in stage.events.of(ChildReady)] == ["dyn"]


@pytest.mark.otp("supervisor_SUITE.do_not_save_child_specs_for_temporary_children")
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("end", ["kill", "normal", "crash", "by hand"])
async def test_the_id_of_a_temporary_child_is_free_again(
    stage: Stage, restart: Restart, end: str
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=restart))
    match end:
        case "kill":
            stage.ref("a").exit(Custom("killed"))
        case "normal":
            stage.ref("a").tell(NORMAL)
        case "crash":
            stage.ref("a").tell("crash")
        case _:
            await admin.terminate_child(sup, "a")
    await advance(0.02)
    answer = await admin.start_child(sup, stage.spec("a", restart=restart))
    if restart is TEMPORARY:
        assert isinstance(answer, ChildStarted)
    else:
        assert isinstance(answer, AlreadyRunning) or answer is Refusal.ALREADY_PRESENT


@pytest.mark.otp("supervisor_SUITE.count_restarting_children")
async def test_a_child_that_waits_for_its_restart_counts_but_is_not_active(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=10)
    stage.world.fail_next("a", 2)
    await stage.crash("a")
    assert await admin.count_children(sup) == Counts(2, 1, 0, 2, restarting=1)
    await advance(0.1)
    assert await admin.count_children(sup) == Counts(2, 2, 0, 2)
    stage.world.fail_next("a", 2)
    await stage.crash("a")
    assert await admin.terminate_child(sup, "a") == Done()
    await advance(0.1)
    assert await admin.count_children(sup) == Counts(2, 1, 0, 2)


@pytest.mark.otp("supervisor_SUITE.get_callback_module")
async def test_a_supervisor_tells_where_its_spec_comes_from(stage: Stage) -> None:
    def tree() -> dict[str, Any]:
        return {"children": [stage.spec("a")]}

    sup = await stage.system.start(Supervisor, tree)
    assert isinstance(sup, Ref)
    details = sup.details()
    assert isinstance(details, dict)
    assert details["init"].endswith("tree")
    fixed = (await stage.supervise("b")).details()
    assert isinstance(fixed, dict)
    assert fixed["init"] is None


# ---------------------------------------------------------------------- strangers


@pytest.mark.otp("law.L14")
async def test_the_end_of_a_stranger_and_nonsense_change_nothing(stage: Stage, logs: Logs) -> None:
    sup = await stage.supervise("a")
    stranger = stage.system.spawn(Worker, stage.world, "s")
    await settle()
    sup.exit(Custom("a stranger's"), stranger)
    sup.tell("what is this")
    assert await sup.call("and this") is Refusal.UNKNOWN, "refused, not carried out"
    assert sup.is_alive()
    assert ids(sup) == ["a"]
    logs.expect("dropped a message of type str", times=2)


@pytest.mark.otp("law.L14")
async def test_the_end_of_its_parent_ends_a_supervisor(stage: Stage) -> None:
    await stage.supervise(stage.nest("inner", stage.spec("leaf", Deaf, shutdown_s=1.0)))
    inner = stage.ref("inner")
    inner.exit(Custom("enough"), stage.ref("sup"))
    assert await inner.wait_exit() == Custom("enough")
    assert stage.system.whereis("leaf") is None


async def test_a_dynamic_supervisor_refuses_nonsense(stage: Stage, logs: Logs) -> None:
    _, sup = await start(stage)
    assert await sup.call("what is this") is Refusal.UNKNOWN
    assert await sup.call(admin.UpdateSpec()) is Refusal.UNKNOWN
    logs.expect("DynamicSupervisor dyn#1 dropped", times=2)


# ---------------------------------------------------------------------- dynamic supervisors


@pytest.mark.otp(
    "supervisor_SUITE.child_adm_simple", "supervisor_SUITE.which_children_simple_one_for_one"
)
async def test_a_dynamic_child_is_known_by_its_ref(stage: Stage) -> None:
    _, sup = await start(stage)
    await admin.start_child(sup, stage.spec("x"))
    await admin.start_child(sup, stage.spec("y"))
    x, y = stage.ref("x"), stage.ref("y")
    stranger = stage.system.spawn(Worker, stage.world, "s", name="s")
    await settle()
    assert await admin.count_children(sup) == Counts(2, 2, 0, 2)
    assert {info.ref for info in await admin.which_children(sup)} == {x, y}
    assert await state(sup, x) == await state(sup, "x") == "running"
    assert await admin.terminate_child(sup, x) == Done()
    assert await admin.terminate_child(sup, x) == Done(), "gone is gone"
    assert await state(sup, x) == "not_found"
    assert await admin.terminate_child(sup, stranger) is Refusal.NOT_FOUND
    assert stranger.is_alive()
    assert await state(sup, stranger) == "not_found"
    assert [info.ref for info in await admin.which_children(sup)] == [y]
    for function in (admin.restart_child, admin.delete_child):
        assert await function(sup, "x") is Refusal.NOT_FOUND
        assert await function(sup, "y") is Refusal.RUNNING


@pytest.mark.otp("supervisor_SUITE.child_adm_simple")
async def test_the_ref_of_a_child_before_its_restart_is_gone(stage: Stage) -> None:
    _, sup = await start(stage)
    await admin.start_child(sup, stage.spec("x"))
    before = stage.ref("x")
    await stage.crash("x")
    await advance(0.02)
    assert await admin.terminate_child(sup, before) == Done()
    assert stage.ref("x").is_alive(), "its next incarnation is another one"
    assert await state(sup, before) == "not_found"


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_extra")
async def test_what_a_dynamic_child_says_reaches_whoever_asked(stage: Stage) -> None:
    _, sup = await start(stage)
    spec = stage.spec("x", Telling)
    assert await admin.start_child(sup, spec) == ChildStarted(stage.ref("x"), "x 1")
    await stage.crash("x")
    await advance(0.02)
    assert stage.ref("x").incarnation == 2


@pytest.mark.otp("supervisor_SUITE.count_restarting_children")
@pytest.mark.parametrize("kind", ["worker", "supervisor"])
async def test_a_dynamic_child_that_waits_keeps_its_place(stage: Stage, kind: str) -> None:
    _, sup = await start(stage)
    await admin.start_child(sup, stage.spec("x", kind=kind, restart=TRANSIENT))
    both = (1, 0) if kind == "supervisor" else (0, 1)
    assert await admin.count_children(sup) == Counts(1, 1, *both)
    await stage.crash("x")
    assert await admin.count_children(sup) == Counts(1, 0, *both, restarting=1)
    assert await state(sup, "x") == "restarting"
    assert await admin.get_child_spec(sup, "x") == stage.spec("x", kind=kind, restart=TRANSIENT)
    await advance(0.02)
    assert await admin.count_children(sup) == Counts(1, 1, *both)
    await stage.crash("x")
    assert await admin.terminate_child(sup, "x") == Done()
    assert await admin.count_children(sup) == Counts(0, 0, 0, 0)


@pytest.mark.otp("supervisor_SUITE.significant_simple", "law.L16")
async def test_a_dynamic_supervisor_takes_no_significant_child(stage: Stage, logs: Logs) -> None:
    spawner, sup = await start(stage, significant=True)
    answer = await admin.start_child(sup, stage.spec("x", restart=TRANSIENT, significant=True))
    assert isinstance(answer, BadSpec)
    assert [problem.path for problem in answer.problems] == ["supervisor.x.significant"]
    assert spawner.ensure("y") is None, "its factory is no way around that"
    logs.expect("could not make y")


# ---------------------------------------------------------------------- restarts that hang


@pytest.mark.otp(
    "supervisor_SUITE.hanging_restart_loop", "supervisor_SUITE.hanging_restart_loop_rest_for_one",
    "law.L8", "law.L9",
)  # fmt: skip
@pytest.mark.parametrize(
    ("strategy", "victim"), [(Strategy.ONE_FOR_ONE, "b"), (Strategy.REST_FOR_ONE, "a")]
)
async def test_a_restart_that_fails_slowly_leaves_the_supervisor_responsive(
    stage: Stage, strategy: Strategy, victim: str
) -> None:
    sup = await stage.supervise("a", "b", strategy=strategy, intensity=8, period_s=30.0)
    stage.world.fail_next("b", 20, after_s=2.0)
    await stage.crash(victim)
    asked_s = trio.current_time()
    assert await state(sup, "b") == "restarting"
    assert await admin.restart_child(sup, "b") is Refusal.RESTARTING
    assert await admin.delete_child(sup, "b") is Refusal.RESTARTING
    assert await admin.start_child(sup, stage.spec("b")) is Refusal.ALREADY_PRESENT
    assert trio.current_time() == asked_s
    await advance(3.0)
    assert await state(sup, "b") == "starting", "the second attempt is under way"
    assert await admin.terminate_child(sup, "b") == Done()
    assert await state(sup, "b") == "stopped"
    assert await admin.restart_child(sup, "b") != Refusal.RESTARTING, "asked for, and failed again"
    assert stage.ref("a").incarnation == (2 if victim == "a" else 1)
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN
    assert trio.current_time() - asked_s < 6.0, "at once, not after the attempts"


@pytest.mark.otp("supervisor_SUITE.hanging_restart_loop_simple", "law.L9")
async def test_a_dynamic_restart_that_fails_slowly_harms_nobody(stage: Stage) -> None:
    _, sup = await start(stage, intensity=8, period_s=30.0)
    await admin.start_child(sup, stage.spec("x"))
    await admin.start_child(sup, stage.spec("y"))
    stage.world.fail_next("x", 20, after_s=2.0)
    await stage.crash("x")
    assert await admin.restart_child(sup, "x") is Refusal.RESTARTING
    assert await admin.delete_child(sup, "x") is Refusal.RESTARTING
    await advance(3.0)
    assert await state(sup, "y") == "running"
    assert await admin.terminate_child(sup, "x") == Done()
    assert await state(sup, "x") == "not_found"
    stage.world.fail_next("y", 20, after_s=2.0)
    await stage.crash("y")
    await advance(1.0)
    assert await state(sup, "y") == "starting"
    asked_s = trio.current_time()
    await stage.system.stop(sup)
    assert trio.current_time() - asked_s < 0.1, "at once, not after the attempt"
