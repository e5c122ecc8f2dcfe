"""Exit reasons are data: comparable, printable whatever they hold, and hold nothing alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    Crash,
    Custom,
    ExitReason,
    Shutdown,
    describe,
    is_abnormal,
)
from actors.runtime.exits import FRAMES_MAX, crash

values = st.one_of(st.none(), st.text(), st.integers(), st.tuples(st.text(), st.integers()))
reasons = st.one_of(
    st.sampled_from([NORMAL, SHUTDOWN, KILLED, NOPROC]),
    st.builds(Shutdown, values),
    st.builds(Custom, values),
    st.builds(Crash, st.text(min_size=1), st.text(), st.text()),
)


class Hostile(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@given(reasons)
def test_only_normal_and_shutdown_are_as_intended(reason: ExitReason) -> None:
    assert is_abnormal(reason) == (type(reason).__name__ not in {"Normal", "Shutdown"})


@given(reasons)
def test_every_reason_has_words_and_can_be_a_key(reason: ExitReason) -> None:
    assert isinstance(describe(reason), str)
    assert {reason: 1}[reason] == 1


@given(st.text(min_size=1), st.text(), st.text(), st.text())
def test_crashes_compare_without_their_traceback(a: str, b: str, c: str, d: str) -> None:
    assert Crash(a, b, c) == Crash(a, b, d)


@pytest.mark.parametrize("reason", [Shutdown(Hostile()), Custom(Hostile()), crash(Hostile())])
def test_what_cannot_be_printed_is_described_all_the_same(reason: ExitReason) -> None:
    assert "Hostile" in describe(reason)


def test_a_crash_keeps_words_of_the_exception_and_not_the_exception() -> None:
    class Odd(ValueError):
        """A class of ours can be referred to weakly."""

    def fail() -> None:
        raise Odd("a word")

    kept: list[weakref.ref[BaseException]] = []
    try:
        fail()
    except ValueError as error:
        reason = crash(error)
        kept.append(weakref.ref(error))
    gc.collect()
    assert (reason.error, reason.message) == (Odd.__qualname__, "a word")
    assert "in fail" in reason.traceback
    assert kept[0]() is None


def throw(error: BaseException) -> None:
    raise error


def deep(levels: int) -> None:
    if levels == 0:
        raise LookupError("a word")
    deep(levels - 1)


def chained() -> None:
    try:
        throw(ValueError("the cause"))
    except ValueError as error:
        raise LookupError("a word") from error


def noted() -> None:
    error = LookupError("a word")
    error.add_note("a note")
    raise error


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: throw(LookupError("a word")), ["Traceback", "in throw", "raise error"]),
        (lambda: deep(FRAMES_MAX * 2), ["Previous line repeated"]),
        (chained, ["the cause", "direct cause"]),
        (noted, ["a note"]),
        (lambda: throw(ExceptionGroup("two", [LookupError("a word")])), ["ExceptionGroup"]),
    ],
)
def test_a_traceback_says_what_pythons_says(act: Callable[[], None], words: list[str]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (each raises something else)
        act()
    text = crash(caught.value).traceback
    assert text.endswith("\n")
    for word in [*words, "LookupError: a word"]:
        assert word in text
