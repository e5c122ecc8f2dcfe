"""Many who want the same at once: names, the last free session, a row of a book, an id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from persistence.errors import NameTaken, StoreError, TooMany
from persistence.records import ClientId, Reservation, UserId
from tests.contracts.stores import ANN, Stores, account, session

CALLERS = 8


async def outcomes(calls: Sequence[Callable[[], Awaitable[object]]]) -> list[object]:
    """What each call answered, or the class of its refusal; all made at once."""
    answers: list[object] = []

    async def run(call: Callable[[], Awaitable[object]]) -> None:
        try:
            answers.append(await call())
        except StoreError as error:
            answers.append(type(error))

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(run, call)
    return answers


async def test_one_of_many_gets_a_name(stores: Stores) -> None:
    drafts = [account("ann", f"name{number}") for number in range(CALLERS)]
    answers = await outcomes([partial(stores.accounts.create, draft) for draft in drafts])
    assert answers.count(NameTaken) == CALLERS - 1
    (created,) = (answer for answer in answers if answer is not NameTaken)
    found = await stores.accounts.by_name("ann")
    assert found == created
    assert await stores.accounts.search("name", 99) == [found]
    everybody = await stores.accounts.by_ids([UserId(f"u{number}") for number in range(1, 20)])
    assert list(everybody.values()) == [found]


async def test_sessions_are_limited_however_many_log_in_at_once(stores: Stores) -> None:
    uid = (await stores.accounts.create(account("ann"))).uid
    drafts = [session(uid, bytes([number])) for number in range(CALLERS)]
    answers = await outcomes([partial(stores.sessions.add, draft, 3) for draft in drafts])
    assert answers.count(TooMany) == CALLERS - 3
    kept = await stores.sessions.of_user(uid)
    assert len(kept) == 3
    found = [await stores.sessions.by_token(draft.token_hash) for draft in drafts]
    assert [each for each in found if each is not None] == sorted(kept, key=lambda s: s.token_hash)


async def test_every_change_of_a_book_has_its_version(stores: Stores) -> None:
    peers = [UserId(f"u{number}") for number in range(2, 2 + CALLERS)]
    answers = await outcomes([partial(stores.contacts.put, ANN, peer, None) for peer in peers * 2])
    assert answers.count(True) == answers.count(False) == CALLERS
    version, rows = await stores.contacts.book(ANN)
    assert (version, len(rows)) == (CALLERS, CALLERS)


async def test_one_thread_is_reserved_for_a_cid(stores: Stores) -> None:
    reserve = partial(stores.threads.reserve, ANN, ClientId("c"), b"x", 1)
    answers = await outcomes([reserve] * CALLERS)
    found = [answer for answer in answers if isinstance(answer, Reservation)]
    assert len(found) == CALLERS
    assert len({reservation.thread for reservation in found}) == 1
    assert sum(reservation.fresh for reservation in found) == 1
