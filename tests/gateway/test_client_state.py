"""The seq rule, by example and against a model; backoff; the saved state."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client_state import (
    HELD_MAX,
    Event,
    SavedState,
    Timeline,
    backoff_s,
    load_state,
    own_event,
    reconnect_after_s,
    save_state,
)


def msg(seq: int, thread: str = "t", **fields: Any) -> Event:
    return {"e": "msg", "thread": thread, "seq": seq, **fields}


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events]


def test_the_next_event_is_applied_and_older_ones_are_dropped() -> None:
    timeline = Timeline()
    assert seqs(timeline.live(msg(1))) == [1]
    assert timeline.live(msg(1)) == []
    assert seqs(timeline.live(msg(2))) == [2]
    assert timeline.cursors() == {"t": 2}
    assert timeline.behind() == []


def test_an_event_ahead_of_its_turn_waits_for_the_missing_one() -> None:
    timeline = Timeline(cursors={"t": 4})
    assert timeline.live(msg(6)) == []
    assert timeline.behind() == ["t"]
    assert seqs(timeline.live(msg(5))) == [5, 6]
    assert timeline.behind() == []


def test_a_page_is_believed_where_it_begins() -> None:
    timeline = Timeline(uid="me", cursors={"t": 4}, removed=["t"])
    back = {"e": "member", "thread": "t", "seq": 9, "user": "me", "act": "add"}
    assert timeline.live(back) == []
    assert seqs(timeline.page("t", [back, msg(10)])) == [9, 10]
    assert timeline.behind() == []
    assert timeline.remove("t") == [{"e": "removed", "thread": "t"}]


def test_removal_is_told_once() -> None:
    timeline = Timeline(uid="me", cursors={"t": 1, "g": 1})
    assert timeline.remove("t") == [{"e": "removed", "thread": "t"}]
    assert timeline.remove("t") == []
    timeline.live({"e": "member", "thread": "g", "seq": 2, "user": "me", "act": "leave"})
    assert timeline.remove("g") == []


def test_reset_goes_on_with_the_newest_page() -> None:
    timeline = Timeline(cursors={"t": 50})
    delivered = timeline.reset("t", [msg(4), msg(5)])
    assert delivered[0] == {"e": "reset", "thread": "t", "seq": 3}
    assert seqs(delivered[1:]) == [4, 5]
    assert timeline.cursors() == {"t": 5}
    assert timeline.reset("t", [])[0]["seq"] == 0


def test_what_is_held_back_is_bounded() -> None:
    timeline = Timeline()
    for seq in range(2, HELD_MAX + 100):
        timeline.live(msg(seq))
    assert len(timeline.live(msg(1))) == HELD_MAX + 1
    assert timeline.behind() == ["t"]


def test_settling_stops_the_asking() -> None:
    timeline = Timeline(cursors={"t": 1})
    timeline.heard("t", 7)
    assert timeline.behind() == ["t"]
    timeline.settle("t")
    assert timeline.behind() == []
    assert timeline.last("t") == 1


step = st.one_of(
    st.tuples(st.just("live"), st.integers(1, 30)),
    st.tuples(st.just("heard"), st.integers(1, 30)),
    st.tuples(st.just("page"), st.integers(1, 12)),
)


@given(st.lists(step, max_size=80), st.randoms(use_true_random=False))
def test_whatever_happens_events_come_once_in_order_without_a_hole(
    steps: list[tuple[str, int]], rng: random.Random
) -> None:
    """The log is 1…30. Pushes may be lost, repeated and reordered; pages are the server's."""
    timeline, delivered = Timeline(), list[int]()
    top = 0
    for what, number in steps:
        if what == "live":
            delivered += seqs(timeline.live(msg(number)))
            top = max(top, number)
        elif what == "heard":
            timeline.heard("t", number)
            top = max(top, number)
        else:
            after = timeline.last("t")
            # A page may be late: other events arrived since it was asked for.
            after = max(0, after - rng.randrange(3))
            page = [msg(seq) for seq in range(after + 1, min(30, after + number) + 1)]
            delivered += seqs(timeline.page("t", page))
        assert delivered == list(range(1, len(delivered) + 1))
        assert timeline.last("t") == len(delivered)
        assert ("t" in timeline.behind()) == (max(top, len(delivered)) > len(delivered))


def test_the_answer_to_a_send_is_its_event() -> None:
    reply = {"thread": "d:u1:u2", "seq": 3, "n": 2, "ts": 7}
    fields = {"to": "@bob", "text": "hi", "cid": "c", "reply_to": 1}
    assert own_event("send", fields, reply, "u1") == {
        "e": "msg",
        "thread": "d:u1:u2",
        "seq": 3,
        "n": 2,
        "ts": 7,
        "from": "u1",
        "text": "hi",
        "cid": "c",
        "reply_to": 1,
    }
    edit = own_event("edit", {"thread": "t", "seq": 3, "text": "ho"}, {"seq": 4, "ts": 8}, "u1")
    assert edit == {
        "e": "edit",
        "thread": "t",
        "seq": 4,
        "ts": 8,
        "from": "u1",
        "target": 3,
        "text": "ho",
    }


def test_backoff_is_full_jitter_up_to_thirty_seconds() -> None:
    rng = random.Random(1)
    ceilings = [0.5, 1, 2, 4, 8, 16, 30, 30]
    for attempt, ceiling in enumerate(ceilings):
        waits = [backoff_s(attempt, rng) for _ in range(200)]
        assert 0 <= min(waits) < ceiling / 4
        assert ceiling * 3 / 4 < max(waits) <= ceiling
    assert backoff_s(100_000, rng) <= 30


def test_close_codes_are_obeyed() -> None:
    rng = random.Random(1)
    assert all(
        reconnect_after_s(code, 0, 0, rng) is None for code in (4002, 4004, 4006, 4007, 4014)
    )
    drained = reconnect_after_s(4012, 2000, 0, rng)
    assert drained is not None
    assert 2.0 <= drained <= 3.0
    for code in (None, 1006, 1009, 4001, 4009, 4010, 4012, 4013):
        wait_s = reconnect_after_s(code, 0, 0, rng)
        assert wait_s is not None
        assert wait_s <= 0.5


def test_the_state_file_comes_back_as_it_was_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load_state(str(path)) == SavedState()
    state = SavedState(uid="u1", token="t", cursors={"a": 5}, removed=["b"])
    save_state(str(path), state)
    assert load_state(str(path)) == state
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("nonsense")
    with pytest.raises(msgspec.MsgspecError):
        load_state(str(path))
