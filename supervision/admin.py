"""Talking to a supervisor: the messages it answers, and a function for each.

Send them with `Ref.call`, or use the functions, which do that. A supervisor answers *which* and
*count* at once, whatever else it is doing; the others when their child is ready or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from actors.runtime import ExitReason, Ref
from supervision.spec import ChildSpec, Problem, SupervisorSpec

ADMIN_DEADLINE_S = 60.0
"""Longer than a child may take to start or stop by default."""


class ChildState(StrEnum):
    WAITING = "waiting"
    """Those before it have to start first."""
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    """It ended just now; what follows is not decided yet."""
    STOPPING = "stopping"
    UNWINDING = "unwinding"
    """It is dead, and its supervisor waits for its code to end (`unkillable`)."""
    RESTARTING = "restarting"
    """It waits for its next start."""
    STOPPED = "stopped"
    """Not running, and nobody will start it unless asked to."""
    RETIRED = "retired"
    """A dynamic child that failed too often and may not start for a while."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child. `ref` is its present incarnation, if there is one, or that whose code is waited
    for."""

    id: str
    ref: Ref | None
    kind: str
    state: ChildState
    restarts: int


@dataclass(frozen=True, slots=True)
class Counts:
    """`specs` known, of them `active`, `restarting` and `retired`; and by kind (OTP's four, and the
    two that OTP does not tell apart)."""

    specs: int
    active: int
    supervisors: int
    workers: int
    restarting: int = 0
    retired: int = 0


# ---------------------------------------------------------------------- messages

Key = str | Ref
"""Which child: the id under its supervisor. Dynamic children are also known by their ref."""

GivenSpec = ChildSpec | Mapping[str, Any]
"""A spec, or a mapping for `reading.read_child`."""

Init = Callable[[], SupervisorSpec | Mapping[str, Any]]
"""Makes a supervisor's spec, each time it starts and whenever it is updated (OTP's `init/1`). May
raise `Ignore`: the supervisor is not needed now, or stays as it is."""


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Answer: `list[ChildInfo]`, in start order."""


@dataclass(frozen=True, slots=True)
class WhichChild:
    """Answer: its `ChildInfo`, or a refusal."""

    id: Key


@dataclass(frozen=True, slots=True)
class GetChildSpec:
    """Answer: its `ChildSpec`, without arguments if it is temporary; or a refusal."""

    id: Key


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Answer: `Counts`."""


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add a child and start it. Answer: `ChildStarted` or a refusal."""

    spec: GivenSpec


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child; its spec stays, unless it is temporary or dynamic. Stopping the stopped is
    done. Answer: `Done` or a refusal."""

    id: Key


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a stopped (or retired) child. Answer: `ChildStarted` or a refusal."""

    id: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Forget a stopped child. Answer: `Done` or a refusal."""

    id: str


@dataclass(frozen=True, slots=True)
class UpdateSpec:
    """Change a fixed supervisor's limits and children as `upgrade` says, when nothing is under way;
    None: to what its own `Init` says now. Answer: `Done`, or a refusal, and then nothing has
    changed."""

    spec: SupervisorSpec | Mapping[str, Any] | Init | None = None


@dataclass(frozen=True, slots=True)
class UpdateDynamic:
    """Change what a dynamic supervisor was made with; None leaves a part as it is. Children that
    are there keep their incarnations and specs. Answer: `Done` or a refusal."""

    factory: Callable[[str], ChildSpec] | None = None
    max_children: float | None = None
    intensity: int | None = None
    period_s: float | None = None


# ---------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Done:
    """As asked."""


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child is ready; None if it raised `Ignore`. `info` is what the actor then had as its
    `start_info`, if it has one: nobody else keeps it."""

    ref: Ref | None
    info: object = None


class Refusal(StrEnum):
    """Why not. Nothing has changed."""

    NOT_FOUND = "not_found"
    RUNNING = "running"
    RESTARTING = "restarting"
    UNWINDING = "unwinding"
    """It is dead, but its code has not ended."""
    ALREADY_PRESENT = "already_present"
    """The id is taken by a child that does not run."""
    MAX_CHILDREN = "max_children"
    BUSY = "busy"
    """Too many requests are waiting."""
    UNKNOWN = "unknown"
    """No supervisor of this kind has an answer to that."""
    ENDING = "ending"
    """The supervisor is about to end."""


