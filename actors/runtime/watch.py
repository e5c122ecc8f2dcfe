"""An actor under watch: suspended, observed, holding its traffic, or waiting with a timeout.

**Problem.** What sys(3) does to any process must work on every actor, without its help, and a
receive timeout must end with any message; but an actor nobody looks at must not pay for a look.

**Rule.** A cell is *plain* until something needs to see each of its messages. Whatever makes it
otherwise comes by the control lane, so the message path needs no check of its own: the turn leaves
its fast loop after a control item that did. From then on messages are taken through the `Watch`,
until nothing needs it any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import trio

from actors.runtime.futures import Answer
from actors.runtime.mailbox import Ask
from actors.runtime.named_timers import Tick
from actors.runtime.signals import TIMEOUT, Errand, Inspect, StopRequest

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.timers import TimerRef

logger = logging.getLogger("actors")

IDLE_LOOKS = 4
"""Looks at an idle actor in its idle time: it hears of that a quarter late at most."""


class Direction(Enum):
    IN = "in"
    """A message, about to be handled."""
    OUT = "out"
    """An answer, about to be given."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A system event (sys(3)): a message on its way in, or an answer (or the exception that is
    the answer) on its way out, at `at_s` in loop time."""

    at_s: float
    direction: Direction
    message: Any


Observer = Callable[[Seen], bool]
"""Told of each system event before it takes effect. False, or an exception, removes it."""


class Watch:
    """The watch of one actor. `observers` by name; through `settle` it ends when it is idle."""

    __slots__ = ("_cell", "_timeout", "is_holding", "is_suspended", "observers")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._timeout: TimerRef | None = None
        self.is_suspended = False
        self.is_holding = False
        """Traffic waits; control does not, as it does for one that is suspended."""
        self.observers: dict[str, Observer] = {}

    def settle(self) -> None:
        """The actor is watched from now on, or plain if nothing needs the watch."""
        is_needed = (
            self.is_suspended
            or self.is_holding
            or bool(self.observers)
            or self._timeout is not None
        )
        if not self._cell.is_dead:
            self._cell.more().watch = self if is_needed else None
            self._cell.is_plain = not is_needed and not self._cell.is_async

    def take(self) -> tuple[Any, bool] | None:
        """The next item that may be handled, and whether it is control; None if there is none."""
        mailbox = self._cell.mailbox
        is_control = True
        if self.is_suspended:
            item = mailbox.take_control(_is_system)
            return None if item is None else (item, True)
        if mailbox.control is not None:
            item = mailbox.next_control()
        elif mailbox.traffic and not self.is_holding:
            is_control, item = False, mailbox.traffic.popleft()
            if not mailbox.traffic:
                mailbox.traffic = None
        else:
            return None
        if type(item) is not Inspect:
            self._disarm()
            if self.observers:
                item = self._observed(item)
        return item, is_control

    # ------------------------------------------------------------------ observing

    def tell(self, direction: Direction, message: Any) -> None:
        """Tell the observers. One that fails is removed and hurts nobody."""
        seen = Seen(trio.current_time(), direction, message)
        for name, observer in list(self.observers.items()):
            try:
                is_kept = observer(seen)
            except Exception:
                logger.exception("an observer of %s failed and was removed", self._cell.ref)
                is_kept = False
            if not is_kept:
                self.observers.pop(name, None)
                self.settle()

    def _observed(self, item: Any) -> Any:
        if type(item) is Tick:
            self.tell(Direction.IN, item.message)
        elif not isinstance(item, Errand | Ask):
            self.tell(Direction.IN, item)
        if type(item) is not Ask:
            return item
        self.tell(Direction.IN, item.message)
        return (
            item
            if type(item.answer) is Observed
            else Ask(item.message, Observed(self, item.answer))
        )

    # ------------------------------------------------------------------ the receive timeout

    def arm(self, at_s: float, message: Any) -> None:
        """Wait for the next message until then, from after the current one on. What waits already
        ends the timeout in its turn, unless the time has come."""
        mailbox = self._cell.mailbox
        self._disarm()
        if at_s <= trio.current_time():
            mailbox.put_next(message)
        elif at_s < float("inf"):
            timers = self._cell.system.timers
            self._timeout = timers.set_at(at_s, self._cell, self._fire, message)
        self.settle()

    def _fire(self, message: Any) -> None:
        self._timeout = None
        if not self._has_messages():
            self._cell.accept_control(message)
        self.settle()

    def _disarm(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
            self.settle()

    def _has_messages(self) -> bool:
        """Whether anything but system messages waits."""
        mailbox = self._cell.mailbox
        return bool(mailbox.traffic) or any(
            type(item) is not Inspect for item in mailbox.control or ()
        )


class Observed:
    """An answer that observers see first."""

    __slots__ = ("_watch", "answer")

    def __init__(self, watch: Watch, answer: Answer) -> None:
        self._watch = watch
        self.answer = answer

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        self._watch.tell(Direction.OUT, value if error is None else error)
        return self.answer.resolve(value, error)


def watch_of(cell: Cell) -> Watch:
    """The watch of a living actor; call its `settle` after a change."""
    return cell.more().watch or Watch(cell)


# ---------------------------------------------------------------------- what actors ask for


@dataclass(frozen=True, slots=True)
class Arm(Errand):
    """After the current message: wait for the next one until `at_s`."""

    at_s: float
    message: Any

    def run(self, cell: Cell) -> None:
        watch_of(cell).arm(self.at_s, self.message)


def timeout_at(cell: Cell, at_s: float, message: Any = TIMEOUT) -> None:
    """Send the actor a message if nothing else comes until then. The last call counts."""
    cell.mailbox.drop_control(lambda item: type(item) is Arm)
    cell.accept_next(Arm(at_s, message))


@dataclass(frozen=True, slots=True)
class Hold(Errand):
    """After the current message: leave the others in the mailbox."""

    def run(self, cell: Cell) -> None:
        watch = watch_of(cell)
        watch.is_holding = True
        watch.settle()


def hold_traffic(cell: Cell) -> None:
    """Handle nothing but control after the current message. What waits does so in the mailbox, with
    its bound and policy."""
    cell.accept_next(Hold())


def release_traffic(cell: Cell) -> None:
    """Go on, with what has waited."""
    if cell.is_dead:
        return
    cell.mailbox.drop_control(lambda item: type(item) is Hold)
    watch = watch_of(cell)
    watch.is_holding = False
    watch.settle()
    cell.dispatcher.schedule(cell)


def idle_after(cell: Cell, idle_s: float, message: Any = TIMEOUT) -> TimerRef:
    """Send the actor a message whenever it has handled none for this long. Looked at from time to
    time, so that it costs nothing with each message."""
    assert idle_s > 0, "idle is longer than nothing"
    handled, looks = cell.handled, 0

    def look(_: Any) -> None:
        nonlocal handled, looks
        looks = looks + 1 if cell.handled == handled and _is_waiting(cell) else 0
        handled = cell.handled
        if looks >= IDLE_LOOKS:
            looks = 0
            cell.accept_control(message)

    period_s = idle_s / IDLE_LOOKS
    return cell.system.timers.set_at(trio.current_time() + period_s, cell, look, None, period_s)


def _is_waiting(cell: Cell) -> bool:
    if not cell.mailbox.empty():
        return False
    return not cell.is_async or (cell.extra is not None and cell.extra.parked is not None)


def _is_system(item: Any) -> bool:
    """Whether even a suspended actor handles it (sys(3): system messages, and its end)."""
    return isinstance(item, Inspect | StopRequest)
