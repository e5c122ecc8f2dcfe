"""A system opens, tells what happens in it, and leaves nothing behind."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    SHUTDOWN,
    ActorSystem,
    NoSystem,
    Ref,
    current_system,
    open_system,
)
from actors.runtime.exits import Crash
from actors.runtime.system import STOP_DEADLINE_S
from actors.runtime.tracing import DeadLetter, Event, Exited, Started, TaskFailed
from actors.testkit import Logs, advance, record_events, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, Trapper, puppet


class Logging(Trapper):
    log: list[str]

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    def on_stop(self) -> None:
        self.log.append(f"stopped {self.name}")


class Stubborn(Puppet):
    async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
        await trio.sleep_forever()


async def test_leaving_stops_the_youngest_first() -> None:
    log: list[str] = []
    async with open_system() as system:
        for name in "abc":
            await system.start(Logging, log, name=name)
    assert log == ["stopped c", "stopped b", "stopped a"]


async def test_leaving_kills_who_does_not_stop() -> None:
    begun_s = trio.current_time()
    async with open_system() as system:
        stubborn = await puppet(system, Stubborn)
        ref = stubborn.ref
    assert ref.exit_reason == KILLED
    assert trio.current_time() - begun_s == pytest.approx(STOP_DEADLINE_S)


async def test_a_supervised_actor_is_its_supervisors_affair() -> None:
    log: list[str] = []
    async with open_system() as system:
        parent = await puppet(system)
        child = await system.start(Logging, log, name="child", supervisor=parent.ref)
        assert child is not None
    assert child.exit_reason == KILLED


async def test_leaving_by_an_exception_kills_and_lets_it_out_as_it_is() -> None:
    log: list[str] = []
    refs: list[Ref | None] = []

    async def program() -> None:
        async with open_system() as system:
            refs.append(await system.start(Logging, log))
            refs.append(await system.start(AsyncPuppet))
            raise KeyError("k")

    with pytest.raises(KeyError):
        await program()
    assert [ref.exit_reason for ref in refs if ref is not None] == [KILLED, KILLED]
    assert log == []


async def test_leaving_by_a_cancellation_kills() -> None:
    refs: list[Ref] = []
    with trio.move_on_after(1.0) as scope:
        async with open_system() as system:
            refs.extend(system.spawn(kind) for kind in (Puppet, AsyncPuppet, Stubborn))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert {ref.exit_reason for ref in refs} == {KILLED}


async def test_after_the_end_nothing_starts() -> None:
    async with open_system() as system:
        assert current_system() is system
        ref = system.spawn(Puppet)
    assert system.statistics().actors == 0
    assert not ref.cast("anything")
    with pytest.raises(NoSystem):
        system.spawn(Puppet)
    with pytest.raises(NoSystem):
        current_system()


async def test_systems_do_not_mix() -> None:
    async with open_system(node="one") as one:
        async with open_system(node="two") as two:
            here, there = one.spawn(Puppet, name="n"), two.spawn(Puppet, name="n")
            assert current_system() is two
            assert here.actor_urn != there.actor_urn
        assert current_system() is one
        assert not there.is_alive()
        assert await here.call(1) == 1


async def test_stopping_one_asks_then_kills(system: ActorSystem) -> None:
    log: list[str] = []
    polite = await puppet(system, Logging, log=log, name="p")
    stubborn = await puppet(system, Stubborn)
    polite.ref.tell("waiting")
    assert await system.stop(polite.ref) == SHUTDOWN
    assert log == ["stopped p"]
    begun_s, ref = trio.current_time(), stubborn.ref
    assert await system.stop(ref, timeout_s=2.0) == KILLED
    assert trio.current_time() - begun_s == pytest.approx(2.0)
    assert await system.stop(ref) == KILLED, "the dead stay dead"


# ---------------------------------------------------------------------- events


async def test_a_tracer_hears_from_the_first_event_on() -> None:
    heard: list[Event] = []
    async with open_system(tracer=heard.append) as system:
        ref = (await puppet(system, name="n")).ref
        ref.tell("waits")
        ref.exit(KILL)
    at_s = heard[0].at_s
    assert heard == [
        Started(at_s, ref.id, "n", 1, "Puppet"),
        DeadLetter(at_s, ref.id, "n", 1, "Puppet", "str"),
        Exited(at_s, ref.id, "n", 1, "Puppet", KILLED),
    ]


async def test_a_listener_that_fails_is_detached_and_hurts_nobody(
    system: ActorSystem, logs: Logs
) -> None:
    calls: list[Event] = []

    def failing(event: Event) -> None:
        calls.append(event)
        cancel()
        raise ValueError("a listener")

    cancel = system.events.subscribe(failing)
    heard = record_events(system, Started)
    await puppet(system)
    await puppet(system)
    assert (len(calls), len(heard)) == (1, 2)
    logs.expect("detached")


async def test_nobody_listens_for_free(system: ActorSystem) -> None:
    cancel = system.events.subscribe(print)
    assert system.events.is_heard
    cancel()
    cancel()
    assert not system.events.is_heard


async def test_a_background_task_that_fails_is_an_event(system: ActorSystem, logs: Logs) -> None:
    failed, done = record_events(system, TaskFailed), list[int]()

    async def work(value: int) -> None:
        if value == 0:
            raise ValueError("boom")
        done.append(value)

    system.spawn_task(work, 0, name="janitor")
    system.spawn_task(work, 1)
    await settle()
    assert done == [1]
    assert [(event.name, type(event.reason)) for event in failed] == [("janitor", Crash)]
    logs.expect("the task janitor failed")
    assert await (await puppet(system)).ref.call(1) == 1


# ---------------------------------------------------------------------- looking


async def test_statistics_tell_what_is_there(system: ActorSystem) -> None:
    actor = await puppet(system, name="n")
    await advance(2.0)
    for _ in range(3):
        actor.ref.tell("x")
    assert actor.ref.statistics().mailbox == 3
    assert system.statistics().runnable == 1
    await settle()
    statistics = actor.ref.statistics()
    assert (statistics.mailbox, statistics.handled, statistics.state) == (0, 3, "running")
    assert statistics.age_s == pytest.approx(2.0)
    assert statistics.started_s == pytest.approx(trio.current_time() - 2.0)
    assert actor.ref.details() is None


async def test_an_unexpected_message_is_logged_by_type_only(
    system: ActorSystem, logs: Logs
) -> None:
    from actors.runtime import Actor

    ref = system.spawn(Actor, name="n")
    ref.tell("a secret of somebody")
    await settle()
    assert ref.is_alive()
    assert logs.messages == ["Unexpected message received by Actor n#1: str"]
    logs.expect("Unexpected")


async def test_an_idle_actor_is_small(system: ActorSystem) -> None:
    class Plain(Puppet):
        def __init__(self) -> None:
            pass

        def on_receive(self, message: Any) -> Any:
            return None

    count = 500
    for ref in [system.spawn(Plain) for _ in range(10)]:
        ref.tell("warm up")
    await settle()
    gc.collect()
    tracemalloc.start()
    try:
        refs = [system.spawn(Plain) for _ in range(count)]
        for ref in refs:
            ref.tell("once busy, idle again")
        await settle()
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / count < 1500
