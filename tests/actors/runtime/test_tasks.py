"""What an actor runs beside itself: results in its turn, nothing left after its end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from outcome import Error, Value

from actors.runtime import KILL, ActorSystem, Crash, DeadlineExceeded, TaskRef
from actors.runtime.tracing import Unkillable, Unwound
from actors.runtime.unwinding import UNWIND_S
from actors.testkit import Logs, advance, record_events, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

KINDS = [Puppet, AsyncPuppet]


async def after(seconds: float, value: Any) -> Any:
    await trio.sleep(seconds)
    if isinstance(value, Exception):
        raise value
    return value


async def run(
    actor: Any, work: Any, *args: Any, on_done: Any = None, timeout_s: float = math.inf
) -> TaskRef:
    def act(self: Any) -> TaskRef:
        task: TaskRef = self.run_task(
            work, *args, on_done=on_done or self.got.append, label="it", timeout_s=timeout_s
        )
        return task

    task = await do(actor, act)
    assert isinstance(task, TaskRef)
    return task


@pytest.mark.parametrize("kind", KINDS)
async def test_its_outcome_comes_in_a_turn_of_the_actor(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    await run(actor, after, 1.0, "value")
    error = ValueError("x")
    await run(actor, after, 2.0, error)
    assert await actor.ref.call("meanwhile") == "meanwhile"
    await advance(2.0)
    assert actor.got == ["meanwhile", Value("value"), Error(error)]


async def test_what_takes_too_long_is_cancelled_and_the_actor_hears_of_it(
    system: ActorSystem,
) -> None:
    actor = await puppet(system, Puppet)
    task = await run(actor, after, 2.0, "late", timeout_s=1.0)
    await run(actor, after, 1.0, "in time", timeout_s=2.0)
    await advance(1.5)
    late = next(result for result in actor.got if isinstance(result, Error))
    assert isinstance(late.error, DeadlineExceeded)
    assert isinstance(late.error, TimeoutError)
    assert task.has_ended
    await advance(2.0)
    assert sorted(map(type, actor.got), key=str) == [Error, Value]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_a_callback_that_fails_crashes_the_actor(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    ref = actor.ref
    await run(actor, after, 1.0, ValueError("x"), on_done=lambda result: result.unwrap())
    reason = await ref.wait_exit()
    assert isinstance(reason, Crash)
    assert reason.error == "ValueError"


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_cancelled_with_the_actor(system: ActorSystem, kind: type[Any]) -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("unwound")

    actor = await puppet(system, kind)
    task = await run(actor, work)
    await settle()
    actor.ref.exit(KILL)
    assert task.is_cancelled
    await settle()
    assert (log, task.has_ended, actor.got) == (["unwound"], True, [])


async def test_one_cancelled_before_its_first_step_takes_none(system: ActorSystem) -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")

    actor = await puppet(system)
    await do(actor, lambda self: self.run_task(work, on_done=steps.append).cancel())
    await settle()
    assert steps == []


async def test_after_a_cancel_on_done_is_not_called(system: ActorSystem) -> None:
    actor = await puppet(system)
    task = await run(actor, after, 1.0, "value")
    task.cancel()
    await advance(2.0)
    assert actor.got == []


async def test_not_even_if_the_outcome_was_on_its_way(system: ActorSystem) -> None:
    """The task ends in the step before the actor's turn, in which another message cancels it."""
    actor = await puppet(system)
    gate = trio.Event()
    task = await run(actor, gate.wait)
    await settle()
    gate.set()
    actor.ref.deliver_control(lambda _self: task.cancel())
    await settle()
    assert actor.got == []


async def test_code_of_the_dead_runs_no_tasks(system: ActorSystem) -> None:
    actor = await puppet(system)
    actor.ref.exit(KILL)
    task = actor.run_task(after, 0.0, "value", on_done=actor.got.append)
    await settle()
    assert (task.has_ended, actor.got) == (True, [])


