"""What a dynamic supervisor remembers of a child that failed of late, and what it decides from it.

Each child has its own restart window, unlike OTP's simple_one_for_one: one poisoned channel is
*retired* alone, for a while, and the other hundred thousand do not notice. Nothing here knows a
clock or a loop; `Troubles` forgets old failures as it goes, so it stays as small as the trouble.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from supervision.backoff import Backoff
from supervision.intensity import Window
from supervision.spec import ChildSpec

FORGET_PER_FAILURE = 4
"""Old entries looked at for each new failure: more than one, so that forgetting keeps up."""


@dataclass(slots=True)
class Trouble:
    """One name in trouble. While `waiting` or `retired` there is no child under it."""

    window: Window
    spec: ChildSpec | None = None
    """None if the factory itself failed."""
    failures: int = 0
    """In a row, for the backoff."""
    restarts: int = 0
    keep_s: float = 0.0
    """How long after a failure it still matters."""
    failed_s: float = 0.0
    blocked_until_s: float = 0.0
    waiting: bool = False
    """For its restart, which comes by itself."""
    retired: bool = False
    """It may not start for now."""
    wanted: bool = False
    """It must start when it may: it failed, or somebody asked for it and was told to wait."""


class Troubles:
    """By name, the longest untroubled first."""

    def __init__(self, intensity: int, period_s: float, retire_s: float) -> None:
        self.window = Window(intensity, period_s)
        """That of a name without trouble."""
        self._retire_s = retire_s
        self._by_name: dict[str, Trouble] = {}
        self.waiting = 0
        self.retired = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Trouble | None:
        return self._by_name.get(name)

    def items(self) -> Iterator[tuple[str, Trouble]]:
        return iter(tuple(self._by_name.items()))

    def failed(
        self, name: str, spec: ChildSpec | None, backoff: Backoff, rng: random.Random,
        *, up_s: float, now_s: float, restarts: int = 0,
    ) -> tuple[Trouble, float]:  # fmt: skip
        """A child ended abnormally after being up for `up_s` and `restarts` of them before. How
        long until it may start again; it is `waiting` then, or `retired` if its window is full."""
        trouble = self._by_name.pop(name, None) or Trouble(self.window)
        self._by_name[name] = trouble
        self.free(trouble)
        if up_s >= backoff.reset_s:
            trouble.failures = 0
        trouble.spec = spec
        trouble.restarts = max(trouble.restarts, restarts)
        trouble.keep_s = max(self.window.period_s, backoff.reset_s)
        trouble.failures += 1
        trouble.failed_s = now_s
        window = trouble.window.admit(now_s)
        if window is None:
            trouble.window, trouble.failures = self.window, 0
            trouble.retired = True
            self.retired += 1
            delay_s = self._retire_s
        else:
            trouble.window = window
            trouble.waiting = True
            self.waiting += 1
            delay_s = backoff.delay_s(trouble.failures, rng)
        trouble.blocked_until_s = now_s + delay_s
        self._forget_old(now_s)
        return trouble, delay_s

    def limit(self, window: Window) -> None:
        """Other limits from now on, also for those in trouble."""
        self.window = window
        for trouble in self._by_name.values():
            trouble.window = trouble.window.limited(window.intensity, window.period_s)

    def free(self, trouble: Trouble) -> None:
        """It no longer waits: it starts now, or will not."""
        self.waiting -= trouble.waiting
        self.retired -= trouble.retired
        trouble.waiting = trouble.retired = False

    def forget(self, name: str) -> None:
        trouble = self._by_name.pop(name, None)
        if trouble is not None:
            self.free(trouble)

    def ended_well(self, name: str, now_s: float) -> None:
        """A child ended as intended: forget its failures if they no longer count."""
        trouble = self._by_name.get(name)
        if trouble is not None and trouble.window.used(now_s) == 0:
            self.forget(name)

    def _forget_old(self, now_s: float) -> None:
        for name in list(self._oldest()):
            trouble = self._by_name[name]
            if trouble.waiting or now_s - trouble.failed_s <= trouble.keep_s:
                continue
            if trouble.blocked_until_s <= now_s and not trouble.wanted:
                self.forget(name)

    def _oldest(self) -> Iterator[str]:
        for index, name in enumerate(self._by_name):
            if index >= FORGET_PER_FAILURE:
                return
            yield name
