"""How an actor comes to be: constructor, `on_start`, names, and nothing left of what failed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    AlreadyStarted,
    Crash,
    Custom,
    Ignore,
    StartFailed,
)
from actors.runtime.tracing import Exited, Started
from actors.testkit import record_events, settle
from tests.actors.runtime.support import Puppet, Trapper, puppet


class Slow(Puppet):
    """Its start waits for a gate."""

    def __init__(self, gate: trio.Event, log: list[str]) -> None:
        super().__init__()
        self.gate = gate
        self.log = log

    async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
        self.log.append("starting")
        try:
            await self.gate.wait()
        finally:
            self.log.append("unwound" if not self.gate.is_set() else "started")

    def on_stop(self) -> None:
        self.log.append("on_stop")


class TrappingSlow(Slow):
    trap_exit = True


class Failing(Puppet):
    def on_start(self) -> None:
        raise ValueError("not today")

    def on_failure(self, *_: Any) -> None:
        raise AssertionError("nothing was started, so there is nothing to clean up")


def nothing_is_left(system: ActorSystem) -> bool:
    statistics = system.statistics()
    return statistics.actors == statistics.named == statistics.monitors == statistics.timers == 0


# ---------------------------------------------------------------------- constructing


async def test_a_constructor_knows_who_it_is(system: ActorSystem) -> None:
    class Curious(Puppet):
        def __init__(self, letter: str) -> None:
            super().__init__()
            self.known = (self.ref, self.name, self.incarnation, self.system, letter)
            self.ref.tell("to myself")

    actor = await puppet(system, Curious, name="c", letter="x")
    await settle()
    assert actor.known == (actor.ref, "c", 1, system, "x")
    assert actor.got == ["to myself"]


@pytest.mark.otp("gen_server_SUITE.undef_init")
async def test_a_failing_constructor_leaves_nothing(system: ActorSystem) -> None:
    class Broken(Puppet):
        def __init__(self, other: Any) -> None:
            super().__init__()
            self.send_after(1.0, "tick")
            self.monitor(other)
            raise ValueError("cannot be made")

    other = system.spawn(Puppet)
    with pytest.raises(ValueError, match="cannot be made"):
        system.spawn(Broken, other, name="b")
    assert system.whereis("b") is None
    other.exit(KILL)
    assert nothing_is_left(system)


@pytest.mark.otp("gen_server_SUITE.start", "names.local_unique")
async def test_a_name_is_taken_at_once_and_by_one(system: ActorSystem) -> None:
    ref = system.spawn(Puppet, name="n")
    assert system.whereis("n") is system.names["n"] is ref
    with pytest.raises(AlreadyStarted) as failed:
        system.spawn(Puppet, name="n")
    assert failed.value.ref is ref
    assert system.statistics().actors == 1


async def test_a_constructor_that_takes_its_own_name_fails(system: ActorSystem) -> None:
    class Thief(Puppet):
        def __init__(self) -> None:
            super().__init__()
            self.system.spawn(Puppet, name="n")

    with pytest.raises(AlreadyStarted):
        system.spawn(Thief, name="n")
    assert system.names["n"].actor_class is Puppet


@pytest.mark.otp("names.local_release")
async def test_incarnations_count_for_each_name(system: ActorSystem) -> None:
    for expected in (1, 2, 3):
        ref = system.spawn(Puppet, name="n")
        assert (ref.incarnation, ref.name) == (expected, "n")
        await system.stop(ref)
    assert system.spawn(Puppet, name="other").incarnation == 1


# ---------------------------------------------------------------------- on_start


async def test_messages_wait_for_an_async_start(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    ref = system.spawn(Slow, gate, log, name="slow")
    other = system.spawn(Puppet)
    await settle()
    assert ref.is_alive()
    assert system.whereis("slow") is ref
    assert not system.is_ready("slow")
    assert ref.statistics().state == "starting"
    ref.tell("early")
    ref.tell("later")
    ref._actor.monitor(other)
    other.exit(KILL)
    await settle()
    assert ref._actor.got == [], "not even a signal comes before on_start is done"
    gate.set()
    await settle()
    assert [type(message).__name__ for message in ref._actor.got] == ["Down", "str", "str"]
    assert ref.statistics().state == "running"


async def test_after_an_async_start_a_sync_actor_has_no_task(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    ref = system.spawn(Slow, gate, log)
    await settle()
    assert ref._cell.more().tasks
    gate.set()
    await settle()
    assert not ref._cell.more().tasks


@pytest.mark.otp("gen_server_SUITE.start", "proc_lib_SUITE.sync_start_nolink")
async def test_start_waits_for_on_start(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _starter() -> None:
            assert await system.start(Slow, gate, log) is not None
            log.append("start returned")

        await settle()
        assert log == ["starting"]
        gate.set()
    assert log == ["starting", "started", "start returned"]


@pytest.mark.otp("gen_server_SUITE.start")
@pytest.mark.crashes
async def test_a_failed_start_tells_why_and_leaves_nothing(system: ActorSystem) -> None:
    with pytest.raises(StartFailed) as failed:
        await system.start(Failing, name="f")
    reason = failed.value.reason
    assert isinstance(reason, Crash)
    assert (reason.error, reason.message) == ("ValueError", "not today")
    assert nothing_is_left(system)


@pytest.mark.otp("gen_server_SUITE.start", "gen_server_SUITE.crash")
async def test_on_start_may_say_the_reason_without_a_crash(system: ActorSystem) -> None:
    class Refusing(Puppet):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            raise StartFailed(Custom("no room"))

    with pytest.raises(StartFailed) as failed:
        await system.start(Refusing)
    assert failed.value.reason == Custom("no room")


@pytest.mark.otp("gen_server_SUITE.start")
async def test_one_that_is_not_needed_is_no_failure(system: ActorSystem) -> None:
    class Unneeded(Puppet):
        def on_start(self) -> None:
            raise Ignore

    started, ended = record_events(system, Started), record_events(system, Exited)
    assert await system.start(Unneeded, name="u") is None
    assert (started, [event.reason for event in ended]) == ([], [NORMAL])
    assert nothing_is_left(system)


@pytest.mark.otp("gen_server_SUITE.start")
async def test_a_start_that_takes_too_long_leaves_nothing(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    with pytest.raises(StartFailed) as failed:
        await system.start(Slow, gate, log, name="slow", timeout_s=3.0)
    assert failed.value.reason == Custom("timeout")
    assert system.whereis("slow") is None
    await settle()
    assert log == ["starting", "unwound"]


async def test_a_start_that_is_cancelled_leaves_nothing(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    with trio.move_on_after(1.0):
        await system.start(Slow, gate, log, name="slow")
    assert system.whereis("slow") is None
    await settle()
    assert log == ["starting", "unwound"]


async def test_an_async_start_does_not_begin_after_death(system: ActorSystem) -> None:
    """Killed between the turn that makes the task and the task's first step."""
    gate, log = trio.Event(), list[str]()
    killer = system.spawn(Puppet)
    ref = system.spawn(Slow, gate, log)
    killer.tell(lambda _self: ref.exit(KILL))
    ref.on_exit(lambda _ref, _reason: log.append("dead"))
    await settle()
    assert log == ["dead"]


