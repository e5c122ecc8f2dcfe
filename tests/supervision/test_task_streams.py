"""Stories of streams of work, many of them Elixir's: order, bounds, timeouts, and their ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from outcome import Value

from actors.runtime import KILL, ActorDied, ActorSystem, open_system
from actors.testkit import advance, run_virtual, settle
from supervision import (
    OnTimeout,
    Supervisor,
    SupervisorSpec,
    Tasks,
    TaskSupervisor,
    TaskTimeout,
    TooManyTasks,
)
from tests.supervision.actors import Stage
from tests.supervision.jobs import TASKS, Caller, Job, children, collect, plain, task_supervisor


async def test_stream_keeps_the_order_with_the_slowest_first(tasks: Tasks, job: Job) -> None:
    assert await collect(tasks, [4, 3, 2, 1], job.sleep) == [4, 3, 2, 1]


async def test_unordered_stream_gives_what_is_there(tasks: Tasks, job: Job) -> None:
    assert await collect(tasks, [4, 3, 2, 1], job.sleep, ordered=False) == [1, 2, 3, 4]


async def test_stream_of_failures(stage: Stage, tasks: Tasks, job: Job) -> None:
    found = await collect(tasks, "abcd", job.fail)
    assert found == [(text, ValueError) for text in "abcd"]


async def test_empty_stream(tasks: Tasks, job: Job) -> None:
    assert await collect(tasks, [], job.sleep) == []


async def test_stream_in_an_actor_is_not_hit_by_failures(
    stage: Stage, tasks: Tasks, job: Job
) -> None:
    heard: list[Any] = []
    caller = stage.system.spawn(Caller, heard)
    await caller.call(
        lambda actor: actor.run_task(collect, tasks, "ab", job.fail, on_done=heard.append) and None
    )
    await settle()
    assert heard == [Value([("a", ValueError), ("b", ValueError)])]


async def test_item_that_takes_too_long_is_told_with_its_item(tasks: Tasks, job: Job) -> None:
    found = await collect(
        tasks, [1, 100, 2], job.sleep, timeout_s=5, on_timeout=OnTimeout.KILL_TASK
    )
    assert found == [1, (100, TaskTimeout), 2]
    assert job.working == 0


async def test_item_that_takes_too_long_ends_the_stream(tasks: Tasks, job: Job) -> None:
    with pytest.raises(TaskTimeout, match="not done within 5 s"):
        await collect(tasks, [1, 100, math.inf], job.sleep, timeout_s=5)
    assert job.working == 0


async def test_time_of_an_item_runs_while_the_consumer_is_busy(tasks: Tasks, job: Job) -> None:
    async with tasks.async_stream(
        [0, 9], job.sleep, max_concurrency=2, timeout_s=5, on_timeout=OnTimeout.KILL_TASK
    ) as stream:
        await anext(stream)
        await trio.sleep(20)
        assert job.log[-1] == "-9"
        assert plain(*await anext(stream)) == (9, TaskTimeout)


async def test_timed_out_work_may_clean_up_but_not_for_ever(stage: Stage, tasks: Tasks) -> None:
    job, begun_s = Job(), trio.current_time()
    options = {"timeout_s": 1, "on_timeout": OnTimeout.KILL_TASK, "ordered": False}
    found = await collect(tasks, [3, 60], job.clean_up, **options)
    assert found == [(3, TaskTimeout), (60, TaskTimeout)]
    assert trio.current_time() - begun_s == 6.0
    assert job.log == ["clean"]


async def test_error_of_the_work_that_looks_like_a_deadline_is_an_outcome(tasks: Tasks) -> None:
    async def late(_: int) -> None:
        raise TimeoutError("its own")

    assert await collect(tasks, [1], late) == [(1, TimeoutError)]


async def test_consumer_that_has_enough(stage: Stage, tasks: Tasks, job: Job) -> None:
    async with tasks.async_stream([0, math.inf, math.inf], job.sleep, max_concurrency=3) as stream:
        assert plain(*await anext(stream)) == 0
        await settle()
        assert job.working == 2
    assert job.working == 0
    await settle()
    assert children(stage) == []


async def test_leaving_waits_for_the_cleaning_up(tasks: Tasks, job: Job) -> None:
    begun_s = trio.current_time()
    with trio.move_on_after(1):
        await collect(tasks, [1, 2], job.clean_up)
    assert job.log == ["clean", "clean"]
    assert trio.current_time() - begun_s == 3.0


async def test_cancelled_consumer_leaves_nothing(stage: Stage, tasks: Tasks, job: Job) -> None:
    with trio.move_on_after(1):
        await collect(tasks, [math.inf] * 5, job.sleep)
    assert (job.most, job.working) == (4, 0)
    await settle()
    assert children(stage) == []


async def test_death_of_the_consumer_ends_the_work(stage: Stage, tasks: Tasks, job: Job) -> None:
    caller = stage.system.spawn(Caller, [])
    await caller.call(
        lambda actor: (
            actor.run_task(collect, tasks, [math.inf] * 5, job.sleep, on_done=print) and None
        )
    )
    await settle()
    assert job.working == 4
    caller.exit(KILL)
    await settle()
    assert (job.working, children(stage)) == (0, [])


async def test_wait_for_an_outcome_may_be_cancelled_and_tried_again(tasks: Tasks, job: Job) -> None:
    for ordered in (True, False):
        options: dict[str, Any] = {"max_concurrency": 2, "ordered": ordered}
        async with tasks.async_stream([3, 4, 5], job.sleep, **options) as stream:
            found: list[Any] = []
            while len(found) < 3:
                with trio.move_on_after(0.4):
                    found.append(plain(*await anext(stream)))
            assert found == [3, 4, 5]
            with pytest.raises(StopAsyncIteration):
                await anext(stream)


@pytest.mark.parametrize("ordered", [True, False])
async def test_death_of_the_supervisor_is_an_error_and_no_wait(
    stage: Stage, job: Job, ordered: bool
) -> None:
    supervisor = await stage.system.start(TaskSupervisor, name=TASKS)
    assert supervisor is not None
    found = []
    async with Tasks(stage.system, TASKS).async_stream(
        [1, *[math.inf] * 9], job.sleep, max_concurrency=3, ordered=ordered
    ) as stream:
        for _ in range(3):
            found.append(plain(*await anext(stream)))
            supervisor.exit(KILL)
        with pytest.raises(ActorDied, match="no task supervisor"):
            await anext(stream)
    assert found == [1, (math.inf, ActorDied), (math.inf, ActorDied)]
    assert (job.log.count("+inf"), job.working) == (2, 0)


async def test_stream_goes_on_when_the_supervisor_is_back(tasks: Tasks, stage: Stage) -> None:
    job = Job()
    found: list[Any] = []
    async with tasks.async_stream([1, 7, 8, 2, 3], job.sleep, max_concurrency=3) as stream:
        async for item, outcome in stream:
            if item == 1:
                stage.ref(TASKS).exit(KILL)
            await advance(1)
            found.append(plain(item, outcome))
    assert found == [1, (7, ActorDied), (8, ActorDied), 2, 3]


async def test_too_many_tasks_end_the_stream(stage: Stage, job: Job) -> None:
    await stage.supervise(task_supervisor(max_children=1))
    tasks = Tasks(stage.system, TASKS)
    with pytest.raises(TooManyTasks):
        await collect(tasks, [math.inf, math.inf], job.sleep, max_concurrency=2)
    assert job.working == 0
    await settle()
    assert children(stage) == []


async def test_source_that_fails_ends_the_stream(tasks: Tasks, job: Job) -> None:
    def source() -> Iterator[float]:
        yield math.inf
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        await collect(tasks, source(), job.sleep)
    assert job.working == 0


async def test_nothing_is_read_before_it_is_needed(tasks: Tasks, job: Job) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield 9 if number == 0 else 0

    async with tasks.async_stream(source(), job.sleep, max_concurrency=3, timeout_s=60) as stream:
        await advance(1)
        assert read == []
        await anext(stream)
        await advance(10)
        assert read == [0, 1, 2], "a slow first one makes no others pile up"
        await anext(stream)
        assert read == [0, 1, 2, 3]


async def test_bad_limits_are_named(tasks: Tasks, job: Job) -> None:
    for options in ({"max_concurrency": 0}, {"max_concurrency": 1.5}, {"timeout_s": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            await collect(tasks, [1], job.sleep, **options)
    with pytest.raises(ValueError, match="whatever"):
        await collect(tasks, [1], job.sleep, on_timeout="whatever")


# ---------------------------------------------------------------------- every stream


@dataclass(frozen=True)
class Item:
    """Takes so long, and then fails or does not."""

    seconds: float
    fails: bool


@dataclass(frozen=True)
class Case:
    """A stream: what it does, how long the consumer thinks about each outcome, and when somebody
    kills the supervisor, which its own starts again."""

    items: list[Item]
    max_concurrency: int
    ordered: bool
    pauses: list[float]
    kills: list[float] = field(default_factory=list)

    def outcome_of(self, number: int) -> Any:
        item = self.items[number]
        if item.seconds > TIMEOUT_S:
            return number, TaskTimeout
        return (number, ValueError) if item.fails else number


TIMEOUT_S = 2.0
ITEMS_MAX = 12

moments = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.5, 9.0])
cases = st.builds(
    Case,
    st.lists(st.builds(Item, moments, st.booleans()), max_size=ITEMS_MAX),
    st.integers(1, 5),
    st.booleans(),
    st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=ITEMS_MAX, max_size=ITEMS_MAX),
)
kills = st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=1, max_size=4)


class Play:
    """One stream, played on virtual time: what came out, and what the work saw."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.found: list[tuple[int, Any]] = []
        self.read = self.working = self.most = 0
        run_virtual(self._story)

    async def _story(self) -> None:
        limits = {"max_children": self.case.max_concurrency}
        spec = SupervisorSpec(intensity=100, children=(task_supervisor(**limits),))
        async with open_system() as system, trio.open_nursery() as nursery:
            await system.start(Supervisor, spec)
            nursery.start_soon(self._kill, system)
            await self._consume(Tasks(system, TASKS))
            nursery.cancel_scope.cancel()
        assert self.working == 0

    async def _kill(self, system: ActorSystem) -> None:
        for seconds in self.case.kills:
            await trio.sleep(seconds)
            (await system.wait_name(TASKS, timeout_s=9)).exit(KILL)

    async def _consume(self, tasks: Tasks) -> None:
        async with tasks.async_stream(
            self._source(), self._work, max_concurrency=self.case.max_concurrency,
            ordered=self.case.ordered, timeout_s=TIMEOUT_S, on_timeout=OnTimeout.KILL_TASK,
        ) as stream:  # fmt: skip
            while True:
                try:
                    number, outcome = await anext(stream)
                except StopAsyncIteration:
                    return
                except ActorDied:
                    await trio.sleep(0.05)  # the supervisor will be back
                    continue
                assert self.read - len(self.found) <= self.case.max_concurrency
                self.found.append((number, plain(number, outcome)))
                await trio.sleep(self.case.pauses[len(self.found) - 1])

    def _source(self) -> Iterator[int]:
        for number in range(len(self.case.items)):
            self.read += 1
            yield number

    async def _work(self, number: int) -> int:
        item = self.case.items[number]
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await trio.sleep(item.seconds)
            if item.fails:
                raise ValueError(number)
            return number
        finally:
            self.working -= 1


@given(cases)
def test_every_item_has_its_outcome(case: Case) -> None:
    play = Play(case)
    numbers = range(len(case.items))
    assert sorted(play.found) == [(number, case.outcome_of(number)) for number in numbers]
    if case.ordered:
        assert [number for number, _ in play.found] == list(numbers)
    assert play.most <= case.max_concurrency


@given(cases, kills)
def test_every_item_has_one_outcome_whoever_is_killed(case: Case, kills: list[float]) -> None:
    play = Play(replace(case, kills=kills))
    found = dict(play.found)
    assert len(found) == len(play.found) == len(case.items)
    for number, outcome in found.items():
        assert outcome in (case.outcome_of(number), (number, ActorDied))
    if case.ordered:
        assert list(found) == list(range(len(case.items)))
    assert play.most <= case.max_concurrency
