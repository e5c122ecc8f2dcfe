"""What a dynamic supervisor is asked to do with one child, and how each request is answered.

None stands for "later": when the child is ready, or has ended if it is to stop.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.runtime import NOPROC, SHUTDOWN, Actor, AlreadyStarted, Ref
from actors.runtime.exits import crash
from supervision.admin import (
    AlreadyRunning,
    BadSpec,
    Done,
    DoneAnswer,
    GivenSpec,
    Key,
    NotStarted,
    Refusal,
    StartAnswer,
)
from supervision.population import DynamicChild, name_of
from supervision.reading import read_child
from supervision.shutdown import remains_of, shut_down
from supervision.spec import ChildSpec, InvalidSpec
from supervision.trouble import Trouble, Troubles


class DynamicRequests:
    """The requests to `actor` about its `children` and those in trouble. `spawn` makes a child,
    `start` one that was in trouble; `has_place` says whether there may be another."""

    def __init__(
        self, actor: Actor, children: dict[str, DynamicChild], troubles: Troubles,
        spawn: Callable[[str, ChildSpec], DynamicChild],
        start: Callable[[str, Trouble], Ref | None], has_place: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._actor = actor
        self._children = children
        self._troubles = troubles
        self._spawn = spawn
        self._start = start
        self._has_place = has_place

    def start(self, given: GivenSpec, *, is_ending: bool) -> StartAnswer | None:
        """Add a child and start it."""
        try:
            spec = read_child(given)
        except InvalidSpec as error:
            return BadSpec(tuple(error.problems))
        name = spec.name or spec.id
        if is_ending:
            return Refusal.ENDING
        present = self._children.get(name)
        if present is not None:
            return Refusal.UNWINDING if present.is_unwinding else AlreadyRunning(present.ref)
        trouble = self._troubles.get(name)
        if trouble is not None and (trouble.waiting or trouble.retired):
            return Refusal.ALREADY_PRESENT
        if not self._has_place():
            return Refusal.MAX_CHILDREN
        if remains_of(self._actor.system, name, spec) is not None:
            return Refusal.UNWINDING
        try:
            child = self._spawn(name, spec)
        except AlreadyStarted as error:
            return AlreadyRunning(error.ref)
        except Exception as error:  # noqa: BLE001  (a constructor may raise anything)
            return NotStarted(crash(error))
        self._wait_for(child)
        return None

    def restart(self, name: str) -> StartAnswer | None:
        """Start a retired one before its time."""
        present = self._children.get(name)
        if present is not None:
            return Refusal.UNWINDING if present.is_unwinding else Refusal.RUNNING
        trouble = self._troubles.get(name)
        if trouble is None or not (trouble.waiting or trouble.retired):
            return Refusal.NOT_FOUND
        if trouble.waiting:
            return Refusal.RESTARTING
        self._start(name, trouble)
        child = self._children.get(name)
        if child is None:
            return NotStarted(NOPROC)
        self._wait_for(child)
        return None

    def terminate(self, key: Key) -> DoneAnswer | None:
        """Stop one, and forget it."""
        name = name_of(key, self._children)
        child = self._children.get(name)
        is_here = child is not None and child.is_unwinding
        if isinstance(key, Ref) and not key.is_alive() and not is_here:
            return Done()  # gone already, whoever's it was (OTP answers the same)
        if child is None:
            trouble = self._troubles.get(name)
            if trouble is None or not trouble.waiting:
                return Refusal.NOT_FOUND
            self._troubles.forget(name)
            return Done()
        if not child.is_stopping:
            child.answer(NotStarted(SHUTDOWN))
            child.is_stopping = True
            self._actor.run_task(
                shut_down, self._actor, child.ref, child.spec,
                on_done=lambda result: result.unwrap(),
            )  # fmt: skip
        self._wait_for(child)
        return None

    def delete(self, name: str) -> DoneAnswer:
        """Forget a retired one, and its failures."""
        present = self._children.get(name)
        if present is not None:
            return Refusal.UNWINDING if present.is_unwinding else Refusal.RUNNING
        trouble = self._troubles.get(name)
        if trouble is None or not (trouble.waiting or trouble.retired):
            return Refusal.NOT_FOUND
        if trouble.waiting:
            return Refusal.RESTARTING
        self._troubles.forget(name)
        return Done()

    def _wait_for(self, child: DynamicChild) -> None:
        """Answer the present request when this child is ready, or has ended if it is stopping."""
        child.slots = child.slots or []
        child.slots.append(self._actor.defer_reply())
