"""The judge is judged: a good run passes, and each way of breaking a promise is seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.ledger import Ledger, Sent, check_device, check_log

THREAD = "d:a:b"


def run() -> tuple[Ledger, list[dict[str, Any]]]:
    """Three messages and an edit of the first, all acknowledged."""
    ledger = Ledger()
    log: list[dict[str, Any]] = []
    for number, target in enumerate((None, None, None, 1), start=1):
        sent = Sent("a", THREAD, f"c{number}", f"a {number}", target, 1, number)
        ledger.submit(sent)
        ledger.acknowledge(sent, number, 100 + number)
        log.append({"e": "msg", "seq": number, "n": number, "from": "a", "ts": 100 + number})
        log[-1]["text"] = sent.text
    log[3] |= {"e": "edit", "target": 1}
    del log[3]["n"]
    log[0] |= {"text": "a 4", "edited": 4}
    return ledger, log


def test_a_good_run_breaks_nothing() -> None:
    ledger, log = run()
    before = [dict(log[0], text="a 1"), *log[1:]]
    assert not check_log(ledger, THREAD, log)
    assert not check_device("d", ledger, THREAD, before, log)
    assert not ledger.broken


def lose(log: list[dict[str, Any]]) -> None:
    del log[1:]


def leave_a_hole(log: list[dict[str, Any]]) -> None:
    del log[1]


def repeat(log: list[dict[str, Any]]) -> None:
    log.append(log[1] | {"seq": 5, "n": 4, "ts": 105})


def alter(log: list[dict[str, Any]]) -> None:
    log[1]["text"] = "a 3"


def invent(log: list[dict[str, Any]]) -> None:
    log.append({"e": "msg", "seq": 5, "n": 4, "from": "a", "ts": 105, "text": "never sent"})


def turn_back_time(log: list[dict[str, Any]]) -> None:
    log[1]["ts"] = 50


def swap(log: list[dict[str, Any]]) -> None:
    log[1]["text"], log[2]["text"] = log[2]["text"], log[1]["text"]


@pytest.mark.parametrize("harm", [lose, leave_a_hole, repeat, alter, invent, turn_back_time, swap])
def test_a_broken_log_is_seen(harm: Any) -> None:
    ledger, log = run()
    harm(log)
    assert check_log(ledger, THREAD, log)


def test_a_message_never_acknowledged_may_be_missing_or_there_but_not_twice() -> None:
    ledger, log = run()
    ledger.submit(Sent("a", THREAD, "c5", "a 5"))
    assert not check_log(ledger, THREAD, log)
    log.append({"e": "msg", "seq": 5, "n": 4, "from": "a", "ts": 105, "text": "a 5"})
    assert not check_log(ledger, THREAD, log)
    log.append({"e": "msg", "seq": 6, "n": 5, "from": "a", "ts": 106, "text": "a 5"})
    assert check_log(ledger, THREAD, log)


def test_another_order_than_sent_is_seen() -> None:
    ledger, log = run()
    ledger.sent["a", "c2"].order = 3
    ledger.sent["a", "c3"].order = 2
    assert check_log(ledger, THREAD, log)
    ledger.sent["a", "c2"].tries = 2
    assert not check_log(ledger, THREAD, log)


def test_a_repeat_answered_otherwise_is_seen() -> None:
    ledger, _ = run()
    sent = ledger.sent["a", "c2"]
    ledger.acknowledge(sent, 2, 102)
    assert not ledger.broken
    ledger.acknowledge(sent, 7, 102)
    assert ledger.broken


def test_a_device_that_saw_something_else_is_seen() -> None:
    ledger, log = run()
    for seen in (
        log[1:],
        [*log, log[3]],
        [log[1], log[0], *log[2:]],
        [log[0], dict(log[1], ts=1), *log[2:]],
        [log[0], dict(log[1], text="other"), *log[2:]],
    ):
        assert check_device("d", ledger, THREAD, seen, log)
