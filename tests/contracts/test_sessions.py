"""`SessionStore`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from persistence.errors import TooMany
from persistence.records import SessionId
from tests.contracts.stores import ANN, BOB, Stores, session


async def test_new_session_gets_a_fresh_id_and_is_found(stores: Stores) -> None:
    first = await stores.sessions.add(replace(session(ANN, b"\0a"), sid=SessionId("s9")), 10)
    second = await stores.sessions.add(session(BOB, b"b"), 10)
    assert (first.sid, second.sid) == ("s1", "s2")
    assert first == replace(session(ANN, b"\0a"), sid=SessionId("s1"))
    assert await stores.sessions.by_token(b"\0a") == first
    assert await stores.sessions.by_token(b"c") is None
    assert await stores.sessions.of_user(ANN) == [first]


async def test_ids_are_not_used_again(stores: Stores) -> None:
    first = await stores.sessions.add(session(ANN, b"a"), 10)
    await stores.sessions.revoke(ANN, [first.sid])
    assert (await stores.sessions.add(session(ANN, b"b"), 10)).sid == "s2"


async def test_sessions_of_a_user_are_limited(stores: Stores) -> None:
    await stores.sessions.add(session(ANN, b"a"), 2)
    await stores.sessions.add(session(ANN, b"b"), 2)
    await stores.sessions.add(session(BOB, b"c"), 2)
    with pytest.raises(TooMany):
        await stores.sessions.add(session(ANN, b"d"), 2)
    assert await stores.sessions.by_token(b"d") is None


async def test_expired_sessions_make_room(stores: Stores) -> None:
    await stores.sessions.add(session(ANN, b"a", 0, expires_ms=50), 2)
    kept = await stores.sessions.add(session(ANN, b"b", 0, expires_ms=51), 2)
    other = await stores.sessions.add(session(BOB, b"c", 0, expires_ms=50), 2)
    assert await stores.sessions.by_token(b"a") is not None, "found, expired or not"
    added = await stores.sessions.add(session(ANN, b"d", 50), 2)
    assert await stores.sessions.of_user(ANN) == [kept, added]
    assert await stores.sessions.of_user(BOB) == [other]


async def test_revoke_deletes_the_users_own_only(stores: Stores) -> None:
    ann = [await stores.sessions.add(session(ANN, bytes([i])), 20) for i in range(12)]
    bob = await stores.sessions.add(session(BOB, b"bob"), 20)
    asked = [SessionId("s99"), SessionId("x"), bob.sid, ann[10].sid, ann[1].sid, ann[1].sid]
    assert await stores.sessions.revoke(ANN, asked) == [ann[1].sid, ann[10].sid]
    assert await stores.sessions.revoke(ANN, asked) == []
    assert await stores.sessions.revoke(ANN, []) == []
    assert await stores.sessions.of_user(ANN) == [s for s in ann if s not in (ann[1], ann[10])]
    assert await stores.sessions.by_token(b"bob") == bob
    assert await stores.sessions.by_token(bytes([1])) is None


async def test_touch_moves_both_times_forward_only(stores: Stores) -> None:
    added = await stores.sessions.add(session(ANN, b"a", 10, expires_ms=100), 10)
    await stores.sessions.touch(ANN, added.sid, 5, 200)
    await stores.sessions.touch(ANN, added.sid, 20, 150)
    await stores.sessions.touch(ANN, SessionId("s9"), 99, 999)
    await stores.sessions.touch(ANN, SessionId("x"), 99, 999)
    await stores.sessions.touch(BOB, added.sid, 99, 999)
    assert await stores.sessions.by_token(b"a") == replace(added, seen_ms=20, expires_ms=200)
