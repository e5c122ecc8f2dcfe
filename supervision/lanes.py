"""Lanes: what a supervisor does to its children, one thing at a time where order matters.

Stopping and starting take time, during which other children end and requests arrive. Under
one_for_all and rest_for_one everything goes through one lane, and an end that happens while the
lane is busy is looked at when it is free, as OTP's supervisor would find it in its mailbox. Under
one_for_one each child has a lane of its own, so that one slow start delays nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from outcome import Outcome

from actors.runtime import Actor, TaskRef, TimerRef

ACTS_MAX = 10_000
"""Requests that may wait in a lane. The ends that wait are never more than there are children."""

T = TypeVar("T")

Act = Callable[[], None]


@dataclass(slots=True)
class Lane:
    """Acts run in order; one that starts a task makes the others wait until it is done."""

    task: TaskRef | None = None
    acts: deque[Act] = field(default_factory=deque)
    retry: TimerRef | None = None
    retry_number: int = 0
    """Only the latest restart that was scheduled counts: its plan covers those before it."""

    @property
    def is_idle(self) -> bool:
        return self.task is None and not self.acts and self.retry is None


class Lanes:
    """The lanes of one supervisor. Acts run in its turns, and may raise: that is its crash."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._lanes: dict[str, Lane] = {}
        self._early: list[tuple[str, Act]] | None = []
        self._when_calm: deque[Act] = deque()

    def open(self) -> None:
        """Everything has started: from here on acts run; first those that came too early."""
        early, self._early = self._early, None
        for key, act in early or ():
            self.do(key, act)

    def close(self) -> None:
        """Give up whatever is under way, and do nothing more."""
        for lane in self._lanes.values():
            if lane.task is not None:
                lane.task.cancel()
            lane.acts.clear()
        self._lanes.clear()
        self._early = []
        self._when_calm.clear()

    def get(self, key: str) -> Lane | None:
        return self._lanes.get(key)

    def lane(self, key: str) -> Lane:
        """The lane of this key, made if need be."""
        return self._lanes.setdefault(key, Lane())

    def is_full(self, key: str) -> bool:
        lane = self._lanes.get(key)
        return lane is not None and len(lane.acts) >= ACTS_MAX

    def do(self, key: str, act: Act) -> None:
        """Do this now, or as soon as what the lane is busy with is done."""
        if self._early is not None:
            self._early.append((key, act))
            return
        lane = self.lane(key)
        if lane.task is None:
            act()
            self._tidy(key, lane)
        else:
            lane.acts.append(act)

    def job(self, key: str, work: Callable[[], Awaitable[T]], then: Callable[[T], None]) -> None:
        """Keep the lane busy with something that takes time; `then` gets its result."""
        lane = self.lane(key)
        assert lane.task is None, "a lane does one thing at a time"

        def done(result: Outcome[T]) -> None:
            if self._lanes.get(key) is not lane:
                return  # closed meanwhile
            lane.task = None
            then(result.unwrap())
            while lane.acts and lane.task is None:
                lane.acts.popleft()()
            self._tidy(key, lane)
            while self._when_calm and self._is_calm:
                self._when_calm.popleft()()

        lane.task = self._actor.run_task(work, on_done=done, label=f"lane {key}")

    @property
    def _is_calm(self) -> bool:
        return all(lane.task is None for lane in self._lanes.values())

    def do_when_calm(self, act: Act) -> None:
        """Do this as soon as no lane is busy."""
        if self._is_calm:
            act()
        else:
            self._when_calm.append(act)

    def cancel_retries(self) -> float:
        """No restart is scheduled any more; the longest delay that was left. For a calm time."""
        retries = [lane.retry for lane in self._lanes.values() if lane.retry is not None]
        self._lanes.clear()
        return max((retry.cancel() or 0.0 for retry in retries), default=0.0)

    def _tidy(self, key: str, lane: Lane) -> None:
        if lane.is_idle and self._lanes.get(key) is lane:
            del self._lanes[key]
