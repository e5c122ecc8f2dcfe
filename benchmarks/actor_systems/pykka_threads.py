"""pykka's own actors: a thread each. No supervisors."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

import pykka

from benchmarks.actor_systems.measures import BATCH, CLIENTS, RING
from benchmarks.actor_systems.worker import resident_bytes, serve


class Echo(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


class Link(pykka.ThreadingActor):
    """Passes the token on, and it counts down."""

    use_daemon_thread = True

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done
        self.next: pykka.ActorRef[Any] | None = None

    def on_receive(self, message: Any) -> None:
        if isinstance(message, pykka.ActorRef):
            self.next = message
        elif message == 0:
            self.done.set()
        elif self.next is not None:
            self.next.tell(message - 1)


class Idle(Echo):
    """Says when it has started."""

    ready = threading.Semaphore(0)

    def on_start(self) -> None:
        Idle.ready.release()


def start_idle(count: int) -> list[pykka.ActorRef[Idle]]:
    refs = [Idle.start() for _ in range(count)]
    for _ in range(count):
        Idle.ready.acquire()
    return refs


def stop(refs: list[Any]) -> None:
    for future in [ref.stop(block=False) for ref in refs]:
        future.get()


def tells(count: int) -> float:
    ref = Echo.start()
    begin_s = perf_counter()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            ref.tell(None)
        ref.ask(None)
    took_s = perf_counter() - begin_s
    ref.stop()
    return count / took_s


def asks(count: int) -> float:
    ref = Echo.start()
    begin_s = perf_counter()
    for _ in range(count):
        ref.ask(None)
    took_s = perf_counter() - begin_s
    ref.stop()
    return count / took_s


def concurrent_asks(count: int) -> float:
    ref = Echo.start()

    def client() -> None:
        for _ in range(count // CLIENTS):
            ref.ask(None)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    begin_s = perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    took_s = perf_counter() - begin_s
    ref.stop()
    return count / took_s


def hops(count: int) -> float:
    done = threading.Event()
    ring = [Link.start(done) for _ in range(RING)]
    for here, following in zip(ring, ring[1:] + ring[:1], strict=True):
        here.ask(following)
    begin_s = perf_counter()
    ring[0].tell(count)
    done.wait()
    took_s = perf_counter() - begin_s
    stop(ring)
    return count / took_s


def starts(count: int) -> float:
    begin_s = perf_counter()
    refs = start_idle(count)
    took_s = perf_counter() - begin_s
    stop(refs)
    return count / took_s


def idle_bytes(count: int) -> float:
    before = resident_bytes()
    refs = start_idle(count)
    used = resident_bytes() - before
    stop(refs)
    return used / count


if __name__ == "__main__":
    serve({
        "idle_bytes": idle_bytes, "tells": tells, "asks": asks,
        "concurrent_asks": concurrent_asks, "hops": hops, "starts": starts,
    })  # fmt: skip
