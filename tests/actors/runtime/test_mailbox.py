"""Two lanes, one bound, and the policies of a full one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    SHUTDOWN,
    ActorSystem,
    CallError,
    Custom,
    Future,
    MailboxFull,
    Overflow,
    Ref,
)
from actors.runtime.mailbox import Mailbox
from actors.runtime.tracing import DeadLetter
from actors.runtime.watch import hold_traffic, release_traffic
from actors.testkit import record_events, settle
from tests.actors.runtime.support import Puppet, do, puppet

OVERFLOWN = Custom("mailbox_overflow")


@given(st.lists(st.tuples(st.booleans(), st.integers())), st.integers(1, 10))
def test_each_lane_is_first_in_first_out(items: list[tuple[bool, int]], limit: int) -> None:
    mailbox = Mailbox(limit)
    control = [value for is_control, value in items if is_control]
    traffic = [value for is_control, value in items if not is_control]
    for is_control, value in items:
        if is_control:
            mailbox.put_control(value)
        else:
            mailbox.put(value)
    assert len(mailbox) == len(control) + min(len(traffic), limit)
    assert [mailbox.next_control() for _ in control] == control
    assert mailbox.next_control() is None
    assert mailbox.drain() == traffic[:limit]
    assert mailbox.empty()


class Small(Puppet):
    mailbox_max: ClassVar[int] = 2


class Newest(Small):
    overflow = Overflow.DROP_NEWEST


class Oldest(Small):
    overflow = Overflow.DROP_OLDEST


class Stopping(Small):
    overflow = Overflow.STOP_RECEIVER


@pytest.mark.otp("signals.order")
async def test_control_overtakes_traffic(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.tell("first")
    actor.ref.deliver_control("signal")
    await settle()
    assert actor.got == ["signal", "first"]


async def test_a_full_mailbox_refuses(system: ActorSystem) -> None:
    letters = record_events(system, DeadLetter)
    actor = await puppet(system, Small)
    actor.ref.tell(1)
    assert actor.ref.cast(2)
    with pytest.raises(MailboxFull):
        actor.ref.tell(3)
    assert not actor.ref.cast(4)
    assert system.dead_letters == len(letters) == 2
    assert {letter.message for letter in letters} == {"int"}, "the type, never the content"
    await settle()
    assert actor.got == [1, 2]


async def test_an_ask_that_is_refused_fails_at_once(system: ActorSystem) -> None:
    actor = await puppet(system, Small)
    actor.ref.tell(1)
    actor.ref.tell(2)
    with pytest.raises(MailboxFull):
        await actor.ref.ask(3, block=False)


async def test_signals_get_into_a_full_mailbox(system: ActorSystem) -> None:
    actor = await puppet(system, Small)
    actor.ref.tell(1)
    actor.ref.tell(2)
    actor.ref.deliver_control("signal")
    await settle()
    assert actor.got == ["signal", 1, 2]


@pytest.mark.parametrize(("policy", "kept"), [(Newest, [1, 2]), (Oldest, [2, 3])])
async def test_one_is_dropped_and_the_sender_need_not_care(
    system: ActorSystem, policy: type[Small], kept: list[int]
) -> None:
    actor = await puppet(system, policy)
    for number in (1, 2, 3):
        assert actor.ref.cast(number)
    await settle()
    assert actor.got == kept
    assert system.dead_letters == 1


@pytest.mark.parametrize(("policy", "dropped"), [(Newest, 2), (Oldest, 0)])
async def test_a_dropped_ask_is_told(
    system: ActorSystem, policy: type[Small], dropped: int
) -> None:
    actor = await puppet(system, policy)
    futures: list[Future[Any]] = [actor.ref.ask(n, block=False) for n in (0, 1, 2)]
    for number, future in enumerate(futures):
        if number == dropped:
            with pytest.raises(MailboxFull):
                await future
        else:
            assert await future == number


async def test_a_flood_ends_its_receiver(system: ActorSystem) -> None:
    actor = await puppet(system, Stopping)
    ref: Ref = actor.ref
    future = ref.ask(1, block=False)
    assert ref.cast(2)
    assert ref.cast(3), "whoever sends is not to blame"
    assert await ref.wait_exit() == OVERFLOWN
    with pytest.raises(CallError) as failed:
        await future
    assert failed.value.reason == OVERFLOWN
    assert not ref.cast(4)


async def test_an_actor_that_floods_itself_finishes_its_handler_first(system: ActorSystem) -> None:
    actor = await puppet(system, Stopping)
    done: list[str] = []

    def flood(self: Puppet) -> None:
        for number in range(5):
            self.ref.cast(number)
        done.append("handler")

    with pytest.raises(CallError):
        await do(actor, flood)
    assert done == ["handler"]
    assert actor.ref.exit_reason == OVERFLOWN


async def test_traffic_can_be_held_while_control_goes_on(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: hold_traffic(self._actor_cell))
    actor.ref.cast("later")
    actor.send_after(0.0, "now")
    await settle()
    assert actor.got == ["now"]
    release_traffic(actor._actor_cell)
    await settle()
    assert actor.got == ["now", "later"]


async def test_what_holds_traffic_can_be_stopped(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: hold_traffic(self._actor_cell))
    actor.ref.cast("never")
    assert await system.stop(actor.ref) == SHUTDOWN
    release_traffic(actor._actor_cell)


async def test_a_hold_that_has_not_begun_can_be_let_go(system: ActorSystem) -> None:
    actor = await puppet(system)

    def hold_and_release(self: Any) -> None:
        hold_traffic(self._actor_cell)
        release_traffic(self._actor_cell)

    await do(actor, hold_and_release)
    assert await actor.ref.call("through") == "through"
