"""Calls to an actor that has nothing to do: its turn is given by the task that calls."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
import trio

from actors.runtime import ActorDied, ActorSystem, Crash, Shutdown
from actors.runtime.dispatcher import SERVED_MAX
from actors.testkit import Probe, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

var: ContextVar[str] = ContextVar("var", default="the dispatcher's")


def steps(act: list[str]) -> trio.abc.Instrument:
    class Steps(trio.abc.Instrument):
        """Notes every step that a task takes."""

        def before_task_step(self, _task: trio.lowlevel.Task) -> None:
            act.append("step")

    return Steps()


async def test_a_call_into_silence_takes_no_switch_of_tasks(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    await actor.ref.call("x")
    await settle()
    taken: list[str] = []
    trio.lowlevel.add_instrument(steps(taken))
    for number in range(SERVED_MAX // 2):
        assert await actor.ref.call(number) == number
    assert taken in ([], ["step"]), "at most the one that lets others go first"


async def test_what_was_sent_before_is_handled_before(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    actor.ref.tell("first")
    await actor.ref.call("second")
    assert actor.got == ["first", "second"]


async def test_a_task_that_calls_for_ever_starves_nobody(system: ActorSystem) -> None:
    actor, other = await puppet(system), await puppet(system)
    await settle()

    async def call_for_ever() -> None:
        while True:
            await actor.ref.call("x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_for_ever)
        other.ref.tell("hears")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert other.got == ["hears"]
    assert len(actor.got) <= 20 * SERVED_MAX


async def test_a_cancelled_task_calls_no_more(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    with trio.CancelScope() as scope:
        scope.cancel()
        await actor.ref.call("sent all the same")
        await actor.ref.call("never sent")
    assert scope.cancelled_caught
    await settle()
    assert actor.got == ["sent all the same"]


async def test_a_handler_never_sees_the_context_of_who_calls(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    var.set("the caller's")
    seen: list[str] = []

    async def task() -> None:
        seen.append(var.get())

    def act(self: Puppet) -> str:
        self.run_task(task, on_done=lambda result: result.unwrap())
        return var.get()

    assert await actor.ref.call(act) == "the dispatcher's"
    await settle()
    assert seen == ["the dispatcher's"]


async def test_signals_of_a_served_handler_are_its_own(system: ActorSystem) -> None:
    actor, trapper = await puppet(system), Probe(system)
    caller: Any = await puppet(system, AsyncPuppet)
    await settle()

    async def call(_self: Any) -> None:
        await actor.ref.call(lambda _self: trapper.ref.exit(Shutdown("x")))

    await do(caller, call)
    await trapper.expect_exit(actor.ref, Shutdown("x"))


@pytest.mark.crashes
async def test_a_crash_while_served_is_the_servers(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    with pytest.raises(ActorDied) as caught:
        await actor.ref.call(LookupError("x"))
    assert isinstance(caught.value.reason, Crash)
    assert not actor.ref.is_alive()


async def test_an_answer_may_still_come_later(system: ActorSystem) -> None:
    actor = await puppet(system)
    await settle()
    slots: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.ref.call, lambda self: slots.append(self.defer_reply()))
        await settle()
        slots[0].set("later")
    assert system.late_replies == 0


async def test_whoever_it_calls_may_end_the_caller(system: ActorSystem) -> None:
    actor = await puppet(system)
    went_on: list[str] = []

    class Starting(Puppet):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            me = self.ref
            await actor.ref.call(lambda _self: me.exit(Shutdown("x")))
            went_on.append("after the call")

    await settle()
    ref = system.spawn(Starting)
    assert await ref.wait_exit() == Shutdown("x")
    await settle()
    assert went_on == []
    assert not ref.is_unwinding


async def test_an_actor_that_starts_or_stops_is_not_served(system: ActorSystem) -> None:
    class Slow(Puppet):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep(1)

    ref = system.spawn(Slow)
    await settle()
    assert await ref.call("x") == "x"
    assert trio.current_time() == pytest.approx(1, abs=0.01)
