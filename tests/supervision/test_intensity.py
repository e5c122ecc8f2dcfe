"""The restart window against a plain recount of all attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervision.intensity import Window

GAPS = st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), max_size=60)
"""Multiples of an eighth: sums are exact, and an end falls on a window's edge now and then."""


@pytest.mark.otp("law.L24")
@given(GAPS, st.integers(0, 5), st.sampled_from([0.5, 1.0, 5.0]))
def test_admits_as_a_recount_says(gaps: list[float], intensity: int, period_s: float) -> None:
    window = Window(intensity, period_s)
    now_s = 0.0
    admitted: list[float] = []
    for gap_s in gaps:
        now_s += gap_s
        recent = [at_s for at_s in admitted if now_s - at_s <= period_s]
        assert window.used(now_s) == len(recent)
        after = window.admit(now_s)
        assert (after is not None) == (len(recent) < intensity)
        if after is not None:
            window = after
            admitted.append(now_s)
        assert len(window.restarts_s) <= intensity, "memory is bounded"


@given(st.integers(1, 5), st.floats(0.1, 100.0))
def test_a_calm_child_is_admitted_for_ever(intensity: int, period_s: float) -> None:
    window: Window | None = Window(intensity, period_s)
    for index in range(20):
        assert window is not None
        window = window.admit(index * (period_s * 1.001))
    assert window is not None


@pytest.mark.otp("law.L5")
def test_a_restart_exactly_one_period_ago_still_counts() -> None:
    window = Window(1, 5.0).admit(0.0)
    assert window is not None
    assert window.admit(5.0) is None
    assert window.admit(5.001) is not None


def test_intensity_zero_admits_nothing() -> None:
    assert Window(0, 1.0).admit(0.0) is None


def test_refusing_changes_nothing() -> None:
    window = Window(1, 5.0).admit(1.0)
    assert window is not None
    before = window.restarts_s
    assert window.admit(2.0) is None
    assert window.restarts_s == before
