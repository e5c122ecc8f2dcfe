"""What a supervisor is told: children, strategy, limits. Validated whole, before anything starts.

The vocabulary is OTP's (supervisor(3)): restart permanent, shutdown five seconds for a worker and
no limit for a supervisor (its own children have theirs). The default window is Elixir's, three
restarts in five seconds: with one, two unlucky ends in a row already take a subtree down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from actors.runtime.directives import Directive, OnError
from supervision.backoff import Backoff

if TYPE_CHECKING:
    from actors.runtime import Actor

WORKER_SHUTDOWN_S = 5.0
"""OTP's default for a worker: time to finish what it has in hand."""

WORKER_START_S = 30.0
"""A worker that is not ready by then hangs. Loading state from a store under load takes seconds."""


class Restart(StrEnum):
    PERMANENT = "permanent"
    """Always restarted."""
    TRANSIENT = "transient"
    """Restarted unless it ended as intended."""
    TEMPORARY = "temporary"
    """Never restarted; forgotten when it ends."""


class Strategy(StrEnum):
    ONE_FOR_ONE = "one_for_one"
    """Only the child that ended starts again."""
    ONE_FOR_ALL = "one_for_all"
    """All children stop, then all start."""
    REST_FOR_ONE = "rest_for_one"
    """The child that ended and those started after it."""


