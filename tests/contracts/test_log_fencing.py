"""`MessageLog`: an owner that freezes, and thaws when another has taken over.

Each interleaving is drawn from a seed. Ann's node owns a thread and freezes inside an append: ahead
of one of the requests to the store that make it up, or behind it; or the request is lost, which is
a coordinator that freezes: Ann's node hears that nobody knows, and the request is carried out when
it thaws. Bob's node claims the thread and writes. The thaw comes somewhere in between.

Then: what was acknowledged is in the log as it was acknowledged, whoever did it; nothing that the
frozen owner sends after the take-over is acknowledged; seqs are dense, cids are there once.

`COPPICE_INTERLEAVINGS=1000` runs so many for each store.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

from persistence.cql_bridge import Bridge
from persistence.cql_buckets import Buckets
from persistence.cql_log import CqlLog
from persistence.cql_session import CqlSession
from persistence.errors import OutcomeUnknown, StoreError
from persistence.memory import MemoryStores
from persistence.protocols import MessageLog
from persistence.records import (
    Append,
    Claim,
    ClientId,
    Committed,
    Cursor,
    Deposed,
    Event,
    Failed,
    Repeated,
    Rewrite,
    Span,
    ThreadId,
    UserId,
)
from persistence.sqlite import open_sqlite
from tests.contracts.cql import connected, fresh_prefix, on
from tests.contracts.stores import ANN, BOB, event

INTERLEAVINGS = {"memory": 200, "sqlite": 40, "cassandra-1": 20, "cassandra-3": 20}
AT_ONCE = 8
"""Interleavings, each of a thread of its own."""
CLAIMS_MAX = 10
REQUESTS_MAX, DECIDING_MAX = 8, 3
"""As many as an append has on CQL when it rewrites an old bucket and opens a new one."""


@dataclass
class Freezer:
    """Stops the `at`-th of the calls that pass it once armed, or of those that decide something."""

    at: int
    of_deciding: bool
    behind: bool
    lost: bool
    armed: bool = False
    frozen: trio.Event = field(default_factory=trio.Event)
    thaw: trio.Event = field(default_factory=trio.Event)
    late: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)

    async def through(self, call: Callable[[], Awaitable[Any]], *, decides: bool) -> Any:
        counted = self.armed and (decides or not self.of_deciding)
        self.at -= counted
        if not counted or self.at != -1:
            return await call()
        if self.lost and decides:
            self.late.append(call)
            raise OutcomeUnknown("the coordinator froze")
        result = await call() if self.behind else None
        self.frozen.set()
        await self.thaw.wait()
        return result if self.behind else await call()

    async def carry_out_late(self) -> None:
        """Nobody hears what becomes of it."""
        while self.late:
            with suppress(StoreError):
                await self.late.pop()()


class FreezingSession(CqlSession):
    """The requests of one node."""

    freezer: Freezer

    async def read(self, *arguments: Any) -> Any:
        return await self._through(super().read, arguments)

    async def read_serial(self, *arguments: Any) -> Any:
        return await self._through(super().read_serial, arguments)

    async def write(self, *arguments: Any) -> None:
        await self._through(super().write, arguments)

    async def conditional(self, *arguments: Any) -> Any:
        return await self._through(super().conditional, arguments, decides=True)

    async def _through(
        self, method: Callable[..., Awaitable[Any]], arguments: Any, *, decides: bool = False
    ) -> Any:
        return await self.freezer.through(lambda: method(*arguments), decides=decides)


class FreezingLog:
    """A log whose appends are one request each."""

    def __init__(self, log: MessageLog, freezer: Freezer) -> None:
        self._log = log
        self._freezer = freezer

    async def append(self, batch: list[Append]) -> Any:
        return await self._freezer.through(lambda: self._log.append(batch), decides=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


Nodes = Callable[[Freezer], tuple[Any, MessageLog]]
"""Two nodes' views of one store: Ann's, which passes the freezer, and Bob's."""


