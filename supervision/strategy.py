"""What to do when a child ends, as a pure function.

`plan(strategy, auto_shutdown, children, exited, abnormal=…, directive=…) → Plan` says whom to stop
(in which order), whom to start again, whom to forget, and whether the supervisor itself should end.
The supervisor carries it out and decides nothing (supervisor(3); laws L10 to L12, L16 and L17 of
the study behind it: a temporary child never comes back, also not when a sibling took it down; a
sibling's death by strategy is no end of its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from actors.runtime.directives import Directive
from actors.runtime.exits import KILLED, SHUTDOWN, ExitReason, Normal, Shutdown
from supervision.spec import BRUTAL_KILL, AutoShutdown, ChildSpec, Restart, Strategy


@dataclass(frozen=True, slots=True)
class ChildView:
    """What a decision needs to know of a child. `alive`: it runs, starts, or waits for a
    restart."""

    id: str
    restart: Restart
    significant: bool = False
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """`stop` in this order, then `start` in that; `forget` those, once they have ended.

    `restarts`: it costs one restart. `shut_down`: the supervisor ends, and nothing else happens;
    `escalates`: so too, because it gives up.
    """

    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    restarts: bool = False
    shut_down: bool = False
    escalates: bool = False


def is_restarted(restart: Restart, *, abnormal: bool, directive: Directive | None = None) -> bool:
    """Whether a child of this type comes back. What is to stop or to escalate does not."""
    if directive in (Directive.STOP, Directive.ESCALATE):
        return False
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return abnormal
        case Restart.TEMPORARY:
            return False
        case _:
            assert_never(restart)


def is_clean_end(child: ChildSpec, reason: ExitReason) -> bool:
    """Whether a child that was told to end did as it was told. One that is not permanent may also
    have been done just then (OTP's `shutdown_error` is told of all others)."""
    if reason == (KILLED if child.shutdown_s is BRUTAL_KILL else SHUTDOWN):
        return True
    return child.restart is not Restart.PERMANENT and isinstance(reason, Normal | Shutdown)


def plan(
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    children: Sequence[ChildView],
    exited: str,
    *,
    abnormal: bool,
    directive: Directive | None = None,
) -> Plan:
    """What follows from the end of child `exited`. `children` are all, in start order. A start that
    failed is an abnormal end. One that is to stop does so alone, under every strategy: as with a
    transient child that is done, nobody is started again."""
    if directive is Directive.ESCALATE:
        return Plan(escalates=True)
    index = next(i for i, child in enumerate(children) if child.id == exited)
    child = children[index]
    if not is_restarted(child.restart, abnormal=abnormal, directive=directive):
        forget = (exited,) if child.restart is Restart.TEMPORARY else ()
        return Plan(forget=forget, shut_down=_shuts_down(auto_shutdown, children, child))
    affected = _affected(strategy, children, index)
    others = [other for other in affected if other.id != exited]
    return Plan(
        stop=tuple(other.id for other in reversed(others) if other.alive),
        start=tuple(each.id for each in affected if each.restart is not Restart.TEMPORARY),
        forget=tuple(other.id for other in others if other.restart is Restart.TEMPORARY),
        restarts=True,
    )


def concerns_others(
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    child: ChildView,
    *,
    abnormal: bool,
    directive: Directive | None = None,
) -> bool:
    """Whether `plan` looks at other children than the one that ended. If not, it may be given that
    one alone: then an end costs the same whatever the number of children."""
    if is_restarted(child.restart, abnormal=abnormal, directive=directive):
        return strategy is not Strategy.ONE_FOR_ONE
    return child.significant and auto_shutdown is AutoShutdown.ALL_SIGNIFICANT


def _affected(strategy: Strategy, children: Sequence[ChildView], index: int) -> Sequence[ChildView]:
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (children[index],)
        case Strategy.ONE_FOR_ALL:
            return children
        case Strategy.REST_FOR_ONE:
            return children[index:]
        case _:
            assert_never(strategy)


def _shuts_down(
    auto_shutdown: AutoShutdown, children: Sequence[ChildView], exited: ChildView
) -> bool:
    if not exited.significant:
        return False
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return True
        case AutoShutdown.ALL_SIGNIFICANT:
            others = (c for c in children if c.significant and c.id != exited.id)
            return not any(other.alive for other in others)
        case _:
            assert_never(auto_shutdown)
