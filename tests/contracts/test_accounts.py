"""`AccountStore`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from persistence.errors import NameTaken
from persistence.records import AccountChange, Audience, UserId
from tests.contracts.stores import Stores, account


async def test_new_account_gets_a_fresh_id_whatever_was_asked(stores: Stores) -> None:
    draft = replace(account("ann", "Ann"), uid=UserId("u77"))
    first = await stores.accounts.create(draft)
    second = await stores.accounts.create(account("bob"))
    assert (first.uid, second.uid) == ("u1", "u2")
    assert first == replace(draft, uid=UserId("u1"))


async def test_every_field_is_kept(stores: Stores) -> None:
    draft = account(
        "ann", "Ann Ö 😀", about='"quoted" \\ \n', avatar="f1", last_seen=Audience.CONTACTS,
        receipts=Audience.NOBODY, seen_ms=5,
    )  # fmt: skip
    created = await stores.accounts.create(draft)
    assert await stores.accounts.by_name("ann") == created
    assert await stores.accounts.by_ids([created.uid]) == {created.uid: created}


async def test_taken_name_is_refused_and_changes_nothing(stores: Stores) -> None:
    ann = await stores.accounts.create(account("ann", "Ann"))
    with pytest.raises(NameTaken):
        await stores.accounts.create(account("ann", "Another"))
    assert await stores.accounts.by_name("ann") == ann
    assert await stores.accounts.search("another", 10) == []


async def test_unknown_names_and_ids_are_not_found(stores: Stores) -> None:
    ann = await stores.accounts.create(account("ann"))
    assert await stores.accounts.by_name("Ann") is None
    assert await stores.accounts.by_name("") is None
    strange = [UserId(text) for text in ("", "u", "u0", "u01", "u2", "1", "x1", "u1 ", "u٣", "u-1")]
    assert await stores.accounts.by_ids([*strange, UserId("u" + "9" * 30)]) == {}
    assert await stores.accounts.by_ids([*strange, ann.uid, ann.uid]) == {ann.uid: ann}
    assert await stores.accounts.by_ids([]) == {}


async def test_search_finds_beginnings_of_user_name_and_words(stores: Stores) -> None:
    for user, name in (("zoe", "Ann Bee"), ("ann", "Zed"), ("carl", "Van Annen"), ("dan", "Joann")):
        await stores.accounts.create(account(user, name))
    assert [found.user for found in await stores.accounts.search("AN", 10)] == [
        "ann",
        "carl",
        "zoe",
    ]
    assert [found.user for found in await stores.accounts.search("ann b", 10)] == ["zoe"]
    assert [found.user for found in await stores.accounts.search("an", 2)] == ["ann", "carl"]
    assert await stores.accounts.search("nn", 10) == []
    assert await stores.accounts.search("an", 0) == []
    assert len(await stores.accounts.search("", 10)) == 4


@pytest.mark.parametrize("wild", ["%", "_", "*", "?", "[", "'", '"'])
async def test_search_takes_every_character_literally(stores: Stores, wild: str) -> None:
    await stores.accounts.create(account("ann", "Ann"))
    assert await stores.accounts.search(wild, 10) == []
    marked = await stores.accounts.create(account("bob", f"x {wild}y"))
    assert await stores.accounts.search(wild, 10) == [marked]


async def test_search_ignores_case_beyond_ascii(stores: Stores) -> None:
    found = await stores.accounts.create(account("k", "ÖRJAN Straße \U0010ffff\ud7ff"))
    for prefix in ("ör", "STRASS", "straß", "\U0010ffff", "\U0010ffff\ud7ff"):
        assert await stores.accounts.search(prefix, 10) == [found], prefix


async def test_update_sets_the_given_fields_only(stores: Stores) -> None:
    ann = await stores.accounts.create(account("ann", "Ann", about="old"))
    await stores.accounts.update(ann.uid, AccountChange(about="", last_seen=Audience.NOBODY))
    await stores.accounts.update(ann.uid, AccountChange())
    expected = replace(ann, about="", last_seen=Audience.NOBODY)
    assert await stores.accounts.by_name("ann") == expected
    change = AccountChange("New Name", "a", "b", "other hash", receipts=Audience.CONTACTS)
    await stores.accounts.update(ann.uid, change)
    assert await stores.accounts.by_name("ann") == replace(
        expected, name="New Name", about="a", avatar="b", password_hash="other hash",
        receipts=Audience.CONTACTS,
    )  # fmt: skip


async def test_search_follows_a_changed_name(stores: Stores) -> None:
    ann = await stores.accounts.create(account("ann", "Old Name"))
    await stores.accounts.update(ann.uid, AccountChange(name="New Words"))
    assert await stores.accounts.search("old", 10) == []
    assert await stores.accounts.search("name", 10) == []
    assert [found.uid for found in await stores.accounts.search("words", 10)] == [ann.uid]
    assert [found.uid for found in await stores.accounts.search("ann", 10)] == [ann.uid]


async def test_seen_moves_forward_only(stores: Stores) -> None:
    ann = await stores.accounts.create(account("ann"))
    for seen_ms, expected in ((5, 5), (3, 5), (None, 5), (9, 9)):
        await stores.accounts.update(ann.uid, AccountChange(seen_ms=seen_ms))
        found = await stores.accounts.by_name("ann")
        assert found is not None
        assert found.seen_ms == expected


async def test_update_of_an_unknown_uid_has_no_effect(stores: Stores) -> None:
    for uid in ("u9", "nonsense", ""):
        await stores.accounts.update(UserId(uid), AccountChange(name="x", seen_ms=1))
    assert await stores.accounts.search("", 10) == []
