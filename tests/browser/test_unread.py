"""What is unread: the line before it, the badge that shrinks as one reads, the way to its start."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.browser.conftest import NewPerson
from tests.browser.harness import PASSWORD, Person

pytestmark = [pytest.mark.browser, pytest.mark.thorough]


def write_to(reader: Person, count: int) -> None:
    """Somebody writes so many messages, as fast as the wire takes them."""
    address = reader.url.replace("http", "ws") + "ws"
    user = f"{reader.user}.pal"
    with connect(address, subprotocols=["chat.v1.json"]) as wire:  # type: ignore[list-item]
        hello = {"op": "register", "id": 0, "user": user, "pass": PASSWORD, "name": "Old Pal"}
        wire.send(json.dumps(hello))
        for number in range(1, count + 1):
            text = f"message {number}."
            request = {"op": "send", "id": number, "to": f"@{reader.user}", "text": text}
            wire.send(json.dumps(request))
        answer: dict[str, Any] = {}
        while answer.get("id") != count:
            answer = json.loads(wire.recv(timeout=15))
        assert answer["op"] == "ok", answer


def unread(reader: Person) -> int:
    badge = reader.row("Old Pal").locator(".badge")
    return int(badge.inner_text()) if badge.count() else 0


def test_a_chat_closed_and_opened_again_shows_what_is_new(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    bob.open("Ann Alder")
    bob.send("one")
    ann.expect_texts(["hello", "one"])
    ann.page.locator(".composer-input").press("Escape")
    bob.send("two")
    expect(ann.row("Bob Birch").locator(".badge")).to_have_text("1")
    ann.open("Bob Birch")
    line = ann.page.locator(".unread-line")
    expect(line).to_have_count(1)
    expect(ann.page.locator(".unread-line + * .text")).to_have_text("two")
    expect(ann.row("Bob Birch").locator(".badge")).to_have_count(0)


def test_the_badge_shrinks_as_far_as_one_reads(person: NewPerson) -> None:
    ann = person("Ann Alder")
    write_to(ann, 60)
    expect(ann.row("Old Pal").locator(".badge")).to_have_text("60")
    ann.open("Old Pal")
    expect(ann.page.locator(".unread-line")).to_be_in_viewport()
    expect(ann.row("Old Pal").locator(".badge")).not_to_have_text("60")
    assert 30 < unread(ann) < 60
    before = unread(ann)
    ann.page.locator(".messages-scroll").evaluate("(e) => { e.scrollTop += 600; }")
    expect(ann.row("Old Pal").locator(".badge")).not_to_have_text(str(before))
    ann.page.get_by_role("button", name="To the newest message").click()
    expect(ann.row("Old Pal").locator(".badge")).to_have_count(0)


def test_a_chat_opens_where_much_unread_begins(person: NewPerson) -> None:
    ann = person("Ann Alder")
    write_to(ann, 180)
    expect(ann.row("Old Pal").locator(".badge")).to_have_text("99+")
    ann.page.reload()
    ann.open("Old Pal")
    expect(ann.page.locator(".unread-line")).to_be_in_viewport()
    expect(ann.page.locator(".msg .text").first).to_have_text("message 1.")
    expect(ann.row("Old Pal").locator(".badge")).to_have_text("99+")
