"""Where one writes: the text box keeps its height and its draft, and never moves what one reads."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import Person

pytestmark = [pytest.mark.browser, pytest.mark.thorough]

ONE_LINE_PX = 40
LONG = "\n".join(f"line {number}" for number in range(12))


def expect_bottom(one: Person) -> None:
    """Wait until the conversation is at its newest message."""
    one.page.wait_for_function(
        """() => {
          const list = document.querySelector('.messages-scroll');
          return list.scrollHeight - list.scrollTop - list.clientHeight <= 1;
        }"""
    )


def test_the_text_box_is_whole_after_a_chat_without_one(person: NewPerson) -> None:
    ann, bob, cleo = person("Ann Alder"), person("Bob Birch"), person("Cleo Cedar")
    ann.chat_with(cleo)
    ann.send("hello")
    ann.chat_with(bob)
    ann.send("hello")
    ann.page.get_by_role("button", name="Chat menu").click()
    ann.page.get_by_role("menuitem", name="Block").click()
    ann.page.get_by_role("dialog").get_by_role("button", name="Block").click()
    ann.open("Cleo Cedar")
    ann.open("Bob Birch")
    composer = ann.page.locator(".composer-input")
    expect(composer).to_be_hidden()
    ann.open("Cleo Cedar")
    box = composer.bounding_box()
    assert box is not None
    assert box["height"] >= ONE_LINE_PX
    ann.open("Bob Birch")
    ann.page.get_by_role("button", name="Unblock").click()
    expect(composer).to_be_visible()
    box = composer.bounding_box()
    assert box is not None
    assert box["height"] >= ONE_LINE_PX


def test_the_newest_message_stays_in_view_while_one_writes_many_lines(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send(*(f"message {number}" for number in range(30)))
    composer = ann.page.locator(".composer-input")
    composer.fill(LONG)
    composer.press_sequentially("more")
    expect(ann.page.locator(".down")).to_be_hidden()
    expect_bottom(ann)
    assert not composer.evaluate("(e) => e.clientHeight > 168")
    composer.fill("")
    expect(ann.page.locator(".down")).to_be_hidden()
    expect_bottom(ann)


def test_a_draft_outlives_an_edit_a_change_of_chat_and_a_reload(person: NewPerson) -> None:
    ann, bob, cleo = person("Ann Alder"), person("Bob Birch"), person("Cleo Cedar")
    ann.chat_with(cleo)
    ann.send("hello")
    ann.chat_with(bob)
    ann.send("hallo")
    ann.expect_tick("hallo", "delivered")
    composer = ann.page.locator(".composer-input")
    ann.menu("hallo", "Reply")
    composer.fill("not done yet")
    ann.menu("hallo", "Edit")
    expect(composer).to_have_value("hallo")
    ann.send("hello")
    expect(composer).to_have_value("not done yet")
    expect(ann.page.locator(".about .quote-text")).to_have_text("hallo")
    ann.menu("hello", "Edit")
    composer.press("Escape")
    expect(composer).to_have_value("not done yet")
    ann.open("Cleo Cedar")
    expect(ann.row("Bob Birch").locator(".row-draft")).to_be_visible()
    ann.page.reload()
    ann.expect_live()
    expect(ann.row("Bob Birch")).to_contain_text("not done yet")
    ann.open("Bob Birch")
    expect(composer).to_have_value("not done yet")
    composer.fill("almost done")
    ann.page.reload()
    expect(composer).to_have_value("almost done")
    composer.press("Enter")
    bob.open("Ann Alder")
    expect(bob.message("almost done").locator(".quote-text")).to_have_text("hello")
    composer.fill("for nobody else")
    ann.page.get_by_role("button", name="Menu", exact=True).click()
    ann.page.get_by_role("menuitem", name="Log out").click()
    expect(ann.page.get_by_label("User name")).to_be_visible()
    assert "for nobody else" not in ann.page.evaluate("JSON.stringify(localStorage)")
