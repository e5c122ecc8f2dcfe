"""Mistakes in tree specs that are valid and do not do what they seem to: looked for before a start.

`lint` looks at a spec whole, with those nested in the arguments of its children. A tree must
recover from the failure of any actor and must not hide an error that stays (Nyström, *Analysing
Fault Tolerance for Erlang Applications*, Uppsala 2009); each rule is a way to break one of the two
that can be told from the spec alone, for certain. Sources: supervisor(3), the design principles'
chapter on tuning the intensity, and the laws in docs/conformance.md.

**Not an error.** What is meant that way is `Accepted`, for one path and one rule, with its reason.
One that accepts nothing is a finding itself, so that it does not outlive its cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from supervision.backoff import Backoff
from supervision.spec import (
    AutoShutdown,
    ChildSpec,
    Restart,
    Strategy,
    SupervisorSpec,
    validate,
)


class Rule(StrEnum):
    INVALID = "invalid"
    """The spec could not even start (`validate`); nothing else is looked for then."""
    SUPERVISOR_AS_WORKER = "supervisor-as-worker"
    FINITE_SHUTDOWN = "finite-shutdown"
    TRANSIENT_SUPERVISOR = "transient-supervisor"
    TEMPORARY_SUPERVISOR = "temporary-supervisor"
    TEMPORARY_IN_GROUP = "temporary-in-group"
    AUTO_SHUTDOWN_UNDER_PERMANENT = "auto-shutdown-under-permanent"
    EQUAL_BUDGETS = "equal-budgets"
    HIDDEN_FAILURE = "hidden-failure"
    UNREACHABLE_BUDGET = "unreachable-budget"
    UNUSED_ACCEPTANCE = "unused-acceptance"


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake: where, by which rule, why it is one and what would be right."""

    path: str
    rule: Rule
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]"


@dataclass(frozen=True, slots=True)
class Accepted:
    """This rule may be broken at this path, for this reason."""

    path: str
    rule: Rule
    reason: str


def lint(
    spec: SupervisorSpec, path: str = "root", accepted: Sequence[Accepted] = ()
) -> list[Finding]:
    """Every mistake in a tree whose top is called `path`, in the order of the tree; below it a
    child is `path.id`. Children of dynamic supervisors are not in a spec, and not looked at."""
    problems = validate(spec, path)
    if problems:
        return [Finding(problem.path, Rule.INVALID, problem.message) for problem in problems]
    found = list(_of_supervisor(spec, path))
    is_broken = {(finding.path, finding.rule) for finding in found}
    is_accepted = {(each.path, each.rule) for each in accepted}
    left = [finding for finding in found if (finding.path, finding.rule) not in is_accepted]
    for each in accepted:
        if not each.reason or (each.path, each.rule) not in is_broken:
            why = "nothing breaks here" if each.reason else "needs a reason"
            message = f"accepts {each.rule}, which {why}"
            left.append(Finding(each.path, Rule.UNUSED_ACCEPTANCE, message))
    return left


def _of_supervisor(spec: SupervisorSpec, path: str) -> Iterator[Finding]:
    for index, child in enumerate(spec.children):
        where = f"{path}.{child.id}"
        yield from _of_child(spec, index, where)
        for nested in _nested(child):
            yield from _of_nested(spec, child, nested, where)
            yield from _of_supervisor(nested, where)


def _nested(child: ChildSpec) -> Iterator[SupervisorSpec]:
    """The specs in a child's arguments: that makes it a supervisor with a budget."""
    for argument in (*child.args, *child.kwargs.values()):
        if isinstance(argument, SupervisorSpec):
            yield argument


