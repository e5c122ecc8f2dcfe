"""thespian on its `simpleSystemBase`: all actors in one process and one thread, as ours are.

Its other bases give every actor a process and pickle every message: another thing, and three
orders of magnitude away. Here an `ask` runs the system until the answer is there, so there are no
concurrent clients.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from thespian.actors import Actor, ActorExitRequest, ActorSystem

from benchmarks.actor_systems.measures import BATCH, RING
from benchmarks.actor_systems.worker import resident_bytes, serve

ANSWER_S = 60.0
SILENT = {"version": 1, "disable_existing_loggers": False}


class Echo(Actor):  # type: ignore[misc]  # thespian has no types
    """Answers "ask"."""

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if message == "ask":
            self.send(sender, message)


class Link(Actor):  # type: ignore[misc]  # thespian has no types
    """Passes the token on, and it counts down; whoever gave it in is told at the end."""

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        match message:
            case ("next", following):
                self.next = following
            case ("token", 0, asker):
                self.send(asker, "done")
            case ("token", left, asker):
                self.send(self.next, ("token", left - 1, asker or sender))


def tells(count: int) -> float:
    echo = SYSTEM.createActor(Echo)
    begin_s = perf_counter()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            SYSTEM.tell(echo, "tell")
        SYSTEM.ask(echo, "ask", ANSWER_S)
    return count / (perf_counter() - begin_s)


def asks(count: int) -> float:
    echo = SYSTEM.createActor(Echo)
    begin_s = perf_counter()
    for _ in range(count):
        SYSTEM.ask(echo, "ask", ANSWER_S)
    return count / (perf_counter() - begin_s)


def hops(count: int) -> float:
    ring = [SYSTEM.createActor(Link) for _ in range(RING)]
    for here, following in zip(ring, ring[1:] + ring[:1], strict=True):
        SYSTEM.tell(here, ("next", following))
    begin_s = perf_counter()
    assert SYSTEM.ask(ring[0], ("token", count, None), ANSWER_S) == "done"
    return count / (perf_counter() - begin_s)


def starts(count: int) -> float:
    begin_s = perf_counter()
    addresses = [SYSTEM.createActor(Echo) for _ in range(count)]
    took_s = perf_counter() - begin_s
    for address in addresses:
        SYSTEM.tell(address, ActorExitRequest())
    return count / took_s


def idle_bytes(count: int) -> float:
    before = resident_bytes()
    addresses = [SYSTEM.createActor(Echo) for _ in range(count)]
    used = resident_bytes() - before
    for address in addresses:
        SYSTEM.tell(address, ActorExitRequest())
    return used / count


if __name__ == "__main__":
    SYSTEM = ActorSystem("simpleSystemBase", logDefs=SILENT)
    serve({
        "idle_bytes": idle_bytes, "tells": tells, "asks": asks, "hops": hops, "starts": starts,
    })  # fmt: skip
    sys.stdout.flush()
    SYSTEM.shutdown()
