"""The focus is never lost, Esc closes what it is in, what goes wrong is told where one looks."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.thorough]


def test_people_are_chosen_for_a_group_by_keyboard(person: NewPerson) -> None:
    ann, bob, cleo = person("Ann Alder"), person("Bob Birch"), person("Bobby Beech")
    for other in (bob, cleo):
        ann.page.keyboard.press("Alt+n")
        expect(ann.page.get_by_label("Search name or @user")).to_be_focused()
        ann.page.keyboard.type(other.user)
        ann.page.get_by_role("button", name=f"Add {other.name} to contacts").click()
        expect(ann.page.locator("ul[aria-label=Contacts]")).to_contain_text(other.name)
        ann.page.keyboard.press("Escape")
    ann.page.get_by_role("button", name="Menu", exact=True).click()
    ann.page.get_by_role("menuitem", name="New group").click()
    keys = ann.page.keyboard
    expect(ann.page.get_by_label("Group name")).to_be_focused()
    keys.type("Hikers")
    keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("Space")
    keys.press("ArrowDown")
    keys.press("Space")
    expect(ann.page.locator(".drawer .row[aria-pressed=true]")).to_have_count(2)
    keys.press("Tab")
    expect(ann.page.get_by_role("button", name="Create group")).to_be_focused()
    keys.press("Enter")
    expect(ann.page.locator(".chat-title")).to_have_text("Hikers")


def test_the_focus_stays_where_a_setting_was_changed(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    ann.expect_tick("hello", "delivered")
    ann.page.locator(".chat-who").click()
    mute = ann.page.locator(".info .action-row", has_text="Mute")
    mute.focus()
    ann.page.keyboard.press("Enter")
    expect(mute).to_contain_text("On")
    expect(mute).to_be_focused()
    bob.close()
    ann.page.get_by_role("button", name="Add to contacts").focus()
    ann.page.keyboard.press("Enter")
    name = ann.page.get_by_role("button", name="Give another name")
    expect(name).to_be_focused()
    ann.page.keyboard.press("Enter")
    expect(ann.page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    ann.page.keyboard.type("Robert")
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator(".portrait-name")).to_have_text("Robert")
    expect(ann.page.get_by_role("dialog")).to_have_count(0)
    expect(ann.page.locator(".info").locator(":focus")).to_have_count(1)


def test_esc_closes_what_the_focus_is_in(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    ann.expect_tick("hello", "delivered")
    ann.menu("hello", "Reply")
    ann.page.locator(".chat-who").click()
    ann.page.keyboard.press("Alt+n")
    expect(ann.page.get_by_label("Search name or @user")).to_be_focused()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator(".drawer")).to_be_hidden()
    expect(ann.page.locator(".info")).to_be_visible()
    ann.find("bo")
    ann.page.keyboard.press("Escape")
    expect(ann.page.get_by_label("Search chats and people")).to_have_value("")
    expect(ann.page.locator(".about")).to_be_visible()
    ann.page.get_by_role("button", name="Close info").focus()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator(".info")).to_be_hidden()
    expect(ann.page.locator(".about")).to_be_visible()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator(".about")).to_be_hidden()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator(".nothing-open")).to_be_visible()


def test_a_dialog_says_what_went_wrong_and_stays(person: NewPerson) -> None:
    ann = person("Ann Alder")
    ann.page.get_by_role("button", name="Profile and settings").click()
    expect(ann.page.locator(".device")).to_have_count(1)
    expect(ann.page.get_by_role("button", name="Log out all other devices")).to_be_hidden()
    ann.page.get_by_role("button", name="Change password").click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_label("Current password").fill("not my password")
    dialog.get_by_label("New password").fill("another good one")
    dialog.get_by_role("button", name="Change").click()
    expect(dialog.get_by_role("alert")).to_have_text("The current password is wrong.")
    dialog.get_by_label("Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Change").click()
    expect(dialog).to_have_count(0)
    expect(ann.toast()).to_contain_text("was changed")


def test_a_refused_message_says_why_in_words(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    bob.open("Ann Alder")
    bob.page.get_by_role("button", name="Chat menu").click()
    bob.page.get_by_role("menuitem", name="Block").click()
    bob.page.get_by_role("dialog").get_by_role("button", name="Block").click()
    expect(bob.page.locator(".notice")).to_be_visible()
    ann.send("still there?")
    note = ann.page.locator(".failed-note")
    expect(note).to_have_text("Not sent: There is a block between you.")


def test_a_menu_closes_by_the_button_that_opened_it(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello")
    button = ann.page.get_by_role("button", name="Chat menu")
    button.click()
    expect(ann.page.get_by_role("menu")).to_be_visible()
    button.click()
    expect(ann.page.get_by_role("menu")).to_have_count(0)
    button.click()
    expect(ann.page.get_by_role("menu")).to_be_visible()
    ann.page.keyboard.press("Escape")
    ann.page.get_by_role("button", name="Emoji").click()
    ann.page.get_by_role("button", name="😂").click()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator(".composer-input")).to_be_focused()
    ann.page.keyboard.type("!")
    expect(ann.page.locator(".composer-input")).to_have_value("😂!")
    ann.page.keyboard.press("Enter")
    ann.expect_tick("😂!", "delivered")
    ann.row("Bob Birch").hover()
    ann.page.get_by_role("button", name="More for Bob Birch").click()
    ann.page.get_by_role("menuitem", name="Pin").click()
    expect(ann.row("Bob Birch").get_by_role("img", name="Pinned")).to_be_visible()


def test_an_address_that_is_none_opens_the_list(person: NewPerson) -> None:
    ann = person("Ann Alder")
    ann.page.goto(f"{ann.url}#/%E0%A4%A")
    ann.page.reload()
    ann.expect_live()
    expect(ann.page.locator(".nothing-open")).to_be_visible()
