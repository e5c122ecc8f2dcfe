"""Stories of a coordinated shutdown: phases in order, tasks together, once, in time."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.testkit import Logs
from supervision import CoordinatedShutdown, Phase, PhaseEnded

Log = list[str]


def takes(log: Log, name: str, seconds: float = 0.0) -> Callable[[], Awaitable[None]]:
    async def task() -> None:
        log.append(f"{name} begins")
        await trio.sleep(seconds)
        log.append(f"{name} ends")

    return task


async def fails() -> None:
    raise OSError("no disk")


def shutdown_of(*phases: Phase) -> tuple[CoordinatedShutdown, list[PhaseEnded]]:
    heard: list[PhaseEnded] = []
    return CoordinatedShutdown(*phases, on_phase=heard.append), heard


async def test_phases_come_in_order_and_their_tasks_run_together() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 5.0), Phase("tree", 5.0), Phase("empty", 5.0))
    log: Log = []
    shutdown.add("tree", "root", takes(log, "root"))
    shutdown.add("doors", "slow", takes(log, "slow", 2.0))
    shutdown.add("doors", "fast", takes(log, "fast", 1.0))
    ended = await shutdown.run("done")
    assert sorted(log[:2]) == ["fast begins", "slow begins"]
    assert log[2:] == ["fast ends", "slow ends", "root begins", "root ends"]
    assert [(each.phase, each.took_s, each.reason) for each in ended] == [
        ("doors", 2.0, "done"), ("tree", 0.0, "done"), ("empty", 0.0, "done"),
    ]  # fmt: skip
    assert all(each.went_well for each in ended)
    assert heard == list(ended), "each was told when it ended"


async def test_a_task_that_fails_or_is_late_is_reported_and_the_next_phase_comes() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 3.0), Phase("tree", 3.0))
    log: Log = []
    shutdown.add("doors", "broken", fails)
    shutdown.add("doors", "slow", takes(log, "slow", 60.0))
    shutdown.add("doors", "good", takes(log, "good", 1.0))
    shutdown.add("tree", "root", takes(log, "root"))
    await shutdown.run("done")
    doors, tree = heard
    assert (doors.took_s, doors.late, list(doors.failed)) == (3.0, ("slow",), ["broken"])
    assert str(doors.failed["broken"]) == "no disk"
    assert not doors.went_well
    assert tree.went_well
    assert "good ends" in log
    assert log[-1] == "root ends"


async def test_a_task_that_fails_when_it_is_cancelled_does_not_keep_the_next_phase() -> None:
    """A group of its failure and of what cancelled the others: no `Exception`."""

    async def fails_late() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                await fails()

    shutdown, heard = shutdown_of(Phase("doors", 3.0), Phase("tree", 3.0))
    log: Log = []
    shutdown.add("doors", "broken", fails_late)
    shutdown.add("doors", "slow", takes(log, "slow", 60.0))
    shutdown.add("tree", "root", takes(log, "root"))
    await shutdown.run("done")
    doors, tree = heard
    assert (doors.late, list(doors.failed)) == (("slow",), ["broken"])
    assert isinstance(doors.failed["broken"], ExceptionGroup)
    assert tree.went_well


async def test_nothing_is_added_to_a_phase_that_has_begun() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 3.0), Phase("tree", 3.0))
    log: Log = []

    async def adds() -> None:
        shutdown.add("tree", "root", takes(log, "root"))
        with pytest.raises(ValueError, match="phase: 'doors' is none of those to come: tree"):
            shutdown.add("doors", "late", takes(log, "late"))

    shutdown.add("doors", "first", adds)
    await shutdown.run("done")
    assert all(each.went_well for each in heard)
    assert log == ["root begins", "root ends"]


@pytest.mark.parametrize("task", [fails, trio.sleep_forever])
async def test_after_a_required_phase_went_wrong_nothing_comes(
    task: Callable[[], Awaitable[None]],
) -> None:
    shutdown, heard = shutdown_of(Phase("flush", 1.0, required=True), Phase("delete", 1.0))
    shutdown.add("flush", "store", task)
    await shutdown.run("done")
    assert [each.phase for each in heard] == ["flush"]


async def test_it_runs_once_and_everybody_waits_for_the_same() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 5.0))
    log: Log = []
    shutdown.add("doors", "slow", takes(log, "slow", 2.0))
    answers: list[tuple[PhaseEnded, ...]] = []

    async def ask(reason: str) -> None:
        answers.append(await shutdown.run(reason))
        assert trio.current_time() - began_s == 2.0

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "first")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "second")
    assert log == ["slow begins", "slow ends"]
    assert await shutdown.run("third") == answers[0] == answers[1] == tuple(heard)
    assert shutdown.reason == heard[0].reason == "first"


async def test_a_cancelled_shutdown_says_where_it_stood_and_keeps_nobody_waiting() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 5.0), Phase("tree", 5.0))
    shutdown.add("doors", "slow", trio.sleep_forever)
    with trio.move_on_after(1.0) as scope:
        await shutdown.run("done")
    assert scope.cancelled_caught
    assert [(each.phase, each.took_s, each.late) for each in heard] == [("doors", 1.0, ("slow",))]
    assert await shutdown.run("again") == tuple(heard)


async def test_a_task_may_be_added_to_a_later_phase_while_it_runs() -> None:
    shutdown, heard = shutdown_of(Phase("doors", 5.0), Phase("tree", 5.0))

    async def late_idea() -> None:
        shutdown.add("tree", "broken", fails)

    shutdown.add("doors", "idea", late_idea)
    await shutdown.run("done")
    assert list(heard[1].failed) == ["broken"]


async def test_it_may_be_asked_for_by_a_signal_handler() -> None:
    shutdown, _ = shutdown_of(Phase("doors", 5.0))

    def handler(number: int, frame: Any) -> None:
        shutdown.request(signal.Signals(number).name)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert await shutdown.requested() == "SIGUSR1"
    finally:
        signal.signal(signal.SIGUSR1, before)
    shutdown.request("later")
    assert await shutdown.requested() == "SIGUSR1"


def test_a_request_after_the_loop_has_ended_is_too_late_and_no_error() -> None:
    async def make() -> CoordinatedShutdown:
        return CoordinatedShutdown(Phase("doors", 5.0))

    trio.run(make).request("SIGTERM")


async def test_without_a_listener_there_is_a_line_for_each_phase(
    caplog: pytest.LogCaptureFixture, logs: Logs
) -> None:
    logs.allow("shutdown: ")
    caplog.set_level(logging.INFO, "supervision")
    shutdown = CoordinatedShutdown(Phase("doors", 5.0), Phase("tree", 5.0))
    shutdown.add("tree", "root", fails)
    await shutdown.run("SIGTERM")
    logs.expect("shutdown: ", times=2)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "shutdown: phase doors took 0.000 s (failed: none; late: none; reason: SIGTERM)"),
        ("ERROR", "shutdown: root of phase tree failed"),
        (
            "WARNING",
            "shutdown: phase tree took 0.000 s (failed: root; late: none; reason: SIGTERM)",
        ),
    ]


async def test_a_listener_that_fails_does_not_keep_the_next_phase(logs: Logs) -> None:
    def deaf(ended: PhaseEnded) -> None:
        raise RuntimeError("deaf")

    shutdown = CoordinatedShutdown(Phase("doors", 5.0), Phase("tree", 5.0), on_phase=deaf)
    assert [ended.phase for ended in await shutdown.run("done")] == ["doors", "tree"]
    logs.expect("nobody could be told of the end of phase", times=2)


async def test_what_is_wrong_with_phases_is_named() -> None:
    with pytest.raises(ValueError, match="two of the name 'doors'"):
        CoordinatedShutdown(Phase("doors", 1.0), Phase("doors", 2.0))
    with pytest.raises(ValueError, match=r"doors\.deadline_s: 0 is not above zero"):
        CoordinatedShutdown(Phase("doors", 0))
    shutdown, _ = shutdown_of(Phase("doors", 1.0))
    with pytest.raises(ValueError, match="phase: 'windows' is none of those to come: doors"):
        shutdown.add("windows", "open", fails)
    shutdown.add("doors", "front", fails)
    with pytest.raises(ValueError, match="doors has a task 'front' already"):
        shutdown.add("doors", "front", fails)