@pytest.mark.parametrize("actor", [Slow, TrappingSlow])
async def test_a_stop_cancels_an_async_start(system: ActorSystem, actor: type[Slow]) -> None:
    gate, log = trio.Event(), list[str]()
    ref = system.spawn(actor, gate, log)
    await settle()
    assert await system.stop(ref) == SHUTDOWN
    await settle()
    assert log == ["starting", "unwound"], "on_stop is for what has started"


async def test_a_stop_before_the_first_turn_runs_no_hook(system: ActorSystem) -> None:
    gate, log = trio.Event(), list[str]()
    ref = system.spawn(Slow, gate, log)
    assert await system.stop(ref) == SHUTDOWN
    await settle()
    assert log == []


async def test_a_stop_goes_by_way_of_the_actors_own_stop(system: ActorSystem) -> None:
    class Careful(TrappingSlow):
        def stop(self, reason: Any = NORMAL) -> None:
            self.log.append(f"asked while {self.ref.statistics().state}")
            self.gate.set()
            super().stop(reason)

    gate, log = trio.Event(), list[str]()
    ref = system.spawn(Careful, gate, log)
    await settle()
    assert await system.stop(ref) == SHUTDOWN
    assert log[:2] == ["starting", "asked while starting"]


async def test_one_that_stops_itself_while_starting_never_was(system: ActorSystem) -> None:
    class Changed(Slow):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.lowlevel.checkpoint()
            self.stop(Custom("changed my mind"))
            await trio.lowlevel.checkpoint()
            self.log.append("on_start went on")

    log: list[str] = []
    with pytest.raises(StartFailed) as failed:
        await system.start(Changed, trio.Event(), log)
    assert failed.value.reason == Custom("changed my mind")
    assert log == ["on_start went on", "on_stop"]


@pytest.mark.crashes
async def test_kill_in_its_own_on_start(system: ActorSystem) -> None:
    class Suicidal(Puppet):
        def on_start(self) -> None:
            self.ref.exit(KILL)
            raise ValueError("too late to fail")

    ended = record_events(system, Exited)
    ref = system.spawn(Suicidal)
    await settle()
    assert [event.reason for event in ended] == [ref.exit_reason] == [KILLED]


async def test_when_started_also_tells_of_what_has_been(system: ActorSystem) -> None:
    told: list[Any] = []
    ref = system.spawn(Puppet)
    system.when_started(ref, told.append)
    assert told == []
    await settle()
    system.when_started(ref, told.append)
    ref.exit(KILL)
    system.when_started(ref, told.append)
    assert told == [None, None, KILLED]


async def test_trappers_start_like_everybody(system: ActorSystem) -> None:
    started = record_events(system, Started)
    actor = await puppet(system, Trapper, name="t")
    assert [(e.name, e.id, e.incarnation, e.actor) for e in started] == [
        ("t", actor.ref.id, 1, "Trapper")
    ]
