"""Delays: bounded, growing, jittered, repeatable."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervision.backoff import Backoff

BACKOFFS = st.builds(
    lambda min_s, factor, jitter: Backoff(min_s, min_s * factor, jitter),
    st.floats(0.001, 10.0), st.floats(1.0, 1000.0), st.floats(0.0, 1.0),
)  # fmt: skip
ATTEMPTS = st.one_of(st.integers(1, 100), st.integers(1, 10**9))


class Least(random.Random):
    """Chance that takes nothing away."""

    def random(self) -> float:
        return 0.0


class Most(random.Random):
    def random(self) -> float:
        return 1.0


@given(BACKOFFS, ATTEMPTS, st.integers())
def test_a_delay_is_within_its_bounds(backoff: Backoff, attempt: int, seed: int) -> None:
    delay_s = backoff.delay_s(attempt, random.Random(seed))
    assert backoff.min_s * (1 - backoff.jitter) <= delay_s <= backoff.max_s


@given(BACKOFFS, st.integers(1, 200))
def test_delays_grow(backoff: Backoff, attempt: int) -> None:
    for chance in (Least(), Most()):
        assert backoff.delay_s(attempt, chance) <= backoff.delay_s(attempt + 1, chance)


@given(BACKOFFS, ATTEMPTS, st.integers())
def test_the_same_seed_gives_the_same_delay(backoff: Backoff, attempt: int, seed: int) -> None:
    first, second = (backoff.delay_s(attempt, random.Random(seed)) for _ in range(2))
    assert first == second


@given(BACKOFFS)
def test_a_child_is_never_recovered_before_its_longest_delay(backoff: Backoff) -> None:
    assert backoff.reset_s >= max(1.0, backoff.max_s)


def test_the_default_starts_within_ten_milliseconds() -> None:
    assert Backoff().delay_s(1, Least()) <= 0.01


def test_it_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(1.0, 5.0, 0.0)
    assert [backoff.delay_s(n, Least()) for n in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "arguments", [(2.0, 1.0, 0.5), (-1.0, 1.0, 0.5), (0.1, float("inf"), 0.5), (0.1, 1.0, 1.5)]
)
def test_nonsense_is_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"no sense|not a part"):
        Backoff(*arguments)
