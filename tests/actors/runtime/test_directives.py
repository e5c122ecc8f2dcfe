"""What follows when a handler raises, by the class of the exception: the runtime's part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka
import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    SHUTDOWN,
    Actor,
    ActorDied,
    ActorSystem,
    Crash,
    Directive,
    OnError,
    Ref,
    Stop,
    inspection,
)
from actors.runtime.directives import directive_for
from actors.runtime.exits import crash, describe, directive_of, handed_on
from actors.runtime.tracing import Crashed, Exited, Resumed
from actors.testkit import Logs, advance, record_events, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

pytestmark = pytest.mark.crashes

KINDS = pytest.mark.parametrize("kind", [Puppet, AsyncPuppet])

RESUME_VALUES: OnError = {ValueError: Directive.RESUME}


# ---------------------------------------------------------------------- the rule


class Nearer(ValueError):
    pass


def test_the_nearest_class_decides() -> None:
    on_error = {
        Exception: Directive.STOP, ValueError: Directive.RESUME, KeyError: Directive.ESCALATE,
    }  # fmt: skip
    assert directive_for(on_error, Nearer()) is Directive.RESUME
    assert directive_for(on_error, KeyError()) is Directive.ESCALATE
    assert directive_for(on_error, LookupError()) is Directive.STOP
    assert directive_for({**on_error, Nearer: Directive.RESTART}, Nearer()) is Directive.RESTART


def test_without_a_class_there_is_no_directive() -> None:
    assert directive_for({ValueError: Directive.RESUME}, LookupError()) is None
    assert directive_for({}, ValueError()) is None
    assert directive_for(None, ValueError()) is None


def test_a_group_is_not_what_is_in_it() -> None:
    group = ExceptionGroup("several", [ValueError()])
    assert directive_for(RESUME_VALUES, group) is None
    assert directive_for({ExceptionGroup: Directive.STOP}, group) is Directive.STOP


def test_what_ends_the_program_is_nobodys_to_decide() -> None:
    everything: Any = {BaseException: Directive.RESUME}
    assert directive_for(everything, KeyboardInterrupt()) is None
    assert directive_for(everything, trio.Cancelled._create()) is None


def test_a_directive_is_no_part_of_the_reason_and_is_not_handed_on() -> None:
    reason = crash(ValueError("x"), Directive.STOP)
    assert reason == crash(ValueError("x"))
    assert "stop" not in describe(reason) + repr(reason)
    assert directive_of(reason) is Directive.STOP
    assert directive_of(handed_on(reason)) is None
    assert handed_on(reason) == reason
    assert (directive_of(SHUTDOWN), handed_on(SHUTDOWN)) == (None, SHUTDOWN)


# ---------------------------------------------------------------------- going on


@KINDS
async def test_the_message_is_dropped_and_the_actor_goes_on_as_it_is(
    system: ActorSystem, kind: type[Actor], logs: Logs
) -> None:
    resumed, crashed = record_events(system, Resumed), record_events(system, Crashed)
    actor = await puppet(system, kind, name="n", on_error=RESUME_VALUES)
    for message in ("before", ValueError("secret"), "after"):
        actor.ref.tell(message)
    await settle()
    assert (actor.got, actor.ref.is_alive()) == (["before", "after"], True)
    assert [event.name for event in resumed] == ["n"]
    assert resumed[0].report.reason == Crash("ValueError", "secret")
    assert crashed == []
    (record,) = logs.expect("failed and goes on; handling ValueError")
    assert (record.levelname, logs.records) == ("WARNING", [])
    assert system.statistics().resumed == 1


@KINDS
async def test_the_asker_gets_the_error(system: ActorSystem, kind: type[Actor]) -> None:
    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    with pytest.raises(ValueError, match="no"):
        await actor.ref.call(ValueError("no"))
    assert await actor.ref.call("yes") == "yes"


@KINDS
async def test_also_if_the_right_to_answer_was_kept(system: ActorSystem, kind: type[Actor]) -> None:
    slots: list[Any] = []

    def act(self: Any) -> None:
        slots.append(self.defer_reply())
        raise ValueError("no")

    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    with pytest.raises(ValueError, match="no"):
        await do(actor, act)
    assert not actor._actor_cell.extra.deferred, "nothing is kept for it"
    slots[0].set("late")
    assert system.late_replies == 1


async def test_then_there_is_nobody_left_to_answer(system: ActorSystem) -> None:
    actor = await puppet(system, on_error=RESUME_VALUES)
    ref = actor.ref
    with pytest.raises(ValueError, match="no"):
        await ref.call(ValueError("no"))
    ref.tell(lambda self: self.defer_reply())
    assert await ref.wait_exit() == Crash("AssertionError", "there is no ask to answer")


async def test_a_message_that_was_put_aside_waits_for_its_turn(system: ActorSystem) -> None:
    class Stashing(Puppet):
        def on_receive(self, message: Any) -> Any:
            if message == "aside" and not self.got:
                self.got.append("put aside")
                self.stash(message)
                raise ValueError("in the middle")
            return super().on_receive(message)

    actor = await puppet(system, Stashing, on_error=RESUME_VALUES)
    answer = actor.ref.ask("aside", block=False)
    await do(actor, lambda self: self.unstash())
    assert await answer == "aside"


@KINDS
async def test_other_exceptions_end_it_as_ever(system: ActorSystem, kind: type[Actor]) -> None:
    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    actor.ref.tell(LookupError("x"))
    reason = await actor.ref.wait_exit()
    assert (reason, directive_of(reason)) == (Crash("LookupError", "x"), None)


@KINDS
@pytest.mark.parametrize("directive", [Directive.RESTART, Directive.STOP, Directive.ESCALATE])
async def test_what_is_for_the_supervisor_stands_in_the_reason(
    system: ActorSystem, kind: type[Actor], directive: Directive
) -> None:
    actor = await puppet(system, kind, on_error={ValueError: directive})
    actor.ref.tell(ValueError("x"))
    assert directive_of(await actor.ref.wait_exit()) is directive


async def test_not_the_asker_alone_hears_if_that_is_the_classes_rule(system: ActorSystem) -> None:
    class Lenient(Puppet):
        crash_on_ask_error = False

    resumed = record_events(system, Resumed)
    actor = await puppet(system, Lenient, on_error=RESUME_VALUES)
    with pytest.raises(ValueError, match="x"):
        await actor.ref.call(ValueError("x"))
    assert resumed == [], "pykka's rule comes first: nothing failed but an answer"


# ---------------------------------------------------------------------- what is no message


@KINDS
async def test_timers_task_outcomes_and_continuations_too(
    system: ActorSystem, kind: type[Any]
) -> None:
    class Continuing(kind):  # type: ignore[misc]  # its class is a parameter
        def on_continue(self, message: Any) -> None:
            raise ValueError(message)

    def act(self: Any) -> None:
        self.send_after(1.0, ValueError("timer"))
        self.run_task(trio.sleep, 2.0, on_done=lambda _: (_ for _ in ()).throw(ValueError("task")))
        self.continue_with("continuation")

    resumed = record_events(system, Resumed)
    actor = await puppet(system, Continuing, on_error=RESUME_VALUES)
    await do(actor, act)
    await advance(3.0)
    assert [event.report.reason for event in resumed] == [
        Crash("ValueError", what) for what in ("continuation", "timer", "task")
    ]
    assert await actor.ref.call("still there") == "still there"


@KINDS
async def test_a_period_goes_on(system: ActorSystem, kind: type[Actor]) -> None:
    resumed = record_events(system, Resumed)
    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    await do(actor, lambda self: self.send_every(1.0, ValueError("tick")) and None)
    await advance(3.5)
    assert len(resumed) == 3


@KINDS
async def test_a_proxy_call_that_fails(system: ActorSystem, kind: type[Any]) -> None:
    class Proxied(kind):  # type: ignore[misc]  # its class is a parameter
        def fail(self) -> None:
            raise ValueError("no")

    actor = await puppet(system, Proxied, on_error=RESUME_VALUES)
    with pytest.raises(ValueError, match="no"):
        await actor.ref.call(pykka.messages.ProxyCall(("fail",), (), {}))
    assert actor.ref.is_alive()


@KINDS
async def test_an_actor_under_watch(system: ActorSystem, kind: type[Actor]) -> None:
    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    await inspection.keep_log(actor.ref)
    actor.ref.tell(ValueError("x"))
    assert await actor.ref.call("after") == "after"
    with pytest.raises(ValueError, match="no"):
        await actor.ref.call(ValueError("no"))
    assert len(await inspection.get_log(actor.ref)) == 5


# ---------------------------------------------------------------------- what ends it all the same


@KINDS
async def test_one_that_fails_while_stopping_stops(system: ActorSystem, kind: type[Actor]) -> None:
    def act(self: Any) -> None:
        self.stop(SHUTDOWN)
        raise ValueError("x")

    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    actor.ref.tell(act)
    assert await actor.ref.wait_exit() == SHUTDOWN


@KINDS
async def test_one_that_killed_itself_is_dead(system: ActorSystem, kind: type[Actor]) -> None:
    def act(self: Any) -> None:
        self.ref.exit(KILL)
        raise ValueError("x")

    actor = await puppet(system, kind, on_error=RESUME_VALUES)
    ref = actor.ref
    resumed = record_events(system, Resumed)
    with pytest.raises(ActorDied):
        await ref.call(act)
    assert (await ref.wait_exit(), resumed) == (KILLED, [])


async def test_raising_stop_is_no_failure(system: ActorSystem) -> None:
    actor = await puppet(system, on_error={Exception: Directive.RESUME})
    actor.ref.tell(Stop(SHUTDOWN))
    assert await actor.ref.wait_exit() == SHUTDOWN


class Failing(Puppet):
    """Its hooks fail."""

    trap_exit = True

    def on_stop(self) -> None:
        raise ValueError("on_stop")

    def on_failure(self, *_: object) -> None:
        raise ValueError("on_failure")


async def test_a_last_hook_cannot_be_resumed(system: ActorSystem) -> None:
    ends: dict[str, Callable[[Ref], Any]] = {
        "on_stop": lambda ref: ref.exit(SHUTDOWN),
        "on_failure": lambda ref: ref.tell(LookupError("x")),
    }
    for word, end in ends.items():
        actor = await puppet(system, Failing, on_error=RESUME_VALUES)
        ref = actor.ref
        end(ref)
        reason = await ref.wait_exit()
        assert (reason, directive_of(reason)) == (Crash("ValueError", word), None)


async def test_a_start_cannot_be_resumed(system: ActorSystem) -> None:
    class Unready(Puppet):
        def on_start(self) -> None:
            raise ValueError("x")

    exited = record_events(system, Exited)
    ref = system.spawn(Unready, on_error=RESUME_VALUES)
    assert await ref.wait_exit() == Crash("ValueError", "x")
    assert [directive_of(event.reason) for event in exited] == [None]


async def test_a_request_to_stop_cannot_be_resumed(system: ActorSystem) -> None:
    class Stubborn(Puppet):
        trap_exit = True

        def stop(self, reason: Any = None) -> None:
            raise ValueError("will not")

    ends: list[Callable[[Ref], Any]] = [
        lambda ref: ref.exit(SHUTDOWN), lambda ref: ref.stop(block=False),
    ]  # fmt: skip
    for end in ends:
        actor = await puppet(system, Stubborn, on_error=RESUME_VALUES)
        ref = actor.ref
        end(ref)
        assert await ref.wait_exit() == Crash("ValueError", "will not")


async def test_those_linked_to_it_end_without_its_directive(system: ActorSystem) -> None:
    actor = await puppet(system, on_error={ValueError: Directive.STOP})
    other = system.spawn(Puppet, link_to=actor.ref)
    actor.ref.tell(ValueError("x"))
    reason = await other.wait_exit()
    assert (reason, directive_of(reason)) == (Crash("ValueError", "x"), None)
    assert directive_of(actor.ref.exit_reason) is Directive.STOP
