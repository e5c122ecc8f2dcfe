"""What the terminal client prints."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat_view import (
    chat_list,
    clean,
    clock,
    one_line,
    people_of,
    presence_line,
    sentence,
    ticks,
)


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_clean_text_holds_nothing_that_acts(text: str) -> None:
    for character in clean(text):
        assert character in "\n\u200c\u200d" or unicodedata.category(character)[0] != "C"
    assert "\n" not in one_line(text)


def test_clean_keeps_what_people_write() -> None:
    assert (
        clean("naïve 你好 👩\u200d👩\u200d👧 می\u200cخواهم")
        == "naïve 你好 👩\u200d👩\u200d👧 می\u200cخواهم"
    )
    assert clean("a\r\nb\tc") == "a\n        b c"
    assert one_line("a" * 50, 10) == "a" * 9 + "…"


def name_of(uid: str) -> str:
    return {"u1": "you", "u2": "Bob"}.get(uid, uid)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"e": "msg", "from": "u2", "text": "hi"}, "Bob: hi"),
        ({"e": "msg", "from": "u2", "text": "hi", "reply_to": 3}, "Bob: (to #3) hi"),
        ({"e": "msg", "from": "u2", "text": "hi", "edited": 9}, "Bob: hi (edited)"),
        ({"e": "msg", "from": "u2", "deleted": True}, "Bob: (deleted)"),
        ({"e": "edit", "from": "u2", "target": 1, "text": "ho"}, "Bob edited #1: ho"),
        ({"e": "edit", "from": "u2", "target": 1}, "Bob edited #1: (deleted)"),
        ({"e": "del", "from": "u1", "target": 1}, "you deleted #1"),
        (
            {"e": "react", "from": "u2", "target": 1, "emoji": "x", "on": True},
            "Bob reacted x to #1",
        ),
        ({"e": "member", "user": "u2", "by": "u1", "act": "add"}, "— you added Bob"),
        ({"e": "member", "user": "u2", "by": "u1", "act": "remove"}, "— you removed Bob"),
        ({"e": "member", "user": "u2", "by": "u2", "act": "leave"}, "— Bob left"),
        ({"e": "member", "user": "u2", "act": "join"}, "— Bob joined"),
        (
            {"e": "member", "user": "u2", "by": "u1", "act": "role", "role": "admin"},
            "— Bob is now admin",
        ),
        ({"e": "thread", "by": "u1", "name": "Trip", "seq": 1}, "— you created the group Trip"),
        ({"e": "thread", "by": "u1", "name": "Trip"}, "— you renamed the group to Trip"),
        ({"e": "thread", "by": "u1", "about": "x"}, "— you changed the group"),
        ({"e": "thread", "by": "u1", "deleted": True}, "— you deleted the group"),
    ],
)
def test_every_event_has_its_wording(event: dict[str, Any], expected: str) -> None:
    whole = {"seq": 7, "ts": 3_600_000, **event}
    assert sentence(whole, name_of, UTC) == f"01:00 #{whole['seq']} {expected}"
    assert people_of([whole]) <= {"u1", "u2"}


def test_events_of_tomorrow_are_passed_over() -> None:
    assert sentence({"e": "poll", "seq": 1, "ts": 0}, name_of) is None


def test_ticks_count_the_others() -> None:
    assert ticks(5, {}, {}) == "✓"
    assert ticks(5, {"a": 4, "b": 5}, {}) == "✓✓ delivered"
    assert ticks(5, {"a": 6, "b": 5}, {"a": 4}) == "✓✓ delivered to 2"
    assert ticks(5, {"a": 6}, {"a": 6}) == "✓✓ read"
    assert ticks(5, {}, {"a": 6, "b": 5}) == "✓✓ read by 2"


def test_the_list_shows_number_unread_and_newest() -> None:
    threads = [
        {"thread": "t", "unread": 2, "last": {"text": "hi\nthere"}},
        {"thread": "z", "unread": 0},
    ]
    assert chat_list(threads, str.upper) == ["  1 T (2 new) — hi there", "  2 Z"]
    assert len(chat_list([], str)) == 1


def test_presence_wordings() -> None:
    assert presence_line("Bob", None) == "Bob: unknown"
    assert presence_line("Bob", {"on": True}) == "Bob: online"
    assert presence_line("Bob", {"on": False}) == "Bob: offline"
    seen = presence_line("Bob", {"on": False, "last": 60_000}, UTC)
    assert seen == f"Bob: offline, last seen {clock(60_000, UTC)}"
