"""Token buckets: how fast one user may ask (PROTOCOL.md §5).

Rates count per user, whatever the number of sockets. The clock is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.wire.limits import Limits

ROUNDING = 1e-6
"""Who has waited as long as they were told is not refused for a rounding error."""


@dataclass(slots=True)
class Bucket:
    """`tokens` at time `at_s`, refilled at `per_s` up to `burst`."""

    burst: int
    per_s: int
    tokens: float
    at_s: float

    def take(self, now_s: float) -> int:
        """Take one token. 0 if there was one, else after how many milliseconds there will be.

        Several sockets share a bucket, and what one of them kept waiting may be older than what
        another has asked since: time that went by is not taken back."""
        elapsed_s = max(0.0, now_s - self.at_s)
        tokens = min(self.burst, self.tokens + elapsed_s * self.per_s)
        self.at_s += elapsed_s
        if tokens >= 1 - ROUNDING:
            self.tokens = tokens - 1
            return 0
        self.tokens = tokens
        return math.ceil((1 - tokens) / self.per_s * 1000)


@dataclass(slots=True)
class Quota:
    """One user's buckets: sends, and all other requests."""

    sends: Bucket
    requests: Bucket
    sockets: int = 0


class Rates:
    """The quotas of all users with a socket here; dropped a while after the last one closed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._quotas: dict[str, Quota] = {}
        self._leaving: dict[str, float] = {}

    def enter(self, uid: str, now_s: float) -> Quota:
        """A socket of this user is here."""
        quota = self._quotas.get(uid)
        if quota is None:
            limits = self._limits
            quota = self._quotas[uid] = Quota(
                Bucket(limits.send_burst, limits.send_per_s, limits.send_burst, now_s),
                Bucket(limits.request_burst, limits.request_per_s, limits.request_burst, now_s),
            )
        quota.sockets += 1
        self._leaving.pop(uid, None)
        return quota

    def leave(self, uid: str, now_s: float) -> None:
        """A socket of this user closed. The quota stays until it would be full again anyway."""
        quota = self._quotas[uid]
        quota.sockets -= 1
        if quota.sockets == 0:
            buckets = (quota.sends, quota.requests)
            self._leaving[uid] = now_s + max(b.burst / b.per_s for b in buckets)

    def sweep(self, now_s: float) -> None:
        """Forget quotas that are full again and belong to nobody here."""
        for uid in [uid for uid, full_s in self._leaving.items() if full_s <= now_s]:
            del self._leaving[uid]
            del self._quotas[uid]

    def __len__(self) -> int:
        return len(self._quotas)
