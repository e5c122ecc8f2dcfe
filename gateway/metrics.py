"""STOP-GAP of the lead until the real module arrives: overwrite freely."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Metrics:
    def __init__(self) -> None:
        self.connections = self.frames_in = self.malformed_frames = self.rate_limited = 0
        self.requests = self.deliveries = self.gap_events = self.slow_consumers = 0
        self.errors: Counter[Any] = Counter()
        self.closes: Counter[Any] = Counter()

    def error(self, code: Any) -> None:
        self.errors[code] += 1

    def closed(self, code: Any) -> None:
        self.closes[code] += 1
