"""Timers: one heap and one task for a whole system, and the same for the deadlines of calls.

A timer belongs to the incarnation that set it and ends with it, so a restarted actor never sees its
predecessor's ticks, and a dead one is not kept in memory by what it waited for. Firing is never
early. Cancelled timers leave the heap when they are half of it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import trio

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.exits import ExitReason, Kill
    from actors.runtime.ref import Ref

logger = logging.getLogger("actors")

CANCELLED_MIN = 256
"""A heap is not cleared of fewer cancelled timers than this."""


class TimerRef:
    """One timer. `cancel` answers the seconds that were left, or None if it had fired."""

    __slots__ = ("_cell", "_deliver", "_message", "_timers", "at_s", "period_s")

    def __init__(
        self,
        timers: Timers,
        at_s: float,
        cell: Cell,
        deliver: Callable[[Any], object],
        message: Any,
        period_s: float | None,
    ) -> None:
        self._timers = timers
        self._cell: Cell | None = cell
        self._deliver: Callable[[Any], object] | None = deliver
        self._message = message
        self.at_s = at_s
        self.period_s = period_s

    @property
    def is_active(self) -> bool:
        return self._cell is not None

    @property
    def left_s(self) -> float | None:
        """The seconds until it fires; None if it has fired or was cancelled."""
        return None if self._cell is None else max(0.0, self.at_s - trio.current_time())

    def cancel(self) -> float | None:
        left_s = self.left_s
        if left_s is not None:
            self._finish()
            self._timers.cancelled()
        return left_s

    def fire(self) -> None:
        """Deliver. For the timers' task."""
        deliver, message = self._deliver, self._message
        if deliver is not None:
            if self.period_s is None:
                self._finish()
            deliver(message)

    def _finish(self) -> None:
        if self._cell is not None and self._cell.extra is not None:
            self._cell.extra.timers.discard(self)
        self._cell = self._deliver = self._message = None


def exit_after(delay_s: float, ref: Ref, reason: ExitReason | Kill) -> TimerRef:
    """Send an exit signal later (OTP's `timer:exit_after` and, with `KILL`, `kill_after`), from
    the actor whose code this is. The timer ends with its target."""
    cell = ref._cell
    sender = cell.dispatcher.acting()
    send = partial(ref.exit, sender=None if sender is None else sender.ref)
    return cell.system.timers.set_at(trio.current_time() + delay_s, cell, send, reason)


class _Callback:
    """A timer of the runtime's own."""

    __slots__ = ("_callback",)

    is_active = True
    period_s = None

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def fire(self) -> None:
        try:
            self._callback()
        except Exception:
            logger.exception("a timer's callback failed")


class Deadline(Protocol):
    """Something else with a time: fired once, unless it has become inactive before."""

    @property
    def is_active(self) -> bool: ...

    @property
    def period_s(self) -> None: ...

    def fire(self) -> None: ...


class Timers:
    """The heap."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerRef | _Callback | Deadline]] = []
        self._order = count()
        self._cancelled = 0
        self._changed = trio.Event()
        # trio's own clock, taken once: current_time() looks it up at every call.
        self._now: Callable[[], float] = trio.lowlevel.current_clock().current_time

    def send_after(
        self, delay_s: float, cell: Cell, message: Any, period_s: float | None = None
    ) -> TimerRef:
        """A message to the actor after a delay, and then after every period, if there is one."""
        at_s = trio.current_time() + delay_s
        return self.set_at(at_s, cell, cell.accept_control, message, period_s)

    def set_at(
        self,
        at_s: float,
        cell: Cell,
        deliver: Callable[[Any], object],
        message: Any,
        period_s: float | None = None,
    ) -> TimerRef:
        """Call `deliver(message)` at a time, at once if that has passed, unless `cell` ends before;
        and then after every period, if there is one."""
        assert period_s is None or period_s > 0, "a period is longer than nothing"
        timer = TimerRef(self, at_s, cell, deliver, message, period_s)
        if cell.is_dead:
            timer._finish()
            return timer
        if at_s <= self._now() and period_s is None:
            timer.fire()  # no detour through the heap and its task
            return timer
        cell.more().timers.add(timer)
        self._push(at_s, timer)
        return timer

    def call_after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back later; for the runtime itself. It cannot be cancelled."""
        self._push(trio.current_time() + delay_s, _Callback(callback))

    def watch(self, delay_s: float, deadline: Deadline) -> None:
        """Fire it later. If it becomes inactive before that, `cancelled` is to be called."""
        self._push(self._now() + delay_s, deadline)

    def _push(self, at_s: float, timer: TimerRef | _Callback | Deadline) -> None:
        heapq.heappush(self._heap, (at_s, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed.set()

    def cancelled(self) -> None:
        """A timer in the heap was cancelled."""
        self._cancelled += 1
        if self._cancelled >= CANCELLED_MIN and self._cancelled * 2 > len(self._heap):
            active = [entry for entry in self._heap if entry[2].is_active]
            # Not 0: an answered call is inactive, and counted only when its task has run.
            self._cancelled -= len(self._heap) - len(active)
            self._heap = active
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            self._changed = trio.Event()
            self._fire(trio.current_time())
            until_s = self._heap[0][0] if self._heap else float("inf")
            with trio.move_on_at(until_s):
                await self._changed.wait()

    def _fire(self, now_s: float) -> None:
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, timer = heapq.heappop(self._heap)
            if not timer.is_active:
                self._cancelled -= 1
                continue
            if isinstance(timer, TimerRef) and timer.period_s is not None:
                timer.at_s = at_s + timer.period_s
                if timer.at_s <= now_s:
                    timer.at_s = now_s + timer.period_s
                self._push(timer.at_s, timer)
            timer.fire()

    def __len__(self) -> int:
        """Timers set and neither fired nor cancelled."""
        return len(self._heap) - self._cancelled
