"""The whole server on PostgreSQL and three Cassandra nodes, each of which fails under load.

Twenty people chat by the protocol. Afterwards every acknowledged message is there once and in its
order, on every device. How long nobody, and somebody, was without an acknowledgement is printed.
"""

from __future__ import annotations

import itertools
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests import servers
from tests.chaos.device import Device, Refused, enter, read_log
from tests.chaos.ledger import Ledger, Sent, check_log
from tests.chaos.town import Milestones, Person, Town, settle
from tests.e2e.wire import Server, serving
from tests.faults.test_cassandra import NAME, STANDSTILL_S, return_killed, send, thaw
from tests.servers import cassandra
from tests.servers.postgres import OwnServer

PEOPLE, DEVICES = 20, 40
WRITES = 20
SOME = 200
"""Acknowledgements that show that the service goes on."""
GO_ON_S = 60.0
"""For so many of them, on a machine that starts a node meanwhile."""

pytestmark = pytest.mark.faults


@pytest.fixture
def settings(own_postgres: OwnServer) -> dict[str, str]:
    """Two databases and a keyspace that are new."""
    url = cassandra.url(NAME)
    if url is None:
        pytest.skip(f"{NAME} does not run: {servers.HINT}")
    log = url.replace("/coppice?", f"/faults_{uuid.uuid4().hex}?")
    return {"COPPICE_SQL": ",".join(own_postgres.create(2)), "COPPICE_LOG": log}


