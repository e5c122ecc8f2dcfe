"""Three Cassandra nodes, one killed or frozen: writers go on, and nothing acknowledged is lost.

Eight owners write to a thread each, one event after the other. Owners whose append fails claim the
thread, as channels do. How long they stood still is printed.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from persistence.cql import open_log
from persistence.cql_log import CqlLog
from persistence.errors import StoreError
from persistence.records import ClientId, Committed, Repeated, ThreadId
from tests.contracts.cql import needs
from tests.contracts.stores import ANN, append, event
from tests.servers import cassandra

NAME = "cassandra-3"
NODE = cassandra.ADDRESSES[NAME][1]
WRITERS = 8
STANDSTILL_S = 5.0
"""The longest that anybody may go without an acknowledgement, on a machine that is never late."""

pytestmark = [pytest.mark.faults, needs(NAME)]


@dataclass
class Owner:
    """Of one thread. `seqs` are what it was told is durable, by cid; `at_s` when."""

    log: CqlLog
    thread: ThreadId = field(default_factory=lambda: ThreadId(f"faults:{uuid.uuid4().hex}"))
    seqs: dict[str, int] = field(default_factory=dict)
    at_s: list[float] = field(default_factory=list)
    acknowledged: trio.Event = field(default_factory=trio.Event)

    async def write(self) -> None:
        head = None
        while True:
            cid = f"c{len(self.seqs)}"
            try:
                if head is None:
                    head = (await self.log.claim(self.thread, 0)).head
                    epoch, seq = head.epoch, head.seq
                draft = append(self.thread, epoch, seq, event(seq + 1, cid=cid))
                (outcome,) = await self.log.append([draft])
            except StoreError:
                head = None
                continue
            match outcome:
                case Committed():
                    seq += 1
                    self._told(cid, seq)
                case Repeated((found,)):
                    self._told(cid, found.seq)
                case _:
                    head = None

    def _told(self, cid: str, seq: int) -> None:
        self.seqs[cid] = seq
        self.at_s.append(trio.current_time())
        self.acknowledged.set()
        self.acknowledged = trio.Event()

    async def more(self, count: int) -> None:
        for _ in range(count):
            await self.acknowledged.wait()

    def standstill_s(self) -> float:
        return max(after - before for before, after in zip(self.at_s, self.at_s[1:], strict=False))

    async def check(self) -> None:
        """Everything that it was told is there, once, under a head without gaps."""
        claim = await self.log.claim(self.thread, 1_000_000)
        assert [found.seq for found in claim.recent] == list(range(1, claim.head.seq + 1))
        assert {found.cid: found.seq for found in claim.recent} | self.seqs == {
            found.cid: found.seq for found in claim.recent
        }
        last = list(self.seqs)[-1]
        found = await self.log.find(self.thread, ANN, ClientId(last))
        assert found is not None
        assert found.seq == self.seqs[last]


@asynccontextmanager
async def writing() -> AsyncIterator[list[Owner]]:
    url = cassandra.url(NAME)
    assert url is not None
    async with open_log(url.replace("/coppice?", "/faults?")) as log:
        owners = [Owner(log) for _ in range(WRITERS)]
        async with trio.open_nursery() as nursery:
            for owner in owners:
                nursery.start_soon(owner.write)
            yield owners
            nursery.cancel_scope.cancel()
        for owner in owners:
            await owner.check()


async def all_go_on(owners: list[Owner], count: int = 20) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for owner in owners:
                nursery.start_soon(owner.more, count)


async def send(number: signal.Signals) -> None:
    await trio.to_thread.run_sync(cassandra.signal_node, NAME, NODE, number)


async def return_killed() -> None:
    def start() -> None:
        cassandra.start_node(NAME, NODE)
        cassandra.wait_ready(NAME, NODE)

    await trio.to_thread.run_sync(start)


async def thaw() -> None:
    await send(signal.SIGCONT)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [(signal.SIGKILL, return_killed), (signal.SIGSTOP, thaw)],
    ids=["killed", "frozen"],
)
async def test_service_goes_on_without_one_of_three_nodes(
    fault: signal.Signals, remedy: Callable[[], Awaitable[None]]
) -> None:
    async with writing() as owners:
        await all_go_on(owners)
        unhurt_s = max(owner.standstill_s() for owner in owners)
        await send(fault)
        try:
            await all_go_on(owners)
        finally:
            await remedy()
        await all_go_on(owners)
        worst_s = max(owner.standstill_s() for owner in owners)
        acknowledged = sum(len(owner.seqs) for owner in owners)
        print(
            f"\n{fault.name}: {worst_s:.1f} s without service ({unhurt_s:.1f} s before), "
            f"{acknowledged} acknowledged"
        )
    assert worst_s < STANDSTILL_S + unhurt_s
