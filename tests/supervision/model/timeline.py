"""Virtual time for the reference: a heap of what is to happen, and scripts that wait for it.

A script is a generator that yields `(signal, limit_s)` and is sent whether the signal came within
the limit. Things of one instant happen in the order in which they were arranged.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Generator
from itertools import count
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Signal:
    """Something that happens once."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.is_set = False
        self._waiting: list[Callable[[], None]] = []

    def set(self) -> None:
        self.is_set = True
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            self._timeline.after(0.0, wake)

    def when_set(self, wake: Callable[[], None]) -> None:
        if self.is_set:
            self._timeline.after(0.0, wake)
        else:
            self._waiting.append(wake)


Waits = Generator[tuple[Signal, float], bool, T]


class Script(Generic[T]):
    """A running script. `done` gets what it returns, unless it is given up before."""

    def __init__(
        self, timeline: Timeline, waits: Waits[T], done: Callable[[T], None] | None = None
    ) -> None:
        self._timeline = timeline
        self._waits = waits
        self._done = done
        self._wait = 0
        self.is_over = False
        timeline.after(0.0, lambda: self._wake(0, has_come=None))

    def give_up(self) -> None:
        self.is_over = True
        self._waits.close()

    def _go(self, has_come: bool | None) -> None:
        try:
            signal, limit_s = self._waits.send(has_come)  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            self.is_over = True
            if self._done is not None:
                self._done(end.value)
            return
        self._wait += 1
        wait = self._wait
        signal.when_set(lambda: self._wake(wait, has_come=True))
        if limit_s < math.inf:
            self._timeline.after(limit_s, lambda: self._wake(wait, has_come=False))

    def _wake(self, wait: int, *, has_come: bool | None) -> None:
        if wait == self._wait and not self.is_over:
            self._go(has_come)


class Timeline:
    """The present, and what is to come."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], Any]]] = []
        self._order = count()

    def after(self, delay_s: float, act: Callable[[], Any]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._order), act))

    def run(self, until_s: float) -> None:
        """Everything up to then."""
        while self._heap and self._heap[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._heap)
            act()
        self.now_s = until_s
