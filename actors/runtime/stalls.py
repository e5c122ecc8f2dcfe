"""Whether a loop is stuck, judged from looks at it: by values, without a clock.

**Problem.** A process that was stopped (SIGSTOP, a machine that slept, a host without time for it)
did nothing for a while, and neither did whoever looks at it. That is no fault of its code.

**Rule.** Looks are a period apart. One that comes late tells that nobody could act in between, so
what others failed to do meanwhile is not held against them. Except for the processor time that went
by: so long the loop kept everybody from acting, in code that did not give the interpreter back.
"""

from __future__ import annotations

STALL_SHARE = 0.25
"""A look that comes late by this share of the silence rule tells of a stall, not of load."""

LOOKS_PER_STALL = 4
"""Looks within the time that counts as a stall, so that it is noticed a quarter late at most."""


def stood_still(gap_s: float, period_s: float, silence_s: float) -> bool:
    """Whether the process stood still between two looks, `gap_s` apart instead of `period_s`: what
    others sent meanwhile waits unread, so their silence is not to be judged yet."""
    return gap_s > period_s + STALL_SHARE * silence_s


class Patience:
    """With a loop that was asked to turn, at `at_s`, when the process had computed for `cpu_s`."""

    __slots__ = ("_at_s", "_cpu_s", "_since_s", "_stall_s")

    def __init__(self, stall_s: float, at_s: float, cpu_s: float) -> None:
        self._stall_s = stall_s
        self._since_s = self._at_s = at_s
        self._cpu_s = cpu_s

    def look(self, at_s: float, cpu_s: float) -> float:
        """The seconds that the loop has been stuck for by now; 0 while it is just busy."""
        gap_s, used_s = at_s - self._at_s, cpu_s - self._cpu_s
        self._at_s, self._cpu_s = at_s, cpu_s
        is_late = stood_still(gap_s, self._stall_s / LOOKS_PER_STALL, self._stall_s)
        if is_late:
            self._since_s += max(gap_s - used_s, 0.0)
        stuck_s = at_s - self._since_s
        return stuck_s if stuck_s >= self._stall_s else 0.0

    def excuse(self) -> None:
        """What went by until the last look is not held against it."""
        self._since_s = self._at_s
