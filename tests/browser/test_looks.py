"""What can be measured of the looks: contrast in both themes, the side a script is read from."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.harness import Person

pytestmark = [pytest.mark.browser, pytest.mark.thorough]

AA: Final = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text with what lies behind it."""

FAINT: Final = """(least) => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) =>
    [r, g, b].map((part, i) => part * a + under[i] * (1 - a)).concat(1);
  const behind = (node) => {
    const layers = [];
    for (; node; node = node.parentElement) {
      layers.push(parse(getComputedStyle(node).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((part) =>
      part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    const shown = node.offsetParent && !node.closest('.avatar, .unseen');
    if (!shown || !text.textContent.trim()) continue;
    const under = behind(node);
    const [a, b] = [over(parse(getComputedStyle(node).color), under), under].map(light);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least) faint.push(`${contrast} ${node.className}: ${text.textContent}`);
  }
  return faint;
}"""


def expect_contrast(one: Person) -> None:
    for theme in ("light", "dark"):
        one.page.emulate_media(color_scheme=theme)
        one.page.wait_for_function(f"(least) => ({FAINT})(least).length === 0", arg=AA)


def test_text_has_contrast_in_both_themes(person: NewPerson) -> None:
    ann, bob = person("Ann Alder", reduced_motion="reduce"), person("Bob Birch")
    expect_contrast(ann)
    ann.chat_with(bob)
    ann.send("hello", "see https://example.org or `code`", "gone soon")
    bob.open("Ann Alder")
    bob.menu("hello", "Reply")
    bob.send("answer")
    ann.expect_tick("gone soon", "read")
    ann.menu("answer", "Reply")
    ann.send("back")
    ann.expect_tick("back", "read")
    ann.menu("back", "Edit")
    ann.send("back again")
    ann.menu("gone soon", "Delete for everyone")
    ann.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(ann.page.locator(".text.gone")).to_be_visible()
    expect(ann.page.locator(".meta", has_text="edited")).to_be_visible()
    ann.menu("answer", "Reply")
    ann.page.locator(".chat-who").click()
    ann.page.get_by_role("button", name="Profile and settings").click()
    expect(ann.page.locator(".device")).to_have_count(1)
    for hue in range(12):
        ann.page.evaluate(
            "(hue) => document.querySelectorAll('.quote')"
            ".forEach((node) => { node.className = `quote hue-${hue}`; })",
            hue,
        )
        expect_contrast(ann)


def test_each_paragraph_stands_where_its_script_begins(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("مرحبا\nand a much longer line in another script")
    expect(ann.message("and a much longer")).to_be_visible()
    ann.page.wait_for_function(
        """() => {
          const node = document.querySelector('.msg');
          const text = node.querySelector('.text').firstChild;
          const range = document.createRange();
          range.setStart(text, 0);
          range.setEnd(text, 5);
          const line = range.getBoundingClientRect();
          const bubble = node.querySelector('.bubble').getBoundingClientRect();
          return bubble.right - line.right < 20 && line.left - bubble.left > 20;
        }"""
    )


def test_a_deleted_message_offers_nothing(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.chat_with(bob)
    ann.send("a slip")
    ann.expect_tick("a slip", "delivered")
    ann.menu("a slip", "Delete for everyone")
    ann.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    gone = ann.page.locator(".msg", has=ann.page.locator(".gone"))
    gone.locator(".bubble").hover()
    expect(gone.locator(".more")).to_have_count(0)


def test_a_new_group_says_in_the_list_what_happened(person: NewPerson) -> None:
    ann, bob = person("Ann Alder"), person("Bob Birch")
    ann.page.get_by_role("button", name="Menu", exact=True).click()
    ann.page.get_by_role("menuitem", name="New group").click()
    ann.page.get_by_label("Group name").fill("Hikers")
    ann.page.get_by_label("Search name or @user").fill(bob.user)
    ann.page.locator(".drawer .row", has_text="Bob Birch").click()
    ann.page.get_by_role("button", name="Create group").click()
    expect(ann.row("Hikers")).to_contain_text("You created the group")
    expect(bob.row("Hikers")).to_contain_text("created the group")
    bob.page.reload()
    expect(bob.row("Hikers").locator(".row-text")).not_to_be_empty()
