"""The numbers of a running server, for Prometheus.

**Problem.** A prometheus counter takes a lock and a dictionary for each increment, which on a
message path of some ten microseconds is a tenth of it.

**Rule.** What happens often is an integer attribute that its owner increments; what others know
already (sizes, depths) is asked of their `statistics()`. Both become metrics only when somebody
asks. One `Metrics` belongs to one server, so two servers in a process do not mix.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.transport import Traffic

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "coppice"

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Bounds for latencies: an fsync takes about a millisecond, a request's deadline is ten seconds."""
POWERS: Final = tuple(float(2**n) for n in range(13))
"""Bounds for counts, 1 … 4096."""

_COUNTERS: Final[Mapping[str, str]] = {
    "connections": "WebSockets that were handed to the gateway.",
    "frames_in": "Data frames received, well-formed or not.",
    "malformed_frames": "Frames that were no request.",
    "requests": "Requests answered.",
    "deliveries": "Durable events queued for a connection.",
    "gap_events": "Durable events replaced by a gap because a connection was slow.",
    "slow_consumers": "Connections closed because they did not read.",
    "rate_limited": "Requests refused for a rate.",
    "restarts": "Actors restarted by a supervisor.",
    "crashes": "Actors that ended abnormally.",
    "dead_letters": "Messages to actors that were gone.",
}
_TRAFFIC: Final[Mapping[str, str]] = {
    "frames_in": "Data frames read from WebSockets.",
    "frames_out": "Data frames written to WebSockets.",
    "bytes_in": "Bytes read from WebSockets.",
    "bytes_out": "Bytes written to WebSockets.",
}
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")

Source = Callable[[], object]
"""Gives a mapping or a dataclass; its numbers become gauges, or counters if named `…_total`."""

logger = structlog.get_logger("gateway")


class Histogram:
    """Counts values by upper bounds; the last class, without a bound, is implied."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """See the module. The attributes are for incrementing; each belongs to the loop's thread."""

    def __init__(self) -> None:
        self.connections = 0
        self.frames_in = 0
        self.malformed_frames = 0
        self.requests = 0
        self.deliveries = 0
        self.gap_events = 0
        self.slow_consumers = 0
        self.rate_limited = 0
        self.restarts = 0
        self.crashes = 0
        self.dead_letters = 0
        self.traffic = Traffic()
        """For the transports to share."""
        self.commit_seconds = Histogram(SECONDS)
        self.commit_events = Histogram(POWERS)
        self.request_seconds = Histogram(SECONDS)
        self._answers: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._closes: Counter[int] = Counter()
        self._sources: dict[str, Source] = {}
        self._failed_sources = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Lazy(self._families))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def answered(self, op: str, outcome: str) -> None:
        """A request was answered: `outcome` is `ok` or the code of an error. `op` must be one of
        ours, for each value is a time series."""
        self._answers[op, outcome] += 1

    def error(self, code: str) -> None:
        """An error was sent to a client."""
        self._errors[str(code)] += 1

    def closed(self, code: int) -> None:
        """The server closed a WebSocket with this code."""
        self._closes[int(code)] += 1

    def committed(self, events: int, seconds: float) -> None:
        """A batch of events became durable, `seconds` after the store was given it."""
        self.commit_events.observe(events)
        self.commit_seconds.observe(seconds)

    def watch(self, name: str, source: Source) -> None:
        """Ask `source` on every scrape; its numbers are called `coppice_<name>_<key>`. A second
        source of a name replaces the first, as a restarted part replaces its former self."""
        self._sources[name] = source

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _families(self) -> Iterable[Metric]:
        for attribute, text in _COUNTERS.items():
            yield _counter(attribute, text, getattr(self, attribute))
        for attribute, text in _TRAFFIC.items():
            yield _counter(f"websocket_{attribute}", text, getattr(self.traffic, attribute))
        answers = CounterMetricFamily(
            f"{PREFIX}_answers", "Requests answered, by operation.", labels=("op", "outcome")
        )
        for (op, outcome), count in self._answers.items():
            answers.add_metric((op, outcome), count)
        yield answers
        yield _labelled("errors", "Errors sent to clients.", "code", self._errors)
        yield _labelled("closes", "WebSockets closed by the server.", "code", self._closes)
        yield self.commit_seconds.family(
            f"{PREFIX}_commit_seconds", "From handing a batch to the store to its commit."
        )
        yield self.commit_events.family(f"{PREFIX}_commit_events", "Events in a commit.")
        yield self.request_seconds.family(
            f"{PREFIX}_request_seconds", "From a request's turn on its connection to its answer."
        )
        for name, source in tuple(self._sources.items()):
            yield from self._ask(name, source)
        yield _counter("failed_sources", "Statistics that could not be had.", self._failed_sources)

    def _ask(self, name: str, source: Source) -> Iterable[Metric]:
        try:
            numbers = dict(_numbers(source()))
        except Exception:
            self._failed_sources += 1
            logger.exception("statistics_failed", source=name)
            return
        for key, value in numbers.items():
            full = _NOT_A_NAME.sub("_", f"{name}_{key}")
            if full.endswith("_total"):
                yield _counter(full.removesuffix("_total"), f"{key} of {name}", value)
            else:
                yield GaugeMetricFamily(f"{PREFIX}_{full}", f"{key} of {name}", value=value)


class _Lazy(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def _numbers(statistics: object) -> Iterable[tuple[str, float]]:
    if dataclasses.is_dataclass(statistics):
        names = [field.name for field in dataclasses.fields(statistics)]
        items: Iterable[tuple[object, object]] = [(n, getattr(statistics, n)) for n in names]
    elif isinstance(statistics, Mapping):
        items = statistics.items()
    else:
        raise TypeError(f"statistics must be a mapping or a dataclass, not {statistics!r}")
    for name, value in items:
        if isinstance(value, int | float):
            yield str(name), float(value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _labelled(
    name: str, text: str, label: str, counts: Mapping[str, int] | Mapping[int, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=(label,))
    for key, count in counts.items():
        family.add_metric((str(key),), count)
    return family
