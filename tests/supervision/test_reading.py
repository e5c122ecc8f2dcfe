"""Specs from plain maps: every combination that makes sense, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from actors.runtime import Actor
from supervision import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    InvalidSpec,
    Restart,
    Strategy,
    SupervisorSpec,
    read_child,
    read_supervisor,
)
from supervision.spec import BY_KIND

ABSENT = object()

FLAGS = {
    "strategy": (ABSENT, "one_for_one", "one_for_all", "rest_for_one"),
    "auto_shutdown": (ABSENT, "never", "any_significant", "all_significant"),
}
CHILD = {
    "restart": (ABSENT, "permanent", "transient", "temporary"),
    "shutdown_s": (ABSENT, "brutal_kill", 0, 5.0, None),
    "kind": (ABSENT, "worker", "supervisor"),
    "significant": (ABSENT, True, False),
}


def combinations(choices: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for values in product(*choices.values()):
        chosen = zip(choices, values, strict=True)
        yield {key: value for key, value in chosen if value is not ABSENT}


def problems(given: object) -> list[str]:
    with pytest.raises(InvalidSpec) as invalid:
        read_supervisor(given)
    return [str(problem) for problem in invalid.value.problems]


@pytest.mark.otp("supervisor_SUITE.child_specs_map", "supervisor_SUITE.child_specs", "law.L16")
def test_the_cross_product_is_read_where_significance_allows_it() -> None:
    children = list(combinations(CHILD))
    for flags in combinations(FLAGS):
        never = flags.get("auto_shutdown", "never") == "never"
        for keys in children:
            given = {**flags, "children": [{"id": "a", "actor": Actor, **keys}]}
            is_permanent = keys.get("restart", "permanent") == "permanent"
            if keys.get("significant", False) and (never or is_permanent):
                assert all("significant" in problem for problem in problems(given))
                continue
            spec = read_supervisor(given)
            child = spec.children[0]
            assert child.restart == keys.get("restart", "permanent")
            assert child.kind == keys.get("kind", "worker")
            assert spec.strategy == flags.get("strategy", "one_for_one")
            assert spec.auto_shutdown == flags.get("auto_shutdown", "never")


@pytest.mark.otp("supervisor_SUITE.child_specs_map")
def test_words_become_what_they_stand_for() -> None:
    child = read_child(
        {"id": "a", "actor": Actor, "args": [1], "restart": "temporary", "start_s": "by_kind",
         "shutdown_s": "brutal_kill"}
    )  # fmt: skip
    assert child.args == (1,)
    assert child.restart is Restart.TEMPORARY
    assert (child.shutdown_s, child.start_s) == (BRUTAL_KILL, BY_KIND)
    assert read_supervisor({"strategy": "one_for_all"}).strategy is Strategy.ONE_FOR_ALL


@pytest.mark.otp("supervisor_SUITE.sup_flags")
@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"strategy": "one_for_two"}, "supervisor.strategy: 'one_for_two' is no strategy"),
        ({"auto_shutdown": "sometimes"}, "supervisor.auto_shutdown: 'sometimes' is no choice"),
        ({"intensity": -1}, "supervisor.intensity: -1 is not a count"),
        ({"intensity": "1"}, "supervisor.intensity: '1' is not a count"),
        ({"period_s": 0}, "supervisor.period_s: 0 is not a positive number of seconds"),
        (
            {"period_s": float("inf")},
            "supervisor.period_s: inf is not a positive number of seconds",
        ),
        ({"children": "abc"}, "supervisor.children: are not in a list"),
        ({"children": [7]}, "supervisor: 7 is no child spec"),
        ("flags", "supervisor: 'flags' is no supervisor spec"),
    ],
)
def test_each_wrong_flag_is_an_error_of_its_own(flags: object, problem: str) -> None:
    assert problems(flags) == [problem]


@pytest.mark.otp("supervisor_SUITE.sup_flags", "law.L19")
def test_unknown_flags_are_ignored() -> None:
    assert read_supervisor({"hibernate_after": 7}) == SupervisorSpec()
    assert SupervisorSpec() == SupervisorSpec(Strategy.ONE_FOR_ONE, 3, 5.0, AutoShutdown.NEVER, ())


@pytest.mark.otp("supervisor_SUITE.child_specs_map")
@pytest.mark.parametrize("key", ["restart", "kind", "shutdown_s", "start_s", "actor", "id"])
def test_each_wrong_key_of_a_child_is_told_where(key: str) -> None:
    given = {"id": "a", "actor": Actor, key: ["nonsense"]}
    with pytest.raises(InvalidSpec) as invalid:
        read_child(given)
    assert [problem.path.split(".")[-1] for problem in invalid.value.problems] == [key]


def test_two_equal_ids_in_maps_are_found() -> None:
    child = {"id": "a", "actor": Actor}
    assert problems({"children": [child, child]}) == ["supervisor.a: two children have this id"]


def test_what_is_a_spec_already_is_read_as_it_is() -> None:
    child = ChildSpec("a", Actor)
    assert read_child(child) is child
    spec = SupervisorSpec(children=(child,))
    assert read_supervisor(spec) is spec
    assert read_supervisor({"children": [child]}).children == (child,)
