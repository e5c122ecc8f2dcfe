"""The reference has teeth: supervisors broken on purpose are found, each by some random tree.

A break that no tree finds would mean that the reference, or what is drawn for it, is blind there.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actors.runtime import KILLED, SHUTDOWN, ExitReason
from supervision import Done, children, dynamic, strategy, supervisor
from supervision.backoff import Backoff
from supervision.children import Child, ChildTable
from supervision.dynamic import DynamicSupervisor
from supervision.intensity import Window
from supervision.requests import Requests
from supervision.spec import ChildSpec, Restart, Strategy
from supervision.strategy import ChildView, Plan
from supervision.supervisor import Supervisor
from supervision.trouble import Troubles
from tests.supervision.model.__main__ import main
from tests.supervision.model.comparison import disagreement
from tests.supervision.model.drawing import drawn

TREES_MAX = 300


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable()
    yield
    logging.disable(before)


Broken = Callable[[Any], Any]
"""A function in place of the one it gets."""


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    where: object
    what: str
    broken: Broken


def _planned(change: Callable[[Plan, Any], Plan]) -> Broken:
    """A strategy that decides otherwise. `change` gets the plan, and what it was made from."""

    def broken(plan: Any) -> Any:
        def planned(rules: Strategy, auto: Any, views: Any, exited: str, **how: Any) -> Plan:
            return change(plan(rules, auto, views, exited, **how), (rules, views, exited))

        return planned

    return broken


def _with_temporary(plan: Plan, made_from: Any) -> Plan:
    """one_for_all brings back what is temporary."""
    rules, views, _ = made_from
    if not plan.restarts or rules is not Strategy.ONE_FOR_ALL:
        return plan
    return replace(plan, start=tuple(view.id for view in views), forget=())


def _without_earlier(plan: Plan, made_from: Any) -> Plan:
    """rest_for_one takes only those after the child, not the child itself."""
    rules, _, exited = made_from
    if rules is not Strategy.REST_FOR_ONE or len(plan.start) < 2:
        return plan
    return replace(plan, start=tuple(id_ for id_ in plan.start if id_ != exited))


def _never_shut_down(plan: Plan, _: Any) -> Plan:
    return replace(plan, shut_down=False)


def _in_start_order(plan: Plan, _: Any) -> Plan:
    return replace(plan, stop=plan.stop[::-1])


def _always_back(_: Any) -> Any:
    return lambda restart, *, abnormal: restart is not Restart.TEMPORARY


def _admits_one_more(admit: Any) -> Any:
    def broken(self: Window, now_s: float) -> Window | None:
        found = admit(replace(self, intensity=self.intensity + 1), now_s)
        return None if found is None else replace(found, intensity=self.intensity)

    return broken


def _never_forgets(_: Any) -> Any:
    return lambda self, _now_s: self.restarts_s


def _goes_on(_: Any) -> Any:
    """No escalation: a full window is only a pity."""
    return lambda self, child, reason: True


def _ends_killed(stop: Any) -> Any:
    """It stops in order, and then ends for another reason."""

    def broken(self: Supervisor, reason: ExitReason) -> None:
        stop(self, KILLED if reason == SHUTDOWN else reason)

    return broken


def _left_to_right(_: Any) -> Any:
    async def broken(self: ChildTable) -> None:
        for child in tuple(self):
            await self.stop(child)

    return broken


def _no_failures(_: Any) -> Any:
    """A failed start is not tried again."""
    return lambda self, key, children, failure: None


def _always_the_first(delay_s: Any) -> Any:
    return lambda self, attempt, rng: delay_s(self, 1, rng)


def _waits_for_ever(limit_s: Any) -> Any:
    """Who does not listen is never killed."""
    return property(lambda self: math.inf if limit_s.fget(self) else 0.0)


def _asks_first(limit_s: Any) -> Any:
    """A brutal kill that asks."""
    return property(lambda self: limit_s.fget(self) or 5.0)


def _counts_stopped(view: Any) -> Any:
    """A child that is done counts as alive."""

    def broken(self: Child) -> ChildView:
        found: ChildView = view(self)
        return replace(found, alive=True)

    return broken


def _one_failure_late(failed: Any) -> Any:
    """Every dynamic child is retired one failure late."""

    def broken(self: Troubles, name: str, *args: Any, **how: Any) -> Any:
        window = self.window
        self.window = replace(window, intensity=window.intensity + 1)
        found = failed(self, name, *args, **how)
        self.window = window
        return found

    return broken


def _always_room(_: Any) -> Any:
    return lambda self: True


def _no_orphans(_: Any) -> Any:
    """Whoever holds a child's name is a stranger."""
    return lambda ref: False


