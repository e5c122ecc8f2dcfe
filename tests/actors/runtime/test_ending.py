"""The end: once, in order, and nobody else's."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    CallError,
    Crash,
    Custom,
    Down,
    Exit,
    Ref,
    open_system,
)
from actors.runtime.tracing import DeadLetter, Exited
from actors.testkit import Logs, record_events, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, Trapper, do, puppet

KINDS = [Puppet, AsyncPuppet]


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


# ---------------------------------------------------------------------- the resource law


@pytest.mark.otp("signals.resource_law", "names.local_release")
async def test_when_down_arrives_everything_is_free(system: ActorSystem) -> None:
    """OTP's resource law: whoever hears of an end may take the name."""
    seen: list[str] = []

    class Heir(Trapper):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, Down | Exit):
                seen.append(type(message).__name__)
                assert self.system.whereis("n") is None or len(seen) > 1
                if len(seen) == 1:
                    self.system.spawn(Puppet, name="n")
                return None
            return super().on_receive(message)

    heir = await puppet(system, Heir)
    ref = system.spawn(Puppet, name="n", link_to=heir.ref, monitor_by=heir.ref)
    ref.exit(Custom("why"))
    await settle()
    assert sorted(seen) == ["Down", "Exit"]
    assert system.names["n"].incarnation == 2


@pytest.mark.otp("signals.resource_law")
async def test_the_end_comes_in_order(system: ActorSystem) -> None:
    log: list[str] = []
    watcher = await puppet(system, Trapper)
    actor = await puppet(system, name="n", link_to=watcher.ref, monitor_by=watcher.ref)

    def look(what: str) -> None:
        name = "taken" if "n" in system.names else "free"
        told = len(watcher.ref._cell.mailbox)
        log.append(f"{what}: name {name}, {system.statistics().timers} timers, {told} told")

    def prepare(self: Puppet) -> None:
        self.send_after(9.0, "tick")
        future = self.ref.ask("never answered", block=False)
        future.on_done(lambda: look("ask fails"))
        self.stop()

    system.events.subscribe(lambda e: look("event") if isinstance(e, Exited) else None)
    actor.ref.on_exit(lambda _ref, _reason: look("on_exit"))
    await do(actor, prepare)
    await settle()
    assert log == [
        "ask fails: name free, 0 timers, 0 told",
        "event: name free, 0 timers, 0 told",
        "on_exit: name free, 0 timers, 2 told",
    ]


