"""Significant children: when the end of a child is the end of its supervisor, and when not."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from actors.runtime import KILL, NORMAL, SHUTDOWN, Ref
from actors.testkit import advance
from supervision import AutoShutdown, BadSpec, Done, Restart, Strategy, SupervisorSpec, admin
from tests.supervision.actors import TEMPORARY, TRANSIENT, Polite, Stage

NEVER, ANY, EVERY = (
    AutoShutdown.NEVER, AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT,
)  # fmt: skip
BY_HAND, KILLED, CRASHED, DONE = "by hand", "killed", "crashed", "done"
ENDS = [BY_HAND, KILLED, CRASHED, DONE]


async def end(stage: Stage, sup: Ref, name: str, how: str) -> None:
    match how:
        case "by hand":
            await admin.terminate_child(sup, name)
        case "killed":
            stage.ref(name).exit(KILL)
        case "crashed":
            stage.ref(name).tell("crash")
        case _:
            stage.ref(name).tell(NORMAL)
    await advance(0.02)


def significant(stage: Stage, name: str, restart: Restart) -> Any:
    return stage.spec(name, restart=restart, significant=True)


@pytest.mark.otp("supervisor_SUITE.nonsignificant_temporary")
@pytest.mark.parametrize(("mode", "how"), list(product(AutoShutdown, ENDS)))
async def test_a_temporary_child_that_is_not_significant(
    stage: Stage, mode: AutoShutdown, how: str
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TEMPORARY), auto_shutdown=mode)
    await end(stage, sup, "a", how)
    assert sup.is_alive()
    assert stage.system.whereis("a") is None


@pytest.mark.otp("supervisor_SUITE.nonsignificant_transient")
@pytest.mark.parametrize(("mode", "how"), list(product(AutoShutdown, ENDS)))
async def test_a_transient_child_that_is_not_significant(
    stage: Stage, mode: AutoShutdown, how: str
) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TRANSIENT), auto_shutdown=mode)
    await end(stage, sup, "a", how)
    assert sup.is_alive()
    assert (stage.system.whereis("a") is not None) == (how in (KILLED, CRASHED))


@pytest.mark.otp(
    "supervisor_SUITE.significant_temporary", "supervisor_SUITE.significant_transient", "law.L16"
)
@pytest.mark.parametrize(("restart", "how"), list(product((TEMPORARY, TRANSIENT), ENDS)))
async def test_any_significant_end_that_is_final_and_its_own(
    stage: Stage, restart: Restart, how: str
) -> None:
    sup = await stage.supervise(
        significant(stage, "a", restart), significant(stage, "b", restart), auto_shutdown=ANY
    )
    await end(stage, sup, "a", how)
    is_final = how == DONE or (how in (KILLED, CRASHED) and restart is TEMPORARY)
    assert sup.is_alive() == (not is_final)
    if is_final:
        assert sup.exit_reason == SHUTDOWN
        assert stage.world.log[-2:] == ["-b shutdown", "-sup shutdown"]
    elif how == BY_HAND:
        assert stage.system.whereis("a") is None
    else:
        assert stage.ref("a").incarnation == 2


@pytest.mark.otp(
    "supervisor_SUITE.significant_temporary", "supervisor_SUITE.significant_transient", "law.L17"
)
@pytest.mark.parametrize(("restart", "first"), list(product((TEMPORARY, TRANSIENT), ENDS)))
async def test_the_last_significant_end(stage: Stage, restart: Restart, first: str) -> None:
    """Whatever became of the first: it counts no more once it does not live."""
    sup = await stage.supervise(
        significant(stage, "a", restart), significant(stage, "b", restart), "c",
        auto_shutdown=EVERY,
    )  # fmt: skip
    await end(stage, sup, "a", first)
    assert sup.is_alive()
    comes_back = restart is TRANSIENT and first in (KILLED, CRASHED)
    await end(stage, sup, "b", DONE)
    assert sup.is_alive() == comes_back
    if comes_back:
        await end(stage, sup, "a", DONE)
    assert sup.exit_reason == SHUTDOWN


@pytest.mark.otp("supervisor_SUITE.significant_temporary")
async def test_terminating_the_last_by_hand_ends_nobody(stage: Stage) -> None:
    sup = await stage.supervise(
        significant(stage, "a", TEMPORARY), significant(stage, "b", TEMPORARY),
        auto_shutdown=EVERY,
    )  # fmt: skip
    await end(stage, sup, "a", DONE)
    await end(stage, sup, "b", BY_HAND)
    assert sup.is_alive()


@pytest.mark.otp("supervisor_SUITE.significant_bystander", "law.L16")
@pytest.mark.parametrize(
    ("strategy", "mode", "restart"),
    list(product(Strategy, (ANY, EVERY), (TEMPORARY, TRANSIENT))),
)
async def test_whom_a_sibling_took_down_ends_nobody(
    stage: Stage, strategy: Strategy, mode: AutoShutdown, restart: Restart
) -> None:
    bystander = stage.spec("b", Polite, restart=restart, significant=True)
    sup = await stage.supervise("a", bystander, strategy=strategy, auto_shutdown=mode)
    await end(stage, sup, "a", CRASHED)
    assert sup.is_alive()
    is_gone = restart is TEMPORARY and strategy is not Strategy.ONE_FOR_ONE
    assert (stage.system.whereis("b") is None) == is_gone
    assert stage.ref("a").incarnation == 2


@pytest.mark.otp("supervisor_SUITE.significant_escalation")
@pytest.mark.parametrize("climbs", [True, False])
async def test_auto_shutdown_climbs_through_significant_supervisors(
    stage: Stage, climbs: bool
) -> None:
    leaf = significant(stage, "leaf", TRANSIENT)
    inner = stage.nest("inner", leaf, restart=TRANSIENT, significant=climbs, auto_shutdown=ANY)
    sup = await stage.supervise(inner, "other", auto_shutdown=ANY)
    await end(stage, sup, "leaf", DONE)
    assert stage.system.whereis("inner") is None
    assert sup.is_alive() == (not climbs)
    assert (stage.system.whereis("other") is None) == climbs


# ---------------------------------------------------------------------- changed while it runs


@pytest.mark.otp(
    "supervisor_SUITE.significant_upgrade_never_any",
    "supervisor_SUITE.significant_upgrade_any_never",
    "supervisor_SUITE.significant_upgrade_never_all",
    "supervisor_SUITE.significant_upgrade_all_never",
    "supervisor_SUITE.significant_upgrade_any_all",
    "supervisor_SUITE.significant_upgrade_all_any",
)
@pytest.mark.parametrize(
    ("before", "after", "ends_for_it"),
    [
        (NEVER, ANY, [1]), (ANY, NEVER, []), (NEVER, EVERY, [2]),
        (EVERY, NEVER, []), (ANY, EVERY, [2]), (EVERY, ANY, [1]),
    ],
)  # fmt: skip
async def test_a_new_mode_holds_for_the_ends_to_come(
    stage: Stage, before: AutoShutdown, after: AutoShutdown, ends_for_it: list[int]
) -> None:
    """Two children, significant wherever that is allowed, are done one after the other."""
    sup = await stage.supervise(*pair(stage, before), auto_shutdown=before)
    children = () if after is NEVER else pair(stage, after)
    update = SupervisorSpec(auto_shutdown=after, children=children)
    assert await admin.update_spec(sup, update) == Done()
    ended_for = []
    for count, name in enumerate(("a", "b"), start=1):
        await end(stage, sup, name, DONE)
        if not sup.is_alive():
            ended_for.append(count)
            break
    assert ended_for == ends_for_it


def pair(stage: Stage, mode: AutoShutdown) -> tuple[Any, Any]:
    options: dict[str, Any] = {"restart": TEMPORARY, "significant": mode is not NEVER}
    return stage.spec("a", **options), stage.spec("b", **options)


@pytest.mark.otp("supervisor_SUITE.significant_upgrade_child")
async def test_a_running_child_may_become_significant(stage: Stage) -> None:
    plain = stage.spec("a", restart=TRANSIENT)
    sup = await stage.supervise(plain, auto_shutdown=ANY)
    ref = stage.ref("a")
    update = SupervisorSpec(auto_shutdown=ANY, children=(significant(stage, "a", TRANSIENT),))
    assert await admin.update_spec(sup, update) == Done()
    assert stage.ref("a") is ref
    await end(stage, sup, "a", DONE)
    assert sup.exit_reason == SHUTDOWN


@pytest.mark.otp("supervisor_SUITE.significant_upgrade_child")
async def test_a_running_child_may_not_become_significant_for_nothing(stage: Stage) -> None:
    sup = await stage.supervise(stage.spec("a", restart=TRANSIENT))
    update = SupervisorSpec(children=(significant(stage, "a", TRANSIENT),))
    answer = await admin.update_spec(sup, update)
    assert isinstance(answer, BadSpec)
    assert [problem.path for problem in answer.problems] == ["supervisor.a.significant"]
    kept = await admin.get_child_spec(sup, "a")
    assert kept == stage.spec("a", restart=TRANSIENT)
