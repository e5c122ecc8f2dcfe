"""Actors in processes of their own: children like any other, and killed for certain.

Each process takes a while to start, so a story with one does several things with it. Nothing waits
for a time to pass.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.runtime import (
    KILL,
    KILLED,
    SHUTDOWN,
    Actor,
    ActorDied,
    ActorSystem,
    Crash,
    Custom,
    Isolated,
    MailboxFull,
    ProcessEnded,
    Ref,
    StartFailed,
    describe,
    inside,
    inspection,
    open_system,
)
from actors.runtime.exits import directive_of
from actors.runtime.isolated_frames import WINDOW
from actors.runtime.tracing import Crashed, DeadLetter, Resumed
from actors.testkit import record_events
from supervision import (
    ChildSpec,
    ChildState,
    Directive,
    OnError,
    Supervisor,
    SupervisorSpec,
    UncleanShutdown,
    admin,
    snapshot,
    to_json,
)
from tests.isolated import inners
from tests.isolated.inners import Small, Stubborn, Unwilling, Worker

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 30.0


async def isolated(system: ActorSystem, inner: type[Actor], *args: Any, **options: Any) -> Ref:
    with trio.fail_after(DEADLINE_S):
        ref = await system.start(Isolated, inner, *args, **options)
    assert ref is not None
    return ref


def pid_of(ref: Ref) -> int:
    pid = ref._actor.pid
    assert isinstance(pid, int)
    return pid


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Bystander(Actor):
    """Shares the parent's loop, and stops before the isolated one."""

    trap_exit = True

    def on_receive(self, message: Any) -> Any:
        return message

    def on_stop(self) -> None:
        logging.getLogger("inner").warning("bystander stops")


async def test_one_that_is_stuck_is_killed_and_restarted(caplog: pytest.LogCaptureFixture) -> None:
    children = (
        ChildSpec("worker", Isolated, (Worker,), {"greeting": "hi"}, name="worker"),
        ChildSpec("bystander", Bystander, name="bystander"),
    )
    with caplog.at_level(logging.INFO):
        async with open_system() as system:
            root = await system.start(Supervisor, SupervisorSpec(children=children), name="root")
            first, bystander = system.whereis("worker"), system.whereis("bystander")
            assert root is not None
            assert first is not None
            assert bystander is not None
            old = pid_of(first)
            assert await first.call("pid") == old != os.getpid()
            assert os.getsid(old) == old, "a terminal's Ctrl-C is for the parent alone"
            first.cast("spin")
            assert await bystander.call("still here") == "still here"
            first.exit(KILL)
            assert await first.wait_exit() == KILLED
            second = await system.wait_name("worker", DEADLINE_S)
            assert await second.call("again") == ["hi", "again"]
            nodes = {node["name"]: node for node in to_json(snapshot(system, root))["children"]}
            assert nodes["worker"]["pid"] == pid_of(second) != old
            assert nodes["worker"]["restarts"] == 1
            assert "pid" not in nodes["bystander"]
            assert not is_there(old)
            new = pid_of(second)
        assert second.exit_reason == SHUTDOWN
        assert not is_there(new)
    told = [(r.getMessage(), r.process) for r in caplog.records if r.name == "inner"]
    assert told == [
        ("hi, worker", old),
        ("hi, worker", new),
        ("bystander stops", os.getpid()),
        ("worker stops", new),
    ]


async def test_messages_keep_their_order_and_a_crash_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_system() as system:
        events = record_events(system)
        ref = system.spawn(Isolated, Worker, name="worker")
        expected: list[Any] = ["hello"]
        with trio.fail_after(DEADLINE_S):  # a look waits for the start
            state = await inside(ref, inspection.get_state, timeout_s=DEADLINE_S)
        assert state["got"] == expected
        for number in range(3 * WINDOW):
            expected.append(number)
            if number % 7:
                ref.cast(number)
            else:
                assert await ref.call(number) == expected
        assert await ref.call("last") == [*expected, "last"]
        assert (await inside(ref, inspection.get_state))["got"] == [*expected, "last"]
        # What cannot be sent is its sender's mistake, and ends nobody.
        with pytest.raises(Exception, match="pickle"):
            await ref.call(lambda: None)
        with pytest.raises(Exception, match="means nothing in another process"):
            await ref.call(ref)
        ref.cast(lambda: None)
        with pytest.raises(Exception, match="pickle"):
            await ref.call("lambda")
        assert [letter.message for letter in events.of(DeadLetter)] == ["function"]
        with pytest.raises(ActorDied) as died:
            await ref.call("break")
        reason = died.value.reason
        assert reason == ref.exit_reason == Crash("ValueError", "broken")
        assert isinstance(reason, Crash)
        assert f'File "{inners.__file__}"' in reason.traceback
        (event,) = events.of(Crashed)
        assert (event.name, event.report.actor) == ("worker", "Worker worker#1")
    reports = [r for r in caplog.records if "crashed" in r.getMessage()]
    assert len(reports) == 1, "in the process; it is not told again here"
    assert "ValueError: broken" in reports[0].getMessage()


