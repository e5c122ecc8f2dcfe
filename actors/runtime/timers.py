"""Timers: one heap and one task for a whole system.

A timer belongs to the incarnation that set it and ends with it, so a restarted actor never sees its
predecessor's ticks, and a dead one is not kept in memory by what it waited for. Firing is never
early. Cancelled timers leave the heap when they are half of it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

logger = logging.getLogger("actors")

CANCELLED_MIN = 256
"""A heap is not cleared of fewer cancelled timers than this."""


class TimerRef:
    """One timer. `cancel` answers the seconds that were left, or None if it had fired."""

    __slots__ = ("_cell", "_message", "_timers", "at_s", "period_s")

    def __init__(
        self, timers: Timers, at_s: float, cell: Cell, message: Any, period_s: float | None
    ) -> None:
        self._timers = timers
        self._cell: Cell | None = cell
        self._message = message
        self.at_s = at_s
        self.period_s = period_s

    @property
    def is_active(self) -> bool:
        return self._cell is not None

    def cancel(self) -> float | None:
        if self._cell is None:
            return None
        self._finish()
        self._timers.cancelled()
        return max(0.0, self.at_s - trio.current_time())

    def fire(self) -> None:
        """Deliver. For the timers' task."""
        cell, message = self._cell, self._message
        if cell is not None:
            if self.period_s is None:
                self._finish()
            cell.accept_control(message)

    def _finish(self) -> None:
        if self._cell is not None and self._cell.extra is not None:
            self._cell.extra.timers.discard(self)
        self._cell = self._message = None


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


class Timers:
    """The heap."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerRef | _Callback]] = []
        self._order = count()
        self._cancelled = 0
        self._changed = trio.Event()

    def send_after(
        self, delay_s: float, cell: Cell, message: Any, period_s: float | None = None
    ) -> TimerRef:
        """A message to the actor after a delay, and then after every period, if there is one."""
        assert period_s is None or period_s > 0, "a period is longer than nothing"
        at_s = trio.current_time() + max(0.0, delay_s)
        timer = TimerRef(self, at_s, cell, message, period_s)
        if cell.is_dead:
            timer._cell = None
            return timer
        cell.more().timers.add(timer)
        self._push(at_s, timer)
        return timer

    def call_after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back later; for the runtime itself. It cannot be cancelled."""
        self._push(trio.current_time() + delay_s, _Callback(callback))

    def _push(self, at_s: float, timer: TimerRef | _Callback) -> None:
        heapq.heappush(self._heap, (at_s, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed.set()

    def cancelled(self) -> None:
        """A timer in the heap was cancelled."""
        self._cancelled += 1
        if self._cancelled >= CANCELLED_MIN and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_active]
            heapq.heapify(self._heap)
            self._cancelled = 0

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
