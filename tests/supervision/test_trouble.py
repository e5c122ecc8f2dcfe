"""What a dynamic supervisor remembers: enough to retire, and no more than the trouble there is."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from supervision.backoff import Backoff
from supervision.trouble import Troubles

PLAIN = Backoff(1.0, 4.0, 0.0)
RNG = random.Random(1)

STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["fail", "start", "forget", "well"]),
              st.floats(0.0, 10.0)),
    max_size=80,
)  # fmt: skip


def fail(troubles: Troubles, name: str, now_s: float, up_s: float = 0.0) -> tuple[bool, float]:
    trouble, delay_s = troubles.failed(name, None, PLAIN, RNG, up_s=up_s, now_s=now_s)
    return trouble.retired, delay_s


@given(STEPS)
def test_counts_are_those_of_the_entries(steps: list[tuple[str, str, float]]) -> None:
    troubles = Troubles(2, 5.0, 30.0)
    now_s = 0.0
    for name, step, gap_s in steps:
        now_s += gap_s
        trouble = troubles.get(name)
        if step == "fail":
            fail(troubles, name, now_s)
        elif step == "start" and trouble is not None:
            troubles.free(trouble)
        elif step == "forget":
            troubles.forget(name)
        elif step == "well":
            troubles.ended_well(name, now_s)
        entries = [entry for _, entry in troubles.items()]
        assert troubles.waiting == sum(entry.waiting for entry in entries)
        assert troubles.retired == sum(entry.retired for entry in entries)
        assert not any(entry.waiting and entry.retired for entry in entries)


def test_a_full_window_retires_and_starts_afresh() -> None:
    troubles = Troubles(2, 5.0, 30.0)
    assert fail(troubles, "a", 0.0) == (False, 1.0)
    assert fail(troubles, "a", 1.0) == (False, 2.0)
    assert fail(troubles, "a", 2.0) == (True, 30.0)
    assert fail(troubles, "a", 33.0) == (False, 1.0)


def test_a_child_that_was_up_long_has_short_delays_again_but_its_window_stays() -> None:
    troubles = Troubles(3, 60.0, 30.0)
    assert fail(troubles, "a", 0.0) == (False, 1.0)
    assert fail(troubles, "a", 2.0) == (False, 2.0)
    assert fail(troubles, "a", 12.0, up_s=8.0) == (False, 1.0)
    assert fail(troubles, "a", 20.0, up_s=7.0) == (True, 30.0)


def test_old_failures_are_forgotten() -> None:
    troubles = Troubles(2, 5.0, 30.0)
    now_s = 0.0
    for index in range(2_000):
        now_s += 1.0
        name = f"n{index}"
        fail(troubles, name, now_s)
        trouble = troubles.get(name)
        assert trouble is not None
        troubles.free(trouble)
    assert len(troubles) < 10


def test_what_somebody_waits_for_is_not_forgotten() -> None:
    troubles = Troubles(0, 5.0, 30.0)
    fail(troubles, "wanted", 0.0)
    trouble = troubles.get("wanted")
    assert trouble is not None
    trouble.wanted = True
    for index in range(100):
        fail(troubles, f"n{index}", 100.0 + index)
    assert troubles.get("wanted") is trouble


def test_a_child_that_ended_well_is_forgiven_once_its_failures_are_old() -> None:
    troubles = Troubles(2, 5.0, 30.0)
    fail(troubles, "a", 0.0)
    troubles.ended_well("a", 4.0)
    assert troubles.get("a") is not None
    troubles.ended_well("a", 6.0)
    assert troubles.get("a") is None
    assert troubles.waiting == 0
