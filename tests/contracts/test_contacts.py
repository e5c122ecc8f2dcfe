"""`ContactStore`."""

from __future__ import annotations

from persistence.records import Contact, Relation, UserId
from tests.contracts.stores import ANN, BOB, CID, DAN, Stores


async def test_book_is_empty_at_first(stores: Stores) -> None:
    assert await stores.contacts.book(ANN) == (0, [])


async def test_put_lists_a_peer_once(stores: Stores) -> None:
    assert await stores.contacts.put(ANN, BOB, None)
    assert not await stores.contacts.put(ANN, BOB, None)
    assert await stores.contacts.book(ANN) == (1, [Contact(BOB)])
    assert await stores.contacts.book(BOB) == (0, [])


async def test_put_changes_an_alias_only_if_one_is_given(stores: Stores) -> None:
    await stores.contacts.put(ANN, BOB, "Bobby")
    assert not await stores.contacts.put(ANN, BOB, None)
    assert await stores.contacts.book(ANN) == (1, [Contact(BOB, "Bobby")])
    assert not await stores.contacts.put(ANN, BOB, "Rob")
    assert await stores.contacts.book(ANN) == (2, [Contact(BOB, "Rob")])
    assert not await stores.contacts.put(ANN, BOB, "Rob")
    assert (await stores.contacts.book(ANN))[0] == 2, "nothing changed"
    assert not await stores.contacts.put(ANN, BOB, "")
    assert await stores.contacts.book(ANN) == (3, [Contact(BOB)])


async def test_book_is_ordered_by_peer(stores: Stores) -> None:
    for peer in ("u9", "u10", "u2"):
        await stores.contacts.put(ANN, UserId(peer), None)
    _, rows = await stores.contacts.book(ANN)
    assert [row.peer for row in rows] == ["u10", "u2", "u9"]


async def test_remove_forgets_the_alias_and_keeps_a_block(stores: Stores) -> None:
    assert not await stores.contacts.remove(ANN, BOB)
    await stores.contacts.put(ANN, BOB, "Bobby")
    await stores.contacts.put(ANN, CID, None)
    await stores.contacts.set_block(ANN, BOB, blocked=True)
    assert await stores.contacts.remove(ANN, BOB)
    assert await stores.contacts.remove(ANN, CID)
    assert not await stores.contacts.remove(ANN, BOB)
    assert await stores.contacts.book(ANN) == (5, [Contact(BOB, None, blocked=True, listed=False)])


async def test_blocked_stranger_becomes_a_listed_blocked_contact(stores: Stores) -> None:
    assert await stores.contacts.set_block(ANN, BOB, blocked=True)
    assert await stores.contacts.book(ANN) == (1, [Contact(BOB, blocked=True, listed=False)])
    assert await stores.contacts.put(ANN, BOB, "Bobby")
    assert await stores.contacts.book(ANN) == (2, [Contact(BOB, "Bobby", blocked=True)])


async def test_block_answers_whether_it_changed_anything(stores: Stores) -> None:
    assert not await stores.contacts.set_block(ANN, BOB, blocked=False)
    assert await stores.contacts.set_block(ANN, BOB, blocked=True)
    assert not await stores.contacts.set_block(ANN, BOB, blocked=True)
    assert await stores.contacts.set_block(ANN, BOB, blocked=False)
    assert await stores.contacts.book(ANN) == (2, []), "a stranger again"


async def test_unblocking_a_contact_keeps_it_listed(stores: Stores) -> None:
    await stores.contacts.put(ANN, BOB, "Bobby")
    await stores.contacts.set_block(ANN, BOB, blocked=True)
    await stores.contacts.set_block(ANN, BOB, blocked=False)
    assert await stores.contacts.book(ANN) == (3, [Contact(BOB, "Bobby")])


async def test_relations_see_blocks_both_ways_and_who_lists_me(stores: Stores) -> None:
    await stores.contacts.set_block(ANN, BOB, blocked=True)
    await stores.contacts.set_block(CID, ANN, blocked=True)
    await stores.contacts.put(DAN, ANN, None)
    await stores.contacts.put(ANN, DAN, None)
    await stores.contacts.put(BOB, CID, None)
    assert await stores.contacts.relations(ANN, [BOB, CID, DAN, ANN, UserId("u9"), BOB]) == {
        BOB: Relation(blocked=True),
        CID: Relation(blocked=True),
        DAN: Relation(lists_me=True),
        ANN: Relation(),
        UserId("u9"): Relation(),
    }
    assert await stores.contacts.relations(ANN, []) == {}


async def test_blocked_by_sees_one_direction(stores: Stores) -> None:
    await stores.contacts.set_block(ANN, BOB, blocked=True)
    await stores.contacts.set_block(CID, ANN, blocked=True)
    await stores.contacts.put(DAN, ANN, None)
    assert await stores.contacts.blocked_by(ANN, [BOB, CID, DAN]) == {CID}
    assert await stores.contacts.blocked_by(ANN, [BOB]) == frozenset()
    assert await stores.contacts.blocked_by(ANN, []) == frozenset()
