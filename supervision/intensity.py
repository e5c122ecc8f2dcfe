"""The restart window: how many restarts within a period are still normal.

OTP's rule (supervisor(3)): a supervisor gives up when more than `intensity` restarts happen within
`period`. Attempts that fail to start count too; a group restart costs one. A restart exactly one
period ago still counts. The clock is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Restarts admitted within the last `period_s`, oldest first: not more than `intensity`, unless
    that was lowered since."""

    intensity: int
    period_s: float
    restarts_s: tuple[float, ...] = ()

    def admit(self, now_s: float) -> Window | None:
        """The window after one more restart at `now_s`; None if that is one too many."""
        recent = self._recent(now_s)
        if len(recent) >= self.intensity:
            return None
        return Window(self.intensity, self.period_s, (*recent, now_s))

    def limited(self, intensity: int | None, period_s: float | None) -> Window:
        """The same restarts under other limits; None leaves a limit as it is."""
        return Window(
            self.intensity if intensity is None else intensity,
            self.period_s if period_s is None else period_s,
            self.restarts_s,
        )

    def used(self, now_s: float) -> int:
        """How many restarts count at `now_s`."""
        return len(self._recent(now_s))

    def _recent(self, now_s: float) -> tuple[float, ...]:
        return tuple(at_s for at_s in self.restarts_s if now_s - at_s <= self.period_s)
