"""The connection's phases and counters, by example and by property."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.codec import OPS
from gateway.wire.codes import CloseCode, ErrorCode, Reconnect, reconnect_advice
from gateway.wire.protocol import (
    ENTRY_OPS,
    TRANSITIONS,
    VERDICTS,
    Happening,
    OpClass,
    Phase,
    SlidingCounter,
    TransitionError,
    Verdict,
    advance,
    malformed_counter,
    refusal_counter,
    verdict,
)

any_op = st.sampled_from(sorted(OPS)) | st.text(max_size=12)


@given(any_op)
def test_before_authentication_only_entry_and_heartbeat_are_admitted(op: str) -> None:
    admitted = verdict(Phase.UNAUTHENTICATED, op) is Verdict.ADMIT
    assert admitted == (op in {"register", "login", "auth", "hb"})
    if not admitted:
        assert verdict(Phase.UNAUTHENTICATED, op).error is ErrorCode.UNAUTHORIZED


@given(any_op)
def test_after_authentication_only_entry_is_refused(op: str) -> None:
    refused = verdict(Phase.AUTHENTICATED, op).error
    assert refused == (ErrorCode.CONFLICT if op in ENTRY_OPS else None)


@given(any_op)
def test_a_closing_connection_ignores_everything(op: str) -> None:
    assert verdict(Phase.CLOSING, op) is Verdict.IGNORE


def test_the_tables_are_total() -> None:
    assert all(set(VERDICTS[phase]) == set(OpClass) for phase in Phase)
    assert all((phase, Happening.CLOSING) in TRANSITIONS for phase in Phase)


@given(st.lists(st.sampled_from(Happening), max_size=6))
def test_closing_is_final_and_authentication_happens_once(happenings: list[Happening]) -> None:
    phase = Phase.UNAUTHENTICATED
    for happening in happenings:
        try:
            after = advance(phase, happening)
        except TransitionError:
            assert happening is Happening.AUTHENTICATED
            assert phase is not Phase.UNAUTHENTICATED
            continue
        assert phase is not Phase.CLOSING or after is Phase.CLOSING
        phase = after


def test_the_twentieth_malformed_frame_within_a_minute_trips() -> None:
    counter = malformed_counter()
    assert [counter.record(float(second)) for second in range(20)] == [False] * 19 + [True]


def test_malformed_frames_spread_over_more_than_a_minute_do_not_trip() -> None:
    counter = malformed_counter()
    assert not any(counter.record(4.0 * index) for index in range(200))


def test_more_than_six_hundred_refusals_trip() -> None:
    counter = refusal_counter()
    assert [counter.record(0.0) for _ in range(601)] == [False] * 600 + [True]


@given(
    steps=st.lists(st.floats(min_value=0, max_value=30), max_size=60),
    trips_at=st.integers(min_value=1, max_value=6),
)
def test_the_counter_agrees_with_counting(steps: list[float], trips_at: int) -> None:
    counter = SlidingCounter(trips_at, window_s=60.0)
    now_s, times_s = 0.0, []
    for step in steps:
        now_s += step
        times_s.append(now_s)
        within = sum(now_s - time_s <= 60.0 for time_s in times_s)
        assert counter.record(now_s) == (within >= trips_at)


def test_every_close_code_has_meaning_and_advice() -> None:
    assert all(code.meaning and code.reconnect for code in CloseCode)
    assert reconnect_advice(4004) is Reconnect.NO
    assert reconnect_advice(4012) is Reconnect.AFTER_RETRY
    assert reconnect_advice(1006) is Reconnect.BACK_OFF
    assert reconnect_advice(None) is Reconnect.BACK_OFF
    assert {code for code in CloseCode if not code.says_bye} == {1009, 4002}


def test_the_temporary_codes_are_those_worth_retrying() -> None:
    assert {str(code) for code in ErrorCode if code.temporary} == {
        "rate_limited",
        "internal",
        "unavailable",
        "timeout",
    }
