"""Changing a supervisor while it runs (OTP's code change), and the rule for what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import SHUTDOWN, Actor, Ignore, Ref
from actors.runtime.tracing import RestartScheduled
from actors.testkit import Logs, advance, settle
from supervision import (
    Backoff,
    BadSpec,
    ChildSpec,
    ChildStarted,
    Done,
    NotStarted,
    Refusal,
    Strategy,
    Supervisor,
    SupervisorSpec,
    UpdateDynamic,
    admin,
)
from supervision.upgrade import upgraded
from tests.supervision.actors import SOON, TEMPORARY, TRANSIENT, Slow, Stage, Worker, ids
from tests.supervision.test_dynamic import start

ONE, ALL, REST = Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


def named(*ids_: str, limit_s: float = 5.0) -> tuple[ChildSpec, ...]:
    return tuple(ChildSpec(id_, Actor, shutdown_s=limit_s) for id_ in ids_)


IDS = st.lists(st.sampled_from("abcdef"), unique=True)


@pytest.mark.otp("law.L22")
@given(IDS, IDS)
def test_known_ones_are_replaced_new_ones_added_vanished_ones_kept(
    present: list[str], new: list[str]
) -> None:
    after = upgraded(named(*present), SupervisorSpec(children=named(*new, limit_s=7.0)))
    vanished = [id_ for id_ in present if id_ not in new]
    assert [spec.id for spec in after] == new + vanished
    assert after == (*named(*new, limit_s=7.0), *named(*vanished))


async def details(sup: Ref) -> dict[str, Any]:
    found = sup.details()
    assert isinstance(found, dict)
    return found


@pytest.mark.otp("supervisor_SUITE.code_change", "law.L22")
async def test_limits_and_specs_are_replaced_while_children_run(stage: Stage) -> None:
    sup = await stage.supervise("a", "b", intensity=1)
    refs = [stage.ref("a"), stage.ref("b")]
    new = SupervisorSpec(
        REST, intensity=9, children=(stage.spec("c"), stage.spec("b", shutdown_s=7.0))
    )
    assert await admin.update_spec(sup, new) == Done()
    assert ids(sup) == ["c", "b", "a"]
    assert [stage.ref("a"), stage.ref("b")] == refs
    assert stage.system.whereis("c") is None, "added, not started"
    assert await admin.get_child_spec(sup, "b") == stage.spec("b", shutdown_s=7.0)
    shown = await details(sup)
    assert (shown["strategy"], shown["intensity"]) == ("rest_for_one", 9)
    assert isinstance(await admin.restart_child(sup, "c"), ChildStarted)
    for _ in range(3):
        await stage.crash("b")
        await advance(0.05)
    lives = [stage.ref(name).incarnation for name in "cba"]
    assert lives == [1, 4, 4], "by the new strategy, order and intensity"


@pytest.mark.otp("supervisor_SUITE.code_change", "law.L22")
async def test_its_own_init_is_asked_again(stage: Stage) -> None:
    answers: list[Any] = [SupervisorSpec(children=(stage.spec("a"),))]

    def init() -> Any:
        match answers[-1]:
            case Exception() as error:
                raise error
            case spec:
                return spec

    sup = await stage.system.start(Supervisor, init)
    assert isinstance(sup, Ref)
    nonsenses: list[Any] = [7, {"intensity": -1}, ValueError("no disk"), {"children": [{}]}]
    for nonsense in nonsenses:
        answers.append(nonsense)
        assert isinstance(await admin.update_spec(sup), BadSpec)
    answers.append(Ignore())
    assert await admin.update_spec(sup) == Done(), "ignore: it stays as it is"
    assert ids(sup) == ["a"]
    answers.append({"intensity": 7, "children": [stage.spec("b")]})
    assert await admin.update_spec(sup) == Done()
    assert ids(sup) == ["b", "a"]
    assert (await details(sup))["intensity"] == 7


@pytest.mark.otp("supervisor_SUITE.code_change_map")
async def test_an_update_may_be_a_map(stage: Stage) -> None:
    sup = await stage.supervise("a")
    child = {"id": "b", "actor": Worker, "args": (stage.world, "b"), "name": "b"}
    assert await admin.update_spec(sup, {"strategy": "one_for_all", "children": [child]}) == Done()
    assert ids(sup) == ["b", "a"]
    assert (await details(sup))["strategy"] == "one_for_all"
    answer = await admin.update_spec(sup, {"strategy": "one_for_two"})
    assert isinstance(answer, BadSpec)
    assert [problem.path for problem in answer.problems] == ["supervisor.strategy"]
    assert (await details(sup))["strategy"] == "one_for_all"


async def test_a_fixed_spec_asked_for_again_is_the_same(stage: Stage) -> None:
    sup = await stage.supervise("a")
    assert await admin.update_spec(sup) == Done()
    assert ids(sup) == ["a"]
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN


async def test_a_supervisor_about_to_end_is_not_changed(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", Slow))
    sup.exit(SHUTDOWN)
    await advance(1.0)
    assert await admin.update_spec(sup, SupervisorSpec()) is Refusal.ENDING


@pytest.mark.parametrize(("before", "after"), [(ONE, ALL), (REST, ONE), (ONE, ONE)])
async def test_those_that_wait_for_their_restart_go_on_waiting(
    stage: Stage, before: Strategy, after: Strategy
) -> None:
    await stage.supervise("a", "b", strategy=before)
    stage.world.take()
    await stage.crash("a")
    await admin.update_spec(stage.ref("sup"), SupervisorSpec(after))
    await advance(0.02)
    assert stage.ref("a").incarnation == 2
    assert stage.ref("b").incarnation == (2 if before is REST else 1)
    await stage.crash("a")
    await advance(0.02)
    assert (stage.world.log[-1] == "+b") == (after is ALL)


async def test_those_that_waited_are_in_order_with_the_others_afterwards(stage: Stage) -> None:
    """Under one_for_all an end that happens while the group starts is looked at after that."""
    slow = Backoff(1.0, 1.0, 0.0)
    sup = await stage.supervise(stage.spec("a", backoff=slow), "b", intensity=9)
    await stage.crash("a")
    assert await admin.update_spec(sup, SupervisorSpec(ALL, 9)) == Done()
    gate = stage.world.hold_next("a")
    await advance(1.5)
    await stage.crash("b")
    assert [event.child for event in stage.events.of(RestartScheduled)] == ["a"]
    gate.set()
    await advance(0.05)
    assert [event.child for event in stage.events.of(RestartScheduled)] == ["a", "b"]
    assert [stage.ref(name).incarnation for name in "ab"] == [3, 2]


async def test_a_change_of_order_waits_until_nothing_is_under_way(stage: Stage) -> None:
    """And what was under way comes to its end by the old strategy."""
    sup = await stage.supervise("a", "b", intensity=9)
    gate = stage.world.hold_next("a")
    await stage.crash("a")
    await advance(1.0)
    answers: list[Any] = []

    async def update() -> None:
        answers.append(await admin.update_spec(sup, SupervisorSpec(ALL, 9)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(update)
        await advance(1.0)
        assert answers == []
        assert (await details(sup))["strategy"] == "one_for_one"
        gate.set()
    assert answers == [Done()]
    assert stage.ref("b").incarnation == 1
    await stage.crash("a")
    await advance(0.02)
    assert stage.ref("b").incarnation == 2


async def test_a_temporary_child_keeps_no_arguments_through_a_change(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TEMPORARY))
    await admin.update_spec(sup, SupervisorSpec(children=(stage.spec("a", restart=TEMPORARY),)))
    kept = await admin.get_child_spec(sup, "a")
    assert isinstance(kept, ChildSpec)
    assert kept.args == ()


# ---------------------------------------------------------------------- dynamic supervisors


@pytest.mark.otp("supervisor_SUITE.code_change_simple", "supervisor_SUITE.code_change_simple_map")
@pytest.mark.parametrize("is_map", [False, True])
async def test_new_dynamic_children_come_from_the_new_factory(stage: Stage, is_map: bool) -> None:
    spawner, sup = await start(stage)
    spawner.ensure("x")
    await settle()
    ref = stage.ref("x")

    def factory(name: str) -> Any:
        if not is_map:
            return stage.spec(name, Slow, restart=TRANSIENT)
        return {"id": name, "actor": Slow, "args": (stage.world, name), "restart": "transient"}

    update = UpdateDynamic(factory, max_children=2, intensity=1, period_s=60.0)
    assert await admin.update_dynamic(sup, update) == Done()
    assert (await details(sup))["init"].endswith("factory")
    assert stage.ref("x") is ref
    spawner.ensure("y")
    assert stage.ref("y").actor_class is Slow
    assert ref.actor_class is Worker
    assert spawner.ensure("z") is None, "two are enough now"
    await settle()
    await stage.crash("x")
    await advance(10.0)
    await stage.crash("x")
    assert (await admin.count_children(sup)).retired == 1, "by the new window"


@pytest.mark.otp("supervisor_SUITE.code_change_simple")
async def test_a_wrong_update_of_a_dynamic_supervisor_changes_nothing(stage: Stage) -> None:
    spawner, sup = await start(stage, max_children=1)
    answer = await admin.update_dynamic(sup, UpdateDynamic(intensity=-1, max_children=9))
    assert isinstance(answer, BadSpec)
    assert [problem.path for problem in answer.problems] == ["supervisor.intensity"]
    spawner.ensure("x")
    assert spawner.ensure("y") is None
    assert await admin.update_dynamic(sup, UpdateDynamic(max_children=2)) == Done()
    assert stage.ref("y").is_alive(), "it waited for a place"


async def test_a_window_made_smaller_counts_what_has_been(stage: Stage) -> None:
    spawner, sup = await start(stage, intensity=5, period_s=60.0)
    spawner.ensure("x")
    for _ in range(3):
        await advance(2.0)
        await stage.crash("x")
    await advance(1.0)
    await admin.update_dynamic(sup, UpdateDynamic(intensity=3))
    await stage.crash("x")
    assert (await admin.count_children(sup)).retired == 1


async def test_a_fixed_supervisor_is_no_dynamic_one(stage: Stage, logs: Logs) -> None:
    sup = await stage.supervise(stage.spec("a", backoff=SOON))
    assert await admin.update_dynamic(sup, UpdateDynamic()) is Refusal.UNKNOWN
    logs.expect("dropped a message of type UpdateDynamic")
    stage.world.fail_next("b")
    assert isinstance(await admin.start_child(sup, stage.spec("b")), NotStarted)
