"""Keyboard alone, a phone's window, both themes, and text that would like to be markup."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPerson

pytestmark = [pytest.mark.browser, pytest.mark.thorough]

PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}

NASTY = [
    "<img src=x onerror=alert(1)>",
    "<script>document.title = 'owned'</script>",
    "\"><b onmouseover='alert(1)'>bold</b>",
    "javascript:alert(1) &amp; &lt;i&gt;",
    "{{7*7}} ${7*7} `</textarea>`",
]


def expect_focus(page: Page, words: str) -> None:
    """Wait until what says this has the focus."""
    page.wait_for_function(
        """(words) => {
          const focused = document.activeElement;
          return (focused.getAttribute('aria-label') || focused.textContent).includes(words);
        }""",
        arg=words,
    )


def test_everything_by_keyboard(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    keys = ann.page.keyboard
    keys.press("Control+k")
    expect(ann.page.get_by_label("Search chats and people")).to_be_focused()
    keys.type(bob.user)
    expect(ann.page.locator("ul[aria-label=People] .row")).to_have_count(1)
    keys.press("ArrowDown")
    keys.press("Enter")
    composer = ann.page.locator(".composer-input")
    expect(composer).to_be_focused()
    keys.type("one line")
    keys.press("Shift+Enter")
    keys.type("and another")
    keys.press("Enter")
    bob.open("Ann Alder")
    bob.expect_texts(["one line\nand another"])
    keys.press("ArrowUp")
    expect(composer).to_have_value("one line\nand another")
    keys.press("Escape")
    expect(composer).to_have_value("")
    bob.send("answer")
    ann.expect_texts(["one line\nand another", "answer"])
    keys.press("Shift+Tab")
    keys.press("Shift+Tab")
    expect_focus(ann.page, "Bob Birch, answer")
    bubble = "(document.activeElement.querySelector('.bubble') ?? document.body)"
    ann.page.wait_for_function(f"() => getComputedStyle({bubble}).outlineStyle === 'solid'")
    keys.press("Enter")
    expect(ann.page.get_by_role("menuitem", name="Reply")).to_be_focused()
    keys.press("Escape")
    expect_focus(ann.page, "Bob Birch, answer")
    keys.press("Enter")
    keys.press("Enter")
    expect(composer).to_be_focused()
    keys.type("by keyboard")
    keys.press("Enter")
    expect(bob.message("by keyboard").locator(".quote-text")).to_have_text("answer")
    keys.press("Escape")
    expect(ann.page.locator(".nothing-open")).to_be_visible()
    expect_focus(ann.page, "Bob Birch")
    keys.press("Alt+n")
    expect(ann.page.get_by_label("Search name or @user")).to_be_focused()
    keys.press("Escape")
    expect(ann.page.locator(".drawer")).to_be_hidden()


def test_every_button_has_a_name_and_every_field_a_label(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    ann.page.locator(".chat-who").click()
    ann.page.get_by_role("button", name="Profile and settings").click()
    expect(ann.page.locator(".device")).to_have_count(1)
    nameless = ann.page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select, textarea')]
          .filter((node) => node.offsetParent)
          .filter((node) => !(node.textContent.trim() || node.getAttribute('aria-label')
                              || node.labels?.length))
          .map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_a_phone_shows_one_pane_with_a_way_back(person: NewPerson) -> None:
    ann, bob = person("Ann Alder", **PHONE), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("from the phone")
    expect(ann.page.locator(".side")).to_be_hidden()
    bob.open("Ann Alder")
    ann.expect_tick("from the phone", "read")
    ann.page.locator(".chat-who").click()
    expect(ann.page.locator(".info")).to_be_visible()
    expect(ann.page.locator(".messages")).to_be_hidden()
    ann.page.get_by_role("button", name="Close info").click()
    ann.page.get_by_role("button", name="Back to chats").click()
    expect(ann.page.locator(".side")).to_be_visible()
    expect(ann.page.locator(".chat")).to_be_hidden()
    ann.row("Bob Birch").click()
    expect(ann.page.locator(".composer-input")).to_be_visible()
    ann.page.go_back()
    expect(ann.page.locator(".side")).to_be_visible()
    overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not ann.page.evaluate(overflow)


def test_both_themes_by_system_and_by_choice(person: NewPerson) -> None:
    ann = person("Ann Alder", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = ann.page.evaluate(background)
    ann.page.get_by_role("button", name="Profile and settings").click()
    ann.page.get_by_role("radio", name="Light").check()
    light = ann.page.evaluate(background)
    assert dark != light
    ann.page.reload()
    assert ann.page.evaluate(background) == light, "the choice is kept"
    ann.page.emulate_media(color_scheme="light")
    ann.page.get_by_role("button", name="Profile and settings").click()
    ann.page.get_by_role("radio", name="Dark").check()
    assert ann.page.evaluate(background) == dark


def test_markup_is_shown_as_it_was_typed(person: NewPerson) -> None:
    ann, bob = person("<b>Ann</b> Alder"), person("Bob Birch")
    bob.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    ann.chat_with(bob)
    ann.send(*NASTY)
    bob.open("<b>Ann</b> Alder")
    bob.expect_texts(text.replace("`", "") if "`" in text else text for text in NASTY)
    assert bob.page.locator(".messages img, .messages script, .messages b").count() == 0
    expect(bob.page).to_have_title("Coppice")
    bob.send("see https://example.org/a?b=<c>")
    link = ann.message("see https").locator("a")
    expect(link).to_have_attribute("href", "https://example.org/a?b=")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_the_policy_refuses_inline_code_and_the_page_needs_none(person: NewPerson) -> None:
    ann = person("Ann Alder", register=False)
    answer = ann.page.goto(ann.url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    html = answer.text()
    assert "style=" not in html
    assert "onclick" not in html
    assert "<script>" not in html
