"""Stories of one-off work: done for its effects, or for a result. Many are those of Elixir's
`Task.Supervisor`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from outcome import Error, Value

from actors.runtime import (
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    CallTimeout,
    Custom,
    Exit,
    RequestSet,
    Stop,
)
from actors.runtime.exits import Crash
from actors.runtime.tracing import Crashed
from actors.testkit import Logs, advance, settle
from supervision import (
    ChildState,
    Counts,
    Done,
    Refusal,
    Tasks,
    TooManyTasks,
    admin,
    snapshot,
    to_text,
)
from tests.supervision.actors import Stage
from tests.supervision.jobs import (
    TASKS,
    Caller,
    Job,
    Trapping,
    children,
    collect,
    task_supervisor,
)

# ---------------------------------------------------------------------- one piece of work


async def test_work_for_a_result_is_a_child(stage: Stage, tasks: Tasks, job: Job) -> None:
    task = tasks.async_(job.sleep, 1)
    assert children(stage) == [task.ref]
    assert await task.result() == 1
    await settle()
    assert task.ref.exit_reason == NORMAL
    assert children(stage) == []
    assert await admin.count_children(stage.ref(TASKS)) == Counts(0, 0, 0, 0)


async def test_work_nobody_waits_for_is_done(stage: Stage, tasks: Tasks, job: Job) -> None:
    ref = tasks.start_child(job.sleep, 1)
    assert children(stage) == [ref]
    assert await ref.wait_exit() == NORMAL
    assert job.log == ["+1", "=1", "-1"]


async def test_failure_of_work_nobody_waits_for_is_a_crash_report(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    reason = await tasks.start_child(job.fail, "nobody hears").wait_exit()
    assert isinstance(reason, Crash)
    assert reason.message == "nobody hears"
    [crashed] = stage.events.of(Crashed)
    assert crashed.name == "tasks:0"
    await settle()
    assert children(stage) == [], "it is temporary"


async def test_result_raises_what_the_work_raised(tasks: Tasks, job: Job) -> None:
    for begin in (tasks.async_, tasks.async_nolink):
        with pytest.raises(ValueError, match="told"):
            await begin(job.fail, "told").result()


async def test_work_that_stops_itself_ends_with_its_reason_and_no_crash(
    stage: Stage, tasks: Tasks
) -> None:
    async def stop() -> None:
        raise Stop(Custom("enough"))

    with pytest.raises(ActorDied) as died:
        await tasks.async_(stop).result()
    assert died.value.reason == Custom("enough")
    assert stage.events.of(Crashed) == []


async def test_work_that_is_killed_is_an_error_for_whoever_waits(tasks: Tasks, job: Job) -> None:
    task = tasks.async_nolink(job.sleep, math.inf)
    await settle()
    task.ref.exit(KILL)
    with pytest.raises(ActorDied) as died:
        await task.result()
    assert died.value.reason == KILLED


async def test_supervisor_that_ends_ends_the_work(stage: Stage, tasks: Tasks, job: Job) -> None:
    task = tasks.async_nolink(job.sleep, math.inf)
    await settle()
    stage.ref(TASKS).exit(SHUTDOWN)
    outcome = await task.receive()
    assert isinstance(outcome, Error)
    assert isinstance(outcome.error, ActorDied)
    assert outcome.error.reason == SHUTDOWN
    assert job.log == ["+inf", "-inf"]


async def test_no_more_children_than_allowed(stage: Stage, job: Job) -> None:
    await stage.supervise(task_supervisor(max_children=1))
    tasks = Tasks(stage.system, TASKS)
    first = tasks.async_(job.sleep, 1)
    for begin in (tasks.async_, tasks.async_nolink, tasks.start_child):
        with pytest.raises(TooManyTasks, match="has 1 tasks"):
            begin(job.sleep, 2)
    await first.result()
    await settle()
    assert await tasks.async_(job.sleep, 3).result() == 3


async def test_place_is_free_as_soon_as_a_task_has_ended(stage: Stage, job: Job) -> None:
    """Whoever waited for it may hear of the end before the supervisor does."""
    await stage.supervise(task_supervisor(max_children=1))
    tasks = Tasks(stage.system, TASKS)
    task = tasks.async_nolink(job.sleep, math.inf)
    task.ref.exit(KILL)
    assert await tasks.async_nolink(job.sleep, 1).result() == 1


async def test_terminate_child(stage: Stage, tasks: Tasks, job: Job) -> None:
    ref = tasks.start_child(job.sleep, math.inf)
    await settle()
    assert await admin.terminate_child(stage.ref(TASKS), ref) == Done()
    assert (children(stage), job.log) == ([], ["+inf", "-inf"])
    assert await admin.terminate_child(stage.ref(TASKS), "tasks:0") is Refusal.NOT_FOUND


async def test_work_ended_before_its_first_step_does_not_begin(tasks: Tasks, job: Job) -> None:
    task = tasks.async_(job.sleep, 1)
    outcome = await task.shutdown()
    assert isinstance(outcome, Error)
    assert job.log == []


async def test_work_ended_between_its_beginning_and_its_first_step(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    def begin(_: Caller) -> None:
        end = tasks.async_nolink(job.sleep, 1).ref.exit
        # By the time this came round the work has begun, but no task has run yet.
        other.tell(lambda _: caller.tell(lambda _: other.tell(lambda _: end(SHUTDOWN))))

    caller, other = stage.system.spawn(Caller, []), stage.system.spawn(Caller, [])
    await settle()
    await caller.call(begin)
    await settle()
    assert (children(stage), job.log) == ([], [])


async def test_names_are_used_again(stage: Stage, tasks: Tasks, job: Job) -> None:
    await collect(tasks, [1] * 50, job.sleep, max_concurrency=3)
    await settle()
    found = {tasks.start_child(job.sleep, 1).name for _ in range(5)}
    assert found == {f"{TASKS}:{number}" for number in range(5)}


# ---------------------------------------------------------------------- waiting


async def test_wait_is_elixirs_yield(tasks: Tasks, job: Job) -> None:
    task = tasks.async_(job.sleep, 2)
    assert await task.wait(1) is None
    assert await task.wait(2) == Value(2)
    assert await task.result() == 2, "it may be asked for again"


async def test_waiting_for_many(tasks: Tasks, job: Job) -> None:
    requests = RequestSet()
    for seconds in (3, 1, 2):
        requests.add(tasks.async_(job.sleep, seconds), seconds)
    found = [label async for label, _ in requests.results(2.5)]
    assert found == [1, 2]
    assert requests.labels() == [3]


@pytest.mark.parametrize(("linked", "log"), [(True, ["+9", "-9"]), (False, ["+9", "=9", "-9"])])
async def test_result_that_does_not_come_in_time(
    stage: Stage, tasks: Tasks, job: Job, linked: bool, log: list[str]
) -> None:
    task = (tasks.async_ if linked else tasks.async_nolink)(job.sleep, 9)
    with pytest.raises(CallTimeout):
        await task.result(timeout_s=1)
    await task.ref.wait_exit()
    assert job.log == log
    assert task.outcome is None, "what comes late is dropped"


@pytest.mark.parametrize(("linked", "log"), [(True, ["+9", "-9"]), (False, ["+9", "=9", "-9"])])
async def test_cancelled_wait(tasks: Tasks, job: Job, linked: bool, log: list[str]) -> None:
    task = (tasks.async_ if linked else tasks.async_nolink)(job.sleep, 9)
    with trio.move_on_after(1):
        await task.result()
    await task.ref.wait_exit()
    assert job.log == log


async def test_shutdown_waits_for_the_cleaning_up(tasks: Tasks, job: Job) -> None:
    task = tasks.async_(job.clean_up, 4)
    await settle()
    begun_s = trio.current_time()
    outcome = await task.shutdown()
    assert isinstance(outcome, Error)
    assert (trio.current_time() - begun_s, job.log) == (4.0, ["clean"])
    assert task.ref.exit_reason == SHUTDOWN


@pytest.mark.parametrize("timeout_s", [0, 2.5])
async def test_shutdown_kills_after_its_deadline(tasks: Tasks, job: Job, timeout_s: float) -> None:
    task = tasks.async_(job.clean_up, 60)
    await settle()
    begun_s = trio.current_time()
    await task.shutdown(timeout_s)
    assert trio.current_time() - begun_s == timeout_s
    assert task.ref.exit_reason == KILLED


async def test_result_that_comes_while_the_work_is_shut_down(tasks: Tasks) -> None:
    async def insist() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return "done all the same"

    task = tasks.async_(insist)
    await settle()
    assert await task.shutdown() == Value("done all the same")
    assert await task.shutdown() == Value("done all the same")


# ---------------------------------------------------------------------- actors that wait


async def test_actor_gets_the_result_in_a_turn_of_its_own(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    heard: list[Any] = []
    caller = stage.system.spawn(Caller, heard)

    def begin(actor: Caller) -> None:
        actor.run_task(tasks.async_(job.sleep, 1).result, on_done=heard.append)
        actor.run_task(tasks.async_nolink(job.fail, "bad").result, on_done=heard.append)

    await caller.call(begin)
    await advance(1)
    [bad, good] = heard
    assert (good, repr(bad.error)) == (Value(1), "ValueError('bad')")


async def test_linked_failure_ends_the_actor(stage: Stage, tasks: Tasks, job: Job) -> None:
    caller = stage.system.spawn(Caller, [])
    await caller.call(lambda _: tasks.async_(job.fail, "both"))
    await settle()
    assert isinstance(caller.exit_reason, Crash)
    assert caller.exit_reason.message == "both"


async def test_unlinked_failure_does_not(stage: Stage, tasks: Tasks, job: Job) -> None:
    caller = stage.system.spawn(Caller, [])
    task = await caller.call(lambda _: tasks.async_nolink(job.fail, "alone"))
    await task.ref.wait_exit()
    await settle()
    assert caller.is_alive()


async def test_actor_that_traps_exits_hears_of_the_end(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    heard: list[Any] = []
    caller = stage.system.spawn(Trapping, heard)
    task = await caller.call(lambda _: tasks.async_(job.sleep, 1))
    await advance(1)
    assert heard == [Exit(task.ref, NORMAL)]


@pytest.mark.parametrize(
    ("linked", "reason", "log"),
    [
        (True, Custom("gone"), ["+9", "-9"]),
        (True, NORMAL, ["+9", "=9", "-9"]),
        (False, Custom("gone"), ["+9", "=9", "-9"]),
    ],
)
async def test_end_of_whoever_began_it(
    stage: Stage, tasks: Tasks, job: Job, linked: bool, reason: Any, log: list[str]
) -> None:
    begin = tasks.async_ if linked else tasks.async_nolink
    caller = stage.system.spawn(Caller, [])
    task = await caller.call(lambda _: begin(job.sleep, 9))
    await settle()
    await caller.call(lambda actor: actor.stop(reason))
    await task.ref.wait_exit()
    assert job.log == log


async def test_actor_may_shut_down_its_work_and_live(stage: Stage, tasks: Tasks, job: Job) -> None:
    heard: list[Any] = []
    caller = stage.system.spawn(Caller, heard)
    task = await caller.call(lambda _: tasks.async_(job.sleep, math.inf))
    await settle()
    await caller.call(lambda actor: actor.run_task(task.shutdown, on_done=heard.append) and None)
    await settle()
    assert caller.is_alive()
    [ended] = heard
    assert isinstance(ended.value.error, ActorDied)


async def test_work_of_work_is_linked_to_it(stage: Stage, tasks: Tasks, job: Job) -> None:
    async def outer() -> None:
        inner = tasks.async_(job.sleep, math.inf)
        started.append(inner)
        await trio.sleep_forever()

    started: list[Any] = []
    task = tasks.async_nolink(outer)
    await settle()
    task.ref.exit(Custom("gone"))
    await settle()
    assert (await started[0].receive()).error.reason == Custom("gone")
    assert job.log == ["+inf", "-inf"]


# ---------------------------------------------------------------------- its supervisor


async def test_it_is_in_the_tree(stage: Stage, tasks: Tasks, job: Job) -> None:
    tasks.start_child(job.sleep, 5)
    tasks.async_(job.sleep, 6)
    await settle()
    assert to_text(snapshot(stage.system, stage.ref("sup"))).splitlines()[1:] == [
        "└─ tasks (TaskSupervisor one_for_one running)",
        "   ├─ tasks:0 (TaskRunner running)",
        "   └─ tasks:1 (TaskRunner running)",
    ]
    [info] = await admin.which_children(stage.ref("sup"))
    assert (info.kind, info.state) == ("supervisor", ChildState.RUNNING)
    assert stage.ref("tasks:0").details() == {"work": "Job.sleep"}


async def test_without_a_supervisor_nothing_starts(stage: Stage, job: Job) -> None:
    tasks = Tasks(stage.system, TASKS)
    with pytest.raises(ActorDied, match="no task supervisor tasks") as died:
        tasks.start_child(job.sleep, 1)
    assert died.value.reason == NOPROC
    stage.system.spawn(Caller, [], name=TASKS)
    with pytest.raises(TypeError, match="tasks is a Caller"):
        tasks.start_child(job.sleep, 1)


async def test_supervisor_that_is_ending_takes_no_more(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    tasks.start_child(job.clean_up, 3)
    await settle()
    stage.ref(TASKS).exit(SHUTDOWN)
    await advance(1)
    with pytest.raises(ActorDied):
        tasks.start_child(job.sleep, 1)


async def test_work_that_still_cleans_up_does_not_stand_in_the_way(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    tasks.start_child(job.clean_up, 3)
    await settle()
    stage.ref(TASKS).exit(KILL)
    await advance(1)
    assert stage.ref(TASKS).incarnation == 2
    assert stage.ref("tasks:0").is_alive(), "its predecessor's"
    assert await tasks.async_(job.sleep, 1).result() == 1
    await advance(1)
    assert job.log[-1] == "clean"


async def test_only_work_starts_anything(stage: Stage, tasks: Tasks, logs: Logs) -> None:
    assert stage.ref(TASKS)._actor.ensure("x") is None
    logs.expect("could not make x")
    answer = await admin.start_child(stage.ref(TASKS), stage.spec("x"))
    assert answer is Refusal.UNKNOWN
