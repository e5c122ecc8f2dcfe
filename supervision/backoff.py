"""How long to wait before the next restart attempt.

OTP restarts at once, so an outage burns a whole tree in milliseconds. Here the delay grows
exponentially with the attempts that failed in a row, up to a maximum, with jitter so that many
children of one cause do not come back in step. A child that stayed up for `reset_s` starts over.
Chance is an argument.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

FACTOR = 2.0

EXPONENT_MAX = 60
"""2**1024 would overflow, and every maximum is reached long before 2**60."""

RESET_MIN_S = 1.0
"""A child must stay up at least this long to count as recovered, however short its delays."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """`min_s` before the first restart, doubling up to `max_s`; `jitter` takes away up to that part
    of a delay. The default's first restart comes after 5 to 10 ms: no client notices it."""

    min_s: float = 0.01
    max_s: float = 5.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.min_s <= self.max_s < math.inf:
            raise ValueError(f"a delay from {self.min_s} to {self.max_s} s makes no sense")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"{self.jitter} is not a part of a delay")

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """The wait before restart `attempt` (from 1) of a run of failures."""
        return self._full_s(attempt) * (1 - self.jitter * rng.random())

    def shortest_s(self, attempt: int) -> float:
        """The shortest that chance can make that wait."""
        return self._full_s(attempt) * (1 - self.jitter)

    def _full_s(self, attempt: int) -> float:
        assert attempt >= 1
        return min(self.max_s, self.min_s * FACTOR ** min(attempt - 1, EXPONENT_MAX))

    @property
    def reset_s(self) -> float:
        """A child up for this long has recovered."""
        return max(RESET_MIN_S, self.max_s)
