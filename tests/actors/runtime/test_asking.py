"""Questions and answers: one answer at most, an end at the latest, and never a deadlock."""

from __future__ import annotations

import math
from typing import Any

import pykka
import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    ActorDied,
    ActorSystem,
    CallError,
    CallingSelf,
    CallTimeout,
    Crash,
    Ref,
    ReplySlot,
    WouldBlock,
)
from actors.runtime.timers import CANCELLED_MIN
from actors.testkit import advance, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

KINDS = [Puppet, AsyncPuppet]


class Lenient(Puppet):
    crash_on_ask_error = False


class AsyncLenient(AsyncPuppet):
    crash_on_ask_error = False


async def three_seconds(_actor: Any) -> None:
    await trio.sleep(3.0)


async def deferring(system: ActorSystem, kind: type[Any] = Puppet) -> tuple[Any, ReplySlot, Any]:
    """An actor that keeps the answer for later: the actor, the slot, the asker's future."""
    actor = await puppet(system, kind)
    slots: list[ReplySlot] = []

    def act(self: Any) -> str:
        slots.append(self.defer_reply())
        return "not it"

    future = actor.ref.ask(act, block=False)
    await settle()
    return actor, slots[0], future


# ---------------------------------------------------------------------- answers


@pytest.mark.otp("gen_server_SUITE.call")
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_handler_returns_is_the_answer(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    assert await actor.ref.call("a") == "a"
    assert await actor.ref.ask("b", block=False) == "b"


@pytest.mark.otp("gen_server_SUITE.call", "gen_server.caller_errors")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_a_server_that_crashes_fails_its_asker_with_its_reason(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    with pytest.raises(ActorDied) as failed:
        await actor.ref.call(ValueError("boom"))
    assert isinstance(failed.value.reason, Crash)


@pytest.mark.otp("gen_server.caller_errors")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_ends_fails_all_who_wait(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    ref: Ref = actor.ref
    ref.tell(lambda self: self.stop())
    waiting = [ref.ask(n, block=False) for n in range(3)]
    for future in waiting:
        with pytest.raises(CallError) as failed:
            await future
        assert failed.value.reason == NORMAL


@pytest.mark.parametrize("kind", [Lenient, AsyncLenient])
@pytest.mark.crashes
async def test_by_pykkas_rule_only_the_asker_hears(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    ref = actor.ref
    with pytest.raises(ValueError, match="boom"):
        await ref.call(ValueError("boom"))
    assert ref.is_alive()
    ref.tell(ValueError("nobody asked"))
    assert isinstance(await ref.wait_exit(), Crash)


@pytest.mark.otp("gen_server_SUITE.start", "gen_server_SUITE.cast", "gen_server.caller_errors")
async def test_nobody_home(system: ActorSystem) -> None:
    ref = system.spawn(Puppet)
    ref.exit(KILL)
    for attempt in (ref.call(1), ref.ask(1, block=False)):
        with pytest.raises(CallError) as failed:
            await attempt
        assert failed.value.reason == NOPROC
        assert isinstance(failed.value, pykka.ActorDeadError), "code for pykka catches it too"
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(1)
    assert ref.cast(1) is False
    assert system.dead_letters == 3


@pytest.mark.otp("gen_server_SUITE.calling_self", "gen_server.caller_errors")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_calling_itself_is_refused_at_once(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    if kind is AsyncPuppet:
        with pytest.raises(CallError):
            await actor.ref.call(lambda self: self.ref.call("me"))
        return
    coroutine = await do(actor, lambda self: [self.ref.call("me")])
    assert await coroutine[0] == "me", "outside of its turn it may be called, by anyone"


@pytest.mark.otp("gen_server_SUITE.calling_self")
async def test_calling_itself_from_a_hook_is_refused(system: ActorSystem) -> None:
    errors: list[type[BaseException]] = []

    class Asking(Puppet):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            try:
                await self.ref.call("me")
            except CallError as error:
                errors.append(type(error))

    await puppet(system, Asking)
    assert errors == [CallingSelf]


async def test_a_task_of_its_own_may_call_it(system: ActorSystem) -> None:
    actor = await puppet(system)
    answers: list[Any] = []
    await do(
        actor,
        lambda self: self.run_task(self.ref.call, "me", on_done=answers.append) and None,
    )
    await settle()
    assert [answer.unwrap() for answer in answers] == ["me"]


# ---------------------------------------------------------------------- late


@pytest.mark.otp("gen_server_SUITE.call", "gen_server.caller_errors", "gen_server.late_replies")
async def test_a_call_ends_at_its_deadline_and_a_late_answer_is_dropped(
    system: ActorSystem,
) -> None:
    actor = await puppet(system, AsyncPuppet)
    begun_s = trio.current_time()
    with pytest.raises(CallTimeout):
        await actor.ref.call(three_seconds, timeout_s=1.0)
    assert trio.current_time() - begun_s == pytest.approx(1.0)
    assert system.late_replies == 0
    await advance(3.0)
    assert system.late_replies == 1


@pytest.mark.otp("gen_server.late_replies")
async def test_an_answer_to_a_cancelled_call_is_late(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    with trio.move_on_after(1.0) as scope:
        await actor.ref.call(three_seconds)
    assert scope.cancelled_caught
    await advance(3.0)
    assert system.late_replies == 1


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_a_call_without_patience_is_sent_and_its_answer_is_late(
    system: ActorSystem, timeout_s: float
) -> None:
    actor = await puppet(system)
    with pytest.raises(CallTimeout):
        await actor.ref.call("x", timeout_s=timeout_s)
    await settle()
    assert (actor.got, system.late_replies) == (["x"], 1)


async def test_a_call_may_wait_for_ever(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    assert await actor.ref.call(three_seconds, timeout_s=math.inf) is None


async def test_calls_leave_no_deadlines_behind(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    for _ in range(CANCELLED_MIN * 2):
        await actor.ref.call("x")
    with trio.move_on_after(1.0):
        await actor.ref.call(three_seconds)
    with pytest.raises(CallTimeout):
        await actor.ref.call(three_seconds, timeout_s=1.0)
    assert len(system.deadlines) == 0
    await advance(10.0)
    assert len(system.deadlines) == 0
    assert system.statistics().timers == 0


async def test_many_calls_answered_at_once_are_all_forgotten(system: ActorSystem) -> None:
    actor = await puppet(system)
    async with trio.open_nursery() as nursery:
        for number in range(CANCELLED_MIN * 2):
            nursery.start_soon(actor.ref.call, number)
    assert len(actor.got) == CANCELLED_MIN * 2
    assert len(system.deadlines) == 0


async def test_waiters_of_a_future_come_and_go(system: ActorSystem) -> None:
    _, slot, future = await deferring(system)
    answers: list[Any] = []

    async def wait() -> None:
        answers.append(await future)

    with trio.move_on_after(0.5):
        await future
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await settle()
        slot.set(7)
    assert answers == [7, 7]
    assert await future == 7, "the answer can be had again"


# ---------------------------------------------------------------------- deferred


@pytest.mark.otp("gen_server_SUITE.call")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_deferred_answer_comes_later(system: ActorSystem, kind: type[Any]) -> None:
    actor, slot, future = await deferring(system, kind)
    assert await actor.ref.call("meanwhile") == "meanwhile"
    slot.set("it")
    assert await future == "it"


@pytest.mark.otp("gen_server_SUITE.call")
async def test_a_deferred_answer_may_be_an_error(system: ActorSystem) -> None:
    actor, slot, future = await deferring(system)
    slot.fail(KeyError("k"))
    with pytest.raises(KeyError):
        await future
    assert actor.ref.is_alive()


@pytest.mark.otp("gen_server.late_replies")
async def test_an_answer_is_given_once(system: ActorSystem) -> None:
    _, slot, future = await deferring(system)
    slot.set(1)
    slot.set(2)
    slot.fail(ValueError())
    assert await future == 1
    assert system.late_replies == 2


@pytest.mark.otp("gen_server_SUITE.call", "gen_server.caller_errors")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_deferred_answer_fails_with_its_actor(system: ActorSystem, kind: type[Any]) -> None:
    actor, slot, future = await deferring(system, kind)
    actor.ref.exit(KILL)
    with pytest.raises(CallError) as failed:
        await future
    assert failed.value.reason == KILLED
    slot.set("from beyond")
    assert system.late_replies == 1


@pytest.mark.crashes
async def test_a_handler_that_defers_and_crashes_fails_its_asker(system: ActorSystem) -> None:
    actor = await puppet(system, Lenient)

    def act(self: Puppet) -> None:
        self.defer_reply()
        raise ValueError("boom")

    with pytest.raises(ActorDied):
        await actor.ref.call(act)


@pytest.mark.crashes
async def test_there_is_nothing_to_defer_without_an_ask(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.tell(lambda self: self.defer_reply())
    reason = await actor.ref.wait_exit()
    assert isinstance(reason, Crash)
    assert reason.error == "AssertionError"


# ---------------------------------------------------------------------- pykka


async def test_blocking_in_the_loop_is_refused(system: ActorSystem) -> None:
    actor = await puppet(system)
    with pytest.raises(WouldBlock, match="block=False"):
        actor.ref.ask("x")
    with pytest.raises(WouldBlock, match="block=False"):
        actor.ref.stop()
    future = actor.ref.ask("x", block=False)
    with pytest.raises(WouldBlock, match="await"):
        future.get()
    assert await future == "x"
    assert future.get() == "x", "what is there can be had without blocking"


async def test_pykkas_stop_waits_its_turn_and_answers_after_the_end(system: ActorSystem) -> None:
    log: list[Any] = []

    class Stopping(Puppet):
        def on_receive(self, message: Any) -> Any:
            log.append(message)

        async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep(1.0)
            log.append("on_stop")

    actor = await puppet(system, Stopping)
    ref = actor.ref
    ref.tell("before")
    stopped = ref.stop(block=False)
    again = ref.stop(block=False)
    behind = ref.ask("behind", block=False)
    assert await stopped is True
    assert await again is True, "it was being stopped at the time"
    assert log == ["before", "on_stop"]
    with pytest.raises(pykka.ActorDeadError):
        await behind
    assert await ref.stop(block=False) is False


async def test_proxies_work_in_the_loop(system: ActorSystem) -> None:
    class Adder(Puppet):
        total = 0

        def add(self, a: int, b: int = 1) -> int:
            self.total += a + b
            return self.total

    actor = await puppet(system, Adder)
    proxy = actor.ref.proxy()
    assert await proxy.add(1, b=2) == 3
    proxy.add.defer(10)
    assert await proxy.total == 14
    with pytest.raises(WouldBlock):
        proxy.total = 0


async def test_proxies_of_async_actors_await_coroutines_only(system: ActorSystem) -> None:
    class Slow(AsyncPuppet):
        async def slowly(self, value: int) -> int:
            await trio.sleep(1.0)
            return value

    actor = await puppet(system, Slow)
    assert await actor.ref.proxy().slowly(5) == 5


async def test_futures_map_in_the_loop(system: ActorSystem) -> None:
    """They await their parents: no thread waits for them."""
    actor, slot, later = await deferring(system)
    three, four = (actor.ref.ask(n, block=False) for n in (3, 4))
    results: list[Any] = []

    async def wait() -> None:
        results.append(await three.join(four, later).map(sum).map(lambda n: n * 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await settle()
        assert results == []
        slot.set(5)
    assert results == [24]
    evens = actor.ref.ask([1, 2, 4], block=False).filter(lambda n: n % 2 == 0)
    assert await evens == [2, 4]
    assert await evens.reduce(lambda a, b: a + b) == 6


async def test_a_future_made_of_a_failed_one_fails(system: ActorSystem) -> None:
    actor, slot, later = await deferring(system)
    slot.fail(KeyError("k"))
    with pytest.raises(KeyError):
        await actor.ref.ask(1, block=False).join(later).map(sum)


@pytest.mark.crashes
async def test_a_coroutine_of_a_plain_handler_is_a_clear_error(system: ActorSystem) -> None:
    actor = await puppet(system)

    async def work(_self: Any) -> None: ...

    actor.ref.tell(work)
    reason = await actor.ref.wait_exit()
    assert isinstance(reason, Crash)
    assert "make on_receive async" in reason.message


async def test_pykkas_registry_is_asked_for(system: ActorSystem) -> None:
    class Listed(Puppet):
        pykka_registry = True

    assert pykka.ActorRegistry.get_all() == []
    plain, listed = Puppet.start(), Listed.start()
    assert pykka.ActorRegistry.get_all() == [listed]
    assert pykka.ActorRegistry.get_by_urn(listed.actor_urn) is listed
    assert plain.actor_urn != listed.actor_urn
    listed.exit(KILL)
    assert pykka.ActorRegistry.get_all() == []