async def test_a_start_that_fails_says_why_with_the_remote_traceback() -> None:
    async with open_system() as system:
        with trio.fail_after(DEADLINE_S):
            with pytest.raises(StartFailed) as failed:
                await system.start(Isolated, Unwilling, "no licence")
            assert failed.value.reason == Crash("RuntimeError", "no licence")
            assert isinstance(failed.value.reason, Crash)
            assert f'File "{inners.__file__}"' in failed.value.reason.traceback
            assert await system.start(Isolated, Unwilling, "not needed") is None
        with pytest.raises(Exception, match="pickle"):
            await system.start(Isolated, Worker, lambda: None)
        assert system.statistics().actors == 0


async def fill(ref: Ref) -> int:
    """Tell it numbers until it refuses; how many it took."""
    taken = 0
    while True:
        try:
            ref.tell(taken)
        except MailboxFull:
            return taken
        taken += 1
        await trio.testing.wait_all_tasks_blocked()


async def test_what_waits_is_bounded_and_neither_a_look_nor_a_stop_waits_behind_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_system() as system:
        ref = await isolated(system, Small, name="small")
        await inside(ref, inspection.suspend)
        taken = await fill(ref)
        assert taken == WINDOW + Small.mailbox_max, "in the process, and in the mailbox here"
        await inside(ref, inspection.resume)
        while ref.statistics().mailbox:
            await trio.lowlevel.checkpoint()
        assert await ref.call("last") == ["hello", *range(taken), "last"]
        await inside(ref, inspection.suspend)
        await fill(ref)
        pid = pid_of(ref)
        assert await system.stop(ref, DEADLINE_S) == SHUTDOWN
        assert not is_there(pid)
    assert "small stops" in caplog.messages


async def test_a_process_that_dies_or_does_not_stop_is_told_apart() -> None:
    stubborn = ChildSpec("it", Isolated, (Stubborn,), name="it", shutdown_s=0.2)
    async with open_system() as system:
        events = record_events(system)
        root = await system.start(Supervisor, SupervisorSpec(children=(stubborn,)), name="root")
        first = system.whereis("it")
        assert root is not None
        assert first is not None
        pid = pid_of(first)
        os.kill(pid, signal.SIGUSR1)
        reason = await first.wait_exit()
        assert reason == Custom(ProcessEnded(pid, -signal.SIGUSR1))
        assert describe(reason) == f"process {pid} was killed by SIGUSR1"
        second = await system.wait_name("it", DEADLINE_S)
        pid = pid_of(second)
        await system.stop(root, DEADLINE_S)
        assert second.exit_reason == KILLED
        assert [event.reason for event in events.of(UncleanShutdown)] == [KILLED]
    assert not is_there(pid)


async def test_a_process_that_it_forked_does_not_hide_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.runtime.isolated.EXIT_S", 0.1)
    async with open_system() as system:
        ref = await isolated(system, Worker)
        forked, pid = await ref.call("fork"), pid_of(ref)
        os.kill(pid, signal.SIGUSR1)
        try:
            with trio.fail_after(DEADLINE_S):
                assert await ref.wait_exit() == Custom(ProcessEnded(pid, -signal.SIGUSR1))
        finally:
            os.kill(forked, signal.SIGKILL)


async def test_what_the_spec_says_of_errors_is_for_the_inner_actor() -> None:
    on_error: OnError = {ValueError: Directive.RESUME, LookupError: Directive.STOP}
    worker = ChildSpec("it", Isolated, (Worker,), name="it", on_error=on_error)
    async with open_system() as system:
        events = record_events(system)
        root = await system.start(Supervisor, SupervisorSpec(children=(worker,)), name="root")
        assert root is not None
        ref = system.whereis("it")
        assert ref is not None
        ref.cast("break")
        assert await ref.call("still here") == ["hello", "still here"]
        assert [event.name for event in events.of(Resumed)] == ["it"]
        assert system.statistics().resumed == 1
        ref.cast("look up")
        await ref.wait_exit()
        info = await admin.which_child(root, "it")
        assert isinstance(info, admin.ChildInfo)
        assert info.state is ChildState.STOPPED
        late = system.spawn(Isolated, Unwilling, "no", on_error={RuntimeError: Directive.STOP})
        assert directive_of(await late.wait_exit()) is Directive.STOP


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the kernel of Linux does it")
def test_nobody_is_left_behind_by_a_parent_that_was_killed() -> None:
    """Although its actor is stuck: the kernel does it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.isolated.inners"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([child], [], [], DEADLINE_S)[0], "the child lives"
    os.close(child)
