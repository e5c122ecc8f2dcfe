"""What a supervisor is told: children, strategy, limits. Validated whole, before anything starts.

The vocabulary and defaults are OTP's (supervisor(3)): restart permanent, shutdown five seconds for
a worker and no limit for a supervisor, at most one restart in five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from supervision.backoff import Backoff

if TYPE_CHECKING:
    from actors.runtime import Actor


class Restart(StrEnum):
    PERMANENT = "permanent"
    """Always restarted."""
    TRANSIENT = "transient"
    """Restarted unless it ended as intended."""
    TEMPORARY = "temporary"
    """Never restarted; forgotten when it ends."""


class Strategy(StrEnum):
    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(StrEnum):
    """Whether the end of significant children ends the supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class BrutalKill(Enum):
    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
"""As `shutdown_s`: the child is killed without being asked."""

ShutdownTime = float | None | BrutalKill
"""Seconds to wait before killing; None waits for ever."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one child and what to do when it ends. `start_s` bounds its `on_start`."""

    id: str
    actor: type[Actor]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    restart: Restart = Restart.PERMANENT
    shutdown_s: ShutdownTime = 5.0
    kind: Literal["worker", "supervisor"] = "worker"
    significant: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    start_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """Children in start order, and how many restarts (`intensity`) within `period_s` are normal."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1
    period_s: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    children: tuple[ChildSpec, ...] = ()


class InvalidSpec(ValueError):  # noqa: N818  (says what it is)
    """`problems` lists everything wrong, each with its path."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def validate(spec: SupervisorSpec, path: str = "supervisor") -> tuple[str, ...]:
    """Every problem of a spec and of the specs nested in it; empty when it may start."""
    return tuple(_problems(spec, path))


def _problems(spec: SupervisorSpec, path: str) -> Iterator[str]:
    if spec.intensity < 0:
        yield f"{path}.intensity: {spec.intensity} is negative"
    if not 0 < spec.period_s < float("inf"):
        yield f"{path}.period_s: {spec.period_s} is not a positive number"
    seen: set[str] = set()
    for child in spec.children:
        where = f"{path}.{child.id}"
        if child.id in seen:
            yield f"{where}: two children have this id"
        seen.add(child.id)
        yield from child_problems(child, where, spec.auto_shutdown)


def child_problems(
    child: ChildSpec, where: str, auto_shutdown: AutoShutdown = AutoShutdown.NEVER
) -> Iterator[str]:
    """What is wrong with one child under a supervisor with this auto-shutdown."""
    if not child.id:
        yield f"{where}.id: is empty"
    if isinstance(child.shutdown_s, float | int) and child.shutdown_s < 0:
        yield f"{where}.shutdown_s: {child.shutdown_s} is negative"
    if child.significant and auto_shutdown is AutoShutdown.NEVER:
        yield f"{where}.significant: the supervisor never shuts down by itself"
    if child.significant and child.restart is Restart.PERMANENT:
        yield f"{where}.significant: a permanent child cannot be significant"
    for argument in child.args:
        if isinstance(argument, SupervisorSpec):
            yield from _problems(argument, where)