@pytest.fixture
def server(settings: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", **settings) as server:
        yield server


@asynccontextmanager
async def chatting(server: Server, fault: str, *, waits: bool = False) -> AsyncIterator[Town]:
    """People who chat inside, and are right about everything that they were told. Unless somebody
    `waits` for what failed to come back, nobody stands still for long: for a while that is given,
    and for as long as this machine makes them wait when nothing fails."""
    async with trio.open_nursery() as nursery:
        town = await settle(
            lambda: server.address, random.Random(1), nursery, people=PEOPLE, devices=DEVICES
        )
        enough = trio.Event()
        async with trio.open_nursery() as people:
            people.start_soon(town.chat, enough)
            await goes_on(town.acknowledged)
            unhurt_s = town.slowest_s
            yield town
            await goes_on(town.acknowledged)
            enough.set()
        await town.converge()
        wrong = await town.verdict()
        nursery.cancel_scope.cancel()
    print(
        f"\n{fault}: nobody acknowledged for {town.acknowledged.gap_s:.1f} s, somebody for "
        f"{town.slowest_s:.1f} s ({unhurt_s:.1f} s before); {town.ledger.acknowledged} "
        f"acknowledged, {dict(town.notes())}"
    )
    assert waits or town.slowest_s < STANDSTILL_S + unhurt_s
    assert not wrong, "\n".join(wrong[:20])
    assert not town.closes(), "whatever fails behind the server, its sockets stay"


async def goes_on(milestones: Milestones, count: int = SOME) -> None:
    with trio.fail_after(GO_ON_S):
        await milestones.more(count)


# ---------------------------------------------------------------------------- Cassandra


@pytest.mark.parametrize(
    ("fault", "remedy", "times"),
    [(signal.SIGKILL, return_killed, 1), (signal.SIGSTOP, thaw, 3)],
    ids=["killed", "frozen"],
)
async def test_one_of_three_nodes(
    server: Server, fault: signal.Signals, remedy: Callable[[], Awaitable[None]], times: int
) -> None:
    """What was on its way to a frozen node is of unknown outcome, and may be carried out later."""
    async with (
        chatting(server, f"{fault.name} of a Cassandra node, times {times}") as town,
        stays_ready(server),
    ):
        for _ in range(times):
            await goes_on(town.acknowledged)
            await send(fault)
            try:
                await goes_on(town.acknowledged)
            finally:
                await remedy()


@asynccontextmanager
async def stays_ready(server: Server) -> AsyncIterator[None]:
    """Whoever asks `/ready` all the time is told that all is well."""

    async def ask() -> None:
        while True:
            status, details = await trio.to_thread.run_sync(server.ready)
            assert status == 200, details
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield
        nursery.cancel_scope.cancel()


async def test_two_of_three_nodes_are_frozen(server: Server) -> None:
    async with chatting(server, "SIGSTOP of two Cassandra nodes", waits=True) as town:
        with frozen_nodes(*cassandra.ADDRESSES[NAME][1:]):
            details = await trio.to_thread.run_sync(server.becomes, 503)
            assert (details["state"], details["stores"]["sql"]) == ("store unavailable", "ok")
            assert await healthy(server) == {"sql": 1, "log": 0}
            await is_put_off(town)
        assert (await trio.to_thread.run_sync(server.becomes, 200))["stores"]["log"] == "ok"
        assert await healthy(server) == {"sql": 1, "log": 1}


@contextmanager
def frozen_nodes(*addresses: str) -> Iterator[None]:
    for address in addresses:
        cassandra.signal_node(NAME, address, signal.SIGSTOP)
    try:
        yield
    finally:
        for address in addresses:
            cassandra.signal_node(NAME, address, signal.SIGCONT)


async def is_put_off(town: Town) -> None:
    """Somebody's post is answered that it may work later. It may be in the log in the end."""
    person = town.people[0]
    sent = Sent(person.uid, person.threads[0], "during", f"{person.uid} wrote during")
    town.ledger.submit(sent)
    with pytest.raises(Refused) as refused:
        await person.desk.request("send", thread=sent.thread, text=sent.text, cid=sent.cid)
    assert refused.value.temporary


async def healthy(server: Server) -> dict[str, float]:
    return {
        name: await trio.to_thread.run_sync(server.metric, f"coppice_healthy_{name}")
        for name in ("sql", "log")
    }


# ---------------------------------------------------------------------------- PostgreSQL


class Founders:
    """Everybody founds two groups at a time, which needs both stores, on a device of their own: the
    requests of one wait for one another. `groups` are those that were acknowledged, by name."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._names = (f"group{number}" for number in itertools.count(1))
        self.groups: dict[str, str] = {}
        self.acknowledged = Milestones()

    async def found(self) -> None:
        async with trio.open_nursery() as nursery:
            for person, other in itertools.pairwise(self._town.people * 2):
                nursery.start_soon(self._found, person, other)

    async def _found(self, person: Person, other: Person) -> None:
        for name in self._names:
            words = {"name": name, "members": [other.uid], "cid": name}
            answer = await person.phone.persist("group.create", **words)
            self.groups[name] = answer["thread"]
            self.acknowledged.add()

    async def check(self) -> None:
        """Founder and member have each group, once: the member within seconds, from the outbox."""
        with trio.fail_after(GO_ON_S):
            while True:
                found = [entry for person in self._town.people for entry in await listed(person)]
                if all(found.count(entry) == 2 for entry in self.groups.items()):
                    break
        once = {name: thread for name, thread in found if name in self.groups}
        assert once == self.groups


async def listed(person: Person) -> list[tuple[str, str]]:
    """Name and id of every group in somebody's list."""
    after: dict[str, Any] = {}
    groups: list[tuple[str, str]] = []
    while True:
        page = await person.desk.persist("thread.list", limit=200, **after)
        groups += [(line["name"], line["thread"]) for line in page["threads"] if "name" in line]
        if "next" not in page:
            return groups
        after = {"after": page["next"]}


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_postgres(server: Server, own_postgres: OwnServer, fault: str) -> None:
    """Who chats goes on. Everything else is refused for now, also when the pool is exhausted."""
    async with chatting(server, f"PostgreSQL {fault}") as town:
        founders = Founders(town)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(founders.found)
            await goes_on(founders.acknowledged, PEOPLE)
            async with away(own_postgres, fault):
                details = await trio.to_thread.run_sync(server.becomes, 503)
                assert (details["state"], details["stores"]["log"]) == ("store unavailable", "ok")
                assert await healthy(server) == {"sql": 0, "log": 1}
                await goes_on(town.acknowledged)
                if fault == "frozen":
                    await trio.to_thread.run_sync(exhausted, server)
            assert (await trio.to_thread.run_sync(server.becomes, 200))["stores"]["sql"] == "ok"
            assert await healthy(server) == {"sql": 1, "log": 1}
            await goes_on(founders.acknowledged, 2 * PEOPLE)
            nursery.cancel_scope.cancel()
        await founders.check()


def exhausted(server: Server) -> None:
    """Return when somebody got no connection in time, because all were in use."""
    deadline_s = time.monotonic() + GO_ON_S
    while not server.metric("coppice_sql_refused_total"):
        assert time.monotonic() < deadline_s


@asynccontextmanager
async def away(postgres: OwnServer, fault: str) -> AsyncIterator[None]:
    if fault == "killed":
        await trio.to_thread.run_sync(postgres.stop, signal.SIGKILL)
        yield
        await trio.to_thread.run_sync(postgres.start)
    else:
        with postgres.frozen():
            yield


# ---------------------------------------------------------------------------- two servers


async def test_two_servers_write_to_one_thread(settings: dict[str, str], tmp_path: Path) -> None:
    """Which nobody should do: they take the thread from each other with every message. Nothing is
    lost or doubled by it, as a third one reads it afterwards."""
    ledger = Ledger()
    with serving(tmp_path / "1", **settings) as one, serving(tmp_path / "2", **settings) as other:
        await enter(one.address, "register", "ann")
        async with trio.open_nursery() as nursery:
            writers = [
                await connected(f"ann{number}", server, ledger, nursery)
                for number, server in enumerate([one, other] * 2)
            ]
            group = await writers[0].persist("group.create", name="all", members=[], cid="g")
            async with trio.open_nursery() as writing:
                for writer in writers:
                    writing.start_soon(write, writer, group["thread"], ledger)
            nursery.cancel_scope.cancel()
    notes = sum((writer.notes for writer in writers), Counter[str]())
    print(f"\ntwo servers: {ledger.acknowledged} acknowledged, {dict(notes)}")
    with serving(tmp_path / "3", **settings) as third:
        async with trio.open_nursery() as nursery:
            reader = await connected("reader", third, ledger, nursery)
            log = await read_log(reader, group["thread"])
            nursery.cancel_scope.cancel()
    wrong = [*ledger.broken, *check_log(ledger, group["thread"], log)]
    assert not wrong, "\n".join(wrong[:20])
    assert ledger.acknowledged == len(writers) * WRITES


async def connected(name: str, server: Server, ledger: Ledger, nursery: trio.Nursery) -> Device:
    """A new device of ann's."""
    token = await enter(server.address, "login", "ann")
    device = Device(name, lambda: server.address, token, ledger, random.Random(name))
    nursery.start_soon(device.run)
    await device.online.wait()
    return device


async def write(device: Device, thread: str, ledger: Ledger) -> None:
    for number in range(WRITES):
        sent = Sent(device.uid, thread, f"{device.name} {number}", f"{device.name} {number}")
        ledger.submit(sent)
        await device.post(sent)
