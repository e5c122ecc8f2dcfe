"""A long history: it opens at its end, grows as one scrolls up, and never jumps."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.browser.conftest import NewPerson
from tests.browser.harness import PASSWORD, WAIT_MS, Person

pytestmark = pytest.mark.browser

MESSAGES = 620
PAGES = 4
DRAWN_MAX = 10
"""Nodes drawn for one message more: its bubble, perhaps a day, and what is unread."""


def ask(wire: ClientConnection, request: dict[str, Any]) -> dict[str, Any]:
    wire.send(json.dumps(request))
    while True:
        answer: dict[str, Any] = json.loads(wire.recv(timeout=15))
        if answer.get("id") == request["id"]:
            return answer


@pytest.fixture
def reader(person: NewPerson) -> Person:
    """Ann, to whom somebody has written many messages and some happenings between."""
    ann = person("Ann Alder")
    address = ann.url.replace("http", "ws") + "ws"
    numbers = itertools.count(2)
    with connect(address, subprotocols=["chat.v1.json"]) as wire:  # type: ignore[list-item]
        wire.recv()
        hello = {"op": "register", "id": 1, "user": f"{ann.user}.friend", "pass": PASSWORD}
        assert ask(wire, hello | {"name": "Old Friend"})["op"] == "ok"
        for number in range(1, MESSAGES + 1):
            text = f"message {number}" + ", which is longer" * (number % 7)
            request = {"op": "send", "id": next(numbers), "to": f"@{ann.user}", "text": text}
            if number % 10 and number > 1:
                wire.send(json.dumps(request))
                continue
            sent = ask(wire, request)
            assert sent["op"] == "ok", sent
            if number % 50 == 0:
                target = {"thread": sent["thread"], "seq": sent["seq"]}
                ask(wire, {"op": "edit", "id": next(numbers), "text": f"{text}!"} | target)
    return ann


def visible_text(page: Page) -> str:
    """The message in the middle of the view."""
    found: str = page.evaluate(
        """() => {
          const view = document.querySelector('.messages-scroll').getBoundingClientRect();
          const middle = view.top + view.height / 2;
          const at = [...document.querySelectorAll('.msg')].find((node) => {
            const box = node.getBoundingClientRect();
            return box.top <= middle && box.bottom + 10 >= middle;
          });
          return at ? at.querySelector('.text').textContent : '';
        }"""
    )
    return found


def scroll_to_start(page: Page) -> None:
    """Up and up, as with a wheel, until the first message is there."""
    page.locator(".messages-scroll").hover()
    first = page.locator(".msg .text").filter(has_text="message 1,").first
    for _ in range(400):
        if first.is_visible() and page.locator(".older").is_hidden():
            return
        page.mouse.wheel(0, -900)
        page.evaluate("() => new Promise(requestAnimationFrame)")
    pytest.fail("the start of the history was not reached")


def test_six_hundred_messages_scroll_to_their_start(reader: Person) -> None:
    page = reader.page
    reader.open("Old Friend")
    expect(reader.message(f"message {MESSAGES}").first).to_be_in_viewport(timeout=WAIT_MS)
    scroll_to_start(page)
    numbers = [int(text.split()[1].rstrip(",!")) for text in reader.texts()]
    assert numbers == list(range(1, MESSAGES + 1))
    expect(reader.message("message 600").locator(".meta")).to_contain_text("edited")
    page.get_by_role("button", name="To the newest message").click()
    expect(reader.message(f"message {MESSAGES}").first).to_be_in_viewport()


@pytest.mark.thorough
def test_what_one_reads_stays_in_place_while_pages_arrive(reader: Person) -> None:
    page = reader.page
    reader.open("Old Friend")
    expect(reader.message(f"message {MESSAGES}").first).to_be_in_viewport(timeout=WAIT_MS)
    page.locator(".messages-scroll").hover()
    page.mouse.wheel(0, -2500)
    expect(page.locator(".down")).to_be_visible()
    for _ in range(PAGES):
        shown = page.locator(".msg").count()
        page.evaluate("document.querySelector('.messages-scroll').scrollTop = 700")
        before = visible_text(page)
        page.wait_for_function("(n) => document.querySelectorAll('.msg').length > n", arg=shown)
        assert visible_text(page) == before
    position = page.evaluate("document.querySelector('.messages-scroll').scrollTop")
    assert position > 700


@pytest.mark.thorough
def test_a_message_more_draws_one_message_however_long_the_list(reader: Person) -> None:
    """Work is counted, not timed: what is drawn again for one more among six hundred."""
    page = reader.page
    reader.open("Old Friend")
    expect(reader.message(f"message {MESSAGES}").first).to_be_in_viewport(timeout=WAIT_MS)
    scroll_to_start(page)
    page.get_by_role("button", name="To the newest message").click()
    page.evaluate(
        """() => {
          window.drawn = 0;
          const count = (changes) => {
            for (const { addedNodes } of changes) window.drawn += addedNodes.length;
          };
          new MutationObserver(count).observe(
            document.querySelector('.messages-scroll'), { childList: true, subtree: true });
        }"""
    )
    reader.send("one more")
    reader.expect_tick("one more", "sent")
    drawn: int = page.evaluate("window.drawn")
    assert 0 < drawn <= DRAWN_MAX


@pytest.mark.thorough
def test_a_quote_far_away_is_fetched_and_shown(reader: Person) -> None:
    page = reader.page
    reader.open("Old Friend")
    expect(reader.message(f"message {MESSAGES}").first).to_be_in_viewport(timeout=WAIT_MS)
    scroll_to_start(page)
    reader.menu("message 4, which", "Reply")
    reader.send("about that one")
    page.reload()
    quote = reader.message("about that one").locator(".quote")
    expect(quote.locator(".quote-text")).to_contain_text("message 4, which", timeout=WAIT_MS)
    quote.click()
    expect(reader.message("message 4, which").first).to_be_in_viewport(timeout=WAIT_MS)
