"""What is measured, of which unit, how often, and what is aimed at.

Every system measures the same thing the way its own users would write it, as far as it can.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BATCH = 1_000
"""Messages told before the receiver is waited for, so that no mailbox holds more than that."""
CLIENTS = 100
RING = 100
"""Actors in the ring; one token."""
FEW_CHILDREN, MANY_CHILDREN = 1_000, 100_000


@dataclass(frozen=True, slots=True)
class Measure:
    """`count` is how much of it a system does for one figure; slow systems do less (`counts`), and
    those in which it means nothing do none (0)."""

    name: str
    unit: str
    meaning: str
    count: int
    counts: dict[str, int] = field(default_factory=dict)

    def count_for(self, system: str, divisor: int) -> int:
        count = self.counts.get(system, self.count)
        return max(count // divisor, BATCH if self.name == "tells" else CLIENTS) if count else 0


NO_SUPERVISORS = {"pykka": 0, "thespian": 0}

MEASURES = (
    # First, in a process that has not held anything yet.
    Measure(
        "idle_bytes", "bytes", "resident memory per idle actor", 20_000,
        {"pykka": 1_000, "thespian": 5_000},
    ),
    Measure(
        "tells", "/s", "messages to one actor", 400_000, {"pykka": 100_000, "thespian": 50_000}
    ),
    Measure(
        "asks", "/s", "round trips, one client", 20_000, {"pykka": 10_000, "erlang": 100_000}
    ),
    Measure(
        "concurrent_asks", "/s", f"round trips, {CLIENTS} clients at once", 100_000,
        {"pykka": 10_000, "thespian": 0, "erlang": 300_000},
    ),
    Measure(
        "hops", "/s", f"a token in a ring of {RING} actors", 300_000,
        {"pykka": 20_000, "thespian": 50_000, "erlang": 2_000_000},
    ),
    Measure(
        "starts", "/s", "actors started, until all are ready", 20_000,
        {"pykka": 1_000, "thespian": 5_000},
    ),
    Measure("restart_us", "us", "from crash to restarted, under a supervisor", 500, NO_SUPERVISORS),
    Measure(
        "few_children_s", "s", f"start and stop {FEW_CHILDREN:,} children", FEW_CHILDREN,
        NO_SUPERVISORS,
    ),
    Measure(
        "many_children_s", "s", f"start and stop {MANY_CHILDREN:,} children", MANY_CHILDREN,
        NO_SUPERVISORS,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Goal:
    """Ours over theirs, in the same round, is at least or (`at_most`) at most `bound`."""

    measure: str
    other: str
    bound: float
    at_most: bool = False

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound


GOALS = (
    Goal("hops", "erlang", 1 / 4),
    Goal("concurrent_asks", "erlang", 1 / 4),
    Goal("starts", "erlang", 1 / 3),
    Goal("idle_bytes", "erlang", 1.0, at_most=True),
    Goal("restart_us", "erlang", 10.0, at_most=True),
    Goal("asks", "pykka", 20.0),
    Goal("starts", "pykka", 10.0),
)

LINEARITY_MAX = 1.5
"""The time for each of many children may be this much longer than for each of few."""
