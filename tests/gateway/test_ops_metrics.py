"""Metrics: plain numbers until somebody scrapes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Histogram, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.exposition().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_attributes_become_counters() -> None:
    metrics = Metrics()
    metrics.requests += 3
    metrics.traffic.bytes_out += 100
    metrics.answered("send", "ok")
    metrics.answered("send", "ok")
    metrics.answered("history", "not_member")
    metrics.error("not_member")
    metrics.closed(4009)
    found = samples(metrics)
    assert found["coppice_requests_total", ()] == 3
    assert found["coppice_websocket_bytes_out_total", ()] == 100
    assert found["coppice_answers_total", (("op", "send"), ("outcome", "ok"))] == 2
    assert found["coppice_answers_total", (("op", "history"), ("outcome", "not_member"))] == 1
    assert found["coppice_errors_total", (("code", "not_member"),)] == 1
    assert found["coppice_closes_total", (("code", "4009"),)] == 1


def test_histograms_count_values_up_to_and_including_their_bounds() -> None:
    metrics = Metrics()
    metrics.committed(4, 0.001)
    metrics.committed(5, 99.0)
    found = samples(metrics)
    assert found["coppice_commit_seconds_bucket", (("le", "0.0005"),)] == 0
    assert found["coppice_commit_seconds_bucket", (("le", "0.001"),)] == 1
    assert found["coppice_commit_seconds_bucket", (("le", "10"),)] == 1
    assert found["coppice_commit_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["coppice_commit_seconds_count", ()] == 2
    assert found["coppice_commit_seconds_sum", ()] == pytest.approx(99.001)
    assert found["coppice_commit_events_bucket", (("le", "4"),)] == 1
    assert found["coppice_commit_events_bucket", (("le", "8"),)] == 2


def test_bounds_of_a_histogram_are_as_given() -> None:
    histogram = Histogram((1.0,))
    histogram.observe(2.0)
    names = [sample.labels.get("le") for sample in histogram.family("x", "text").samples]
    assert names == ["1", "+Inf", None, None]


@dataclass(frozen=True)
class Statistics:
    depth: int
    name: str
    dropped_total: int


def test_statistics_are_asked_when_somebody_scrapes() -> None:
    metrics = Metrics()
    depth = 1
    metrics.watch("journal", lambda: Statistics(depth, "ignored", 7))
    metrics.watch("hub", lambda: {"users": 2, "is-ready": True})
    depth = 5
    found = samples(metrics)
    assert found["coppice_journal_depth", ()] == 5
    assert found["coppice_journal_dropped_total", ()] == 7
    assert found["coppice_hub_users", ()] == 2
    assert found["coppice_hub_is_ready", ()] == 1


def test_statistics_that_fail_do_not_hide_the_others() -> None:
    metrics = Metrics()

    def broken() -> object:
        raise RuntimeError("a bug")

    metrics.watch("broken", broken)
    metrics.watch("odd", lambda: 3)
    metrics.watch("good", lambda: {"n": 1})
    found = samples(metrics)
    assert found["coppice_good_n", ()] == 1
    assert found["coppice_failed_sources_total", ()] == 2


def test_two_servers_in_a_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.requests += 1
    assert samples(second)["coppice_requests_total", ()] == 0
    assert ("process_resident_memory_bytes", ()) in samples(second)
