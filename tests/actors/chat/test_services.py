"""What the chat actors share."""

from __future__ import annotations

import logging

import pytest

from actors.chat.answers import Code
from actors.chat.services import store_refusal
from persistence.errors import Corrupt, OutcomeUnknown, StoreError, StoreUnavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("down"), Code.UNAVAILABLE),
        (OutcomeUnknown("lost"), Code.TIMEOUT),
        (Corrupt("event 1 of d:u1:u2 does not match"), Code.INTERNAL),
    ],
)
def test_a_failure_of_a_store_is_told_to_the_client_and_damage_to_the_operator(
    error: StoreError, code: Code, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert store_refusal(error).code is code
    told = ["the store is damaged: event 1 of d:u1:u2 does not match"]
    assert caplog.messages == (told if isinstance(error, Corrupt) else [])


def test_a_bug_of_ours_is_raised_again() -> None:
    with pytest.raises(ZeroDivisionError):
        store_refusal(ZeroDivisionError())
