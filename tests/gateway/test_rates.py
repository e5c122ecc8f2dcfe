"""Token buckets: bursts, refills, and who shares them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.rates import Bucket, Rates
from gateway.wire.limits import Limits


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(burst=3, per_s=10, tokens=3, at_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0, 0, 0, 100]
    assert bucket.take(0.05) == 50
    assert bucket.take(0.11) == 0


def test_a_request_kept_waiting_takes_nothing_back() -> None:
    bucket = Bucket(burst=3, per_s=10, tokens=3, at_s=0.0)
    assert [bucket.take(1.0), bucket.take(0.0), bucket.take(0.0), bucket.take(1.0)] == [
        0, 0, 0, 100,
    ]  # fmt: skip


@given(st.integers(1, 50), st.floats(0, 100, allow_nan=False))
def test_who_waits_as_long_as_told_is_served(per_s: int, later_s: float) -> None:
    bucket = Bucket(1, per_s, 1, 0.0)
    assert bucket.take(0.0) == 0
    now_s = later_s / per_s / 101
    retry_ms = bucket.take(now_s)
    assert retry_ms > 0
    assert bucket.take(now_s + retry_ms / 1000) == 0


def test_devices_of_one_user_share_a_quota_and_others_do_not() -> None:
    rates = Rates(Limits(send_burst=1, send_per_s=1))
    first, second, other = rates.enter("a", 0.0), rates.enter("a", 0.0), rates.enter("b", 0.0)
    assert first is second
    assert first.sends.take(0.0) == 0
    assert second.sends.take(0.0) > 0
    assert other.sends.take(0.0) == 0


def test_reconnecting_does_not_refill_a_quota() -> None:
    rates = Rates(Limits(send_burst=1, send_per_s=1))
    rates.enter("a", 0.0).sends.take(0.0)
    rates.leave("a", 0.1)
    rates.sweep(0.2)
    assert rates.enter("a", 0.2).sends.take(0.2) > 0


def test_quotas_are_forgotten_once_they_would_be_full() -> None:
    rates = Rates(Limits(send_burst=1, send_per_s=1, request_burst=1, request_per_s=1))
    rates.enter("a", 0.0)
    rates.leave("a", 0.0)
    rates.sweep(0.5)
    assert len(rates) == 1
    rates.sweep(1.0)
    assert len(rates) == 0


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.floats(0, 2, allow_nan=False), max_size=100),
)
def test_never_more_than_burst_plus_rate(burst: int, per_s: int, waits: list[float]) -> None:
    bucket = Bucket(burst, per_s, burst, 0.0)
    now_s, taken = 0.0, 0
    for wait_s in waits:
        now_s += wait_s
        taken += bucket.take(now_s) == 0
        assert taken <= burst + now_s * per_s + 1e-6
