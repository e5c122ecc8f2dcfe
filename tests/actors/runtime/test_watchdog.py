"""A loop that is stuck is reported while it is. It waits, without `await`, for that very report; so
no test here depends on how long anything takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Actor, ActorSystem, Ref, Watchdog, open_system, watch_loop
from actors.runtime.stalls import LOOKS_PER_STALL, Patience, stood_still
from actors.runtime.tracing import LoopStalled
from actors.testkit import Logs, record_events
from tests.actors.runtime.support import AsyncPuppet, Puppet

STALL_S = 0.1
PASSWORD = "a secret"
GIVE_UP_S = 30.0
"""Of a loop whose report does not come, which is the failure of the test."""


class Reports(logging.Handler):
    """Hears what the watchdog logs, in its thread. A busy machine may have it report others."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.has_come = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if "self.has_come.wait" in self.texts[-1]:
            self.has_come.set()

    def wait(self, _message: Any = None) -> None:
        """Keep the loop from turning until there is a report."""
        password = PASSWORD  # a local value, which no report may show
        assert self.has_come.wait(GIVE_UP_S), f"no report ({len(password)})"

    def ours(self) -> str:
        (text,) = (text for text in self.texts if "self.has_come.wait" in text)
        return text


@pytest.fixture(autouse=True)
def stalls_are_logged(logs: Logs) -> None:
    logs.allow("the loop ")


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler = Reports()
    log = logging.getLogger("actors")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


async def until_told(events: list[LoopStalled], stack: str) -> LoopStalled:
    while True:
        for event in events:
            if event.stack and event.stack in stack:
                return event
        await trio.lowlevel.checkpoint()


async def stall_of(puppet: Ref, reports: Reports, events: list[LoopStalled]) -> LoopStalled:
    puppet.cast(lambda _self: reports.wait())
    await puppet.call("has been")
    return await until_told(events, reports.ours())


def on_real_time(story: Any) -> Any:
    """The watchdog's thread knows no other."""
    return pytest.mark.trio(run=trio.run)(story)


@contextmanager
def watched(system: ActorSystem) -> Iterator[Watchdog]:
    with watch_loop(system, STALL_S) as watchdog:
        yield watchdog


@pytest.mark.parametrize("kind", [Puppet, AsyncPuppet])
@on_real_time
async def test_a_stuck_loop_is_reported_while_it_is_and_afterwards(
    kind: type[Actor], reports: Reports
) -> None:
    async with open_system() as system:
        events = record_events(system, LoopStalled)
        with watched(system) as watchdog:
            puppet = await system.start(kind, name="culprit")
            assert puppet is not None
            event = await stall_of(puppet, reports, events)
            statistics = watchdog.statistics()
        assert f"running {puppet}, in" in reports.ours()
        assert PASSWORD not in reports.ours()
        assert any("the loop turns again" in text for text in reports.texts)
        assert (event.id, event.name, event.actor) == (puppet.id, "culprit", kind.__name__)
        assert event.duration_s >= STALL_S
        assert statistics.stalls_total == len(events)
        assert statistics.stalled_seconds_total == sum(event.duration_s for event in events)


@on_real_time
async def test_a_stall_in_nobodys_code_is_told_too(reports: Reports) -> None:
    async with open_system() as system:
        events = record_events(system, LoopStalled)
        with watched(system):
            reports.wait()
            event = await until_told(events, reports.ours())
        assert "running no actor" in reports.ours()
        assert (event.id, event.name, event.actor) == (0, None, "loop")


@on_real_time
async def test_code_that_keeps_the_interpreter_lock_is_reported_afterwards() -> None:
    """The thread could not look meanwhile, whether it had asked the loop to turn or was resting."""
    async with open_system() as system:
        events = record_events(system, LoopStalled)
        with watched(system):
            greedy = await system.start(Puppet, name="greedy")
            assert greedy is not None
            with trio.fail_after(GIVE_UP_S):
                while not any(event.name == "greedy" for event in events):
                    await greedy.call(lambda _self: sum(range(15_000_000)))
                    await trio.sleep(STALL_S)


@on_real_time
async def test_a_loop_in_a_debugger_is_not_stuck(reports: Reports) -> None:
    """It is told apart by the debugger's code on the stack; so many looks later there is nothing in
    the log, and after it the watch goes on."""
    looks = threading.Semaphore(0)

    def cpu_s() -> float:
        looks.release()
        return 0.0

    debugger = {"__name__": "bdb"}
    exec("def interaction(wait):\n    wait()", debugger)

    def wait() -> None:
        for _ in range(4 * LOOKS_PER_STALL):
            assert looks.acquire(timeout=GIVE_UP_S)

    async with open_system() as system:
        with watch_loop(system, STALL_S, cpu_s=cpu_s):
            debugger["interaction"](wait)  # type: ignore[operator]
            assert not any("interaction" in text for text in reports.texts)
            reports.wait()
        assert "has not turned" in reports.ours()


@on_real_time
async def test_the_watch_ends_with_its_block_and_with_the_loop() -> None:
    async with open_system() as system:
        with watched(system) as watchdog:
            assert watchdog._thread.is_alive()
        assert not watchdog._thread.is_alive()
        left = Watchdog(system, STALL_S, lambda: 0.0, lambda: 0.0)
        left.start()
    assert left.statistics().stalls_total == 0
    await trio.to_thread.run_sync(left.stop)


# ---------------------------------------------------------------------- the judge


def judged(looks: list[tuple[float, float]], stall_s: float = 1.0) -> list[float]:
    """What the looks of a loop asked to turn at 0 say, each at a time and with CPU time used."""
    patience = Patience(stall_s, 0.0, 0.0)
    return [patience.look(at_s, cpu_s) for at_s, cpu_s in looks]


def test_a_stall_is_told_from_the_moment_the_loop_was_asked() -> None:
    assert judged([(0.25, 0), (0.5, 0), (0.75, 0), (1.0, 0), (1.25, 0)]) == [0, 0, 0, 1.0, 1.25]


def test_a_process_that_was_stopped_is_not_stuck() -> None:
    assert judged([(0.25, 0.2), (60.0, 0.3), (60.25, 0.5), (60.5, 0.7)]) == [0, 0, 0, 0]
    assert judged([(60.0, 0.1), (60.25, 0.2), (60.5, 0.3), (60.75, 0.4), (61.0, 0.5)])[
        -1
    ] == pytest.approx(1.1)


def test_code_that_let_nobody_else_run_is_stuck() -> None:
    """Processor time went by while nobody looked: the interpreter was not given back."""
    assert judged([(3.0, 2.9)]) == [2.9]


def test_what_a_debugger_took_is_excused() -> None:
    patience = Patience(1.0, 0.0, 0.0)
    patience.look(0.9, 0.9)
    patience.excuse()
    assert patience.look(1.8, 1.8) == 0.0


@given(st.lists(st.floats(0.0, 100.0), min_size=1))
def test_no_stop_of_any_length_is_ever_a_stall(gaps_s: list[float]) -> None:
    """Whatever the gaps, without processor time only looks in time add up to a stall."""
    times_s = [sum(gaps_s[:end]) for end in range(len(gaps_s) + 1)]
    in_time_s = sum(b - a for a, b in pairwise(times_s) if not stood_still(b - a, 0.25, 1.0))
    told = judged([(at_s, 0.0) for at_s in times_s[1:]])
    assert told[-1] <= in_time_s + 1e-6
