"""Ours: sync actors on the dispatcher, clients as trio tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import trio

from actors.runtime import SHUTDOWN, Actor, ActorSystem, Ref, open_system
from benchmarks.actor_systems.measures import BATCH, CLIENTS, RING
from benchmarks.actor_systems.worker import resident_bytes, serve
from supervision import Backoff, ChildSpec, DynamicSupervisor, Supervisor, SupervisorSpec
from supervision.spawner import SpawnerHandle

STOP_S = 60.0
AT_ONCE = Backoff(min_s=0.0, max_s=0.0)
"""As in OTP, which knows no delay."""
RESTARTS_MAX, RESTARTS_S = 1_000_000, 0.001
"""No limit, and a window that holds a few restarts, as windows do."""


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Idle(Actor):
    """Counts down when it has started; whoever waits for the last is told."""

    left = 0
    ready = trio.Event()

    def on_start(self) -> None:
        Idle.left -= 1
        if Idle.left == 0:
            Idle.ready.set()

    def on_receive(self, message: Any) -> Any:
        return message

    @staticmethod
    def expect(count: int) -> None:
        Idle.left, Idle.ready = count, trio.Event()


async def tells(system: ActorSystem, count: int) -> float:
    ref = system.spawn(Echo)
    await ref.call(None)
    begin_s = perf_counter()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            ref.tell(None)
        await ref.call(None)
    return count / (perf_counter() - begin_s)


async def asks(system: ActorSystem, count: int) -> float:
    ref = system.spawn(Echo)
    await ref.call(None)
    begin_s = perf_counter()
    for _ in range(count):
        await ref.call(None)
    return count / (perf_counter() - begin_s)


async def concurrent_asks(system: ActorSystem, count: int) -> float:
    ref = system.spawn(Echo)

    async def client() -> None:
        for _ in range(count // CLIENTS):
            await ref.call(None)

    await ref.call(None)
    begin_s = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)
    return count / (perf_counter() - begin_s)


class Link(Actor):
    """Passes the token on, and it counts down."""

    def __init__(self, done: trio.Event) -> None:
        super().__init__()
        self.done = done
        self.next: Ref | None = None

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Ref):
            self.next = message
        elif message == 0:
            self.done.set()
        elif self.next is not None:
            self.next.tell(message - 1)


async def hops(system: ActorSystem, count: int) -> float:
    done = trio.Event()
    ring = [system.spawn(Link, done) for _ in range(RING)]
    for here, following in zip(ring, ring[1:] + ring[:1], strict=True):
        here.tell(following)
    await trio.sleep(0.01)
    begin_s = perf_counter()
    ring[0].tell(count)
    await done.wait()
    return count / (perf_counter() - begin_s)


async def starts(system: ActorSystem, count: int) -> float:
    Idle.expect(count)
    begin_s = perf_counter()
    for _ in range(count):
        system.spawn(Idle)
    await Idle.ready.wait()
    return count / (perf_counter() - begin_s)


async def idle_bytes(system: ActorSystem, count: int) -> float:
    before = resident_bytes()
    Idle.expect(count)
    kept = [system.spawn(Idle) for _ in range(count)]
    await Idle.ready.wait()
    return (resident_bytes() - before) / len(kept)


class Fragile(Actor):
    """Crashes when told to; the next incarnation says how long that took."""

    crashed_s = 0.0
    took_s = 0.0
    up = trio.Event()

    def on_start(self) -> None:
        Fragile.took_s = perf_counter() - Fragile.crashed_s
        Fragile.up.set()

    def on_receive(self, _message: Any) -> None:
        Fragile.crashed_s = perf_counter()
        raise RuntimeError("told to")


async def restart_us(system: ActorSystem, count: int) -> float:
    child = ChildSpec("fragile", Fragile, name="fragile", backoff=AT_ONCE)
    spec = SupervisorSpec(intensity=RESTARTS_MAX, period_s=RESTARTS_S, children=(child,))
    await system.start(Supervisor, spec)
    took_s = []
    for _ in range(count):
        Fragile.up = trio.Event()
        system.names["fragile"].tell(None)
        await Fragile.up.wait()
        took_s.append(Fragile.took_s)
        await trio.lowlevel.checkpoint()
    return median(took_s) * 1e6


async def children_s(system: ActorSystem, count: int) -> float:
    names = [f"child:{number}" for number in range(count)]
    Idle.expect(count)
    begin_s = perf_counter()
    supervisor = await system.start(
        DynamicSupervisor, lambda name: ChildSpec(name, Idle), name="children"
    )
    handle = SpawnerHandle(system, "children")
    for name in names:
        handle.ensure(name)
    await Idle.ready.wait()
    assert supervisor is not None
    reason = await system.stop(supervisor, STOP_S)
    assert reason == SHUTDOWN, reason
    return perf_counter() - begin_s


def alone(measure: Callable[[ActorSystem, int], Awaitable[float]], count: int) -> float:
    """In a system of its own, which is taken down outside of the measurement."""

    async def run() -> float:
        async with open_system() as system:
            return await measure(system, count)

    return trio.run(run)


if __name__ == "__main__":
    serve({
        "idle_bytes": partial(alone, idle_bytes),
        "tells": partial(alone, tells),
        "asks": partial(alone, asks),
        "concurrent_asks": partial(alone, concurrent_asks),
        "hops": partial(alone, hops),
        "starts": partial(alone, starts),
        "restart_us": partial(alone, restart_us),
        "few_children_s": partial(alone, children_s),
        "many_children_s": partial(alone, children_s),
    })  # fmt: skip
