"""Two people find each other, talk, and use what a message can do; a second device follows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import WAIT_MS, Person

pytestmark = pytest.mark.browser

RELOADS_MAX = 10


@pytest.fixture
def pair(person: NewPerson) -> tuple[Person, Person]:
    """Ann and Bob, each with the other's chat open and one message read."""
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("first")
    bob.open("Ann Alder")
    ann.expect_tick("first", "read")
    return ann, bob


def test_ticks_go_from_sent_over_delivered_to_read(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("hello Bob")
    ann.expect_tick("hello Bob", "delivered")
    row = bob.row("Ann Alder")
    expect(row.locator(".badge")).to_have_text("1")
    expect(row.locator(".row-text")).to_have_text("hello Bob")
    expect(bob.page).to_have_title("(1) Coppice")
    bob.open("Ann Alder")
    ann.expect_tick("hello Bob", "read")
    expect(row.locator(".badge")).to_have_count(0)
    bob.send("hello Ann")
    ann.expect_texts(["hello Bob", "hello Ann"])
    expect(ann.page.locator(".day")).to_have_text("Today")


def test_people_add_each_other_to_their_contacts(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    for one, other in ((ann, bob), (bob, ann)):
        one.page.get_by_role("button", name="New chat").first.click()
        one.page.get_by_label("Search name or @user").fill(f"@{other.user}")
        one.page.get_by_role("button", name=f"Add {other.name} to contacts").click()
        one.page.get_by_label("Search name or @user").fill("")
        expect(one.page.locator("ul[aria-label=Contacts] .row")).to_have_count(1)
        expect(one.page.locator("ul[aria-label=Contacts] .row-title")).to_have_text(other.name)


def test_online_is_seen_and_so_is_its_end(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    status = ann.page.locator(".chat-status")
    expect(status).to_have_text("online", timeout=WAIT_MS)
    bob.page.goto("about:blank")
    expect(status).to_have_text(re.compile("last seen today"), timeout=2 * WAIT_MS)


@pytest.mark.thorough
def test_typing_is_shown_and_ends(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    bob.page.locator(".composer-input").press_sequentially("thinking")
    expect(ann.page.locator(".chat-status")).to_have_text("typing…")
    expect(ann.row("Bob Birch").locator(".row-typing")).to_have_text("typing…")
    bob.page.locator(".composer-input").fill("")
    expect(ann.page.locator(".chat-status")).not_to_have_text("typing…")


def test_edit_react_reply(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    ann.menu("first", "Edit")
    ann.send("second thought")
    expect(bob.message("second thought").locator(".meta")).to_contain_text("edited")
    bob.message("second thought").locator(".bubble").hover()
    bob.message("second thought").locator(".more").click()
    bob.page.get_by_role("button", name="👍").click()
    react = ann.message("second thought").locator(".react")
    expect(react).to_have_attribute("title", "Bob Birch")
    react.click()
    expect(bob.message("second thought").locator(".react")).to_contain_text("2")
    bob.menu("second thought", "Reply")
    bob.send("agreed")
    quote = ann.message("agreed").locator(".quote")
    expect(quote.locator(".quote-name")).to_have_text("You")
    expect(quote.locator(".quote-text")).to_have_text("second thought")


@pytest.mark.thorough
def test_delete_for_everyone_and_for_me(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    ann.send("oops", "stays with Bob")
    bob.expect_texts(["first", "oops", "stays with Bob"])
    ann.menu("oops", "Delete for everyone")
    ann.page.get_by_role("button", name="Delete", exact=True).click()
    bob.expect_texts(["first", "This message was deleted", "stays with Bob"])
    ann.menu("stays with Bob", "Delete for me")
    ann.expect_texts(["first", "This message was deleted"])
    ann.page.reload()
    ann.expect_texts(["first", "This message was deleted"])
    bob.expect_texts(["first", "This message was deleted", "stays with Bob"])


@pytest.mark.thorough
def test_a_reload_finds_everything_again(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    bob.send("answer")
    ann.expect_texts(["first", "answer"])
    bob.expect_tick("answer", "read")
    for one, own in ((ann, "first"), (bob, "answer")):
        # The server may remember a receipt a moment later than it shows it to who is there.
        for _ in range(RELOADS_MAX):
            one.page.reload()
            one.expect_texts(["first", "answer"])
            if one.message(own).locator(".tick-read").is_visible():
                break
        one.expect_tick(own, "read")


@pytest.mark.thorough
def test_a_block_stops_messages_until_it_is_lifted(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    ann.page.get_by_role("button", name="Chat menu").click()
    ann.page.get_by_role("menuitem", name="Block").click()
    ann.page.get_by_role("button", name="Block", exact=True).click()
    expect(ann.page.locator(".notice")).to_contain_text("You have blocked Bob Birch")
    bob.send("are you there?")
    bob.expect_tick("are you there?", "failed")
    ann.page.get_by_role("button", name="Unblock").click()
    bob.page.locator(".failed-note").click()
    bob.page.get_by_role("menuitem", name="Try again").click()
    ann.expect_texts(["first", "are you there?"])
    bob.expect_texts(["first", "are you there?"])


def test_a_second_device_follows_and_can_be_logged_out(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    tablet = ann.second_device()
    tablet.open("Bob Birch")
    tablet.send("from the tablet")
    ann.expect_texts(["first", "from the tablet"])
    ann.send("from the desk")
    tablet.expect_texts(["first", "from the tablet", "from the desk"])
    bob.expect_texts(["first", "from the tablet", "from the desk"])
    ann.page.get_by_role("button", name="Profile and settings").click()
    expect(ann.page.locator(".device")).to_have_count(2)
    ann.page.locator(".device .icon-button").click()
    ann.page.get_by_role("button", name="Log out", exact=True).last.click()
    expect(tablet.page.locator(".form-error")).to_have_text("This device was logged out.")
    expect(ann.page.locator(".device")).to_have_count(1)
    assert tablet.page.evaluate("localStorage.getItem('coppice.login')") is None
    assert not tablet.serious_complaints()
    tablet.close()


@pytest.mark.thorough
def test_the_same_login_in_two_tabs_rests_in_the_older(pair: tuple[Person, Person]) -> None:
    ann, _ = pair
    other = ann.context.new_page()
    other.goto(ann.url)
    expect(other.locator(".shell")).to_be_visible()
    expect(ann.page.get_by_role("heading", name="Coppice is open elsewhere")).to_be_visible()
    ann.page.get_by_role("button", name="Use here").click()
    ann.expect_live()
    expect(other.get_by_role("heading", name="Coppice is open elsewhere")).to_be_visible()


@pytest.mark.thorough
def test_profile_and_privacy_are_kept(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    ann.page.get_by_role("button", name="Profile and settings").click()
    ann.page.get_by_role("button", name="Edit about").click()
    ann.page.get_by_role("textbox", name="About you").fill("Among trees")
    ann.page.get_by_role("button", name="Save").click()
    expect(ann.page.locator(".profile")).to_contain_text("Among trees")
    ann.page.get_by_label("Read receipts").select_option("nobody")
    ann.page.reload()
    ann.page.get_by_role("button", name="Profile and settings").click()
    expect(ann.page.get_by_label("Read receipts")).to_have_value("nobody")
    bob.page.locator(".chat-who").click()
    bob.page.reload()
    bob.page.locator(".chat-who").click()
    expect(bob.page.locator(".info")).to_contain_text("Among trees")


def test_logging_out_forgets_the_token(person: NewPerson) -> None:
    ann = person("Ann Alder")
    ann.page.get_by_role("button", name="Menu").click()
    ann.page.get_by_role("menuitem", name="Log out").click()
    expect(ann.page.get_by_role("heading", name="Welcome to Coppice")).to_be_visible()
    assert ann.page.evaluate("localStorage.getItem('coppice.login')") is None
    ann.login()


@pytest.mark.thorough
def test_a_wrong_password_is_told(person: NewPerson) -> None:
    ann = person("Ann Alder", register=False)
    ann.page.goto(ann.url)
    ann.page.get_by_label("User name").fill(ann.user)
    ann.page.get_by_label("Password").fill("not the one")
    ann.page.get_by_role("button", name="Log in").click()
    expect(ann.page.get_by_role("alert")).to_have_text("Wrong user name or password.")
