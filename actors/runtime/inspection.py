"""Looking into a living actor, and holding it still: the verbs of sys(3), for every actor.

They go through the control lane and are answered by the runtime between two messages, so the actor
need not know of them. One that is busy answers when its handler is done; a suspended one answers at
once. While nobody looks nothing of this costs anything.

All take a `Ref` or a name, and raise what a call does: `ActorDied`, `CallTimeout`, `CallingSelf`.
`NoSystem` if a name is given where no system is open.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from actors.runtime.errors import ActorDied, CallbackFailed, CallingSelf, CallTimeout
from actors.runtime.exits import NOPROC, NORMAL, Custom, ExitReason
from actors.runtime.futures import Reply
from actors.runtime.ref import CALL_DEADLINE_S, ActorStatistics, Ref
from actors.runtime.reports import StatusView
from actors.runtime.signals import Inspect
from actors.runtime.system import current_system
from actors.runtime.viewing import (
    ancestors,
    formatted,
    initial_call,
    kept_log,
    label_of,
)
from actors.runtime.watch import Direction, Observer, Seen, watch_of

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

Target = Ref | str

LOG_EVENTS = 10
"""OTP's default length of the log."""

LOG_EVENTS_MAX = 10_000
"""Each keeps a message alive."""


@dataclass(frozen=True, slots=True)
class Status:
    """An actor from outside. `debug` names what observes it; `view` is its state and log as its
    `format_status` lets them be seen."""

    ref: Ref
    is_suspended: bool
    initial_call: str
    ancestors: tuple[str, ...]
    label: str | None
    links: tuple[Ref, ...]
    debug: tuple[str, ...]
    statistics: ActorStatistics
    view: StatusView


@dataclass(frozen=True, slots=True)
class MessageStatistics:
    """Since they were switched on at `started_s`, both in loop time: messages that came in, answers
    that went out, and turns of its code (`reductions`)."""

    started_s: float
    now_s: float
    reductions: int
    messages_in: int
    messages_out: int


# ---------------------------------------------------------------------- status and state


async def get_status(target: Target, timeout_s: float = CALL_DEADLINE_S) -> Status:
    """The actor from outside. Raises `CallbackFailed` if its `get_state` fails."""
    status: Status = await _inspect(target, _status, timeout_s)
    return status


def _status(cell: Cell) -> Status:
    watch = watch_of(cell)
    links = (cell.system.find(other) for other in cell.system.links.linked(cell.ref.id))
    view = StatusView(_callback(cell.actor.get_state), log=kept_log(cell))
    return Status(
        cell.ref, watch.is_suspended, initial_call(cell), ancestors(cell), label_of(cell),
        tuple(ref for ref in links if ref is not None), tuple(watch.observers),
        cell.statistics(), formatted(cell, view),
    )  # fmt: skip


async def get_state(target: Target, timeout_s: float = CALL_DEADLINE_S) -> Any:
    """What the actor's `get_state` answers, as it is. Raises `CallbackFailed`."""
    return await _inspect(target, lambda cell: _callback(cell.actor.get_state), timeout_s)


async def replace_state(
    target: Target, change: Callable[[Any], Any], timeout_s: float = CALL_DEADLINE_S
) -> Any:
    """Give the actor another state, made from a copy of its own; the new one. If anything fails,
    `CallbackFailed`, and the actor has the state it had."""

    def act(cell: Cell) -> Any:
        changed = _callback(lambda: change(copy.copy(cell.actor.get_state())))
        _callback(lambda: cell.actor.set_state(changed))
        return changed

    return await _inspect(target, act, timeout_s)


