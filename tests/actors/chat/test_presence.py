"""The registry in trouble: what changes while it looks something up, and a store that is away."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.chat.answers import Done, Result
from actors.chat.messages import Caller, Lease, Poll, RelationChanged, UserDown, UserUp
from actors.chat.presence import FLUSH_TICKS, Presence
from actors.chat.services import Services
from actors.runtime import ActorSystem, Ref, open_system
from persistence.errors import StoreUnavailable
from persistence.memory import MemoryStores
from persistence.records import Account, SessionId, UserId

A, B = UserId("u1"), UserId("u2")


@dataclass
class Screen:
    """A device that only polls."""

    number: int = 1
    sid: SessionId = SessionId("s1")  # noqa: RUF009  (an id is a text)
    answers: list[Result] = field(default_factory=list)

    def answer(self, request: int, result: Result) -> bool:
        self.answers.append(result)
        return True


@dataclass
class Registry:
    """The actor, on stores of its own."""

    stores: MemoryStores
    system: ActorSystem
    ref: Ref
    clock: MockClock
    screen: Screen = field(default_factory=Screen)

    def poll(self, v: int | None = None, by: UserId = A) -> None:
        device: Any = self.screen
        self.ref.cast(Poll(Caller(by, 1, 1), device, (B,), v))

    async def polled(self, v: int | None = None) -> dict[str, Any]:
        """`st` of a poll, and the version for the next."""
        self.poll(v)
        await wait_all_tasks_blocked()
        answer = self.screen.answers.pop()
        assert isinstance(answer, Done)
        return dict(answer.fields)

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.jump(1.0)
            await wait_all_tasks_blocked()


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    stores = MemoryStores()
    for user in ("ann", "bob"):
        await stores.accounts.create(Account(UserId(""), user, user, "", 0))
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async with open_system(random.Random(7)) as system:
        nobody: Any = None
        services = Services(
            stores.accounts, stores.sessions, stores.contacts, stores.threads, stores.log,
            nobody, nobody, wall_ms=lambda: 1000 + round(1000 * trio.current_time()),
        )  # fmt: skip
        ref = await system.start(Presence, services, name="presence")
        assert ref is not None
        ref.cast(Lease("g", (A, B)))
        yield Registry(stores, system, ref, clock)


async def test_a_block_takes_hold_though_its_poll_was_under_way(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before a block must not be remembered after it."""
    relations, held = registry.stores.contacts.relations, trio.Event()

    async def slow(*args: Any) -> Any:
        found = await relations(*args)
        await held.wait()
        return found

    monkeypatch.setattr(registry.stores.contacts, "relations", slow)
    registry.poll()
    await wait_all_tasks_blocked()
    await registry.stores.contacts.set_block(A, B, blocked=True)
    registry.ref.cast(RelationChanged(A, B))
    await wait_all_tasks_blocked()
    held.set()
    await wait_all_tasks_blocked()
    assert (await registry.polled())["st"] == {B: {"on": False}}


async def test_what_could_not_be_stored_is_stored_later(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("for a while")

    with monkeypatch.context() as patch:
        patch.setattr(registry.stores.accounts, "update", away)
        registry.ref.cast(UserDown("g", B, 1234))
        await registry.pass_time(2 * FLUSH_TICKS)
    await registry.pass_time(2 * FLUSH_TICKS)
    assert (await registry.stores.accounts.by_ids((B,)))[B].seen_ms == 1234


async def test_who_went_while_their_poll_was_answered_is_not_remembered(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_ids, held = registry.stores.accounts.by_ids, trio.Event()

    async def slow(*args: Any) -> Any:
        await held.wait()
        return await by_ids(*args)

    monkeypatch.setattr(registry.stores.accounts, "by_ids", slow)
    registry.poll()
    await wait_all_tasks_blocked()
    registry.ref.cast(UserDown("g", A, 1234))
    await wait_all_tasks_blocked()
    held.set()
    await wait_all_tasks_blocked()
    assert registry.ref.details()["watching"] == 0
    registry.ref.cast(UserUp("g", A))
    assert (await registry.polled())["st"] == {B: {"on": True}}


async def test_privacy_changes_are_not_remembered_for_ever(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.chat.presence.POLICY_CHANGES_MAX", 10)
    first = await registry.polled()
    for number in range(11):
        registry.ref.cast(RelationChanged(UserId(f"u{number}")))
    await wait_all_tasks_blocked()
    assert registry.ref.details()["policy_changes"] <= 10
    assert (await registry.polled(first["v"]))["st"] == {B: {"on": True}}, "looked up again"


async def test_whom_a_restarted_gateway_lost_was_last_seen_when_it_restarted(
    registry: Registry,
) -> None:
    await registry.pass_time(10)
    registry.ref.cast(Lease("g", (A,)))
    assert (await registry.polled())["st"] == {B: {"on": True}}
    for _ in range(6):
        await registry.pass_time(10)
        registry.ref.cast(Lease("g"))
    assert (await registry.polled())["st"] == {B: {"on": False, "last": 11_000}}
    await registry.pass_time(FLUSH_TICKS)
    assert (await registry.stores.accounts.by_ids((B,)))[B].seen_ms == 11_000
