"""Passwords, tokens, and the lock after failed logins.

Hashing is argon2id in worker threads, two at a time: each takes tens of megabytes and a tenth of a
second, so a flood of logins must wait here and nowhere else. Tokens are 32 random bytes; only their
SHA-256 is stored. `FailureWindow` is pure: the clock is an argument.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import deque

import argon2
import trio

HASHERS_MAX = 2
"""Concurrent argon2 computations: more would starve the cores and memory of everything else."""

FAILURES_WINDOW_S = 60.0
KEYS_MAX = 100_000
"""Accounts and addresses with recent failures kept in memory; the oldest is forgotten first."""


class Passwords:
    """Hashes and verifies. `cheap` is for tests only: weak parameters, same behaviour."""

    def __init__(self, *, cheap: bool = False) -> None:
        self._hasher = (
            argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
            if cheap
            else argon2.PasswordHasher()
        )
        self._limiter = trio.CapacityLimiter(HASHERS_MAX)
        self._decoy = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        return await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password fits. Takes equally long for an account that is not there (None)."""

        def check() -> bool:
            try:
                self._hasher.verify(password_hash or self._decoy, password)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False
            return password_hash is not None

        return await trio.to_thread.run_sync(check, limiter=self._limiter)

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class FailureWindow:
    """Failed logins per key (an account name or an address) within the last minute."""

    def __init__(self, failures_max: int, window_s: float = FAILURES_WINDOW_S) -> None:
        self._failures_max = failures_max
        self._window_s = window_s
        self._failures: dict[str, deque[float]] = {}

    def locked_ms(self, key: str, now_s: float) -> int:
        """How long the key stays locked, in milliseconds; 0 if it is open."""
        times = self._failures.get(key)
        if times is None:
            return 0
        while times and now_s - times[0] >= self._window_s:
            times.popleft()
        if not times:
            del self._failures[key]
            return 0
        if len(times) < self._failures_max:
            return 0
        opens_s = times[-self._failures_max] + self._window_s
        return math.ceil((opens_s - now_s) * 1000)

    def failed(self, key: str, now_s: float) -> None:
        if key not in self._failures and len(self._failures) >= KEYS_MAX:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(key, deque()).append(now_s)

    def __len__(self) -> int:
        return len(self._failures)
