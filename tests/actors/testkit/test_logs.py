"""Logs are expected, or the test fails."""

from __future__ import annotations

import logging

import pytest

from actors.testkit import capture_logs

ACTORS, OTHERS = logging.getLogger("actors"), logging.getLogger("others")


def test_what_was_expected_is_no_failure() -> None:
    with capture_logs() as logs:
        ACTORS.error("worker#%d crashed", 1)
        ACTORS.error("worker#%d crashed", 2)
        assert logs.messages == ["worker#1 crashed", "worker#2 crashed"]
        first, second = logs.expect("crashed", times=2)
        assert (first.args, second.args) == ((1,), (2,))
        logs.expect_nothing()


def test_what_nobody_expected_fails_the_test() -> None:
    with (
        pytest.raises(AssertionError, match="not expected:\n  ERROR actors: worker crashed"),
        capture_logs(),
    ):
        ACTORS.error("worker crashed")


def test_what_is_allowed_may_come_or_not() -> None:
    with capture_logs() as logs:
        logs.allow("crashed")
        ACTORS.error("worker crashed")
        logs.expect_nothing()
        assert logs.messages == ["worker crashed"]
        ACTORS.error("a callback failed")
        with pytest.raises(AssertionError, match=r"expected:\n  ERROR actors: a callback failed$"):
            logs.expect_nothing()
        logs.expect("callback")


def test_another_number_than_expected_is_a_failure() -> None:
    with capture_logs() as logs:
        with pytest.raises(AssertionError, match="0 records with 'crashed', 1 expected, of nothin"):
            logs.expect("crashed")
        ACTORS.error("worker crashed")
        ACTORS.error("worker crashed")
        with pytest.raises(AssertionError, match="2 records with 'crashed', 1 expected"):
            logs.expect("crashed")
        logs.expect("crashed", times=2)


def test_a_failure_of_the_test_itself_is_not_hidden() -> None:
    def story() -> None:
        with capture_logs():
            ACTORS.error("worker crashed")
            raise LookupError

    with pytest.raises(LookupError):
        story()


def test_only_the_loggers_and_levels_that_were_asked_for() -> None:
    with capture_logs() as logs:
        ACTORS.warning("a callback was slow")
        OTHERS.error("somebody else's affair")
        assert not logs.records
    with capture_logs("others", level=logging.DEBUG) as logs:
        OTHERS.debug("a detail")
        logs.expect("a detail")


def test_loggers_are_left_as_they_were() -> None:
    logger = logging.getLogger("left.as.it.was")
    with capture_logs(logger.name, level=logging.DEBUG):
        assert logger.isEnabledFor(logging.DEBUG)
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])