def _callback(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        raise CallbackFailed(type(error).__name__) from error


# ---------------------------------------------------------------------- holding it still


async def suspend(target: Target, timeout_s: float = CALL_DEADLINE_S) -> None:
    """Have the actor handle nothing but system messages and its end. Twice is once."""
    await _inspect(target, lambda cell: _set_suspended(cell, True), timeout_s)


async def resume(target: Target, timeout_s: float = CALL_DEADLINE_S) -> None:
    """Have it go on, with what has waited. Twice is once."""
    await _inspect(target, lambda cell: _set_suspended(cell, False), timeout_s)


def _set_suspended(cell: Cell, is_suspended: bool) -> None:
    watch = watch_of(cell)
    watch.is_suspended = is_suspended
    watch.settle()
    cell.dispatcher.schedule(cell)


async def stop(target: Target, reason: ExitReason = NORMAL, timeout_s: float = math.inf) -> None:
    """Stop the actor (`Actor.stop`, before waiting traffic, also while it is suspended) and wait
    for its end (proc_lib:stop/3).

    Raises `ActorDied`: with `NOPROC` if there was nobody, with the reason if it ended for another
    one than asked for; `CallTimeout` at the deadline, and the actor is then still told to stop;
    `CallingSelf`; `ValueError`, and nothing was done, if the deadline is none.
    """
    if not timeout_s >= 0:
        raise ValueError(f"a deadline is not {timeout_s}")
    ref = _living(target)
    ref._cell.request_stop(reason)
    with trio.move_on_after(timeout_s):
        ended = await ref.wait_exit()
        if ended != reason:
            raise ActorDied(ended)
        return
    raise CallTimeout(Custom("timeout"))


# ---------------------------------------------------------------------- watching it work


class _Counts:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._handled = cell.handled
        self._started_s = trio.current_time()
        self._seen = {Direction.IN: 0, Direction.OUT: 0}

    def __call__(self, seen: Seen) -> bool:
        self._seen[seen.direction] += 1
        return True

    def statistics(self) -> MessageStatistics:
        return MessageStatistics(
            self._started_s, trio.current_time(), self._cell.handled - self._handled,
            self._seen[Direction.IN], self._seen[Direction.OUT],
        )  # fmt: skip


class _Log:
    def __init__(self, events_max: int) -> None:
        self.events: deque[Seen] = deque(maxlen=events_max)

    def __call__(self, seen: Seen) -> bool:
        self.events.append(seen)
        return True


async def count_messages(
    target: Target, *, is_on: bool = True, timeout_s: float = CALL_DEADLINE_S
) -> None:
    """Switch the actor's message statistics on, from zero, or off."""
    await _observe(target, "statistics", _Counts if is_on else None, timeout_s)


async def get_statistics(
    target: Target, timeout_s: float = CALL_DEADLINE_S
) -> MessageStatistics | None:
    """What was counted; None while that is off."""

    def act(cell: Cell) -> MessageStatistics | None:
        counts = watch_of(cell).observers.get("statistics")
        return counts.statistics() if isinstance(counts, _Counts) else None

    statistics: MessageStatistics | None = await _inspect(target, act, timeout_s)
    return statistics


async def keep_log(
    target: Target,
    events_max: int = LOG_EVENTS,
    *,
    is_on: bool = True,
    timeout_s: float = CALL_DEADLINE_S,
) -> None:
    """Have the last system events kept, from none on, or no longer."""
    assert 0 < events_max <= LOG_EVENTS_MAX, "a log holds some events, and not all of them"
    await _observe(target, "log", (lambda _cell: _Log(events_max)) if is_on else None, timeout_s)


async def get_log(target: Target, timeout_s: float = CALL_DEADLINE_S) -> tuple[Seen, ...]:
    """The last system events, as they are."""
    return tuple(await _inspect(target, kept_log, timeout_s))


async def trace(
    target: Target,
    write: Callable[[str], object] | None,
    *,
    show: Callable[[Any], str] = lambda message: type(message).__name__,
    timeout_s: float = CALL_DEADLINE_S,
) -> None:
    """Have a line written for each system event, to a file or elsewhere; None ends it. Of a message
    only its type is shown, unless `show` says more."""

    def observer(cell: Cell) -> Observer:
        def line(seen: Seen) -> bool:
            assert write is not None
            write(f"{seen.at_s:.6f} {cell.ref} {seen.direction.value} {show(seen.message)}\n")
            return True

        return line

    await _observe(target, "trace", None if write is None else observer, timeout_s)


async def install(
    target: Target,
    name: str,
    function: Callable[[Any, Seen], Any],
    state: Any = None,
    timeout_s: float = CALL_DEADLINE_S,
) -> None:
    """Have `function(state, seen)` called for each system event; what it returns is its next state.
    It ends by raising. A name that is installed already changes nothing."""
    own = f"function {name}"

    def observer(_cell: Cell) -> Observer:
        kept = state

        def call(seen: Seen) -> bool:
            nonlocal kept
            kept = function(kept, seen)
            return kept is not DONE

        return call

    def act(cell: Cell) -> None:
        if own not in watch_of(cell).observers:
            _set_observer(cell, own, observer)

    await _inspect(target, act, timeout_s)


DONE = object()
"""Returned by an installed function that need not be called any more."""


async def remove(target: Target, name: str, timeout_s: float = CALL_DEADLINE_S) -> None:
    """Call an installed function no more. Unknown ones are ignored."""
    await _observe(target, f"function {name}", None, timeout_s)


async def no_debug(target: Target, timeout_s: float = CALL_DEADLINE_S) -> None:
    """End everything that observes the actor."""

    def act(cell: Cell) -> None:
        watch = watch_of(cell)
        watch.observers.clear()
        watch.settle()

    await _inspect(target, act, timeout_s)


async def _observe(
    target: Target, name: str, make: Callable[[Cell], Observer] | None, timeout_s: float
) -> None:
    await _inspect(target, lambda cell: _set_observer(cell, name, make), timeout_s)


def _set_observer(cell: Cell, name: str, make: Callable[[Cell], Observer] | None) -> None:
    watch = watch_of(cell)
    if make is None:
        watch.observers.pop(name, None)
    else:
        watch.observers[name] = make(cell)
    watch.settle()


# ---------------------------------------------------------------------- the way in


async def _inspect(target: Target, act: Callable[[Cell], Any], timeout_s: float) -> Any:
    ref = _living(target)
    reply = Reply()
    ref.deliver_control(Inspect(act, reply))
    return await reply.wait(ref._cell.system.deadlines, timeout_s)


def _living(target: Target) -> Ref:
    ref = current_system().whereis(target) if isinstance(target, str) else target
    if ref is None or not ref.is_alive():
        raise ActorDied(NOPROC)
    if ref._cell.is_handling_here():
        raise CallingSelf(Custom("calling_self"))
    return ref
