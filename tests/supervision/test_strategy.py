"""The strategy as properties over all small supervisors, and its table of restart types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervision.spec import AutoShutdown, Restart, Strategy
from supervision.strategy import ChildView, Plan, concerns_others, is_restarted, plan

CHILDREN = st.lists(
    st.tuples(st.sampled_from(Restart), st.booleans(), st.booleans()), min_size=1, max_size=6
).map(
    lambda rows: [
        ChildView(f"c{index}", restart, significant and restart is not Restart.PERMANENT, alive)
        for index, (restart, significant, alive) in enumerate(rows)
    ]
)


@st.composite
def ends(draw: st.DrawFn) -> tuple[Strategy, AutoShutdown, list[ChildView], int, bool]:
    children = draw(CHILDREN)
    return (
        draw(st.sampled_from(Strategy)), draw(st.sampled_from(AutoShutdown)), children,
        draw(st.integers(0, len(children) - 1)), draw(st.booleans()),
    )  # fmt: skip


End = tuple[Strategy, AutoShutdown, list[ChildView], int, bool]


def decide(end: End) -> Plan:
    strategy, auto_shutdown, children, index, abnormal = end
    return plan(strategy, auto_shutdown, children, children[index].id, abnormal=abnormal)


@pytest.mark.otp("law.L12")
@pytest.mark.parametrize(
    ("restart", "abnormal", "comes_back"),
    [
        (Restart.PERMANENT, True, True), (Restart.PERMANENT, False, True),
        (Restart.TRANSIENT, True, True), (Restart.TRANSIENT, False, False),
        (Restart.TEMPORARY, True, False), (Restart.TEMPORARY, False, False),
    ],
)  # fmt: skip
def test_restart_types(restart: Restart, abnormal: bool, comes_back: bool) -> None:
    assert is_restarted(restart, abnormal=abnormal) is comes_back


@given(ends())
def test_a_restart_is_planned_exactly_for_those_that_come_back(end: End) -> None:
    _, _, children, index, abnormal = end
    decided = decide(end)
    assert decided.restarts == is_restarted(children[index].restart, abnormal=abnormal)
    assert bool(decided.start) == decided.restarts
    assert not (decided.restarts and decided.shut_down)


@given(ends())
def test_starts_are_in_order_and_stops_in_reverse(end: End) -> None:
    ids = [child.id for child in end[2]]
    decided = decide(end)
    assert list(decided.start) == sorted(decided.start, key=ids.index)
    assert list(decided.stop) == sorted(decided.stop, key=ids.index, reverse=True)


@pytest.mark.otp("law.L11")
@given(ends())
def test_a_temporary_child_never_starts_again(end: End) -> None:
    """L11: also not when a sibling's strategy took it down; and then it is forgotten."""
    restarts = {child.id: child.restart for child in end[2]}
    decided = decide(end)
    assert all(restarts[id_] is not Restart.TEMPORARY for id_ in decided.start)
    assert all(restarts[id_] is Restart.TEMPORARY for id_ in decided.forget)


@given(ends())
def test_a_child_that_concerns_no_other_is_decided_on_alone(end: End) -> None:
    strategy, auto_shutdown, children, index, abnormal = end
    child = children[index]
    if not concerns_others(strategy, auto_shutdown, child, abnormal=abnormal):
        alone = plan(strategy, auto_shutdown, [child], child.id, abnormal=abnormal)
        assert alone == decide(end)


@given(ends())
def test_whoever_stops_starts_again_or_is_forgotten(end: End) -> None:
    decided = decide(end)
    assert set(decided.stop) <= set(decided.start) | set(decided.forget)
    assert end[2][end[3]].id not in decided.stop, "it has ended already"


@given(ends())
def test_the_strategy_says_whom_it_concerns(end: End) -> None:
    strategy, _, children, index, _ = end
    decided = decide(end)
    if not decided.restarts:
        return
    concerned = {
        Strategy.ONE_FOR_ONE: children[index : index + 1],
        Strategy.ONE_FOR_ALL: children,
        Strategy.REST_FOR_ONE: children[index:],
    }[strategy]
    ids = {child.id for child in concerned}
    assert set(decided.start) | set(decided.forget) == ids
    assert {c.id for c in concerned if c.alive} - set(decided.stop) <= {children[index].id}


@pytest.mark.otp("law.L16", "law.L17")
@given(ends())
def test_only_significant_children_that_stay_down_end_the_supervisor(end: End) -> None:
    """L16 and L17."""
    _, auto_shutdown, children, index, _ = end
    decided = decide(end)
    others = [c for i, c in enumerate(children) if c.significant and c.alive and i != index]
    expected = (
        children[index].significant
        and not decided.restarts
        and (
            auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
            or (auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and not others)
        )
    )
    assert decided.shut_down == expected