async def test_on_exit_is_called_once_at_once_if_late_and_not_if_cancelled(
    system: ActorSystem, logs: Logs
) -> None:
    calls: list[tuple[str, Ref, Any]] = []
    ref = system.spawn(Puppet)

    def failing(_ref: Ref, _reason: Any) -> None:
        raise ValueError("a callback's failure hurts nobody")

    ref.on_exit(failing)
    ref.on_exit(lambda r, why: calls.append(("early", r, why)))
    cancel = ref.on_exit(lambda r, why: calls.append(("cancelled", r, why)))
    cancel()
    cancel()
    ref.exit(KILL)
    ref.exit(KILL)
    ref.on_exit(lambda r, why: calls.append(("late", r, why)))
    assert calls == [("early", ref, KILLED), ("late", ref, KILLED)]
    assert await ref.wait_exit() == KILLED
    logs.expect("a callback failed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_an_actor_ends_exactly_once(system: ActorSystem, kind: type[Any]) -> None:
    ended = record_events(system, Exited)
    actor = await puppet(system, kind)

    def everything_at_once(self: Any) -> None:
        self.stop(Custom("first"))
        self.ref.exit(Custom("second"))
        self.ref.exit(KILL)
        raise ValueError("third")

    actor.ref.tell(everything_at_once)
    await settle()
    assert [event.reason for event in ended] == [Custom("second")]


async def test_a_ref_to_the_dead_holds_nothing_of_it(system: ActorSystem) -> None:
    ref = system.spawn(Puppet, name="n")
    await settle()
    actor = weakref.ref(ref._actor)
    ref._actor.send_after(1000.0, "a timer would hold it")
    gc.disable()  # freed by counting alone: there is no cycle
    try:
        ref.exit(Custom("why"))
        assert actor() is None
    finally:
        gc.enable()
    assert (ref.name, ref.exit_reason, ref.statistics().state) == ("n", Custom("why"), "dead")
    assert "n#1" in repr(ref)


async def test_what_waits_becomes_dead_letters(system: ActorSystem) -> None:
    letters = record_events(system, DeadLetter)
    actor = await puppet(system)
    for message in (1, "2", 3.0):
        actor.ref.tell(message)
    actor.ref.exit(KILL)
    assert [letter.message for letter in letters] == ["int", "str", "float"]


# ---------------------------------------------------------------------- kill, stop, crash


@pytest.mark.parametrize("kind", KINDS)
async def test_kill_in_its_own_handler(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    ref, log = actor.ref, list[str]()

    def act(self: Any) -> str:
        self.ref.exit(KILL)
        log.append("the handler returns first")
        return "an answer of the dead"

    with pytest.raises(CallError) as failed:
        await ref.call(act)
    assert failed.value.reason == KILLED
    assert log == ["the handler returns first"]
    assert ref.exit_reason == KILLED


async def test_kill_through_a_link_while_it_runs(system: ActorSystem) -> None:
    """A handler kills another to which it is linked: its own end waits for its return."""
    a, b = await puppet(system), await puppet(system)
    log: list[str] = []

    def act(self: Puppet) -> None:
        self.link(b.ref)
        b.ref.exit(Custom("why"))
        log.append(f"alive: {self.ref.is_alive()}")

    a.ref.tell(act)
    assert await a.ref.wait_exit() == Custom("why")
    assert log == ["alive: True"]


async def test_kill_interrupts_an_async_handler(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    log: list[str] = []

    async def act(_self: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("unwound")

    future = actor.ref.ask(act, block=False)
    await settle()
    actor.ref.exit(KILL)
    with pytest.raises(CallError):
        await future
    await settle()
    assert log == ["unwound"]


@pytest.mark.otp("gen_server.when_on_stop_runs")
@pytest.mark.parametrize("kind", KINDS)
async def test_stop_comes_after_the_message_and_before_the_next(
    system: ActorSystem, kind: type[Any]
) -> None:
    stopped: list[str] = []

    class Stopping(kind):  # type: ignore[misc]  # one of two known classes
        def on_stop(self) -> None:
            stopped.append(f"name is {'bound' if self.name in self.system.names else 'free'}")

    actor = await puppet(system, Stopping, name="n")
    ref = actor.ref
    answer = ref.ask(lambda self: self.stop() or "answered", block=False)
    ref.tell("next")
    assert await answer == "answered"
    assert await ref.wait_exit() == NORMAL
    assert stopped == ["name is bound"]
    assert actor.got == []
    assert system.dead_letters == 1


@pytest.mark.otp("gen_server.when_on_stop_runs")
async def test_an_untrapped_signal_runs_no_hook(system: ActorSystem) -> None:
    class Stopping(Puppet):
        def on_stop(self) -> None:
            raise AssertionError("OTP: terminate runs only for who traps")

    actor = await puppet(system, Stopping)
    ref = actor.ref
    ref.exit(SHUTDOWN)
    assert ref.exit_reason == SHUTDOWN


async def test_an_async_on_stop_is_waited_for(system: ActorSystem) -> None:
    class Stopping(Puppet):
        async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep(2.0)

    actor = await puppet(system, Stopping, name="n")
    ref: Ref = actor.ref
    asked_s = trio.current_time()
    ref.tell(lambda self: self.stop())
    await settle()
    assert ref.statistics().state == "stopping"
    assert system.names["n"] is ref
    await ref.wait_exit()
    assert trio.current_time() - asked_s == pytest.approx(2.0)


@pytest.mark.crashes
async def test_an_on_stop_without_end_is_cut_off(system: ActorSystem) -> None:
    class Stopping(Puppet):
        async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep_forever()

    actor = await puppet(system, Stopping)
    ref = actor.ref
    ref.tell(lambda self: self.stop())
    reason = await ref.wait_exit()
    assert isinstance(reason, Crash)
    assert reason.error == "TimeoutError"


@pytest.mark.otp("gen_server.when_on_stop_runs")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_a_crash_tells_on_failure_and_becomes_the_reason(
    system: ActorSystem, kind: type[Any]
) -> None:
    failures: list[Any] = []

    class Failing(kind):  # type: ignore[misc]  # one of two known classes
        def on_failure(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
            failures.append((exc_type, str(exc_value), traceback is not None))

    actor = await puppet(system, Failing)
    ref = actor.ref
    ref.tell(ValueError("boom"))
    reason = await ref.wait_exit()
    assert isinstance(reason, Crash)
    assert (reason.error, reason.message) == ("ValueError", "boom")
    assert "on_receive" in reason.traceback
    assert failures == [(ValueError, "boom", True)]


@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
@pytest.mark.crashes
async def test_a_last_hook_that_fails_still_ends(system: ActorSystem, hook: str) -> None:
    class Failing(Puppet):
        def on_stop(self) -> None:
            raise KeyError("in the last hook")

        def on_failure(self, *_: Any) -> None:
            raise KeyError("in the last hook")

    actor = await puppet(system, Failing)
    ref = actor.ref
    ref.tell(ValueError("boom") if hook == "on_failure" else lambda self: self.stop())
    reason = await ref.wait_exit()
    assert isinstance(reason, Crash)
    assert reason.error == "KeyError"


# ---------------------------------------------------------------------- isolation


class Strange(BaseException):
    """No `Exception`, and nobody's business but its actor's."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [ValueError("x"), Hostile(), Strange(), GeneratorExit(), RecursionError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.crashes
async def test_a_crash_harms_nobody_else(
    system: ActorSystem, kind: type[Any], error: BaseException
) -> None:
    victim, others = await puppet(system, kind), [await puppet(system, k) for k in KINDS]

    def act(_self: Any) -> None:
        raise error

    ref = victim.ref
    ref.tell(act)
    assert isinstance(await ref.wait_exit(), Crash)
    for other in others:
        assert await other.ref.call("still here") == "still here"


@pytest.mark.otp("gen_server_SUITE.crash")
async def test_one_crash_is_one_log_record(system: ActorSystem, logs: Logs) -> None:
    actor = await puppet(system, name="n")
    actor.ref.tell(ValueError("boom"))
    await settle()
    assert logs.messages == ["Puppet n#1 crashed; handling ValueError"]
    logs.expect("crashed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_a_stray_cancellation_ends_only_its_actor(
    system: ActorSystem, kind: type[Any]
) -> None:
    """One task's `Cancelled` kept and raised in another would unwind the system."""
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise

    def act(_self: Any) -> None:
        raise kept[0]

    actor, other = await puppet(system, kind), await puppet(system)
    ref = actor.ref
    ref.tell(act)
    assert isinstance(await ref.wait_exit(), Crash)
    assert await other.ref.call(1) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.crashes
async def test_what_ends_the_program_is_not_kept(
    kind: type[Any], error: type[BaseException]
) -> None:
    refs: list[Ref] = []

    def act(_self: Any) -> None:
        raise error

    async def program() -> None:
        async with open_system() as system:
            refs.extend((system.spawn(kind), system.spawn(Puppet)))
            refs[0].tell(act)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as ended:
        await program()
    assert ended.group_contains(error)
    assert isinstance(refs[0].exit_reason, Crash)
    assert refs[1].exit_reason == KILLED
