"""Groups: made, administrated, left and deleted; everybody sees it happen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import WAIT_MS, Person

pytestmark = pytest.mark.browser

GROUP = "Woodland walk"


def make_group(owner: Person, *members: Person) -> None:
    page = owner.page
    page.get_by_role("button", name="Menu", exact=True).first.click()
    page.get_by_role("menuitem", name="New group").click()
    page.get_by_label("Group name").fill(GROUP)
    choose(owner, *members)
    page.get_by_role("button", name="Create group").click()
    expect(page.locator(".chat-title")).to_have_text(GROUP)


def choose(owner: Person, *members: Person) -> None:
    """Mark people in a picker."""
    search = owner.page.get_by_label("Search name or @user").last
    for member in members:
        search.fill(member.user)
        owner.page.locator(".picker .row", has_text=member.name).click()
        expect(owner.page.locator(".chip", has_text=member.name)).to_be_visible()


def member_row(one: Person, name: str) -> Locator:
    return one.page.locator(".members .row", has_text=name)


def on_member(owner: Person, name: str, item: str) -> None:
    member_row(owner, name).click()
    owner.page.get_by_role("menuitem", name=item).click()


@pytest.fixture
def wood(person: NewPerson) -> tuple[Person, Person, Person]:
    """Ann's group with Bob and Cid, open everywhere."""
    ann, bob, cid = person("Ann Alder"), person("Bob Birch"), person("Cid Cedar")
    make_group(ann, bob, cid)
    for one in (bob, cid):
        one.open(GROUP)
    return ann, bob, cid


def test_a_group_talks_and_its_ticks_wait_for_all(person: NewPerson) -> None:
    ann, bob, cid = person("Ann Alder"), person("Bob Birch"), person("Cid Cedar")
    make_group(ann, bob, cid)
    ann.send("who is coming?")
    expect(bob.row(GROUP).locator(".row-text")).to_have_text("Ann: who is coming?")
    bob.open(GROUP)
    ann.expect_tick("who is coming?", "delivered")
    cid.open(GROUP)
    ann.expect_tick("who is coming?", "read")
    bob.send("me")
    cid.send("me too")
    for one in (ann, bob, cid):
        one.expect_texts(["who is coming?", "me", "me too"])
    expect(ann.message("me too").locator(".author")).to_have_text("Cid Cedar")
    expect(ann.page.locator(".system")).to_have_text(f"You created the group “{GROUP}”")
    expect(cid.page.locator(".system")).to_have_text(f"Ann Alder created the group “{GROUP}”")


def test_rename_describe_and_roles(wood: tuple[Person, Person, Person]) -> None:
    ann, bob, cid = wood
    ann.page.locator(".chat-who").click()
    ann.page.get_by_role("button", name="Edit name").click()
    ann.page.get_by_role("textbox", name="Group name").last.fill("Forest walk")
    ann.page.get_by_role("button", name="Save").click()
    for one in (ann, bob, cid):
        expect(one.page.locator(".chat-title")).to_have_text("Forest walk")
    on_member(ann, "Bob Birch", "Make admin")
    expect(member_row(ann, "Bob Birch").locator(".role")).to_have_text("admin")
    bob.page.locator(".chat-who").click()
    on_member(bob, "Cid Cedar", "Remove from group")
    expect(member_row(ann, "Cid Cedar")).to_have_count(0)
    expect(cid.page.locator(".notice")).to_have_text("You are no longer a member of this group.")
    ann.send("without Cid")
    bob.expect_texts(["without Cid"])
    expect(cid.page.locator(".msg")).to_have_count(0)


@pytest.mark.thorough
def test_add_leave_come_back_and_delete(wood: tuple[Person, Person, Person]) -> None:
    ann, bob, cid = wood
    ann.send("one")
    cid.expect_texts(["one"])
    cid.page.get_by_role("button", name="Chat menu").click()
    cid.page.get_by_role("menuitem", name="Leave group").click()
    cid.page.get_by_role("button", name="Leave", exact=True).click()
    expect(cid.page.locator(".notice")).to_be_visible()
    cid.page.locator(".chat-who").click()
    expect(cid.page.locator(".info .handle")).to_have_text("Group")
    cid.page.keyboard.press("Escape")
    ann.send("two")
    bob.expect_texts(["one", "two"])
    ann.page.locator(".chat-who").click()
    expect(ann.page.locator(".members .row")).to_have_count(2)
    ann.page.get_by_role("button", name="Add members").click()
    choose(ann, cid)
    ann.page.get_by_role("button", name="Add", exact=True).click()
    expect(ann.page.locator(".members .row")).to_have_count(3)
    expect(cid.page.locator(".composer-input")).to_be_visible(timeout=WAIT_MS)
    ann.send("three")
    cid.expect_texts(["one", "three"])
    cid.page.reload()
    cid.expect_texts(["three"])
    ann.page.get_by_role("button", name="Delete group").click()
    ann.page.get_by_role("dialog").get_by_role("button", name="Delete group").click()
    for one in (ann, bob, cid):
        expect(one.page.locator(".notice")).to_have_text("This group was deleted.")


@pytest.mark.thorough
def test_the_owner_hands_the_group_over(wood: tuple[Person, Person, Person]) -> None:
    ann, bob, _ = wood
    ann.page.locator(".chat-who").click()
    on_member(ann, "Bob Birch", "Make owner")
    ann.page.get_by_role("dialog").get_by_role("button", name="Make owner").click()
    expect(member_row(ann, "Bob Birch").locator(".role")).to_have_text("owner")
    expect(member_row(ann, "You").locator(".role")).to_have_text("admin")
    expect(ann.page.locator(".info").get_by_role("button", name="Leave group")).to_be_visible()
    bob.page.locator(".chat-who").click()
    expect(bob.page.locator(".info").get_by_role("button", name="Delete group")).to_be_visible()


@pytest.mark.thorough
def test_the_last_message_can_be_taken_out_by_an_admin(wood: tuple[Person, Person, Person]) -> None:
    ann, bob, cid = wood
    bob.send("rude words")
    ann.menu("rude words", "Delete for everyone")
    ann.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    cid.expect_texts(["This message was deleted"])
    expect(cid.row(GROUP).locator(".row-text")).to_have_text("Bob: This message was deleted")