async def test_tasks_of_a_starting_actor_wait_for_its_start(system: ActorSystem) -> None:
    class Early(Puppet):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            self.run_task(after, 0.0, "value", on_done=self.got.append)
            await trio.sleep(1.0)
            self.got.append("started")

    actor = await puppet(system, Early)
    await settle()
    assert actor.got == ["started", Value("value")]


# ---------------------------------------------------------------------- unkillable


async def test_code_that_does_not_end_is_reported_and_left(system: ActorSystem, logs: Logs) -> None:
    reports, ends = record_events(system, Unkillable), record_events(system, Unwound)
    gate = trio.Event()

    async def act(_self: Any) -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()

    actor = await puppet(system, AsyncPuppet, name="n")
    ref = actor.ref
    ref.tell(act)
    await settle()
    ref.exit(KILL)
    assert not ref.is_alive()
    assert ref.is_unwinding
    assert list(system.zombies()) == [], "it may only need a moment"
    assert system.whereis("n") is None, "its name is free, its successor may start"
    await advance(UNWIND_S + 0.1)
    assert [report.name for report in reports] == ["n"]
    logs.expect("does not end")
    assert (list(system.zombies()), system.statistics().zombies) == ([ref], 1)
    assert ends == []
    await advance(9.0)
    assert len(reports) == 1, "once is enough"
    gate.set()
    await ref.wait_unwound()
    logs.expect("ended 10.1 s after its actor")
    assert not ref.is_unwinding
    assert (list(system.zombies()), system.statistics().zombies) == ([], 0)
    assert [(end.name, round(end.after_s)) for end in ends] == [("n", 10)]


@pytest.mark.parametrize("kind", KINDS)
async def test_its_code_has_ended_when_the_last_of_its_tasks_has(
    system: ActorSystem, kind: type[Any], logs: Logs
) -> None:
    async def work(seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    actor = await puppet(system, kind)
    ref = actor.ref
    for seconds in (1.0, 3.0, 2.0):
        await run(actor, work, seconds)
    await settle()
    ref.exit(KILL)
    begun_s = trio.current_time()
    await ref.wait_unwound()
    assert trio.current_time() - begun_s == pytest.approx(3.0)
    logs.expect("does not end")
    logs.expect("ended 3.0 s after its actor")


async def test_one_without_tasks_leaves_nothing(system: ActorSystem) -> None:
    actor = await puppet(system)
    ref = actor.ref
    ref.exit(KILL)
    assert not ref.is_unwinding
    await ref.wait_unwound()
    assert system.unwinding.named("n") is None


async def test_waiting_for_its_code_begins_while_it_lives(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet, name="n")
    ref = actor.ref
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.wait_unwound)
        await settle()
        ref.exit(KILL)
        assert system.unwinding.named("n") is ref
    assert system.unwinding.named("n") is None


async def test_code_that_takes_a_moment_to_end_is_not(system: ActorSystem) -> None:
    reports = record_events(system, Unkillable)

    async def act(_self: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(UNWIND_S / 2)

    actor = await puppet(system, AsyncPuppet)
    actor.ref.tell(act)
    await settle()
    actor.ref.exit(KILL)
    await advance(UNWIND_S + 0.1)
    assert reports == []


@pytest.mark.parametrize("kind", KINDS)
async def test_failing_while_unwinding_is_logged_and_no_second_end(
    system: ActorSystem, kind: type[Any], logs: Logs
) -> None:
    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while unwinding")

    actor = await puppet(system, kind)
    ref = actor.ref
    if kind is AsyncPuppet:
        ref.tell(lambda _self: work())
    else:
        await run(actor, work)
    await settle()
    ref.exit(KILL)
    await settle()
    assert str(ref.exit_reason) == "Killed()"
    records = logs.expect(" crashed", times=int(kind is AsyncPuppet))
    assert all("while unwinding" in str(record.exc_info) for record in records)