def _of_child(spec: SupervisorSpec, index: int, where: str) -> Iterator[Finding]:
    """What any child may have wrong with it."""
    child = spec.children[index]
    if child.kind == "supervisor" and child.shutdown_limit_s < math.inf:
        yield Finding(
            where, Rule.FINITE_SHUTDOWN,
            f"is killed {child.shutdown_limit_s:g} s after it was told to stop, in the middle of"
            " stopping its own children, who have limits of their own; leave shutdown_s out",
        )  # fmt: skip
    is_in_group = spec.strategy is Strategy.ONE_FOR_ALL and len(spec.children) > 1
    is_in_group = is_in_group or (spec.strategy is Strategy.REST_FOR_ONE and index > 0)
    if child.restart is Restart.TEMPORARY and is_in_group:
        yield Finding(
            where, Rule.TEMPORARY_IN_GROUP,
            f"ends for good when a sibling fails: {spec.strategy} stops it and nobody starts a"
            " temporary child again; make it transient, or move it out of the group",
        )  # fmt: skip
    if child.restart is not Restart.TEMPORARY and spec.intensity > 0:
        least_s = _least_s(child.backoff_or_default, spec.intensity)
        if least_s > spec.period_s:
            yield Finding(
                where, Rule.UNREACHABLE_BUDGET,
                f"if it fails at each start it is started again for ever: its backoff spreads"
                f" {spec.intensity + 1} failures over {least_s:.3g} s or more, so there are never"
                f" more than {spec.intensity} in {spec.period_s:g} s and nobody above hears of it;"
                " lower the intensity, or lengthen the period above that",
            )  # fmt: skip


def _of_nested(
    above: SupervisorSpec, child: ChildSpec, spec: SupervisorSpec, where: str
) -> Iterator[Finding]:
    """What a supervisor with a spec may have wrong as a child."""
    if child.kind != "supervisor":
        yield Finding(
            where, Rule.SUPERVISOR_AS_WORKER,
            f"is given {child.shutdown_limit_s:g} s to stop all of its children and"
            f" {child.start_limit_s:g} s to start them, as a worker; make its kind supervisor",
        )  # fmt: skip
    is_never = spec.auto_shutdown is AutoShutdown.NEVER
    if child.restart is Restart.TRANSIENT and is_never and not child.significant:
        yield Finding(
            where, Rule.TRANSIENT_SUPERVISOR,
            "stays down, and nobody hears of it, once its children fail more often than it allows:"
            " giving up ends a supervisor with shutdown, which for a transient child is an end as"
            " intended; make it permanent",
        )  # fmt: skip
    if child.restart is Restart.TEMPORARY and is_never:
        yield Finding(
            where, Rule.TEMPORARY_SUPERVISOR,
            "is not restarted, and its children, whatever their own restart, end for good with it;"
            " make it permanent",
        )  # fmt: skip
    if child.restart is Restart.PERMANENT and not is_never:
        yield Finding(
            where, Rule.AUTO_SHUTDOWN_UNDER_PERMANENT,
            "is restarted at once when its significant children are done and it shuts itself down;"
            " make it transient, and significant if the one above should end with it",
        )  # fmt: skip
    if child.restart is Restart.PERMANENT:
        yield from _of_budgets(above, spec, where)


def _of_budgets(above: SupervisorSpec, spec: SupervisorSpec, where: str) -> Iterator[Finding]:
    """A failure that stays must reach the top. The slowest that still uses up the lower budget,
    `intensity + 1` failures within `period_s`, does so every `period_s * (1 + 1 / intensity)`; the
    upper one must allow no more of those than it can see within its own period."""
    if not above.intensity or not spec.intensity:
        return
    every_s = spec.period_s * (1 + 1 / spec.intensity)
    needed_s = above.intensity * every_s
    if needed_s <= above.period_s:
        return
    is_equal = (above.intensity, above.period_s) == (spec.intensity, spec.period_s)
    rule = Rule.EQUAL_BUDGETS if is_equal else Rule.HIDDEN_FAILURE
    budget = f"{above.intensity} restarts in {above.period_s:g} s"
    same = "as much as here" if is_equal else "too many for so short a period"
    yield Finding(
        where, rule,
        f"may give up every {every_s:.3g} s for ever, and the failure never gets further: the"
        f" supervisor above allows {budget}, {same}; give that one a period_s of at least"
        f" {needed_s:.3g}, or a lower intensity",
    )  # fmt: skip


def _least_s(backoff: Backoff, restarts: int) -> float:
    """The least time so many restarts in a row take, if chance makes every delay its shortest."""
    return sum(backoff.shortest_s(attempt) for attempt in range(1, restarts + 1))
