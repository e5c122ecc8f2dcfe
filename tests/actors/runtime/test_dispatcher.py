"""Fairness: between actors, and between actors and everybody else in the loop."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.runtime import KILL, ActorSystem
from actors.runtime.dispatcher import SLICE_MESSAGES_MAX, SLICE_S, TURN_MESSAGES_MAX
from actors.testkit import advance, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, puppet


class Busy(Puppet):
    """Never has nothing to do: it answers each message with the next, to itself."""

    handled = 0

    def on_receive(self, message: Any) -> Any:
        self.handled += 1
        self.ref.tell(message)


class AsyncBusy(AsyncPuppet):
    handled = 0

    async def on_receive(self, message: Any) -> Any:
        self.handled += 1
        self.ref.tell(message)


class Slow(Puppet):
    """Takes time without letting go of the loop."""

    def __init__(self, clock: MockClock, seconds: float) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = seconds

    def on_receive(self, message: Any) -> Any:
        self.clock.jump(self.seconds)


def handled(actor: Any) -> int:
    count: int = actor.ref.statistics().handled
    return count


async def test_a_busy_actor_leaves_room_for_others(system: ActorSystem) -> None:
    busy, other = await puppet(system, Busy), await puppet(system)
    busy.ref.tell("go")
    await trio.lowlevel.checkpoint()
    before = busy.handled
    assert await other.ref.call("answer") == "answer"
    assert busy.handled - before <= 3 * SLICE_MESSAGES_MAX
    busy.stop()


async def test_turns_go_round(system: ActorSystem) -> None:
    order: list[str] = []

    class Named(Puppet):
        def on_receive(self, message: Any) -> Any:
            order.append(message)

    a, b = await puppet(system, Named), await puppet(system, Named)
    for _ in range(2 * TURN_MESSAGES_MAX):
        a.ref.tell("a")
        b.ref.tell("b")
    await settle()
    turn = TURN_MESSAGES_MAX
    assert order == ["a"] * turn + ["b"] * turn + ["a"] * turn + ["b"] * turn


@pytest.mark.parametrize("kind", [Busy, AsyncBusy])
async def test_sockets_are_served_while_actors_are_busy(
    system: ActorSystem, kind: type[Any]
) -> None:
    """Any other task gets a step after a bounded number of messages."""
    busy = await puppet(system, kind)
    busy.ref.tell("go")
    steps: list[int] = []
    for _ in range(20):
        await trio.lowlevel.checkpoint()
        steps.append(busy.handled)
    longest = max(b - a for a, b in itertools.pairwise(steps))
    assert longest <= 2 * SLICE_MESSAGES_MAX + TURN_MESSAGES_MAX
    assert steps[-1] > steps[0]
    busy.ref.exit(KILL)


async def test_slow_handlers_shrink_the_slice(system: ActorSystem) -> None:
    """With handlers of a millisecond the loop is away for a few of them, not for a whole turn."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    slow = await puppet(system, Slow, clock=clock, seconds=0.001)
    for _ in range(200):
        slow.ref.tell("work")
    away_s: list[float] = []
    while handled(slow) < 200:
        left_s = trio.current_time()
        await trio.lowlevel.checkpoint()
        away_s.append(trio.current_time() - left_s)
    settled = away_s[4:]
    assert max(settled) <= 3 * SLICE_S + 0.0001
    assert len(away_s) > 40


async def test_with_nothing_to_do_it_parks(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    parked = [system.dispatcher.is_parked]
    actor.ref.tell(1)
    parked.append(system.dispatcher.is_parked)
    await settle()
    parked.append(system.dispatcher.is_parked)
    assert parked == [True, False, True]
    assert actor.got == [1]


@pytest.mark.otp("signals.order")
async def test_messages_of_one_sender_keep_their_order(system: ActorSystem) -> None:
    class Sender(Puppet):
        def on_receive(self, message: Any) -> Any:
            for number in range(100):
                message.tell(number)

    for kind in (Puppet, AsyncPuppet):
        receiver = await puppet(system, kind)
        (await puppet(system, Sender)).ref.tell(receiver.ref)
        await settle()
        assert receiver.got == list(range(100))


async def test_a_message_to_itself_comes_after_what_waits(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.tell(lambda self: self.ref.tell("mine"))
    actor.ref.tell("yours")
    await settle()
    assert actor.got == ["yours", "mine"]


async def test_an_async_actor_handles_one_message_at_a_time(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    log: list[str] = []

    def step(name: str) -> Any:
        async def act(_self: Any) -> None:
            log.append(f"{name} in")
            await trio.sleep(1.0)
            log.append(f"{name} out")

        return act

    actor.ref.tell(step("a"))
    actor.ref.tell(step("b"))
    await advance(2.0)
    assert log == ["a in", "a out", "b in", "b out"]
