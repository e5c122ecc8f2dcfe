"""What a fixed supervisor is asked to do with one child, and how each request is answered.

A request that takes time is answered when the child's lane has come to it and it is done; None then
stands for "later". Nothing here changes the strategy's mind: a child started because somebody asked
is not tried again if that fails.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.runtime import SHUTDOWN, Actor, Custom, ExitReason, ReplySlot
from supervision.admin import (
    AlreadyRunning,
    BadSpec,
    ChildState,
    Done,
    DoneAnswer,
    GivenSpec,
    Key,
    NotStarted,
    Refusal,
    StartAnswer,
)
from supervision.children import Child, ChildTable, Failure
from supervision.lanes import Lanes
from supervision.reading import read_child
from supervision.spec import AutoShutdown, InvalidSpec, Restart


class Requests:
    """The requests to `actor` about its `children`, which wait for one another in `lanes`."""

    def __init__(
        self, actor: Actor, children: ChildTable, lanes: Lanes, lane_of: Callable[[Child], str]
    ) -> None:
        self._actor = actor
        self._children = children
        self._lanes = lanes
        self._lane_of = lane_of
        self._slots: dict[ReplySlot, None] = {}
        self._is_closed = False

    def start(self, given: GivenSpec, auto_shutdown: AutoShutdown) -> StartAnswer | None:
        """Add a child and start it."""
        try:
            spec = read_child(given, auto_shutdown=auto_shutdown)
        except InvalidSpec as error:
            return BadSpec(tuple(error.problems))
        present = self._children.get(spec.id)
        if present is not None:
            if present.is_active and present.ref is not None:
                return AlreadyRunning(present.ref)
            return Refusal.ALREADY_PRESENT
        child = self._children.add(spec)
        refusal = self._answer_later(child, lambda slot: self._start_for(slot, child, is_new=True))
        if refusal is not None:
            self._children.forget(child)
        return refusal

    def restart(self, id_: str) -> StartAnswer | None:
        """Start one that is stopped."""
        child = self._children.get(id_)
        if child is None:
            return Refusal.NOT_FOUND
        if child.is_due or child.state is ChildState.ENDED:
            return Refusal.RESTARTING
        if child.state is ChildState.UNWINDING:
            return Refusal.UNWINDING
        if child.state in (ChildState.RUNNING, ChildState.STARTING):
            return Refusal.RUNNING

        def act(slot: ReplySlot) -> None:
            if child.state is ChildState.STOPPED and self._children.get(id_) is child:
                child.state = ChildState.WAITING
                self._start_for(slot, child, is_new=False)
            else:
                self.answer(slot, Refusal.RESTARTING if child.is_due else Refusal.RUNNING)

        return self._answer_later(child, act)

    def terminate(self, id_: Key) -> DoneAnswer | None:
        """Stop one, and start it no more."""
        child = self._children.get(id_)
        if child is None:
            return Refusal.NOT_FOUND
        match child.state:
            case ChildState.STOPPED:
                return Done()
            case ChildState.RESTARTING:
                child.state = ChildState.STOPPED  # the retry passes it over
                return Done()
            case ChildState.STARTING if not self._is_closed:
                self._children.abort_start(child)
            case _:
                pass

        def then(slot: ReplySlot) -> None:
            if child.spec.restart is Restart.TEMPORARY:
                self._children.forget(child)
            self.answer(slot, Done())

        def act(slot: ReplySlot) -> None:
            stop = self._children.stop
            self._lanes.job(self._lane_of(child), lambda: stop(child), lambda _: then(slot))

        return self._answer_later(child, act)

    def delete(self, id_: str) -> DoneAnswer:
        """Forget one that is stopped."""
        child = self._children.get(id_)
        if child is None:
            return Refusal.NOT_FOUND
        if child.state is ChildState.STOPPED:
            self._children.forget(child)
            return Done()
        if child.is_due or child.state is ChildState.ENDED:
            return Refusal.RESTARTING
        return Refusal.UNWINDING if child.state is ChildState.UNWINDING else Refusal.RUNNING

    # ------------------------------------------------------------------ answering

    def defer(self) -> ReplySlot:
        """Answer the present request later, at the latest when the supervisor ends."""
        slot = self._actor.defer_reply()
        self._slots[slot] = None
        return slot

    def answer(self, slot: ReplySlot, answer: StartAnswer | DoneAnswer) -> None:
        self._slots.pop(slot, None)
        slot.set(answer)

    def close(self) -> None:
        """The supervisor ends: whoever waits is told, and nothing more is done."""
        self._is_closed = True
        for slot in self._slots:
            slot.set(Refusal.ENDING)
        self._slots.clear()

    def _answer_later(self, child: Child, act: Callable[[ReplySlot], None]) -> Refusal | None:
        """Do and answer it when the child's lane has come to it."""
        key = self._lane_of(child)
        if self._is_closed:
            return Refusal.ENDING
        if self._lanes.is_full(key):
            return Refusal.BUSY
        slot = self.defer()
        self._lanes.do(key, lambda: act(slot))
        return None

    def _start_for(self, slot: ReplySlot, child: Child, *, is_new: bool) -> None:
        """Start a child because somebody asked: if that fails it is not tried again."""

        def then(failure: Failure | None) -> None:
            if child.state is ChildState.STOPPING:  # terminated before it was ready
                self.answer(slot, NotStarted(SHUTDOWN))
                return
            if failure is None:
                self.answer(slot, child.started())
                return
            child.state = ChildState.STOPPED
            if is_new:
                self._children.forget(child)
            self.answer(slot, _not_started(failure[1]))

        start = self._children.start_in_order
        self._lanes.job(self._lane_of(child), lambda: start((child,), is_asked=True), then)


def _not_started(reason: ExitReason) -> StartAnswer:
    match reason:
        case Custom(AlreadyRunning() as present):
            return present
        case _:
            return NotStarted(reason)
