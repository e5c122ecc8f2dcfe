"""Crash reports: once, with what helps, and without what people wrote to each other."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from actors.runtime import (
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    Crash,
    CrashReport,
    Custom,
    ExitReason,
    Shutdown,
    StatusView,
    Stop,
    inspection,
)
from actors.runtime.tracing import Crashed
from actors.runtime.viewing import NEIGHBOURS_MAX
from actors.testkit import Logs, record_events, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, Trapper, do, puppet

KINDS = [Puppet, AsyncPuppet]

SECRETS = ("what they wrote", "what they answered")


async def crashed(system: ActorSystem, actor: Any, message: Any = None) -> CrashReport:
    """The report of a crash by this message."""
    events = record_events(system, Crashed)
    ref = actor.ref
    ref.tell(ValueError("boom") if message is None else message)
    await ref.wait_exit()
    assert len(events) == 1
    report: CrashReport = events[0].report
    return report


# ---------------------------------------------------------------------- once


@pytest.mark.otp("gen_server_SUITE.crash", "proc_lib_SUITE.crash")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x")])
@pytest.mark.parametrize("is_raised", [True, False])
async def test_an_intended_end_is_no_crash(
    system: ActorSystem,
    kind: type[Any],
    reason: ExitReason,
    is_raised: bool,
) -> None:
    events = record_events(system, Crashed)
    actor = await puppet(system, kind)
    ref = actor.ref

    def act(self: Any) -> None:
        if is_raised:
            raise Stop(reason)
        self.stop(reason)

    ref.tell(act)
    assert await ref.wait_exit() == reason
    assert events == []


@pytest.mark.parametrize("kind", KINDS)
async def test_raising_stop_ends_at_once_through_on_stop(
    system: ActorSystem, kind: type[Any]
) -> None:
    log: list[str] = []

    class Stopping(kind):  # type: ignore[misc]  # one of two known classes
        crash_on_ask_error = False

        def on_stop(self) -> None:
            log.append("on_stop")

    def act(_self: Any) -> None:
        raise Stop(Custom("enough"))

    actor = await puppet(system, Stopping)
    with pytest.raises(ActorDied) as failed:
        await actor.ref.call(act)
    assert failed.value.reason == Custom("enough")
    assert log == ["on_stop"]


@pytest.mark.otp("gen_server_SUITE.crash", "proc_lib_SUITE.crash")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_crash_is_one_event_and_one_record(
    system: ActorSystem, logs: Logs, kind: type[Any], is_watched: bool
) -> None:
    parent, client = await puppet(system, name="parent"), await puppet(system, AsyncPuppet)
    plain, trapper = await puppet(system, name="plain"), await puppet(system, Trapper)
    actor = await puppet(system, kind, name="n", supervisor=parent.ref)
    await do(actor, lambda self: self.link(plain.ref) or self.link(trapper.ref))
    actor.set_label("a label")
    if is_watched:
        await inspection.keep_log(actor.ref)
    events, ref = record_events(system, Crashed), actor.ref
    client.ref.tell(lambda _self: ref.call(ValueError("boom")))
    assert isinstance(await ref.wait_exit(), Crash)
    report = next(event.report for event in events if event.report.actor == str(ref))
    assert report.actor == f"{kind.__name__} n#1"
    assert isinstance(report.reason, Crash)
    assert "on_receive" in report.reason.traceback
    assert report.initial_call == f"tests.actors.runtime.support.{kind.__name__}"
    assert report.ancestors == ("Puppet parent#1",)
    assert report.client == str(client.ref)
    assert report.neighbours == ("Puppet plain#1",), "those that would go down with it"
    assert report.label == "a label"
    (record,) = logs.expect(f"{ref} crashed")
    logs.expect(f"{client.ref} crashed")
    assert record.levelno == logging.ERROR
    for words in ("a label", "handling ValueError", "parent#1", "plain#1", str(client.ref)):
        assert words in record.getMessage()


@pytest.mark.otp("proc_lib_SUITE.crash")
@pytest.mark.crashes
async def test_a_report_needs_nothing_of_the_actors_own(system: ActorSystem) -> None:
    actor = await puppet(system, name="n")

    def act(self: Any) -> None:
        self.__dict__.clear()
        raise ValueError("boom")

    report = await crashed(system, actor, act)
    assert report.initial_call.endswith(".Puppet")
    assert "boom" in str(report.reason)


@pytest.mark.crashes
async def test_a_client_that_is_no_actor_is_named_by_its_task(system: ActorSystem) -> None:
    actor, events = await puppet(system), record_events(system, Crashed)
    with pytest.raises(ActorDied):
        await actor.ref.call(ValueError("boom"))
    assert "test_a_client_that_is_no_actor" in str(events[0].report.client)


# ---------------------------------------------------------------------- rendered


@pytest.mark.otp(
    "gen_server_SUITE.format_log_1", "gen_server_SUITE.format_log_2", "proc_lib_SUITE.t_format"
)
@pytest.mark.crashes
async def test_a_rendered_report_has_a_length(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.set_label("x" * 5000))
    report = await crashed(system, actor)
    assert len(report.render()) == 2000
    assert report.render(20) == report.render()[:19] + "…"


@pytest.mark.otp("gen_server_SUITE.format_log_with_process_label")
@pytest.mark.crashes
async def test_a_label_is_shown(system: ActorSystem) -> None:
    actor = await puppet(system)
    await do(actor, lambda self: self.set_label("thread 7"))
    assert "label thread 7" in (await crashed(system, actor)).render()


@pytest.mark.crashes
async def test_neighbours_are_named_up_to_a_number(system: ActorSystem) -> None:
    hub = await puppet(system)
    for _ in range(NEIGHBOURS_MAX + 5):
        system.spawn(Puppet, link_to=hub.ref)
    report = await crashed(system, hub)
    assert report.neighbours[NEIGHBOURS_MAX:] == ("5 more",)


# ---------------------------------------------------------------------- redacted


class Open(Puppet):
    """Shows some of what it has."""

    def format_status(self, view: StatusView) -> StatusView:
        return replace(
            view,
            state={"messages": len(self.got)},
            message=None if view.message is None else "(a message)",
            reason=None if view.reason is None else Crash("Redacted", ""),
            log=tuple(replace(seen, message="(seen)") for seen in view.log),
        )


@pytest.mark.otp("gen_server_SUITE.error_format_status", "gen_server_SUITE.terminate_crash_format")
@pytest.mark.crashes
async def test_by_default_a_report_shows_types_only(system: ActorSystem, logs: Logs) -> None:
    class Picky(Puppet):
        def on_receive(self, message: Any) -> Any:
            if message == SECRETS[1]:
                raise KeyError
            return super().on_receive(message)

    actor = await puppet(system, Picky)
    await inspection.keep_log(actor.ref)
    await actor.ref.call(SECRETS[0])
    report = await crashed(system, actor, SECRETS[1])
    assert (report.view.state, report.view.message) == ({"got": "list"}, "str")
    assert [seen.message for seen in report.view.log] == ["str", "str", "str"]
    assert not [word for word in SECRETS if word in f"{report} {logs.text}"]


@pytest.mark.otp("gen_server_SUITE.error_format_status", "gen_server_SUITE.format_all_status")
@pytest.mark.crashes
async def test_a_hook_decides_what_a_report_shows(system: ActorSystem, logs: Logs) -> None:
    actor = await puppet(system, Open)
    await inspection.keep_log(actor.ref)
    await actor.ref.call("one")
    ref = actor.ref
    report = await crashed(system, actor, ValueError("a secret in words"))
    assert report.view.state == {"messages": 1}
    assert report.view.message == "(a message)"
    assert report.reason == Crash("Redacted", "")
    assert {seen.message for seen in report.view.log} == {"(seen)"}
    assert "a secret in words" not in logs.text
    assert isinstance(ref.exit_reason, Crash)
    assert ref.exit_reason.error == "ValueError", "the reason itself stays what it is"


@pytest.mark.otp("gen_server_SUITE.call_format_status", "gen_server_SUITE.format_all_status")
async def test_a_hook_decides_what_a_status_shows(system: ActorSystem) -> None:
    actor = await puppet(system, Open)
    await inspection.keep_log(actor.ref)
    await actor.ref.call("one")
    view = (await inspection.get_status(actor.ref)).view
    assert view.state == {"messages": 1}
    assert {seen.message for seen in view.log} == {"(seen)"}
    assert (view.message, view.reason) == (None, None)


@pytest.mark.otp("gen_server_SUITE.terminate_crash_format")
@pytest.mark.crashes
async def test_a_last_hook_that_crashes_is_reported_by_the_same_rule(system: ActorSystem) -> None:
    class Failing(Open):
        def on_stop(self) -> None:
            raise KeyError("secret")

    report = await crashed(system, await puppet(system, Failing), lambda self: self.stop())
    assert report.view.state == {"messages": 0}
    assert report.reason == Crash("Redacted", "")


@pytest.mark.otp(
    "gen_server_SUITE.crash_in_format_status", "gen_server_SUITE.throw_in_format_status"
)
@pytest.mark.parametrize("answer", [KeyError("in the hook"), "no view at all"])
@pytest.mark.crashes
async def test_a_failing_hook_shows_nothing_and_hurts_nobody(
    system: ActorSystem, answer: Any
) -> None:
    class Broken(Puppet):
        def format_status(self, _view: StatusView) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    actor = await puppet(system, Broken)
    await actor.ref.call("secret")
    status = await inspection.get_status(actor.ref)
    assert status.view.state.startswith("format_status failed: ")
    assert await actor.ref.call("still here") == "still here"
    report = await crashed(system, actor)
    assert report.view.message == report.view.state == status.view.state
    assert isinstance(report.reason, Crash)


# ---------------------------------------------------------------------- missing callbacks


@pytest.mark.otp("gen_server_SUITE.undef_handle_call")
@pytest.mark.crashes
async def test_an_ask_that_nobody_handles_is_a_clear_crash(system: ActorSystem) -> None:
    class Bare(AsyncPuppet):
        on_receive = Puppet.__mro__[1].on_receive  # type: ignore[attr-defined]  # Actor's own

    actor = await puppet(system, Bare)
    with pytest.raises(ActorDied, match="NotImplementedError: Bare answers no str"):
        await actor.ref.call("x")


@pytest.mark.otp("gen_server_SUITE.undef_handle_cast", "gen_server_SUITE.undef_handle_info")
async def test_a_message_that_nobody_handles_is_a_warning(system: ActorSystem, logs: Logs) -> None:
    class Bare(Puppet):
        on_receive = Puppet.__mro__[1].on_receive  # type: ignore[attr-defined]  # Actor's own

    actor = await puppet(system, Bare, name="n")
    actor.ref.tell("secret")
    await settle()
    assert actor.ref.is_alive()
    logs.expect("Unexpected message received by Bare n#1: str")


@pytest.mark.otp("gen_server_SUITE.undef_terminate1", "gen_server_SUITE.undef_terminate2")
@pytest.mark.crashes
async def test_an_actor_without_last_hooks_just_ends(system: ActorSystem) -> None:
    normal, failing = await puppet(system), await puppet(system)
    refs = (normal.ref, failing.ref)
    refs[0].tell(lambda self: self.stop(Custom("why")))
    refs[1].tell(ValueError("boom"))
    assert await refs[0].wait_exit() == Custom("why")
    assert isinstance(await refs[1].wait_exit(), Crash)


@pytest.mark.otp("gen_server_SUITE.undef_in_terminate", "gen_server_SUITE.undef_in_handle_info")
@pytest.mark.parametrize("where", ["on_stop", "on_receive"])
@pytest.mark.crashes
async def test_something_missing_inside_a_callback_is_no_missing_callback(
    system: ActorSystem, where: str
) -> None:
    class Misspelt(Puppet):
        def on_stop(self) -> None:
            if where == "on_stop":
                self.on_receives()  # type: ignore[attr-defined]  # the point of it

        def on_receive(self, message: Any) -> Any:
            if where == "on_receive":
                raise NotImplementedError("something inside")
            return super().on_receive(message)

    report = await crashed(system, await puppet(system, Misspelt), lambda self: self.stop())
    assert isinstance(report.reason, Crash)
    expected = {"on_stop": "AttributeError", "on_receive": "NotImplementedError"}
    assert report.reason.error == expected[where]