@asynccontextmanager
async def opened(adapter: str) -> AsyncIterator[Nodes]:
    if adapter == "memory":
        memory = MemoryStores().log
        yield lambda freezer: (FreezingLog(memory, freezer), memory)
    elif adapter == "sqlite":
        with TemporaryDirectory() as directory:
            async with open_sqlite(Path(directory)) as stores:
                yield lambda freezer: (FreezingLog(stores.log, freezer), stores.log)
    else:
        connection = connected(adapter)

        def nodes(freezer: Freezer) -> tuple[Any, MessageLog]:
            freezing = FreezingSession(connection, Bridge())
            freezing.freezer = freezer
            bobs = CqlSession(connection, Bridge())
            return CqlLog(freezing, Buckets(4)), CqlLog(bobs, Buckets(4))

        yield nodes


@dataclass
class Node:
    """What an owner knows of the thread, and what it was told is durable."""

    log: Any
    uid: UserId
    thread: ThreadId
    chance: random.Random
    epoch: int = 0
    head: int = 0
    acknowledged: list[Append] = field(default_factory=list)
    unheard: list[Append] = field(default_factory=list)
    """Appends whose outcome it was not told."""

    async def claim(self) -> Claim:
        """A store that is slow may have to be asked again."""
        for attempt in range(CLAIMS_MAX):
            try:
                claim: Claim = await self.log.claim(self.thread, 100)
            except StoreError:
                assert attempt < CLAIMS_MAX - 1
            else:
                self.epoch, self.head = claim.head.epoch, claim.head.seq
                return claim
        raise AssertionError("the last attempt returns or raises")

    def draft(self) -> Append:
        """One to three events under cids that the other one uses too, a cursor, perhaps a rewrite
        of anything older."""
        count = self.chance.randint(1, 3)
        cids = self.chance.sample(range(12), count)
        events = tuple(
            event(
                self.head + 1 + i,
                self.epoch * 1_000 + self.head,  # tells it from another epoch's
                cid=f"c{cid}",
                target=self.chance.choice([None, max(self.head, 1)]),
                text=f"{self.uid}{self.epoch}",
            )
            for i, cid in enumerate(cids)
        )  # fmt: skip
        rewrites: tuple[Rewrite, ...] = ()
        if self.head and self.chance.random() < 0.8:
            text = b'"%b at %d under %d"' % (self.uid.encode(), self.head, self.epoch)
            rewrites = (Rewrite(self.chance.choice([1, self.chance.randint(1, self.head)]), text),)
        cursor = Cursor(self.head + count, self.chance.randint(0, self.head), 0)
        return Append(self.thread, self.epoch, self.head, events, rewrites, {self.uid: cursor})

    async def append(self) -> Any:
        """The outcome, as the journal has it."""
        draft = self.draft()
        try:
            (outcome,) = await self.log.append([draft])
        except OutcomeUnknown as error:
            outcome = Failed(False, str(error))
        if isinstance(outcome, Failed):
            self.unheard.append(draft)
        if outcome == Committed():
            self.acknowledged.append(draft)
            self.head += len(draft.events)
        return outcome

    async def write(self) -> None:
        """An append of the last claimant, who claims again if it hears nothing of one."""
        for _ in range(CLAIMS_MAX):
            outcome = await self.append()
            if not isinstance(outcome, Failed):
                assert isinstance(outcome, Committed | Repeated)
                return
            await self.claim()
        raise AssertionError("no append has an outcome")


async def interleaving(nodes: Nodes, seed: int) -> None:
    chance = random.Random(seed)
    of_deciding = chance.random() < 0.5
    freezer = Freezer(
        chance.randrange(DECIDING_MAX if of_deciding else REQUESTS_MAX),
        of_deciding,
        behind=chance.random() < 0.3,
        lost=chance.random() < 0.5,
    )
    thread = ThreadId(f"{fresh_prefix()}g{seed}")
    anns, bobs = nodes(freezer)
    ann, bob = Node(anns, ANN, thread, chance), Node(bobs, BOB, thread, chance)
    await ann.claim()
    for _ in range(chance.choice([0, 1, 2, 4, 4])):
        await ann.write()
    async with trio.open_nursery() as nursery:

        async def freeze() -> None:
            freezer.armed = True
            await ann.append()
            freezer.frozen.set()  # or the append had fewer requests
            freezer.armed = False

        nursery.start_soon(freeze)
        await freezer.frozen.wait()
        thaws_at = chance.choice([0, 1, 2, 3, 4, 5, 5])
        for step in range(6):
            if step == thaws_at:
                freezer.thaw.set()
                nursery.start_soon(freezer.carry_out_late)
            if step == 0:
                await bob.claim()
            elif step < 5:
                await bob.write()
    for _ in range(CLAIMS_MAX):
        outcome = await ann.append()
        if not isinstance(outcome, Failed):
            break
    assert isinstance(outcome, Deposed)
    await check(bob, ann.acknowledged + bob.acknowledged, ann.unheard + bob.unheard)


