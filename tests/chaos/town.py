"""Twenty people who chat in pairs and in one group, from one or two devices each, for a whole run.

A `Town` knows its server only as something with an address, so that parts of it or all of it can
be killed meanwhile. `verdict()` reads every log back and says what is wrong.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from tests.chaos.device import Device, enter, read_log
from tests.chaos.ledger import Ledger, Sent, check_device, check_log

IN_FLIGHT = 2
"""Posts a person has on the way at the same time."""
CONVERGED_S = 15.0
"""Within this every device must have everything, by itself, after the last post and last kill."""
GROUP_SHARE, EDIT_SHARE = 0.25, 0.05


@dataclass(slots=True)
class Person:
    uid: str
    devices: list[Device]
    threads: list[str]
    """The dm first, then the group."""
    written: list[Sent] = field(default_factory=list)

    @property
    def desk(self) -> Device:
        """The device this person writes on."""
        return self.devices[0]

    @property
    def phone(self) -> Device:
        """Another one, if they have another."""
        return self.devices[-1]


class Town:
    """People, their devices and their record. Make one with `settle`."""

    def __init__(self, rng: random.Random, ledger: Ledger, people: list[Person]) -> None:
        self.rng, self.ledger, self.people = rng, ledger, people
        self.acknowledged = Milestones()
        self.slowest_s = 0.0
        """The longest that anybody waited for an acknowledgement."""
        self._number = 0

    @property
    def devices(self) -> list[Device]:
        return [device for person in self.people for device in person.devices]

    @property
    def threads(self) -> list[str]:
        return sorted({thread for person in self.people for thread in person.threads})

    async def everybody_online(self) -> None:
        """Wait until every device has been connected and resumed."""
        for device in self.devices:
            await device.online.wait()

    async def chat(self, enough: trio.Event) -> None:
        """Everybody writes until `enough` is set; returns when every post has been answered."""
        async with trio.open_nursery() as nursery:
            for person in self.people:
                for _ in range(IN_FLIGHT):
                    nursery.start_soon(self._write, person, enough)

    async def _write(self, person: Person, enough: trio.Event) -> None:
        while not enough.is_set():
            sent = self._next(person)
            self.ledger.submit(sent)
            begun_s = trio.current_time()
            await person.desk.post(sent)
            self.slowest_s = max(self.slowest_s, trio.current_time() - begun_s)
            if sent.target is None:
                person.written.append(sent)
            self.acknowledged.add()

    def _next(self, person: Person) -> Sent:
        """What somebody writes next: mostly in the dm, sometimes in the group, now and then a
        correction of the last thing they wrote."""
        self._number += 1
        cid = f"c{self._number}"
        last = person.written[-1] if person.written else None
        target = None
        if last is not None and last.seq is not None and self.rng.random() < EDIT_SHARE:
            thread, target = last.thread, last.seq
        else:
            thread = person.threads[self.rng.random() < GROUP_SHARE]
        text = f"{person.uid} wrote {self._number}"
        return Sent(person.uid, thread, cid, text, target)

    async def converge(self) -> None:
        """Wait until every device has every thread up to its head, without any help."""
        heads = {
            thread: (await self._member(thread).desk.persist("history", thread=thread, limit=1))[
                "head"
            ]
            for thread in self.threads
        }
        with trio.move_on_after(CONVERGED_S) as deadline:
            async with trio.open_nursery() as nursery:
                for person in self.people:
                    for device in person.devices:
                        for thread in person.threads:
                            nursery.start_soon(device.has, thread, heads[thread])
        if deadline.cancelled_caught:
            self.ledger.broken.append(f"devices have not converged within {CONVERGED_S} s")

    def _member(self, thread: str) -> Person:
        return next(person for person in self.people if thread in person.threads)

    async def verdict(self) -> list[str]:
        """Every promise that was broken, in words."""
        wrong = list(self.ledger.broken)
        for thread in self.threads:
            log = await read_log(self._member(thread).desk, thread)
            wrong += check_log(self.ledger, thread, log)
            for person in self.people:
                if thread in person.threads:
                    for device in person.devices:
                        seen = device.applied[thread]
                        wrong += check_device(device.name, self.ledger, thread, seen, log)
        return wrong

    def notes(self) -> Counter[str]:
        """What the wires did, all devices together."""
        return sum((device.notes for device in self.devices), Counter())

    def closes(self) -> list[int]:
        return [code for device in self.devices for code in device.closes]


class Milestones:
    """Counts, and lets others wait for a count instead of a time. `gap_s` is the longest time
    between two."""

    def __init__(self) -> None:
        self.count = 0
        self.gap_s = 0.0
        self._last_s = math.inf
        self._moved = trio.Event()

    def add(self) -> None:
        self.count += 1
        now_s = trio.current_time()
        self.gap_s, self._last_s = max(self.gap_s, now_s - self._last_s), now_s
        self._moved.set()
        self._moved = trio.Event()

    async def more(self, count: int) -> None:
        """Wait for this many more."""
        goal = self.count + count
        while self.count < goal:
            await self._moved.wait()


async def settle(
    address: Callable[[], str],
    rng: random.Random,
    nursery: trio.Nursery,
    *,
    people: int,
    devices: int,
) -> Town:
    """Register people in pairs, give the first of them second devices up to `devices`, make the
    group of all, open each dm with a first message, and have every device connected."""
    ledger = Ledger()
    town = Town(rng, ledger, [])
    for number in range(people):
        tokens = [await enter(address(), "register", f"person{number}")]
        if people + number < devices:
            tokens.append(await enter(address(), "login", f"person{number}"))
        owned = [
            Device(f"person{number}.{index}", address, token, ledger, random.Random(rng.random()))
            for index, token in enumerate(tokens)
        ]
        for device in owned:
            nursery.start_soon(device.run)
            await device.online.wait()
        town.people.append(Person(owned[0].uid, owned, []))
    first, *others = town.people
    members = [person.uid for person in others]
    created = await first.desk.persist("group.create", name="all", members=members, cid="g")
    for one, other in zip(town.people[::2], town.people[1::2], strict=True):
        dm = ":".join(["d", *sorted([one.uid, other.uid])])
        sent = Sent(one.uid, dm, f"first {dm}", f"{one.uid} wrote first")
        ledger.submit(sent)
        answer = await one.desk.persist("send", to=other.uid, text=sent.text, cid=sent.cid)
        ledger.acknowledge(sent, answer["seq"], answer["ts"])
        one.threads = other.threads = [dm, created["thread"]]
    return town
