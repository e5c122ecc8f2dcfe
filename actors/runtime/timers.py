"""Timers: one heap and one task for a whole system.

A timer belongs to the incarnation that set it: when that is gone the timer does nothing, so a
restarted actor never sees its predecessor's ticks. Firing is never early.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any

import trio

from actors.runtime.ref import Ref


class TimerRef:
    """One timer. `cancel` answers the seconds that were left, or None if it had fired."""

    __slots__ = ("at_s", "message", "period_s", "ref")

    def __init__(self, at_s: float, ref: Ref, message: Any, period_s: float | None) -> None:
        self.at_s = at_s
        self.ref: Ref | None = ref
        self.message = message
        self.period_s = period_s

    def cancel(self) -> float | None:
        if self.ref is None:
            return None
        self.ref = self.message = None
        return max(0.0, self.at_s - trio.current_time())


class Timers:
    """The heap. Cancelled timers and those of the dead stay in it until their time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerRef]] = []
        self._order = count()
        self._changed = trio.Event()

    def send_after(
        self, delay_s: float, ref: Ref, message: Any, period_s: float | None = None
    ) -> TimerRef:
        timer = TimerRef(trio.current_time() + max(0.0, delay_s), ref, message, period_s)
        self._push(timer)
        return timer

    def _push(self, timer: TimerRef) -> None:
        heapq.heappush(self._heap, (timer.at_s, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed.set()

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
            timer = heapq.heappop(self._heap)[2]
            ref = timer.ref
            if ref is None:
                continue
            if not ref.is_alive():
                timer.ref = timer.message = None
                continue
            message = timer.message
            if timer.period_s is None:
                timer.ref = timer.message = None
            else:
                timer.at_s = max(timer.at_s + timer.period_s, now_s)
                self._push(timer)
            ref.deliver_control(message)

    def __len__(self) -> int:
        return len(self._heap)
