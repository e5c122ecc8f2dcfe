"""Doing to living actors what a fault says. They need not know of it, and nothing is patched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from actors.runtime import KILL, ActorSystem, Ref
from actors.runtime.cell import Cell, State
from actors.runtime.exits import crash
from actors.runtime.signals import Errand
from actors.runtime.tracing import Event
from supervision.lab.faults import Ask, Crash, Ensure, Exit, Fault, Hang, Kill
from supervision.spawner import SpawnerHandle


class InjectedCrash(Exception):
    """What an actor raises for `Crash`."""


@dataclass(frozen=True, slots=True)
class Injected(Event):
    """A fault met its actor."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Missed(Event):
    """There was no such actor, or none in a state that this fault can meet. `id` is 0."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """What came of a request (`Ask`, `Ensure`): the answer, or why its receiver ended."""

    fault: Ask | Ensure
    answer: object


class _Raising(Errand):
    __slots__ = ()

    def run(self, _cell: Cell) -> Any:
        raise InjectedCrash("injected")


class _Hanging(Errand):
    __slots__ = ()

    def run(self, _cell: Cell) -> Any:
        return trio.sleep_forever()  # noqa: ASYNC105  (the runtime awaits it, as a handler)


def inject(system: ActorSystem, fault: Fault) -> bool:
    """Do this now, whatever its time says. Whether it met its actor; the rest is in the events."""
    ref = system.whereis(fault.name)
    if isinstance(fault, Ensure):
        child = SpawnerHandle(system, fault.name).ensure(fault.child)
        _tell(system, ref, Answered, fault.name, fault, child)
        return True
    if ref is None or not _meets(ref._cell, fault):
        _tell(system, None, Missed, fault.name, fault)
        return False
    system.emit(Injected, ref, fault)
    match fault:
        case Kill():
            ref.exit(KILL)
        case Crash():
            ref.deliver_control(_Raising())
        case Hang():
            ref.deliver_control(_Hanging())
        case Exit(reason=reason):
            ref._cell.request_stop(reason)
        case Ask():
            _ask(system, ref, fault)
    return True


async def play(system: ActorSystem, faults: tuple[Fault, ...]) -> None:
    """Do all of them, each at its time; those of one time in the order given, before anybody can
    react to the first."""
    for fault in sorted(faults, key=lambda fault: fault.at_s):
        if fault.at_s > trio.current_time():
            await trio.sleep_until(fault.at_s)
        inject(system, fault)


def _meets(cell: Cell, fault: Fault) -> bool:
    match fault:
        case Crash() | Exit():
            return cell.state is State.RUNNING
        case Hang():
            return cell.state is State.RUNNING and cell.is_async
        case _:
            return True


def _ask(system: ActorSystem, ref: Ref, fault: Ask) -> None:
    """In the mailbox when this returns, like other faults."""
    future = ref.ask(fault.request, block=False)

    def answered() -> None:
        error = future.error
        answer = future.get() if error is None else getattr(error, "reason", crash(error))
        _tell(system, ref, Answered, fault.name, fault, answer)

    future.on_done(answered)


def _tell(
    system: ActorSystem, ref: Ref | None, kind: type[Event], name: str, *fields: object
) -> None:
    """Emit an event, if need be about nobody."""
    if ref is not None:
        system.emit(kind, ref, *fields)
    elif system.events.is_heard:
        system.events.emit(kind(trio.current_time(), 0, name, 0, "", *fields))