@dataclass(frozen=True, slots=True)
class AlreadyRunning:
    """The id is taken by this child."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The child could not be started; it is tried again only when asked."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class BadSpec:
    """What was given makes no sense."""

    problems: tuple[Problem, ...]


StartAnswer = ChildStarted | AlreadyRunning | NotStarted | BadSpec | Refusal
DoneAnswer = Done | Refusal
UpdateAnswer = Done | BadSpec | Refusal


# ---------------------------------------------------------------------- functions
# All raise `CallError` when the supervisor is not there, ends meanwhile (its children end with it),
# or does not answer in time. After that, or a cancellation, whether it was or will yet be done is
# unknown: ask `which_children`. A refusal means that nothing changed.


async def which_children(
    supervisor: Ref, *, timeout_s: float = ADMIN_DEADLINE_S
) -> list[ChildInfo]:
    """The children in start order, at this instant."""
    found: list[ChildInfo] = await supervisor.call(WhichChildren(), timeout_s=timeout_s)
    return found


async def which_child(
    supervisor: Ref, id_: Key, *, timeout_s: float = ADMIN_DEADLINE_S
) -> ChildInfo | Refusal:
    """One child at this instant."""
    found: ChildInfo | Refusal = await supervisor.call(WhichChild(id_), timeout_s=timeout_s)
    return found


async def get_child_spec(
    supervisor: Ref, id_: Key, *, timeout_s: float = ADMIN_DEADLINE_S
) -> ChildSpec | Refusal:
    """How a child will be started the next time. Of a temporary one, which never will be, the
    arguments are left out."""
    found: ChildSpec | Refusal = await supervisor.call(GetChildSpec(id_), timeout_s=timeout_s)
    return found


async def count_children(supervisor: Ref, *, timeout_s: float = ADMIN_DEADLINE_S) -> Counts:
    """How many children there are, and how they fare."""
    counts: Counts = await supervisor.call(CountChildren(), timeout_s=timeout_s)
    return counts


async def start_child(
    supervisor: Ref, spec: GivenSpec, *, timeout_s: float = ADMIN_DEADLINE_S
) -> StartAnswer:
    """Add a child and start it; answered when it is ready, or why it is not. One that could not be
    started is not kept."""
    answer: StartAnswer = await supervisor.call(StartChild(spec), timeout_s=timeout_s)
    return answer


async def terminate_child(
    supervisor: Ref, id_: Key, *, timeout_s: float = ADMIN_DEADLINE_S
) -> DoneAnswer:
    """Stop a child as its spec says; answered when it is gone and its name free. It is not started
    again until asked for; a temporary or dynamic one is forgotten. Stopping the stopped is done."""
    answer: DoneAnswer = await supervisor.call(TerminateChild(id_), timeout_s=timeout_s)
    return answer


async def restart_child(
    supervisor: Ref, id_: str, *, timeout_s: float = ADMIN_DEADLINE_S
) -> StartAnswer:
    """Start a child that was stopped, or a retired one before its time; answered when it is ready.
    It costs nothing of the restart window."""
    answer: StartAnswer = await supervisor.call(RestartChild(id_), timeout_s=timeout_s)
    return answer


async def delete_child(
    supervisor: Ref, id_: str, *, timeout_s: float = ADMIN_DEADLINE_S
) -> DoneAnswer:
    """Forget a child that does not run, and what is known of its failures."""
    answer: DoneAnswer = await supervisor.call(DeleteChild(id_), timeout_s=timeout_s)
    return answer


async def update_spec(
    supervisor: Ref,
    spec: SupervisorSpec | Mapping[str, Any] | Init | None = None,
    *,
    timeout_s: float = ADMIN_DEADLINE_S,
) -> UpdateAnswer:
    """Change a fixed supervisor while its children run, or have it ask its own `Init` again.
    Answered when it holds. A supervisor that is restarted begins with what its parent knows."""
    answer: UpdateAnswer = await supervisor.call(UpdateSpec(spec), timeout_s=timeout_s)
    return answer


async def update_dynamic(
    supervisor: Ref, update: UpdateDynamic, *, timeout_s: float = ADMIN_DEADLINE_S
) -> UpdateAnswer:
    """Change what a dynamic supervisor starts, and how many, while its children run. One that is
    restarted begins with what its parent knows."""
    answer: UpdateAnswer = await supervisor.call(update, timeout_s=timeout_s)
    return answer
