"""What a slow reader loses, and what it is told (PROTOCOL.md §5)."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import Outbox

FRAMES_MAX, BYTES_MAX = 8, 1000


def outbox() -> Outbox:
    return Outbox(FRAMES_MAX, BYTES_MAX)


def drain(box: Outbox) -> list[bytes]:
    frames: list[bytes] = []
    while box:
        frames += box.take(200)
    return frames


def gap_of(frame: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(frame)
    return fields


def test_frames_leave_in_the_order_they_came() -> None:
    box = outbox()
    box.durable("t", 1, b"one")
    box.reply(b"ok")
    box.durable("t", 2, b"two")
    assert drain(box) == [b"one", b"ok", b"two"]


def test_a_state_event_replaces_the_older_one_in_its_place() -> None:
    box = outbox()
    box.state(("cursor", "t"), b"old")
    box.reply(b"ok")
    box.state(("cursor", "t"), b"new")
    assert drain(box) == [b"new", b"ok"]


def test_lossy_events_are_dropped_from_half_full() -> None:
    box = outbox()
    for seq in range(1, FRAMES_MAX // 2 + 1):
        assert box.durable("t", seq, b"x")
    assert not box.lossy(b"typing")
    assert box.statistics().dropped == 1


def test_a_full_queue_discards_durable_events_and_tells_one_gap_a_thread() -> None:
    box = outbox()
    for seq in range(1, FRAMES_MAX + 1):
        box.durable("a" if seq % 2 else "b", seq, b"x")
    box.reply(b"ok")
    assert not box.durable("a", 9, b"x")
    assert not box.durable("a", 11, b"x")
    frames = drain(box)
    assert frames[0] == b"ok"
    assert [gap_of(frame) for frame in frames[1:]] == [
        {"op": "ev", "e": "gap", "thread": "a", "have": 0, "head": 11},
        {"op": "ev", "e": "gap", "thread": "b", "have": 1, "head": 8},
    ]
    assert box.durable("a", 12, b"x")


def test_the_bytes_are_bounded_too() -> None:
    box = outbox()
    assert box.durable("t", 1, b"x" * BYTES_MAX)
    assert not box.durable("t", 2, b"x")


def test_replies_are_counted_and_never_dropped() -> None:
    box = outbox()
    for number in range(100):
        box.reply(b"%d" % number)
    assert box.replies == 100
    assert len(drain(box)) == 100
    assert box.replies == 0


STEPS = st.lists(st.sampled_from(["durable", "lossy", "state", "reply", "take"]), max_size=200)


@given(STEPS)
def test_every_durable_event_is_written_or_inside_a_gap(steps: list[str]) -> None:
    """Whatever the interleaving: what a client did not get, it was told to fetch; in seq order."""
    box = outbox()
    seq = 0
    out: list[bytes] = []
    for step in steps:
        if step == "durable":
            seq += 1
            box.durable("t", seq, b"d%d" % seq)
        elif step == "lossy":
            box.lossy(b"l")
        elif step == "state":
            box.state(("head", "t"), b"s")
        elif step == "reply":
            box.reply(b"r")
        else:
            out += box.take(30)
        statistics = box.statistics()
        assert statistics.frames - statistics.replies <= FRAMES_MAX + 1
    out += drain(box)
    told: list[int] = []
    for frame in out:
        if frame.startswith(b"d"):
            told.append(int(frame[1:]))
        elif frame.startswith(b"{"):
            fields = gap_of(frame)
            told += range(fields["have"] + 1, fields["head"] + 1)
    assert told == sorted(told)
    assert set(told) == set(range(1, seq + 1))
    assert out.count(b"r") == steps.count("reply")
    assert box.statistics().bytes == 0
