"""Timers to others, by name, at a point in time, and those that end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    SHUTDOWN,
    ActorSystem,
    Custom,
    exit_after,
    inspection,
)
from actors.testkit import Probe, advance, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

KINDS = [Puppet, AsyncPuppet]


@pytest.mark.otp("timers.cancel")
@pytest.mark.parametrize("kind", KINDS)
async def test_the_time_left_is_told_while_it_runs_and_at_its_cancel(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    timer = await do(actor, lambda self: self.send_after(5.0, "tick"))
    await advance(2.0)
    assert timer.left_s == pytest.approx(3.0)
    assert actor.cancel_timer(timer) == pytest.approx(3.0)
    assert timer.left_s is None
    assert actor.cancel_timer(timer) is None


@pytest.mark.otp("timers.by_name")
async def test_a_timer_by_name_finds_who_has_it_when_it_fires(system: ActorSystem) -> None:
    sender, first = await puppet(system), await puppet(system, name="n")
    for delay_s in (1.0, 3.0, 5.0):
        sender.send_after(delay_s, delay_s, to="n")
    await advance(1.5)
    await system.stop(first.ref)
    await advance(2.0)
    second = await puppet(system, name="n")
    await advance(2.0)
    assert (first.got, second.got) == ([1.0], [5.0])
    assert system.dead_letters == 0, "with nobody there it does nothing"


@pytest.mark.otp("timers.dead_target", "timers.incarnation")
async def test_a_timer_to_an_incarnation_ends_with_it(system: ActorSystem) -> None:
    sender, first = await puppet(system), await puppet(system, name="n")
    timer = await do(sender, lambda self: self.send_after(1.0, "tick", to=first.ref))
    ref = first.ref
    ref.exit(KILL)
    assert not timer.is_active
    assert system.statistics().timers == 0
    second = await puppet(system, name="n")
    late = await do(sender, lambda self: self.send_after(1.0, "tick", to=ref))
    await advance(2.0)
    assert not late.is_active
    assert (second.got, system.dead_letters) == ([], 0)


@pytest.mark.otp("timers.absolute", "timers.never_early")
async def test_a_deadline_is_a_point_in_time(system: ActorSystem) -> None:
    actor = await puppet(system)
    at_s = trio.current_time() + 3.0
    await do(actor, lambda self: self.send_at(at_s, "then") and None)
    await do(actor, lambda self: self.send_at(at_s - 100.0, "at once") and None)
    await settle()
    assert actor.got == ["at once"]
    await trio.sleep_until(at_s - 1e-6)
    assert actor.got == ["at once"]
    await advance(1e-5)
    assert actor.got == ["at once", "then"]


@pytest.mark.otp("timers.library")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_exit_signal_may_come_later(system: ActorSystem, kind: type[Any]) -> None:
    refs = [(await puppet(system, kind)).ref for _ in range(3)]
    exit_after(1.0, refs[0], Custom("why"))
    exit_after(2.0, refs[1], KILL)
    cancelled = exit_after(2.0, refs[2], KILL)
    await advance(1.1)
    assert [ref.exit_reason for ref in refs] == [Custom("why"), None, None]
    assert cancelled.cancel() == pytest.approx(0.9)
    await advance(2.0)
    assert [ref.exit_reason for ref in refs] == [Custom("why"), KILLED, None]


@pytest.mark.otp("timers.library")
async def test_a_later_exit_signal_comes_from_who_set_it(system: ActorSystem) -> None:
    actor, trapper = await puppet(system), Probe(system)
    await do(actor, lambda self: exit_after(1.0, trapper.ref, SHUTDOWN) and None)
    await trapper.expect_exit(actor.ref, SHUTDOWN, within_s=1.0)


@pytest.mark.otp("timers.library")
async def test_work_that_comes_later_is_a_message(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.send_every(1.0, lambda it: it.got.append("applied")) and None)
    await advance(2.5)
    assert actor.got == ["applied", "applied"]


@pytest.mark.otp("timers.gen_statem_timeouts")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_named_timer_replaces_the_one_before(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)

    def act(self: Any) -> None:
        self.set_timer("a", 1.0, "a replaced")
        self.set_timer("a", 2.0, "a")
        self.set_timer("b", 1.0, "b")
        self.set_timer("c", 1.0, "c dropped")
        assert self.drop_timer("c") == pytest.approx(1.0)
        assert self.drop_timer("c") is None

    await do(actor, act)
    await advance(5.0)
    assert actor.got == ["b", "a"]
    assert actor.drop_timer("a") is None, "its tick was heard"
    assert system.statistics().timers == 0


@pytest.mark.otp("timers.gen_statem_timeouts")
@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_named_timer_that_fired_is_not_heard_if_it_was_replaced(
    system: ActorSystem, is_replaced: bool
) -> None:
    actor = await puppet(system, AsyncPuppet)

    async def act(self: Any) -> None:
        self.set_timer("a", 1.0, "fired while this waits")
        await trio.sleep(2.0)
        if is_replaced:
            self.set_timer("a", 1.0, "a")
        else:
            assert self.drop_timer("a") == 0.0

    await actor.ref.call(act)
    await advance(5.0)
    assert actor.got == (["a"] if is_replaced else [])


async def test_a_named_timer_ends_with_its_incarnation(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.set_timer("a", 1.0, "a"))
    actor.ref.exit(KILL)
    assert system.statistics().timers == 0
    actor.set_timer("a", 1.0, "code of the dead sets none")
    assert system.statistics().timers == 0


async def test_a_named_timer_is_a_message_to_observers(system: ActorSystem) -> None:
    actor = await puppet(system)
    await inspection.keep_log(actor.ref)
    await do(actor, lambda self: self.set_timer("a", 1.0, "a"))
    await advance(2.0)
    assert [seen.message for seen in await inspection.get_log(actor.ref)][-1] == "a"
