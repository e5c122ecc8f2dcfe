"""Frames survive any cutting up; what cannot be sent is said, not lost."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import ActorDied, Crash, Custom, RemoteError, open_system
from actors.runtime import isolated_frames as frames
from tests.actors.runtime.support import Puppet


class Unreadable(Exception):
    """Can be pickled, and not read again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_frames_come_whole_and_in_order(bodies: list[bytes], piece_bytes: int) -> None:
    sent = [frames.Logged(body) for body in bodies]
    stream = b"".join(map(frames.pack, sent))
    unpacker = frames.Unpacker()
    got: list[object] = []
    for start in range(0, len(stream), piece_bytes):
        got += unpacker.feed(stream[start : start + piece_bytes])
    assert got == sent


def test_an_error_is_answered_as_it_is_or_in_words() -> None:
    died = frames.load(frames.answer(1, None, ActorDied(Crash("E", "m"), "words")).body)
    assert isinstance(died, ActorDied)
    assert (died.reason, str(died)) == (Crash("E", "m"), "words")
    told = frames.load(frames.answer(1, None, Unreadable(1, 2)).body)
    assert isinstance(told, RemoteError)
    assert str(told) == "Unreadable: 1 and 2"
    answer = frames.answer(1, lambda: None, None)
    assert answer.is_error
    assert "pickle" in str(frames.load(answer.body))


def test_of_a_reason_that_cannot_be_sent_the_words_are() -> None:
    class Local:
        def __str__(self) -> str:
            return "out of paper"

    assert frames.load(frames.ended(Custom(Local())).body) == Custom("out of paper")


async def test_what_is_of_one_process_or_too_large_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_system() as system:
        with pytest.raises(pickle.PicklingError, match="means nothing in another process"):
            frames.dump({"to": await system.start(Puppet)})
    monkeypatch.setattr(frames, "BODY_BYTES_MAX", 100)
    with pytest.raises(ValueError, match="bytes pickled; 100 are allowed"):
        frames.dump(b"x" * 101)
