"""Timers: never early, never for the next life, never in the way."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.runtime import KILL, ActorSystem, Crash, open_system
from actors.runtime.timers import CANCELLED_MIN
from actors.testkit import advance, run_virtual, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

delays = st.lists(st.floats(0.0, 100.0), max_size=20)


class Clockwatcher(Puppet):
    """Keeps when each message came."""

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.got.append((message, trio.current_time()))
        return None


async def test_without_delay_it_is_a_message_at_once(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.tell(lambda self: (self.ref.tell("later"), self.send_after(0, "now")))
    await settle()
    assert actor.got == ["now", "later"]
    timer = await do(actor, lambda self: self.send_after(-1, "now"))
    assert timer.cancel() is None


@pytest.mark.otp("timers.never_early")
@pytest.mark.parametrize("kind", [Puppet, AsyncPuppet])
async def test_a_timer_fires_once_in_its_time(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    await do(actor, lambda self: self.send_after(2.0, "tick"))
    await advance(1.9)
    assert actor.got == []
    await advance(0.2)
    assert actor.got == ["tick"]
    await advance(10.0)
    assert actor.got == ["tick"]


@pytest.mark.otp("timers.never_early")
@given(delays)
def test_timers_fire_in_order_and_never_early(wanted: list[float]) -> None:
    async def story() -> None:
        async with open_system() as system:
            actor = await puppet(system, Clockwatcher)
            begun_s = trio.current_time()
            for delay_s in wanted:
                actor.send_after(delay_s, delay_s)
            await advance(101.0)
            assert [delay_s for delay_s, _ in actor.got] == sorted(wanted)
            assert all(at_s - begun_s >= delay_s for delay_s, at_s in actor.got)
            assert system.statistics().timers == 0

    run_virtual(story)


@pytest.mark.otp("timers.library")
async def test_a_period_repeats_until_it_is_cancelled(system: ActorSystem) -> None:
    actor = await puppet(system)
    timer = await do(actor, lambda self: self.send_every(1.0, "tick"))
    await advance(3.5)
    assert actor.got == ["tick"] * 3
    assert actor.cancel_timer(timer) == pytest.approx(0.5)
    await advance(5.0)
    assert actor.got == ["tick"] * 3
    assert system.statistics().timers == 0


async def test_periods_missed_in_a_stall_are_skipped(system: ActorSystem) -> None:
    actor = await puppet(system, Clockwatcher)
    begun_s = trio.current_time()
    actor.send_every(1.0, "tick")
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(10.2)
    await settle()
    await advance(1.0)
    assert [round(at_s - begun_s, 3) for _, at_s in actor.got] == [10.2, 11.2]


@pytest.mark.crashes
async def test_a_period_is_longer_than_nothing(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.tell(lambda self: self.send_every(0.0, "for ever"))
    reason = await actor.ref.wait_exit()
    assert isinstance(reason, Crash)
    assert reason.error == "AssertionError"


@pytest.mark.otp("timers.cancel")
async def test_cancelling_answers_what_was_left(system: ActorSystem) -> None:
    actor = await puppet(system)
    timer = actor.send_after(5.0, "tick")
    await advance(2.0)
    assert timer.cancel() == pytest.approx(3.0)
    assert timer.cancel() is None
    fired = actor.send_after(0.0, "now")
    await settle()
    assert fired.cancel() is None
    assert actor.got == ["now"]


@pytest.mark.otp("timers.incarnation")
async def test_the_next_life_hears_nothing_of_the_last_ones_timers(system: ActorSystem) -> None:
    first = await puppet(system, name="n")
    first.send_after(1.0, "once")
    first.send_every(1.0, "again")
    first.ref.exit(KILL)
    assert system.statistics().timers == 0
    second = await puppet(system, name="n")
    await advance(5.0)
    assert (second.incarnation, second.got) == (2, [])


@pytest.mark.otp("timers.dead_target")
async def test_code_of_the_dead_sets_no_timers(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.exit(KILL)
    assert not actor.send_after(1.0, "tick").is_active
    assert system.statistics().timers == 0


async def test_cancelled_timers_do_not_pile_up(system: ActorSystem) -> None:
    actor = await puppet(system)
    keep = [actor.send_after(100.0, "keep") for _ in range(10)]
    for _ in range(20 * CANCELLED_MIN):
        actor.send_after(1000.0, "drop").cancel()
    assert len(system.timers) == 10
    assert len(system.timers._heap) < 3 * CANCELLED_MIN
    assert all(timer.is_active for timer in keep)
    await advance(101.0)
    assert actor.got == ["keep"] * 10


async def test_ticks_come_before_traffic_and_are_never_refused(system: ActorSystem) -> None:
    class Small(Puppet):
        mailbox_max = 1

    actor = await puppet(system, Small)
    actor.send_after(0.0, "tick")
    actor.ref.tell("traffic")
    system.timers._fire(trio.current_time())
    await settle()
    assert actor.got == ["tick", "traffic"]