class AutoShutdown(StrEnum):
    """Whether the end of significant children ends the supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class BrutalKill(Enum):
    BRUTAL_KILL = "brutal_kill"


class ByKind(Enum):
    """A default that depends on the kind of the child."""

    BY_KIND = "by_kind"


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
"""As `shutdown_s`: the child is killed without being asked."""

BY_KIND: Final = ByKind.BY_KIND

ShutdownTime = float | None | BrutalKill | ByKind
"""Seconds to wait before killing; None waits for ever."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one child and what to do when it ends.

    `shutdown_s` bounds its end, `start_s` its `on_start`; by default five and thirty seconds for a
    worker, without limit for a supervisor. `backoff` None means `Backoff()`. `on_error` says by the
    class of an exception what follows when the child raises it; the nearest class counts, and where
    there is none the restart type decides. `unkillable` is for code of a dead child that cannot be
    cancelled: go on without it, or have the child count as ended only when its code has.
    """

    id: str
    actor: type[Actor]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    restart: Restart = Restart.PERMANENT
    shutdown_s: ShutdownTime = BY_KIND
    kind: Literal["worker", "supervisor"] = "worker"
    significant: bool = False
    backoff: Backoff | None = None
    start_s: float | ByKind | None = BY_KIND
    on_error: OnError = field(default_factory=dict)
    unkillable: Literal["abandon", "wait"] = "abandon"

    @property
    def shutdown_limit_s(self) -> float:
        """Seconds to wait before killing: 0 for a brutal kill, infinite for no limit."""
        match self.shutdown_s:
            case BrutalKill.BRUTAL_KILL:
                return 0.0
            case ByKind.BY_KIND:
                return WORKER_SHUTDOWN_S if self.kind == "worker" else math.inf
            case None:
                return math.inf
            case seconds:
                return seconds

    @property
    def start_limit_s(self) -> float:
        """Seconds until it must be ready; infinite for no limit."""
        match self.start_s:
            case ByKind.BY_KIND:
                return WORKER_START_S if self.kind == "worker" else math.inf
            case None:
                return math.inf
            case seconds:
                return seconds

    @property
    def backoff_or_default(self) -> Backoff:
        return self.backoff or DEFAULT_BACKOFF


DEFAULT_BACKOFF: Final = Backoff()


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """Children in start order, and how many restarts (`intensity`) within `period_s` are normal."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    period_s: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    children: tuple[ChildSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a spec: where, and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidSpec(ValueError):
    """`problems` lists everything wrong, each with its path."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def validate(spec: SupervisorSpec, path: str = "supervisor") -> list[Problem]:
    """Every problem of a spec and of the specs nested in it; empty when it may start."""
    return list(_problems(spec, path))


def as_kept(child: ChildSpec) -> ChildSpec:
    """A started child's spec as its supervisor keeps it: a temporary child is never started again,
    so its arguments, which may be large, are let go."""
    if child.restart is not Restart.TEMPORARY:
        return child
    return replace(child, args=(), kwargs={})


def child_problems(
    child: ChildSpec, path: str, auto_shutdown: AutoShutdown = AutoShutdown.NEVER
) -> list[Problem]:
    """What is wrong with one child under a supervisor with this auto-shutdown."""
    return list(_child_problems(child, path, auto_shutdown))


def _problems(spec: SupervisorSpec, path: str) -> Iterator[Problem]:
    if not _is_a(spec.strategy, Strategy):
        yield Problem(f"{path}.strategy", f"{spec.strategy!r} is no strategy")
    if not _is_a(spec.auto_shutdown, AutoShutdown):
        yield Problem(f"{path}.auto_shutdown", f"{spec.auto_shutdown!r} is no choice")
    yield from window_problems(spec.intensity, spec.period_s, path)
    seen: set[str] = set()
    for child in spec.children:
        if not _is_a(child, ChildSpec):
            yield Problem(path, f"{child!r} is no child spec")
            continue
        where = f"{path}.{child.id}"
        if str(child.id) in seen:
            yield Problem(where, "two children have this id")
        seen.add(str(child.id))
        yield from _child_problems(child, where, spec.auto_shutdown)


def window_problems(intensity: int, period_s: float, path: str) -> Iterator[Problem]:
    """A supervisor may allow no restart at all, but the period must mean something."""
    if not _is_a(intensity, int) or intensity < 0:
        yield Problem(f"{path}.intensity", f"{intensity!r} is not a count")
    if not _is_number(period_s) or not 0 < period_s < math.inf:
        yield Problem(f"{path}.period_s", f"{period_s!r} is not a positive number of seconds")


def _child_problems(child: ChildSpec, where: str, auto_shutdown: AutoShutdown) -> Iterator[Problem]:
    if not _is_a(child.id, str) or not child.id:
        yield Problem(f"{where}.id", "is empty or no text")
    if not _is_a(child.actor, type):
        yield Problem(f"{where}.actor", f"{child.actor!r} is no actor class")
    if not _is_a(child.restart, Restart):
        yield Problem(f"{where}.restart", f"{child.restart!r} is no restart type")
    if child.kind not in ("worker", "supervisor"):
        yield Problem(f"{where}.kind", f"{child.kind!r} is neither worker nor supervisor")
    if child.unkillable not in ("abandon", "wait"):
        yield Problem(f"{where}.unkillable", f"{child.unkillable!r} is neither abandon nor wait")
    if not (child.shutdown_s is None or isinstance(child.shutdown_s, BrutalKill | ByKind)) and (
        not _is_number(child.shutdown_s) or child.shutdown_s < 0
    ):
        yield Problem(f"{where}.shutdown_s", f"{child.shutdown_s!r} is no time to wait")
    if not (child.start_s is None or isinstance(child.start_s, ByKind)) and (
        not _is_number(child.start_s) or child.start_s <= 0
    ):
        yield Problem(f"{where}.start_s", f"{child.start_s!r} is no time to start in")
    if child.significant and auto_shutdown is AutoShutdown.NEVER:
        yield Problem(f"{where}.significant", "the supervisor never shuts down by itself")
    if child.significant and child.restart is Restart.PERMANENT:
        yield Problem(f"{where}.significant", "a permanent child is never done")
    yield from _on_error_problems(child, f"{where}.on_error")
    if not _is_a(child.args, tuple) or not _is_a(child.kwargs, Mapping):
        yield Problem(f"{where}.args", "are no arguments")
        return
    for argument in child.args:
        if isinstance(argument, SupervisorSpec):
            yield from _problems(argument, where)


def _on_error_problems(child: ChildSpec, where: str) -> Iterator[Problem]:
    if not _is_a(child.on_error, Mapping):
        yield Problem(where, f"{child.on_error!r} says nothing of exceptions")
        return
    for error, directive in child.on_error.items():
        if not _is_a(error, type) or not issubclass(error, Exception):
            yield Problem(where, f"{error!r} is no exception class")
        elif not _is_a(directive, Directive):
            yield Problem(f"{where}.{error.__qualname__}", f"{directive!r} is no directive")
        elif directive is Directive.RESTART and child.restart is Restart.TEMPORARY:
            yield Problem(f"{where}.{error.__qualname__}", "a temporary child is never restarted")


def _is_a(value: object, kind: type) -> bool:
    """Annotations promise it; specs may still come from a configuration that does not."""
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    """A real, comparable number: neither a bool nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
