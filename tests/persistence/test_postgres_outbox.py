"""What a change means to other keys is told, whoever dies in between and however often."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from persistence import postgres_outbox
from persistence.errors import NameTaken, OutcomeUnknown, StoreUnavailable
from persistence.postgres import PostgresStores, open_postgres
from persistence.postgres_directory import replace_words
from persistence.postgres_outbox import Outbox
from persistence.postgres_statements import ADD_ENTRY
from persistence.records import (
    AccountChange,
    Member,
    Projection,
    Role,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    UserId,
)
from tests.contracts.stores import account
from tests.servers.postgres import PostgresServer

META = ThreadMeta(ThreadId("g1"), ThreadKind.GROUP, applied_seq=1)


@pytest.fixture
async def stores(postgres: PostgresServer) -> AsyncIterator[PostgresStores]:
    async with open_postgres(postgres.emptied(3)) as stores:
        yield stores


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whoever makes a change gets no further than its commit; `undo` ends this."""

    async def die(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(Outbox, "deliver", die)
    return monkeypatch


def members(*uids: str) -> tuple[Member, ...]:
    return tuple(Member(UserId(uid), Role.MEMBER, 1) for uid in uids)


def elsewhere(stores: PostgresStores, key: str) -> str:
    """A user whose rows are in another database than those of `key`."""
    numbers = (f"u{number}" for number in range(1, 100))
    return next(uid for uid in numbers if stores.shards.of(uid) is not stores.shards.of(key))


async def relay(stores: PostgresStores) -> None:
    for database in stores.shards.databases:
        await stores.outbox.relay(database, older_than_s=0.0)


async def waiting(stores: PostgresStores) -> int:
    counts = [await d.read("SELECT count(*) FROM outbox", {}) for d in stores.shards.databases]
    return sum(count for ((count,),) in counts)


async def test_told_at_once_nothing_stays_in_the_outbox(stores: PostgresStores) -> None:
    await stores.threads.project(Projection(META, members("u1", "u2", "u3")))
    await stores.accounts.create(account("ann", "Ann Bee"))
    await stores.accounts.update(UserId("u1"), AccountChange(name="Other"))
    assert await waiting(stores) == 0


async def test_membership_is_told_later_when_its_writer_died(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    uid = UserId(elsewhere(stores, "g1"))
    await stores.threads.project(Projection(META, members(uid)))
    assert await stores.threads.memberships(uid) == []
    (asked,) = await stores.threads.memberships(uid, [META.thread])
    assert asked.meta == META, "who asks for the thread is answered by the thread"
    dying.undo()
    await relay(stores)
    assert await stores.threads.memberships(uid) == [asked]
    assert await waiting(stores) == 0


async def test_a_promised_membership_is_found_by_its_user(stores: PostgresStores) -> None:
    """In whatever database their rows are; and those who have a row keep it."""
    uid = UserId(elsewhere(stores, "g1"))
    (member,) = members("u100")
    await stores.threads.project(Projection(META, (member,)))
    promised = tuple(Member(who, Role.MEMBER, 1, left_seq=0) for who in (member.uid, uid))
    await stores.threads.project(Projection(META, promised))
    (row,) = await stores.threads.memberships(uid)
    assert (row.meta, row.member) == (META, promised[1])
    assert (await stores.threads.memberships(member.uid))[0].member == member
    joined = replace(promised[1], join_seq=2, left_seq=None)
    await stores.threads.project(Projection(replace(META, applied_seq=2), (joined,)))
    assert [row.member for row in await stores.threads.memberships(uid)] == [joined]


async def test_account_is_completed_when_its_creator_died(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutcomeUnknown):
        await stores.accounts.create(account("ann", "Ann Bee"))
    assert await stores.accounts.by_name("ann") is None
    dying.undo()
    await relay(stores)
    found = await stores.accounts.by_name("ann")
    assert found == replace(account("ann", "Ann Bee"), uid=UserId("u1"))
    assert await stores.accounts.search("bee", 10) == [found]


async def test_account_that_was_begun_twice_exists_once(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    """The one that was repeated meanwhile has the name; the rest of the other goes away."""
    with pytest.raises(OutcomeUnknown):
        await stores.accounts.create(account("ann", "First"))
    dying.undo()
    second = await stores.accounts.create(account("ann", "Second"))
    await relay(stores)
    assert await stores.accounts.by_name("ann") == second
    assert await stores.accounts.by_ids([UserId("u1"), UserId("u2")]) == {second.uid: second}
    assert await stores.accounts.search("first", 10) == []
    with pytest.raises(NameTaken):
        await stores.accounts.create(account("ann"))


async def test_telling_twice_and_out_of_order_changes_nothing(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    dying.undo()
    ann = await stores.accounts.create(account("ann", "one"))
    entries = []

    async def keep(_: Outbox, entry: postgres_outbox.Entry) -> None:
        entries.append(entry)

    dying.setattr(Outbox, "deliver_or_leave", keep)
    for name in ("two", "three", "four one"):
        await stores.accounts.update(ann.uid, AccountChange(name=name))
    dying.undo()
    for entry in (entries[2], entries[0], entries[1], entries[0], entries[2]):
        await stores.outbox.deliver(entry)
    for word, is_found in (("two", False), ("three", False), ("four", True), ("one", True)):
        assert bool(await stores.accounts.search(word, 10)) == is_found, word
    assert await waiting(stores) == 0


async def test_older_words_never_replace_newer_ones(stores: PostgresStores) -> None:
    """Two who tell of two versions may write in the other order than they have read."""
    ann = await stores.accounts.create(account("ann", "new"))
    await stores.accounts.update(ann.uid, AccountChange(name="newer"))
    stale = {"uid": ann.uid, "login": "ann", "initial": "n", "version": 1, "words": ["new"]}
    await stores.shards.of("n").transact(partial(replace_words, stale))
    found = await stores.accounts.by_name("ann")
    assert await stores.accounts.search("newer", 10) == [found]


async def test_target_out_of_reach_does_not_hold_up_the_others(
    stores: PostgresStores, dying: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    dying.setattr(postgres_outbox, "RELAY_ENTRIES", 2)
    away = elsewhere(stores, "u1")
    for number in range(1, 10):
        meta = replace(META, thread=ThreadId(f"g{number}"))
        await stores.threads.project(Projection(meta, members("u1" if number % 3 == 0 else away)))
    dying.undo()
    dying.setattr(postgres_outbox, "RELAY_ENTRIES", 2)
    database = stores.shards.of(away)
    await database.write("ALTER TABLE user_threads RENAME TO hidden_for_now", {})
    try:
        await relay(stores)
        assert len(await stores.threads.memberships(UserId("u1"))) == 3
        assert await waiting(stores) == 6
        assert stores.statistics()["outbox_failed_total"] >= 6
    finally:
        await database.write("ALTER TABLE hidden_for_now RENAME TO user_threads", {})
    await relay(stores)
    assert len(await stores.threads.memberships(UserId(away))) == 6
    assert await waiting(stores) == 0


async def test_entry_of_a_newer_program_stays_and_stops_nothing(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    entry = {"source": "g1", "topic": "later", "targets": ["x"]}
    await stores.shards.of("g1").write(ADD_ENTRY, entry)
    await stores.threads.project(Projection(META, members("u1")))
    dying.undo()
    await relay(stores)
    assert len(await stores.threads.memberships(UserId("u1"))) == 1
    assert await waiting(stores) == 1
    assert stores.statistics()["outbox_failed_total"] > 0


async def test_young_entries_are_left_to_their_writer(
    stores: PostgresStores, dying: pytest.MonkeyPatch
) -> None:
    await stores.threads.project(Projection(META, members("u1")))
    dying.undo()
    for database in stores.shards.databases:
        await stores.outbox.relay(database)
    assert await waiting(stores) == 1