async def check(node: Node, acknowledged: list[Append], unheard: list[Append]) -> None:
    story = list(await node.log.read(node.thread, Span(), 1_000))
    claim = await node.claim()
    assert list(claim.recent) == story
    assert [found.seq for found in story] == list(range(1, claim.head.seq + 1))
    cids = [found.cid for found in story]
    assert len(set(cids)) == len(cids)
    epochs = [found.n // 1_000 for found in story]
    assert epochs == sorted(epochs), "an owner wrote after the next one"
    there = {each.seq: each for each in story}
    written = acknowledged + [append for append in unheard if is_in(append, there)]
    bodies: dict[int, bytes] = {}
    for append in sorted(written, key=lambda append: append.expected_seq):
        bodies |= {each.seq: each.body for each in append.events}
        bodies |= {each.seq: each.body for each in append.rewrites}
        assert is_in(append, there)
        for uid, cursor in append.cursors.items():
            stored = claim.cursors[uid]
            assert stored.recv >= cursor.recv
            assert stored.read >= cursor.read
    assert {found.seq: found.body for found in story} == bodies
    for found in story:
        assert await node.log.find(node.thread, ANN, ClientId(str(found.cid))) == found
        if found.target is not None:
            assert found in await node.log.related(node.thread, [found.target])


def is_in(append: Append, there: dict[int, Event]) -> bool:
    """Whether these very events are in the log; all of them, or none of them."""
    found = [
        each.seq in there and replace(there[each.seq], body=b"") == replace(each, body=b"")
        for each in append.events
    ]
    assert all(found) or not any(found)
    return all(found)


def interleavings(adapter: str) -> int:
    return int(os.environ.get("COPPICE_INTERLEAVINGS", INTERLEAVINGS[adapter]))


@pytest.mark.parametrize("adapter", ["memory", "sqlite", on("cassandra-1"), on("cassandra-3")])
async def test_a_frozen_owner_that_thaws_acknowledges_and_overwrites_nothing(adapter: str) -> None:
    seeds = iter(range(interleavings(adapter)))
    async with (
        opened(adapter) as nodes,
        trio.open_nursery() as nursery,
    ):

        async def play() -> None:
            for seed in seeds:
                try:
                    await interleaving(nodes, seed)
                except AssertionError as error:
                    raise AssertionError(f"interleaving {seed}: {error}") from error

        for _ in range(AT_ONCE):
            nursery.start_soon(play)


@pytest.mark.parametrize("adapter", ["memory", "sqlite", on("cassandra-1"), on("cassandra-3")])
async def test_a_lost_append_is_settled_by_the_next_claim_not_by_reading(adapter: str) -> None:
    """Reading says that it was not applied; then the coordinator thaws and carries it out."""
    async with opened(adapter) as nodes:
        freezer = Freezer(0, of_deciding=True, behind=False, lost=True)
        thread = ThreadId(f"{fresh_prefix()}g1")
        log, _ = nodes(freezer)
        ann = Node(log, ANN, thread, random.Random(1))
        await ann.claim()
        freezer.armed = True
        assert await ann.append() == Failed(False, "the coordinator froze")
        assert await log.read(thread, Span(), 10) == []
        claim = await ann.claim()
        assert (claim.head.epoch, claim.head.seq) == (2, 0)
        await freezer.carry_out_late()
        assert await log.read(thread, Span(), 10) == []
        assert await ann.append() == Committed()
        assert await log.read(thread, Span(), 10) == list(ann.acknowledged[0].events)
