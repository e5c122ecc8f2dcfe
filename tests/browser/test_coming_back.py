"""Losing the network, losing the server: the page says so, comes back, and every message arrives
exactly once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import WAIT_MS, Person, Server, Wire

pytestmark = pytest.mark.browser


def test_offline_messages_wait_and_are_sent_once(person: NewPerson, wire: Wire) -> None:
    ann, bob = person("Ann Alder", url=wire.url), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("before")
    bob.open("Ann Alder")
    wire.cut()
    banner = ann.page.locator(".banner")
    expect(banner).to_be_visible(timeout=WAIT_MS)
    ann.send("while offline 1", "while offline 2")
    ann.expect_tick("while offline 2", "pending")
    expect(ann.page.locator(".chat-status")).to_have_text("waiting for the connection…")
    bob.send("from the other side")
    bob.expect_texts(["before", "from the other side"])
    wire.mend()
    expect(banner).to_be_hidden(timeout=2 * WAIT_MS)
    both = ["before", "from the other side", "while offline 1", "while offline 2"]
    for one in (ann, bob):
        one.expect_texts(both)
    ann.expect_tick("while offline 2", "read")


@pytest.mark.thorough
def test_what_waits_survives_a_reload(person: NewPerson, wire: Wire) -> None:
    ann, bob = person("Ann Alder", url=wire.url), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("before")
    bob.open("Ann Alder")
    ann.expect_tick("before", "read")
    wire.cut()
    expect(ann.page.locator(".banner")).to_be_visible(timeout=WAIT_MS)
    ann.send("written in the tunnel")
    ann.expect_tick("written in the tunnel", "pending")
    wire.mend()
    ann.page.reload()
    bob.expect_texts(["before", "written in the tunnel"])
    ann.expect_texts(["before", "written in the tunnel"])


@pytest.mark.thorough
def test_the_banner_counts_down_and_obeys(person: NewPerson, wire: Wire) -> None:
    ann = person("Ann Alder", url=wire.url, register=False)
    ann.page.add_init_script("Math.random = () => 60")  # by itself it comes back after 30 s
    ann.register()
    wire.cut()
    banner = ann.page.locator(".banner")
    expect(banner.get_by_role("status")).to_have_text("Not connected", timeout=WAIT_MS)
    expect(banner).to_contain_text(re.compile(r"Trying again in \d\d s"), timeout=WAIT_MS)
    wire.mend()
    banner.get_by_role("button", name="Try now").click()
    ann.expect_live()


def talk(one: Person, other: Person, texts: list[str], server: Server) -> None:
    """Both write in turn; the server is killed in the middle and started again."""
    half = len(texts) // 2
    for index, text in enumerate(texts):
        (one if index % 2 == 0 else other).send(text)
        if index == half:
            server.kill()
    server.start()


def test_a_killed_server_loses_and_doubles_nothing(browser: Browser, own_server: Server) -> None:
    ann = Person(browser, own_server.url, "Ann Alder", "ann").register()
    bob = Person(browser, own_server.url, "Bob Birch", "bob").register()
    ann.chat_with(bob)
    ann.send("hello")
    bob.open("Ann Alder")
    bob.expect_texts(["hello"])
    for round_ in range(2):
        talk(ann, bob, [f"round {round_} line {line}" for line in range(12)], own_server)
        for one in (ann, bob):
            expect(one.page.locator(".tick-pending")).to_have_count(0, timeout=2 * WAIT_MS)
            one.expect_live()
    expected = {f"round {round_} line {line}" for round_ in range(2) for line in range(12)}
    for one in (ann, bob):
        expect(one.page.locator(".msg")).to_have_count(len(expected) + 1, timeout=2 * WAIT_MS)
    assert ann.texts() == bob.texts(), "both see the same order"
    assert set(ann.texts()) == expected | {"hello"}
    for parity in (0, 1):
        own = [
            text for text in ann.texts() if text != "hello" and int(text.split()[-1]) % 2 == parity
        ]
        assert own == sorted(
            own, key=lambda text: [int(word) for word in text.split() if word.isdigit()]
        )
    ann.page.reload()
    expect(ann.page.locator(".msg")).to_have_count(len(expected) + 1, timeout=WAIT_MS)
    for one in (ann, bob):
        assert not one.serious_complaints()
        one.close()


def test_a_drained_server_is_waited_for(browser: Browser, own_server: Server) -> None:
    ann = Person(browser, own_server.url, "Ann Alder", "ann").register()
    own_server.stop()
    expect(ann.page.locator(".banner")).to_be_visible(timeout=WAIT_MS)
    own_server.start()
    expect(ann.page.locator(".banner")).to_be_hidden(timeout=4 * WAIT_MS)
    assert not ann.serious_complaints()
    ann.close()
