"""Virtual time jumps, a seed decides, and settled means that nobody can go on."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.runtime import Actor, ActorSystem, Ref, inspection
from actors.testkit import NotSettled, Probe, advance, run_virtual, settle, virtual

HOPS = 50


class Relay(Actor):
    """Passes a number on, one less each time, until it is 0."""

    got: Any = None

    def on_receive(self, message: tuple[int, list[Any]]) -> None:
        self.got = message
        left, others = message
        if left:
            others[left % len(others)].tell((left - 1, others))


class AsyncRelay(Relay):
    async def on_receive(self, message: tuple[int, list[Any]]) -> None:  # type: ignore[override]
        super().on_receive(message)
        await trio.lowlevel.checkpoint()


def test_waiting_costs_nothing_and_is_exact() -> None:
    async def story(days: int) -> float:
        await trio.sleep(days * 86_400)
        return trio.current_time()

    assert run_virtual(story, 30, limit_s=1e9) == 30 * 86_400


def test_a_story_that_never_ends_fails_and_says_so() -> None:
    with pytest.raises(AssertionError, match=r"not over after 12\.0 s of loop time \(limit_s\)"):
        run_virtual(trio.sleep_forever, limit_s=12.0)


def test_a_failure_names_the_seed() -> None:
    async def story() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost") as failed:
        run_virtual(story, seed=42)
    assert failed.value.__notes__ == ["in run_virtual, seed=42"]


def order_of_tasks(seed: int) -> list[int]:
    async def story() -> list[int]:
        order: list[int] = []

        async def step(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(step, number)
        return order

    return run_virtual(story, seed=seed)


def test_the_seed_decides_the_order_of_tasks() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)
    assert len({tuple(order_of_tasks(seed)) for seed in range(10)}) > 1


def test_a_clock_of_ones_own_is_used() -> None:
    clock = MockClock(autojump_threshold=0)
    clock.jump(5.0)

    async def story() -> float:
        return trio.current_time()

    assert run_virtual(story, clock=clock) == 5.0


@pytest.mark.parametrize("kind", [Relay, AsyncRelay])
async def test_settling_runs_every_actor_dry_without_time(
    system: ActorSystem, kind: type[Actor]
) -> None:
    relays = [system.spawn(kind) for _ in range(3)]
    relays[0].tell((HOPS, relays))
    await settle()
    assert sum(ref.statistics().handled for ref in relays) == HOPS + 1
    assert [ref.statistics().mailbox for ref in relays] == [0, 0, 0]
    assert trio.current_time() == 0.0


async def test_settling_does_not_wait_for_a_moment_to_come(system: ActorSystem) -> None:
    probe = Probe(system)
    system.spawn(Relay)._actor.send_after(0.001, "late", to=probe.ref)
    await settle()
    assert (probe.messages, trio.current_time()) == ([], 0.0)


async def test_what_an_actor_may_not_take_stays_in_its_mailbox(system: ActorSystem) -> None:
    relay = system.spawn(Relay)
    await inspection.suspend(relay)
    relay.tell((0, []))
    await settle()
    assert relay.statistics().mailbox == 1


async def test_what_is_due_happens_at_its_time_while_time_passes(system: ActorSystem) -> None:
    probe = Probe(system)
    actor = system.spawn(Relay)._actor
    for delay_s in (3.0, 1.0, 2.0, 4.0):
        actor.send_after(delay_s, delay_s, to=probe.ref)
    await advance(3.0)
    assert [(arrival.at_s, arrival.message) for arrival in probe.arrivals] == [
        (1.0, 1.0), (2.0, 2.0), (3.0, 3.0),
    ]  # fmt: skip


async def test_a_thread_that_a_task_waits_for_is_waited_for(system: ActorSystem) -> None:
    probe = Probe(system)
    goes_on = threading.Event()

    def work() -> str:
        goes_on.wait()
        return "worked"

    def go_on() -> None:
        threading.Timer(0.01, goes_on.set).start()

    actor = system.spawn(Relay)._actor
    actor.run_task(trio.to_thread.run_sync, work, on_done=lambda r: probe.ref.tell(r.unwrap()))
    await trio.testing.wait_all_tasks_blocked()
    go_on()
    await settle()
    assert (probe.messages, trio.current_time()) == (["worked"], 0.0)


def tell_many(ref: Ref) -> None:
    for number in range(100):
        ref.tell(number)


async def test_time_stands_while_a_thread_works_for_a_task() -> None:
    goes_on = threading.Event()
    with trio.fail_after(1.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, goes_on.wait))
            await trio.testing.wait_all_tasks_blocked()
            threading.Timer(0.05, goes_on.set).start()
    assert trio.current_time() == 0.0
    await trio.sleep(10.0)
    assert trio.current_time() == 10.0


async def test_a_thread_may_wait_for_time_to_pass() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)

    async def sleep() -> None:
        held_s, clock.autojump_threshold = clock.autojump_threshold, 0.001  # not five seconds
        await trio.sleep(60.0)
        clock.autojump_threshold = held_s
        assert held_s == virtual.THREADS_S

    await trio.to_thread.run_sync(partial(trio.from_thread.run, sleep))
    assert (trio.current_time(), clock.autojump_threshold) == (60.0, 0.0)


async def test_what_a_foreign_thread_had_sent_is_handled(system: ActorSystem) -> None:
    probe = Probe(system)
    thread = threading.Thread(target=tell_many, args=(probe.ref,))
    thread.start()
    thread.join()
    await settle()
    assert probe.messages == list(range(100))


async def test_a_thread_that_does_not_end_is_not_waited_for_without_end(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.to_thread.run_sync, goes_on.wait))
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(virtual, "THREADS_S", 0.003)  # of settling; the clock is held already
        with pytest.raises(NotSettled, match="1 threads do not end"):
            await settle()
        goes_on.set()
