"""Programs that are not on trio: a system in a thread, and calls that would block a loop. Real
time, as threads have."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest
import trio

from actors.runtime import (
    ActorSystem,
    Future,
    NoSystem,
    PykkaActor,
    WouldBlock,
    background_system,
    current_system,
    open_system,
)
from tests.actors.runtime.support import Puppet

TIMEOUT_S = 20.0
"""For what should take no time."""


class Counter(PykkaActor):
    def __init__(self, count: int = 0) -> None:
        super().__init__()
        self.count = count
        self.thread = threading.get_ident()

    def add(self, number: int) -> int:
        self.count += number
        return self.count


# ---------------------------------------------------------------------- a system in a thread


def test_pykkas_way_of_working_works_from_a_plain_program() -> None:
    with background_system():
        ref = Counter.start(count=1)
        proxy = ref.proxy()
        proxy.count = 5
        assert pykka.get_all([proxy.add(1), proxy.add(2)]) == [6, 8]
        assert proxy.count.get() == 8
        assert proxy.add(1).map(lambda count: count * 10).get() == 90
        assert proxy.thread.get() != threading.get_ident()
        assert pykka.ActorRegistry.stop_all() == [True]
        assert ref.actor_stopped.wait(TIMEOUT_S)
    assert not pykka.ActorRegistry.get_all()


def test_every_thread_of_the_process_finds_it() -> None:
    made: queue.Queue[Any] = queue.Queue()
    with background_system() as system:
        thread = threading.Thread(target=lambda: made.put(Counter.start()))
        thread.start()
        thread.join(TIMEOUT_S)
        assert made.get_nowait()._cell.system is system
        assert current_system() is system
    with pytest.raises(NoSystem):
        current_system()


def test_what_a_constructor_raises_is_raised_to_whoever_starts() -> None:
    with background_system(), pytest.raises(TypeError):
        Counter.start(no_such_argument=1)


def test_leaving_it_stops_its_actors_in_order() -> None:
    ended: list[str] = []

    class Last(Puppet):
        def on_stop(self) -> None:
            ended.append("stopped")

    with background_system():
        ref = Last.start()
    assert ended == ["stopped"]
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("x")
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("x", timeout=TIMEOUT_S)


@pytest.mark.crashes
def test_what_ends_the_loop_is_raised_at_the_end() -> None:
    def leave(_self: Puppet) -> None:
        raise SystemExit(3)

    def program() -> None:
        with background_system():
            ref = Puppet.start()
            ref.tell(leave)
            assert ref.actor_stopped.wait(TIMEOUT_S)

    with pytest.raises(BaseExceptionGroup) as caught:
        program()
    assert caught.group_contains(SystemExit)


def test_starting_after_its_end_is_refused() -> None:
    with background_system() as system:
        pass
    with pytest.raises(NoSystem):
        system.dispatcher.run_from_thread(lambda: None)


def test_waiting_for_an_end_can_time_out() -> None:
    with background_system():
        assert not Puppet.start().actor_stopped.wait(0.01)


def test_a_future_may_be_awaited_on_another_event_loop() -> None:
    with background_system():
        proxy = Counter.start().proxy()

        async def act() -> int:
            count: int = await proxy.add(2)
            return count

        assert asyncio.run(act()) == 2


# ---------------------------------------------------------------------- inside the loop


def ask(system: ActorSystem) -> Any:
    return system.spawn(Puppet).ask("x")


def get(_system: ActorSystem) -> Any:
    return Future[int]().get()


def get_all(system: ActorSystem) -> Any:
    return pykka.get_all([system.spawn(Puppet).ask("x", block=False)])


def get_mapped(system: ActorSystem) -> Any:
    return system.spawn(Puppet).ask(3, block=False).map(lambda number: number).get()


def get_joined(system: ActorSystem) -> Any:
    futures = [system.spawn(Puppet).ask(3, block=False) for _ in range(2)]
    return futures[0].join(futures[1]).get()


def get_attribute(system: ActorSystem) -> Any:
    return system.spawn(Puppet).proxy().got.get()


def set_attribute(system: ActorSystem) -> Any:
    system.spawn(Puppet).proxy().got = []


def stop(system: ActorSystem) -> Any:
    return system.spawn(Puppet).stop()


def stop_all(system: ActorSystem) -> Any:
    system.spawn(Counter)
    return pykka.ActorRegistry.stop_all()


def wait_stopped(system: ActorSystem) -> Any:
    return system.spawn(Puppet).actor_stopped.wait(TIMEOUT_S)


def run_another(_system: ActorSystem) -> Any:
    with background_system():
        pass


ADVICE: dict[Callable[[ActorSystem], Any], str] = {
    ask: r"ask\(block=False\) or `await call\(\)`",
    get: "await the future",
    get_all: "await the future",
    get_mapped: "await the future",
    get_joined: "await the future",
    get_attribute: "await the future",
    set_attribute: "give the actor a method",
    stop: r"stop\(block=False\)",
    stop_all: r"stop_all\(block=False\)",
    wait_stopped: r"await ref.wait_exit\(\)",
    run_another: r"async with open_system\(\)",
}


@pytest.mark.parametrize("call", ADVICE)
@pytest.mark.parametrize("place", ["task", "handler", "async handler", "callback"])
def test_what_would_block_the_loop_says_what_to_do_instead(
    call: Callable[[ActorSystem], Any], place: str
) -> None:
    async def story() -> None:
        with trio.fail_after(TIMEOUT_S):
            async with open_system() as system:
                with pytest.raises(WouldBlock, match=ADVICE[call]):
                    await in_place(system, place, lambda: call(system))

    trio.run(story)


async def in_place(system: ActorSystem, place: str, act: Callable[[], Any]) -> None:
    """Run something where code of the loop may run."""

    class Tolerant(Puppet):
        crash_on_ask_error = False

    class TolerantTask(Tolerant):
        async def on_receive(self, message: Any) -> Any:
            return message(self)

    match place:
        case "task":
            act()
        case "handler":
            await system.spawn(Tolerant).call(lambda _self: act())
        case "async handler":
            await system.spawn(TolerantTask).call(lambda _self: act())
        case "callback":
            await trio.to_thread.run_sync(trio.from_thread.run_sync, act)


def test_a_start_does_not_wait_for_the_loop_of_another_thread() -> None:
    async def story() -> None:
        with pytest.raises(WouldBlock, match=r"use its own system"):
            Counter.start()

    with background_system():
        trio.run(story)


@pytest.mark.parametrize("call", [ask, get_attribute, set_attribute, stop, stop_all])
def test_the_same_calls_are_fine_in_a_thread(call: Callable[[ActorSystem], Any]) -> None:
    class ByThread:
        """`spawn` as a thread does it."""

        def spawn(self, kind: type[Any]) -> Any:
            return kind.start()

    with background_system():
        call(ByThread())  # type: ignore[arg-type]  # it uses only `spawn`
