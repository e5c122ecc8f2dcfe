"""What an actor handles next: continuations, what was put aside, and the end of its patience."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILL,
    KILLED,
    NORMAL,
    TIMEOUT,
    ActorDied,
    ActorSystem,
    Crash,
    StashFull,
    inspection,
    open_system,
)
from actors.runtime.tracing import DeadLetter
from actors.testkit import advance, record_events, run_virtual, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, Trapper, do, puppet

KINDS = [Puppet, AsyncPuppet]


def continuing(kind: type[Any]) -> type[Any]:
    """This kind, with `on_continue` that does as it is told."""

    class Continuing(kind):  # type: ignore[misc]  # one of two known classes
        def on_continue(self, message: Any) -> Any:
            if callable(message):
                return message(self)
            self.got.append(f"continued {message}")
            return None

    return Continuing


# ---------------------------------------------------------------------- continue


@pytest.mark.otp("gen_server_SUITE.continue")
@pytest.mark.parametrize("kind", KINDS)
async def test_what_continues_comes_before_whatever_waits(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor, other = await puppet(system, continuing(kind)), await puppet(system)

    def act(self: Any) -> None:
        self.monitor(other.ref)
        other.ref.exit(KILL)
        self.ref.tell("traffic")
        self.continue_with("one")

    await do(actor, act)
    await settle()
    assert [str(message).split("(")[0] for message in actor.got] == [
        "continued one",
        "Down",
        "traffic",
    ]


@pytest.mark.otp("gen_server_SUITE.continue")
@pytest.mark.parametrize("kind", KINDS)
async def test_continuing_chains_before_whatever_waits(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, continuing(kind))

    def chain(self: Any) -> None:
        self.continue_with("second")
        self.continue_with("third")
        self.continue_with("fourth")

    def act(self: Any) -> None:
        self.ref.tell("traffic")
        self.continue_with(chain)

    await do(actor, act)
    await settle()
    assert actor.got == ["continued second", "continued third", "continued fourth", "traffic"]


@pytest.mark.otp("gen_server_SUITE.continue")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_start_may_continue_and_be_done_before(
    system: ActorSystem, kind: type[Any]
) -> None:
    class Starting(continuing(kind)):  # type: ignore[misc]  # made of one of two known classes
        def on_start(self) -> None:
            self.ref.tell("traffic")
            self.continue_with("the start")

    ref = system.spawn(Starting)
    ref.tell("early")
    await settle()
    assert ref._actor.got == ["continued the start", "early", "traffic"]


@pytest.mark.otp("gen_server_SUITE.continue")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_continuation_may_stop(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, continuing(kind))
    ref = actor.ref
    await do(actor, lambda self: self.continue_with(lambda it: it.stop()))
    assert await ref.wait_exit() == NORMAL


@pytest.mark.otp("gen_server_SUITE.continue")
async def test_an_async_continuation_is_awaited(system: ActorSystem) -> None:
    actor = await puppet(system, continuing(AsyncPuppet))

    async def later(self: Any) -> None:
        await trio.sleep(1.0)
        self.got.append("slept")

    await do(actor, lambda self: self.continue_with(later))
    assert await actor.ref.call("behind it") == "behind it"
    assert actor.got == ["slept", "behind it"]


@pytest.mark.otp("gen_server_SUITE.undef_handle_continue")
@pytest.mark.crashes
async def test_a_missing_continuation_is_a_clear_crash(system: ActorSystem) -> None:
    actor = await puppet(system)
    ref = actor.ref
    ref.tell(lambda self: self.continue_with("x"))
    reason = await ref.wait_exit()
    assert isinstance(reason, Crash)
    assert (reason.error, reason.message) == ("NotImplementedError", "Puppet has no on_continue")


# ---------------------------------------------------------------------- stash


@pytest.mark.otp("timers.gen_statem_timeouts")
@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(1, 4), max_size=6))
def test_what_was_put_aside_comes_back_in_order(messages: list[int], counts: list[int]) -> None:
    """In whatever portions, and before what has come meanwhile."""

    class Postponing(Puppet):
        is_open = False

        def on_receive(self, message: Any) -> Any:
            if callable(message) or self.is_open:
                return super().on_receive(message)
            return self.stash(message)

    async def story() -> None:
        async with open_system() as system:
            actor = await puppet(system, Postponing)
            for message in messages:
                actor.ref.tell(message)
            await settle()

            def open_up(self: Any) -> None:
                self.is_open = True
                self.ref.tell("meanwhile")
                given = [self.unstash(count) for count in counts]
                assert sum(given) + self.unstash() == len(messages)

            await do(actor, open_up)
            await settle()
            assert actor.got == [*messages, "meanwhile"]

    run_virtual(story)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_ask_put_aside_is_answered_when_it_comes_back(
    system: ActorSystem, kind: type[Any]
) -> None:
    class Postponing(kind):  # type: ignore[misc]  # one of two known classes
        is_open = False

        def on_receive(self, message: Any) -> Any:
            if message == "open":
                self.is_open = True
                return self.unstash()
            return f"answer to {message}" if self.is_open else self.stash(message)

    actor = await puppet(system, Postponing)
    asked = [actor.ref.ask(n, block=False) for n in range(2)]
    await settle()
    assert await actor.ref.call("open") == 2
    assert [await future for future in asked] == ["answer to 0", "answer to 1"]


async def test_a_stash_is_bounded(system: ActorSystem) -> None:
    class Small(Puppet):
        stash_max = 2

        def on_receive(self, message: Any) -> Any:
            try:
                self.stash(message)
            except StashFull:
                return "full"
            return None

    actor = await puppet(system, Small)
    actor.ref.tell(1)
    actor.ref.tell(2)
    assert await actor.ref.call(3) == "full", "the message is still the one being handled"


async def test_what_is_put_aside_at_the_end_is_not_lost_in_silence(system: ActorSystem) -> None:
    letters = record_events(system, DeadLetter)

    class Postponing(Puppet):
        def on_receive(self, message: Any) -> Any:
            self.stash(message)

    actor = await puppet(system, Postponing)
    ref = actor.ref
    ref.tell(b"told")
    asked = ref.ask("asked", block=False)
    await settle()
    ref.exit(KILL)
    with pytest.raises(ActorDied) as failed:
        await asked
    assert failed.value.reason == KILLED
    assert [letter.message for letter in letters] == ["bytes", "str"]


# ---------------------------------------------------------------------- timeouts


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout", "timers.gen_server_timeouts")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_timeout_comes_once_if_nothing_else_does(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    await do(actor, lambda self: self.timeout_after(2.0))
    await advance(1.9)
    assert actor.got == []
    await advance(0.2)
    assert actor.got == [TIMEOUT]
    await advance(10.0)
    actor.ref.tell("afterwards")
    await settle()
    assert actor.got == [TIMEOUT, "afterwards"]
    assert system.statistics().timers == 0


@pytest.mark.otp(
    "gen_server_SUITE.handle_event_timeout", "gen_server_SUITE.handle_event_timeout_plain"
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("waits_already", [True, False])
async def test_any_message_ends_a_timeout(
    system: ActorSystem, kind: type[Any], waits_already: bool
) -> None:
    actor = await puppet(system, kind)

    def act(self: Any) -> None:
        if waits_already:
            self.ref.tell("another")
        self.timeout_after(2.0)

    await do(actor, act)
    actor.ref.tell("another")
    await advance(5.0)
    assert set(actor.got) == {"another"}
    assert system.statistics().timers == 0


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout_plain")
async def test_a_signal_is_a_message_that_ends_it(system: ActorSystem) -> None:
    actor, other = await puppet(system, Trapper), await puppet(system)
    await do(actor, lambda self: self.link(other.ref) or self.timeout_after(2.0))
    other.ref.exit(KILL)
    await advance(5.0)
    assert [type(message).__name__ for message in actor.got] == ["Exit"]


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_system_message_does_not_end_a_timeout(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    await do(actor, lambda self: self.timeout_after(2.0))
    await advance(1.0)
    await inspection.get_status(actor.ref)
    await advance(1.1)
    assert actor.got == [TIMEOUT]


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_come", [True, False])
async def test_a_message_ends_a_timeout_though_it_cannot_be_handled_yet(
    system: ActorSystem, kind: type[Any], has_come: bool
) -> None:
    actor = await puppet(system, kind)
    await do(actor, lambda self: self.timeout_after(2.0))
    await inspection.suspend(actor.ref)
    if has_come:
        actor.ref.tell("waiting")
    await advance(5.0)
    assert actor.got == []
    await inspection.resume(actor.ref)
    await advance(5.0)
    assert actor.got == (["waiting"] if has_come else [TIMEOUT])


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout_zero", "timers.gen_server_timeouts")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_timeout_of_zero_comes_before_what_waits(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)

    def act(self: Any) -> None:
        self.ref.tell("waiting")
        self.timeout_after(0.0, "at once")

    await do(actor, act)
    await settle()
    assert actor.got == ["at once", "waiting"]


@pytest.mark.otp("gen_server_SUITE.handle_event_timeout")
async def test_the_last_timeout_counts(system: ActorSystem) -> None:
    actor = await puppet(system)

    def act(self: Any) -> None:
        self.timeout_after(1.0, "early")
        self.timeout_at(trio.current_time() + 3.0, "late")

    await do(actor, act)
    await advance(5.0)
    assert actor.got == ["late"]
    await do(actor, lambda self: self.timeout_after(1.0) or self.timeout_after(math.inf))
    await advance(5.0)
    assert actor.got == ["late"]


@pytest.mark.otp("gen_server_SUITE.start_event_timeout")
@pytest.mark.parametrize("is_absolute", [True, False])
@pytest.mark.parametrize("is_continued", [True, False])
async def test_a_start_may_set_a_timeout(
    system: ActorSystem, is_absolute: bool, is_continued: bool
) -> None:
    class Starting(Puppet):
        def on_start(self) -> None:
            if is_continued:
                self.continue_with("x")
            else:
                self.on_continue("x")

        def on_continue(self, _message: Any) -> None:
            if is_absolute:
                self.timeout_at(trio.current_time() + 2.0)
            else:
                self.timeout_after(2.0)

    quiet, disturbed = await puppet(system, Starting), await puppet(system, Starting)
    disturbed.ref.tell("first")
    await advance(2.1)
    assert quiet.got == [TIMEOUT]
    assert disturbed.got == ["first"]


@pytest.mark.otp("gen_server_SUITE.start_event_timeout_zero")
async def test_a_timeout_of_zero_at_the_start_comes_first(system: ActorSystem) -> None:
    class Starting(Puppet):
        def on_start(self) -> None:
            self.timeout_after(0.0)

    ref = system.spawn(Starting)
    ref.tell("queued before the start")
    await settle()
    assert ref._actor.got == [TIMEOUT, "queued before the start"]


@pytest.mark.parametrize("kind", KINDS)
async def test_with_the_timeout_over_an_actor_is_plain_again(
    system: ActorSystem, kind: type[Any]
) -> None:
    """Features that are off cost nothing: the fast loop is back."""
    actor = await puppet(system, kind)
    cell = actor.ref._cell
    before = cell.is_plain
    await do(actor, lambda self: self.timeout_after(2.0))
    await settle()
    assert cell.extra.watch is not None
    await advance(3.0)
    assert (cell.is_plain, cell.extra.watch) == (before, None)
    await do(actor, lambda self: self.timeout_after(2.0))
    assert await actor.ref.call("x") == "x"
    assert (cell.is_plain, cell.extra.watch) == (before, None)


# ---------------------------------------------------------------------- idle


@pytest.mark.parametrize("kind", KINDS)
async def test_an_idle_actor_hears_of_it_never_early_and_not_much_late(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    timer = await do(actor, lambda self: self.idle_after(8.0))
    for _ in range(10):
        await advance(5.0)
        actor.ref.tell("busy")
    await advance(7.9)
    assert TIMEOUT not in actor.got
    await advance(2.2)
    assert actor.got[-1] == TIMEOUT
    timer.cancel()
    await advance(100.0)
    assert actor.got.count(TIMEOUT) == 1


async def test_looking_at_an_idle_actor_does_not_keep_it_busy(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.idle_after(8.0))
    for _ in range(6):
        await advance(2.0)
        await inspection.get_status(actor.ref)
    assert actor.got == [TIMEOUT]


async def test_an_actor_that_cannot_handle_what_waits_is_not_idle(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.idle_after(8.0))
    await inspection.suspend(actor.ref)
    actor.ref.tell("waiting")
    await advance(20.0)
    await inspection.resume(actor.ref)
    await settle()
    assert actor.got == ["waiting"]


async def test_an_actor_in_a_long_handler_is_not_idle(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)

    async def long(self: Any) -> None:
        self.idle_after(1.0)
        await trio.sleep(5.0)

    await actor.ref.call(long, timeout_s=10.0)
    assert actor.got == []
    await advance(1.3)
    assert actor.got == [TIMEOUT]