def _retried_anyway(terminate: Any) -> Any:
    """A child that was terminated while it waited for its restart comes back."""

    def broken(self: Requests, id_: Any) -> Any:
        child = self._children.get(id_)
        if child is not None and child.state == "restarting":
            return Done()
        return terminate(self, id_)

    return broken


def _no_directives(_: Any) -> Any:
    return lambda reason: None


def _leaves_the_rest(restarted: Any) -> Any:
    """A group whose restart comes to one that is to stay down goes no further."""
    return lambda self, key, children, failure: restarted(self, key, (), failure)


MUTATIONS = (
    Mutation("the window admits one more", Window, "admit", _admits_one_more),
    Mutation("the window never forgets", Window, "_recent", _never_forgets),
    Mutation("no escalation", Supervisor, "_admit", _goes_on),
    Mutation("stops left to right", ChildTable, "stop_all", _left_to_right),
    Mutation("siblings stop in start order", supervisor, "plan", _planned(_in_start_order)),
    Mutation("temporary ones come back", supervisor, "plan", _planned(_with_temporary)),
    Mutation("only the rest for one", supervisor, "plan", _planned(_without_earlier)),
    Mutation("no auto-shutdown", supervisor, "plan", _planned(_never_shut_down)),
    Mutation("what is done counts as alive", Child, "view", _counts_stopped),
    Mutation("transient is permanent", strategy, "is_restarted", _always_back),
    Mutation("dynamic: transient is permanent", dynamic, "is_restarted", _always_back),
    Mutation("ends for another reason", Supervisor, "stop", _ends_killed),
    Mutation("failed restarts are left alone", Supervisor, "_restarted", _no_failures),
    Mutation("no growing delays", Backoff, "delay_s", _always_the_first),
    Mutation("the deaf are not killed", ChildSpec, "shutdown_limit_s", _waits_for_ever),
    Mutation("a brutal kill asks", ChildSpec, "shutdown_limit_s", _asks_first),
    Mutation("terminated, and restarted", Requests, "terminate", _retried_anyway),
    Mutation("retired one failure late", Troubles, "failed", _one_failure_late),
    Mutation("no limit of children", DynamicSupervisor, "_has_place", _always_room),
    Mutation("orphans are not waited for", children, "is_orphan", _no_orphans),
    Mutation("every failure is the same", supervisor, "directive_of", _no_directives),
    Mutation("dynamic: every failure is the same", dynamic, "directive_of", _no_directives),
    Mutation("a group stops at what stops", Supervisor, "_restarted", _leaves_the_rest),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_supervisor_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(mutation.where, mutation.what)
    monkeypatch.setattr(mutation.where, mutation.what, mutation.broken(original))
    for seed in range(TREES_MAX):
        found, _ = disagreement(drawn(seed), seed)
        if found is not None:
            print(f"{mutation.name}: found by tree {seed}: {found}")
            return
    pytest.fail(f"{mutation.name}: not found by {TREES_MAX} trees")


def test_the_command_shows_the_smallest_disagreement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ChildTable, "stop_all", _left_to_right(None))
    assert main(["--trees", str(TREES_MAX), "--seed", "15"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^seed \d+ disagrees: at [\d.]+ s, below s?\w+$", told, re.MULTILINE)
    at_its_smallest = told.partition("at its smallest: ")[2]
    assert len(re.findall(r"^ +(Leaf|Branch|Crowd) ", at_its_smallest, re.MULTILINE)) <= 3, told
    assert not re.search(r"Hurt|Request", at_its_smallest), "to stop it is enough"
