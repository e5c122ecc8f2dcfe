"""How long to wait before the next restart attempt.

OTP restarts at once, so an outage burns a whole tree in milliseconds. Here the delay grows
exponentially with the attempts that failed in a row, up to a maximum, with jitter so that many
children of one cause do not come back in step. A child that stayed up for `reset_s` starts over.
Chance is an argument.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`min_s` before the first restart, doubling up to `max_s`; `jitter` takes away up to that part."""

    min_s: float = 0.01
    max_s: float = 5.0
    jitter: float = 0.5

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """The wait before restart `attempt` (from 1) of a run of failures."""
        assert attempt >= 1
        # Bounded exponent: 2**1024 would overflow, and the maximum is reached long before.
        full_s = min(self.max_s, self.min_s * FACTOR ** min(attempt - 1, 60))
        return full_s * (1 - self.jitter * rng.random())

    @property
    def reset_s(self) -> float:
        """A child up for this long has recovered."""
        return max(1.0, self.max_s)
