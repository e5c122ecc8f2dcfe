"""Specs: every combination that makes sense is accepted, every other is told where it is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Actor
from supervision import Supervisor
from supervision.spec import (
    BRUTAL_KILL,
    BY_KIND,
    AutoShutdown,
    ChildSpec,
    InvalidSpec,
    Restart,
    Strategy,
    SupervisorSpec,
    validate,
)

CHILD = ChildSpec("a", Actor)


def paths(spec: SupervisorSpec) -> list[str]:
    return [problem.path for problem in validate(spec)]


@pytest.mark.otp("supervisor_SUITE.child_specs", "law.L16")
def test_the_cross_product_is_accepted_where_significance_allows_it() -> None:
    combinations = product(
        Strategy, AutoShutdown, Restart, (0.0, 5, 5.0, None, BRUTAL_KILL, BY_KIND),
        ("worker", "supervisor"), (True, False),
    )  # fmt: skip
    for strategy, auto_shutdown, restart, shutdown_s, kind, significant in combinations:
        child = ChildSpec(
            "a", Actor, restart=restart, shutdown_s=shutdown_s, kind=kind,  # type: ignore[arg-type]  # a plain str from the product
            significant=significant,
        )  # fmt: skip
        spec = SupervisorSpec(strategy, 1, 5.0, auto_shutdown, (child,))
        makes_sense = not significant or (
            auto_shutdown is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
        )
        assert (paths(spec) == []) == makes_sense, spec


@pytest.mark.otp("supervisor_SUITE.child_specs")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": ""}, "supervisor..id"),
        ({"actor": "Actor"}, "supervisor.a.actor"),
        ({"restart": "always"}, "supervisor.a.restart"),
        ({"kind": "boss"}, "supervisor.a.kind"),
        ({"shutdown_s": -1.0}, "supervisor.a.shutdown_s"),
        ({"shutdown_s": math.nan}, "supervisor.a.shutdown_s"),
        ({"shutdown_s": "5"}, "supervisor.a.shutdown_s"),
        ({"shutdown_s": True}, "supervisor.a.shutdown_s"),
        ({"start_s": 0.0}, "supervisor.a.start_s"),
    ],
)
def test_a_wrong_child_is_told_where(changes: dict[str, Any], path: str) -> None:
    assert paths(SupervisorSpec(children=(replace(CHILD, **changes),))) == [path]


@pytest.mark.otp("supervisor_SUITE.sup_flags")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"strategy": "one_for_two"}, "supervisor.strategy"),
        ({"auto_shutdown": "sometimes"}, "supervisor.auto_shutdown"),
        ({"intensity": -1}, "supervisor.intensity"),
        ({"intensity": 1.5}, "supervisor.intensity"),
        ({"period_s": 0.0}, "supervisor.period_s"),
        ({"period_s": math.inf}, "supervisor.period_s"),
        ({"children": (CHILD, CHILD)}, "supervisor.a"),
    ],
)
def test_a_wrong_supervisor_is_told_where(changes: dict[str, Any], path: str) -> None:
    assert paths(replace(SupervisorSpec(), **changes)) == [path]


@given(st.lists(st.sampled_from("abcd"), max_size=6))
def test_ids_are_unique(ids: list[str]) -> None:
    spec = SupervisorSpec(children=tuple(ChildSpec(id_, Actor) for id_ in ids))
    assert len(validate(spec)) == len(ids) - len(set(ids))


def test_every_problem_is_reported_at_once_also_below() -> None:
    inner = SupervisorSpec(intensity=-1, children=(replace(CHILD, shutdown_s=-1.0),))
    spec = SupervisorSpec(
        period_s=-1.0, children=(ChildSpec("inner", Supervisor, (inner,), kind="supervisor"),)
    )
    assert paths(spec) == [
        "supervisor.period_s", "supervisor.inner.intensity", "supervisor.inner.a.shutdown_s",
    ]  # fmt: skip
    assert str(InvalidSpec(validate(spec))).count(";") == 2


@pytest.mark.otp("law.L19")
def test_a_supervisor_has_no_limits_of_its_own_by_default() -> None:
    supervisor = replace(CHILD, kind="supervisor")
    assert (CHILD.shutdown_limit_s, CHILD.start_limit_s) == (5.0, 30.0)
    assert (supervisor.shutdown_limit_s, supervisor.start_limit_s) == (math.inf, math.inf)
    assert replace(CHILD, shutdown_s=BRUTAL_KILL).shutdown_limit_s == 0.0
    assert replace(CHILD, shutdown_s=None).shutdown_limit_s == math.inf
