"""What a tree spec may have wrong, each with its remedy; and that the arithmetic is true."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Actor
from supervision import (
    BRUTAL_KILL,
    Accepted,
    AutoShutdown,
    Backoff,
    ChildSpec,
    Entities,
    Finding,
    Restart,
    Rule,
    Strategy,
    Supervisor,
    SupervisorSpec,
    Window,
    lint,
)

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def worker(id_: str, **given: Any) -> ChildSpec:
    return ChildSpec(id_, Actor, **given)


INNER = SupervisorSpec(intensity=2, period_s=5.0, children=(worker("leaf"),))


def nest(spec: SupervisorSpec = INNER, **given: Any) -> ChildSpec:
    return ChildSpec("part", Supervisor, (spec,), **{"kind": "supervisor"} | given)


def root(*children: ChildSpec, **given: Any) -> SupervisorSpec:
    limits: dict[str, Any] = {"intensity": 2, "period_s": 60.0}
    return SupervisorSpec(children=children, **limits | given)


def rules(spec: SupervisorSpec) -> list[tuple[str, Rule]]:
    return [(finding.path, finding.rule) for finding in lint(spec)]


def significant(restart: Restart = TRANSIENT) -> SupervisorSpec:
    leaf = worker("leaf", restart=restart, significant=True)
    return replace(INNER, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT, children=(leaf,))


MISTAKES: list[Any] = [
    pytest.param(root(nest(kind="worker")), root(nest()), Rule.SUPERVISOR_AS_WORKER, id="worker"),
    pytest.param(root(nest(shutdown_s=60.0)), root(nest()), Rule.FINITE_SHUTDOWN, id="shutdown"),
    pytest.param(
        root(nest(shutdown_s=BRUTAL_KILL)),
        root(nest(shutdown_s=None)),
        Rule.FINITE_SHUTDOWN,
        id="brutal kill",
    ),
    pytest.param(
        root(nest(restart=TRANSIENT)), root(nest()), Rule.TRANSIENT_SUPERVISOR, id="transient"
    ),
    pytest.param(
        root(nest(restart=TEMPORARY)), root(nest()), Rule.TEMPORARY_SUPERVISOR, id="temporary"
    ),
    pytest.param(
        root(nest(significant())),
        root(nest(significant(), restart=TRANSIENT)),
        Rule.AUTO_SHUTDOWN_UNDER_PERMANENT,
        id="auto-shutdown",
    ),
    pytest.param(
        root(nest(), period_s=5.0), root(nest(), period_s=15.0), Rule.EQUAL_BUDGETS, id="equal"
    ),
    pytest.param(
        root(nest(), intensity=3, period_s=22.4),
        root(nest(), intensity=3, period_s=22.5),
        Rule.HIDDEN_FAILURE,
        id="hidden",
    ),
    pytest.param(
        root(worker("part", backoff=Backoff(31.0, 31.0, jitter=0.0))),
        root(worker("part", backoff=Backoff(31.0, 31.0, jitter=0.5))),
        Rule.UNREACHABLE_BUDGET,
        id="backoff",
    ),
    *(
        pytest.param(
            root(worker("first"), worker("part", restart=TEMPORARY), strategy=strategy),
            root(worker("first"), worker("part", restart=TRANSIENT), strategy=strategy),
            Rule.TEMPORARY_IN_GROUP,
            id=strategy,
        )
        for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
    ),
]


@pytest.mark.parametrize(("wrong", "right", "rule"), MISTAKES)
def test_a_mistake_is_found_and_its_remedy_is_none(
    wrong: SupervisorSpec, right: SupervisorSpec, rule: Rule
) -> None:
    assert rules(wrong) == [("root.part", rule)]
    assert rules(right) == []


def test_every_rule_has_a_mistake_here() -> None:
    told = {mistake.values[2] for mistake in MISTAKES}
    assert told == {*Rule} - {Rule.INVALID, Rule.UNUSED_ACCEPTANCE}


def test_nested_specs_are_found_at_any_depth_and_in_keywords() -> None:
    deep = replace(nest(restart=TRANSIENT), id="deep")
    middle = replace(INNER, intensity=1, period_s=20.0, children=(deep,))
    above = ChildSpec("middle", Supervisor, kwargs={"spec": middle}, kind="supervisor")
    assert rules(root(above, period_s=80.0)) == [("root.middle.deep", Rule.TRANSIENT_SUPERVISOR)]


def test_a_spec_that_could_not_start_is_told_as_that_and_nothing_else() -> None:
    wrong = root(nest(replace(INNER, intensity=-1), restart=TRANSIENT))
    assert [(finding.path, finding.rule) for finding in lint(wrong, "tree")] == [
        ("tree.part.intensity", Rule.INVALID)
    ]


def test_a_temporary_child_that_no_sibling_takes_down_is_fine() -> None:
    first = worker("first", restart=TEMPORARY)
    assert rules(root(first, worker("other"), strategy=Strategy.REST_FOR_ONE)) == []
    assert rules(root(worker("other"), first)) == []
    assert rules(root(first, strategy=Strategy.ONE_FOR_ALL)) == []


def test_a_significant_supervisor_takes_the_one_above_along_so_it_may_be_transient() -> None:
    part = nest(restart=TRANSIENT, significant=True)
    assert rules(root(part, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) == []


def test_a_rule_is_accepted_for_one_path_with_a_reason() -> None:
    wrong = root(nest(restart=TRANSIENT), replace(nest(restart=TRANSIENT), id="other"))
    accepted = Accepted("root.part", Rule.TRANSIENT_SUPERVISOR, "an operator starts it again")
    assert [(f.path, f.rule) for f in lint(wrong, accepted=[accepted])] == [
        ("root.other", Rule.TRANSIENT_SUPERVISOR)
    ]


def test_what_accepts_nothing_or_has_no_reason_is_told() -> None:
    wrong = root(nest(restart=TRANSIENT))
    idle = Accepted("root.part", Rule.FINITE_SHUTDOWN, "it was so once")
    mute = Accepted("root.part", Rule.TRANSIENT_SUPERVISOR, "")
    assert list(map(str, lint(wrong, accepted=[idle, mute]))) == [
        "root.part: accepts finite-shutdown, which nothing breaks here [unused-acceptance]",
        "root.part: accepts transient-supervisor, which needs a reason [unused-acceptance]",
    ]


def test_a_finding_says_where_why_and_what_would_be_right() -> None:
    (finding,) = lint(root(nest(), period_s=5.0))
    assert finding == Finding("root.part", Rule.EQUAL_BUDGETS, finding.message)
    assert str(finding) == (
        "root.part: may give up every 7.5 s for ever, and the failure never gets further: the"
        " supervisor above allows 2 restarts in 5 s, as much as here; give that one a period_s of"
        " at least 15, or a lower intensity [equal-budgets]"
    )


def test_the_part_of_a_tree_that_entities_are_has_no_mistakes() -> None:
    part = Entities("rooms", {"room": worker}).child_spec()
    assert rules(root(part, period_s=60.0)) == []


# ------------------------------------------------------------------------------- the arithmetic


def rounds(above: SupervisorSpec, below: SupervisorSpec, every_s: float) -> float:
    """How often the lower supervisor gives up until the upper one does, if a child below fails
    `every_s`; infinite if it was never."""
    upper = Window(above.intensity, above.period_s)
    lower, failures, gave_up = Window(below.intensity, below.period_s), 0, 0
    while failures < 500:
        failures += 1
        admitted = lower.admit(failures * every_s)
        if admitted is not None:
            lower = admitted
            continue
        gave_up += 1
        lower = Window(below.intensity, below.period_s)
        next_upper = upper.admit(failures * every_s)
        if next_upper is None:
            return gave_up
        upper = next_upper
    return math.inf if gave_up else 0


BUDGETS = st.builds(
    SupervisorSpec, intensity=st.integers(1, 4), period_s=st.integers(1, 40).map(lambda n: 12.0 * n)
)


@given(above=BUDGETS, below=BUDGETS)
def test_a_failure_is_hidden_at_some_rate_exactly_if_that_is_said(
    above: SupervisorSpec, below: SupervisorSpec
) -> None:
    below = replace(below, children=(worker("leaf", backoff=Backoff(0, 0)),))
    found = rules(replace(above, children=(nest(below, backoff=Backoff(0, 0)),)))
    slowest_s = below.period_s / below.intensity
    hidden = [part for part in (1, 2, 3, 4) if rounds(above, below, slowest_s / part) == math.inf]
    assert bool(hidden) == bool(found), "if any rate is hidden, the slowest is"
    assert not hidden or 1 in hidden
    assert (found == [("root.part", Rule.EQUAL_BUDGETS)]) == (
        (above.intensity, above.period_s) == (below.intensity, below.period_s)
    )


@given(
    intensity=st.integers(1, 12),
    period_s=st.floats(0.5, 100.0),
    max_s=st.floats(0.02, 40.0),
    jitter=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_a_budget_that_is_said_to_be_unreachable_is_never_used_up(
    intensity: int, period_s: float, max_s: float, jitter: float, seed: int
) -> None:
    backoff = Backoff(0.01, max_s, jitter)
    leaf = worker("leaf", backoff=backoff)
    found = lint(SupervisorSpec(intensity=intensity, period_s=period_s, children=(leaf,)))
    rng, now_s, window = random.Random(seed), 0.0, Window(intensity, period_s)
    lucky_s = sum(backoff.shortest_s(attempt) for attempt in range(1, intensity + 1))
    assert bool(found) == (lucky_s > period_s)
    for attempt in range(1, 60):
        admitted = window.admit(now_s)
        if admitted is None:
            assert not found
            return
        window, now_s = admitted, now_s + backoff.delay_s(attempt, rng)
