"""Ending a child for certain: ask, wait, kill, report. And finding children nobody owns any more.

The order is OTP's: watch it first, so that its end cannot be missed even if it unlinked itself;
send `SHUTDOWN`; wait; `KILL`. A child keeps its link to the supervisor all the while: should the
supervisor itself be killed in the middle, the child still ends.

Code that shields itself from cancellation survives even `KILL`: its actor is dead for everybody
else, the runtime reports the code as `Unkillable` and leaves it behind. A shutdown goes on then,
unless the child's spec says to wait. A kill that does not take effect at all is reported here.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from actors.runtime import KILL, SHUTDOWN, Actor, ActorSystem, ExitReason, Ref, describe
from actors.runtime.tracing import Unkillable
from supervision.events import UncleanShutdowns
from supervision.spec import ChildSpec
from supervision.strategy import is_clean_end

KILL_GRACE_S = 2.0
"""A killed child that has not ended by then runs code that cannot be cancelled."""

ORPHAN_LIMIT_S = 10.0
"""How long a child of a dead supervisor may take to end, if its own spec sets no limit."""

ANCESTORS_MAX = 64
"""Deeper trees do not exist; a longer chain is a cycle."""


async def shut_down(supervisor: Actor, ref: Ref, spec: ChildSpec) -> ExitReason | None:
    """End a child as its spec says; why it ended, or None if it could not be ended."""
    limit_s = spec.shutdown_limit_s
    if limit_s > 0:
        ref.exit(SHUTDOWN, supervisor.ref)
        with trio.move_on_after(limit_s):
            return await ref.wait_exit()
    return await kill(supervisor.system, ref)


async def kill(system: ActorSystem, ref: Ref) -> ExitReason | None:
    """Kill and wait for the end; None (and an event) if it does not come."""
    ref.exit(KILL)
    with trio.move_on_after(KILL_GRACE_S):
        return await ref.wait_exit()
    system.emit(Unkillable, ref)
    return None


def outlives(ref: Ref, spec: ChildSpec) -> bool:
    """Whether code of this dead child still runs, and is to be waited for."""
    return spec.unkillable == "wait" and ref.is_unwinding


def remains_of(system: ActorSystem, name: str | None, spec: ChildSpec) -> Ref | None:
    """A dead actor of this name, perhaps of a dead supervisor, whose code this child must wait
    for."""
    return None if name is None or spec.unkillable != "wait" else system.unwinding.named(name)


def is_orphan(ref: Ref) -> bool:
    """Whether the supervisor of an actor, or that one's supervisor, … is dead or ending: then it
    will end too, but may still be at it, and hold a name that its successor needs."""
    current = ref
    for _ in range(ANCESTORS_MAX):
        actor = current._actor
        above = None if actor is None else actor._actor_supervisor
        if above is None:
            return False
        if not above.is_alive() or getattr(above._actor, "is_ending", False):
            return True
        current = above
    return False


async def end_orphan(system: ActorSystem, ref: Ref, spec: ChildSpec) -> None:
    """Let an orphan finish what it does, and kill it if that takes too long."""
    with trio.move_on_after(min(spec.shutdown_limit_s, ORPHAN_LIMIT_S)):
        await ref.wait_exit()
        return
    await kill(system, ref)


async def shut_down_all(
    supervisor: Actor, children: Sequence[tuple[Ref, ChildSpec]], slice_children: int
) -> None:
    """End many children at once, each within its own limit; all are gone afterwards, or reported,
    and so is the code of those whose spec says to wait for it.

    Unclean ends are reported together, by reason. The loop gets to its sockets after each
    `slice_children` of them.
    """
    ending = [(ref, spec) for ref, spec in children if not outlives(ref, spec)]
    alive: dict[Ref, ChildSpec] = dict(ending)
    unclean: dict[str, tuple[ExitReason, int]] = {}
    gone = trio.Event()

    def ended(ref: Ref, reason: ExitReason) -> None:
        if not is_clean_end(alive.pop(ref), reason):
            words = describe(reason)
            unclean[words] = (reason, unclean.get(words, (reason, 0))[1] + 1)
        if not alive:
            gone.set()

    by_limit: dict[float, list[Ref]] = {}
    for index, (ref, spec) in enumerate(ending):
        ref.on_exit(ended)
        if spec.shutdown_limit_s > 0:
            ref.exit(SHUTDOWN, supervisor.ref)
        by_limit.setdefault(spec.shutdown_limit_s, []).append(ref)
        if index % slice_children == slice_children - 1:
            await trio.lowlevel.checkpoint()
    asked_s = trio.current_time()
    for limit_s in sorted(by_limit):
        if alive:
            with trio.move_on_at(asked_s + limit_s):
                await gone.wait()
        for ref in by_limit[limit_s]:
            ref.exit(KILL)
    if alive:
        with trio.move_on_after(KILL_GRACE_S):
            await gone.wait()
    for ref in alive:
        supervisor.system.emit(Unkillable, ref)
    for reason, count in unclean.values():
        supervisor.system.emit(UncleanShutdowns, supervisor.ref, count, reason)
    for ref, spec in children:
        if outlives(ref, spec):
            await ref.wait_unwound()
