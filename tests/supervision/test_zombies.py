"""Children whose code cannot be cancelled (`ChildSpec.unkillable`): abandoned, or waited for."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.runtime import KILL, KILLED, SHUTDOWN, Actor, Ref
from actors.runtime.tracing import Restarted, RestartScheduled, Unkillable, Unwound
from actors.testkit import Logs, advance, settle
from supervision import (
    BRUTAL_KILL,
    AutoShutdown,
    Backoff,
    ChildInfo,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    InvalidSpec,
    Refusal,
    Restart,
    Strategy,
    SupervisorSpec,
    UncleanShutdowns,
    admin,
    read_child,
    snapshot,
)
from tests.supervision.actors import SOON, TEMPORARY, TRANSIENT, Stage, Worker, ids

LONG_S = 300.0


class Held(Worker):
    """Told an event, it runs code that waits for it and hears of no cancellation."""

    async def on_receive(self, message: Any) -> Any:
        if not isinstance(message, trio.Event):
            return super().on_receive(message)
        return self.run_task(self._hold, message, on_done=lambda _: None)

    async def _hold(self, gate: trio.Event) -> None:
        with trio.move_on_after(10 * LONG_S, shield=True):
            await gate.wait()
        self.world.log.append(f"code of {self.label} ended")


class Unready(Worker):
    """Takes too long to start, and hears of no cancellation."""

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        with trio.CancelScope(shield=True):
            await trio.sleep(LONG_S)
        self.world.log.append(f"code of {self.label} ended")


def held(stage: Stage, id_: str, actor: type[Actor] = Held, **given: Any) -> ChildSpec:
    return stage.spec(id_, actor, **{"unkillable": "wait", **given})


async def hold(stage: Stage, name: str) -> trio.Event:
    """Have it run such code; what ends that."""
    gate = trio.Event()
    stage.ref(name).tell(gate)
    await settle()
    return gate


async def state_of(sup: Ref, id_: str) -> ChildState:
    info = await admin.which_child(sup, id_)
    assert isinstance(info, ChildInfo)
    return info.state


@pytest.fixture(autouse=True)
def reports(logs: Logs) -> None:
    """That they are there is logged, and that they are gone."""
    logs.allow("its code does not end")
    logs.allow("the code of ")


def test_the_choice_is_checked() -> None:
    assert read_child({"id": "a", "actor": Actor}).unkillable == "abandon"
    assert read_child({"id": "a", "actor": Actor, "unkillable": "wait"}).unkillable == "wait"
    with pytest.raises(InvalidSpec, match=r"supervisor.a.unkillable: 'no' is neither abandon nor"):
        read_child({"id": "a", "actor": Actor, "unkillable": "no"})


# ---------------------------------------------------------------------- abandoned


async def test_the_abandoned_are_counted_until_their_code_ends(stage: Stage) -> None:
    sup = await stage.supervise(held(stage, "a", unkillable="abandon"))
    gate, ref = await hold(stage, "a"), stage.ref("a")
    ref.exit(KILL)
    await advance(10.0)
    assert stage.world.take() == ["+a", "-a killed", "+a"], "its successor is up"
    assert list(stage.system.zombies()) == [ref]
    assert stage.system.statistics().zombies == 1
    assert [event.incarnation for event in stage.events.of(Unkillable)] == [1]
    sup.exit(SHUTDOWN)
    assert await sup.wait_exit() == SHUTDOWN, "nobody waits for it"
    assert stage.events.of(Unwound) == []
    gate.set()
    await settle()
    assert [event.incarnation for event in stage.events.of(Unwound)] == [1]
    assert stage.system.statistics().zombies == 0


# ---------------------------------------------------------------------- waited for


@pytest.mark.parametrize("end", ["killed", "ValueError"])
async def test_no_successor_starts_before_its_code_has_ended(stage: Stage, end: str) -> None:
    sup = await stage.supervise(held(stage, "a"), "b")
    gate, ref = await hold(stage, "a"), stage.ref("a")
    if end == "killed":
        ref.exit(KILL)
    else:
        ref.tell("crash")
    await advance(LONG_S)
    assert stage.world.take() == ["+a", "+b", f"-a {end}"]
    assert await state_of(sup, "a") is ChildState.UNWINDING
    assert (await admin.count_children(sup)).active == 1
    assert [node.state for node in snapshot(stage.system, sup).children] == ["unwinding", "running"]
    assert [event.name for event in stage.events.of(Unkillable)] == ["a"], (
        "it does not hang silently"
    )
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["code of a ended", "+a"]
    assert await state_of(sup, "a") is ChildState.RUNNING
    assert [event.name for event in stage.events.of(Unwound)] == ["a"]
    assert len(stage.events.of(Restarted)) == 1


async def test_code_that_ends_in_time_delays_nothing(stage: Stage) -> None:
    await stage.supervise(held(stage, "a"))
    stage.ref("a").exit(KILL)
    await advance(0.02)
    assert stage.world.take() == ["+a", "-a killed", "+a"]
    assert stage.events.of(Unkillable) == []


@pytest.mark.parametrize("shutdown_s", [BRUTAL_KILL, 2.0, None])
async def test_the_supervisor_does_not_end_before_it(stage: Stage, shutdown_s: Any) -> None:
    sup = await stage.supervise("a", held(stage, "b", shutdown_s=shutdown_s))
    gate = await hold(stage, "b")
    sup.exit(SHUTDOWN)
    await advance(LONG_S)
    assert (sup.is_alive(), await state_of(sup, "b")) == (True, ChildState.UNWINDING)
    gate.set()
    assert await sup.wait_exit() == SHUTDOWN
    log = stage.world.take()
    assert log.index("code of b ended") < log.index("-a shutdown"), "right to left"


async def test_told_to_stop_while_it_waits_it_waits(stage: Stage) -> None:
    sup = await stage.supervise(held(stage, "a"))
    gate = await hold(stage, "a")
    stage.ref("a").exit(KILL)
    await advance(10.0)
    sup.exit(SHUTDOWN)
    await advance(LONG_S)
    assert sup.is_alive()
    gate.set()
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.world.take() == ["+a", "-a killed", "code of a ended", "-sup shutdown"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_starts_when_the_code_of_all_has_ended(
    stage: Stage, strategy: Strategy
) -> None:
    await stage.supervise("a", held(stage, "b"), strategy=strategy)
    gate = await hold(stage, "b")
    await stage.crash("a")
    await advance(LONG_S)
    assert stage.world.take() == ["+a", "+b", "-a ValueError", "-b shutdown"]
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["code of b ended", "+a", "+b"]


async def test_a_start_that_took_too_long(stage: Stage) -> None:
    sup = await stage.supervise("z")
    spec = held(stage, "a", Unready, start_s=1.0)
    stage.world.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(admin.start_child, sup, spec)
        await advance(10.0)
        assert await state_of(sup, "a") is ChildState.UNWINDING
        assert await admin.restart_child(sup, "a") is Refusal.RUNNING  # it is being started
        nursery.cancel_scope.cancel()
    await advance(LONG_S)
    assert stage.world.take() == ["-a killed", "code of a ended"]
    assert ids(sup) == ["z"], "and it is not kept"


@pytest.mark.parametrize("restart", [TRANSIENT, TEMPORARY])
async def test_one_that_will_not_come_back(stage: Stage, restart: Restart) -> None:
    sup = await stage.supervise(
        held(stage, "a", restart=restart, significant=True),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    gate = await hold(stage, "a")
    stage.ref("a").tell(SHUTDOWN)
    await advance(LONG_S)
    assert await state_of(sup, "a") is ChildState.UNWINDING, "also if it is to be forgotten"
    assert sup.is_alive()
    gate.set()
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.world.take() == ["+a", "-a shutdown", "code of a ended", "-sup shutdown"]


async def test_requests_about_it(stage: Stage) -> None:
    sup = await stage.supervise(held(stage, "a"))
    gate = await hold(stage, "a")
    stage.ref("a").exit(KILL)
    await settle()
    assert await admin.restart_child(sup, "a") is Refusal.UNWINDING
    assert await admin.delete_child(sup, "a") is Refusal.UNWINDING
    assert await admin.start_child(sup, held(stage, "a")) is Refusal.ALREADY_PRESENT
    answers: list[object] = []

    async def terminate() -> None:
        answers.append(await admin.terminate_child(sup, "a", timeout_s=2 * LONG_S))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminate)
        await advance(LONG_S)
        assert answers == [], "not before it is gone"
        gate.set()
    assert answers == [admin.Done()]
    await advance(1.0)
    assert await state_of(sup, "a") is ChildState.STOPPED
    assert stage.world.take() == ["+a", "-a killed", "code of a ended"]


async def test_being_dead_is_not_being_up(stage: Stage) -> None:
    backoff = Backoff(min_s=1.0, max_s=8.0, jitter=0.0)
    await stage.supervise(held(stage, "a", backoff=backoff))
    for delay_s in (1.0, 2.0):
        gate = await hold(stage, "a")
        stage.ref("a").exit(KILL)
        await advance(60.0)
        gate.set()
        await advance(delay_s + 0.1)
    assert [event.delay_s for event in stage.events.of(RestartScheduled)] == [1.0, 2.0]


async def test_the_successor_of_its_supervisor_waits_too(stage: Stage) -> None:
    top = await stage.supervise(stage.nest("group", held(stage, "a")))
    gate = await hold(stage, "a")
    stage.ref("group").exit(KILL)
    await advance(LONG_S)
    assert stage.world.take() == ["+a", "-group killed", "-a killed"]
    [group] = snapshot(stage.system, top).children
    assert [node.state for node in group.children] == ["unwinding"]
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["code of a ended", "+a"]


async def test_one_that_is_told_to_wait_waits_for_the_abandoned_too(stage: Stage) -> None:
    sup = await stage.supervise(held(stage, "a", unkillable="abandon"))
    gate = await hold(stage, "a")
    stage.ref("a").exit(KILL)
    await advance(10.0)
    await admin.update_spec(sup, SupervisorSpec(children=(held(stage, "a"),)))
    stage.ref("a").exit(KILL)
    await advance(LONG_S)
    assert stage.world.take() == ["+a", "-a killed", "+a", "-a killed"]
    assert await state_of(sup, "a") is ChildState.UNWINDING
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["code of a ended", "+a"]


# ---------------------------------------------------------------------- dynamic children


async def pool(stage: Stage, **options: Any) -> Ref:
    def make(name: str) -> ChildSpec:
        return held(stage, name, **{"restart": TRANSIENT, **options})

    ref = await stage.system.start(DynamicSupervisor, make, name="pool", backoff=SOON)
    assert ref is not None
    return ref


def ensure(sup: Ref, name: str) -> Ref | None:
    actor = sup._actor
    assert isinstance(actor, DynamicSupervisor)
    return actor.ensure(name)


async def test_a_dynamic_child_that_failed_comes_back_when_its_code_has_ended(
    stage: Stage,
) -> None:
    sup = await pool(stage)
    ensure(sup, "a")
    await settle()
    ensure(sup, "b")
    await settle()
    gate, ref = await hold(stage, "a"), stage.ref("a")
    ref.exit(KILL)
    await advance(LONG_S)
    assert ensure(sup, "a") is None
    assert await state_of(sup, "a") is ChildState.UNWINDING
    counts = await admin.count_children(sup)
    assert (counts.specs, counts.active) == (2, 1)
    states = {node.name: node.state for node in snapshot(stage.system, sup).children}
    assert states == {"a": "unwinding", "b": "running"}
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["+a", "+b", "-a killed", "code of a ended", "+a"]
    assert len(stage.events.of(Restarted)) == 1


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_one_that_was_done_comes_back_if_somebody_asked(
    stage: Stage, is_wanted: bool
) -> None:
    sup = await pool(stage)
    ensure(sup, "a")
    await settle()
    gate = await hold(stage, "a")
    stage.ref("a").tell(SHUTDOWN)
    await advance(10.0)
    if is_wanted:
        assert ensure(sup, "a") is None
    gate.set()
    await advance(1.0)
    again = ["+a"] if is_wanted else []
    assert stage.world.take() == ["+a", "-a shutdown", "code of a ended", *again]


async def test_requests_about_a_dynamic_child(stage: Stage) -> None:
    sup = await pool(stage)
    ensure(sup, "a")
    await settle()
    gate, ref = await hold(stage, "a"), stage.ref("a")
    ref.exit(KILL)
    await settle()
    assert await admin.start_child(sup, held(stage, "a")) is Refusal.UNWINDING
    assert await admin.restart_child(sup, "a") is Refusal.UNWINDING
    assert await admin.delete_child(sup, "a") is Refusal.UNWINDING
    answers: list[object] = []

    async def terminate(key: str | Ref) -> None:
        answers.append(await admin.terminate_child(sup, key, timeout_s=2 * LONG_S))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminate, "a")
        nursery.start_soon(terminate, ref)
        await advance(LONG_S)
        assert answers == [], "not before it is gone"
        gate.set()
    assert answers == [admin.Done(), admin.Done()]
    await advance(1.0)
    assert (stage.world.take(), ids(sup)) == (["+a", "-a killed", "code of a ended"], [])


@pytest.mark.parametrize("is_dead_before", [True, False])
async def test_a_dynamic_supervisor_does_not_end_before_them(
    stage: Stage, is_dead_before: bool
) -> None:
    sup = await pool(stage)
    ensure(sup, "a")
    await settle()
    ensure(sup, "b")
    await settle()
    gate = await hold(stage, "a")
    if is_dead_before:
        stage.ref("a").exit(KILL)
        await advance(10.0)
    sup.exit(SHUTDOWN)
    await advance(LONG_S)
    assert (sup.is_alive(), stage.system.whereis("b")) == (True, None)
    assert await state_of(sup, "a") is ChildState.UNWINDING
    gate.set()
    assert await sup.wait_exit() == SHUTDOWN
    assert stage.world.take()[-2:] == ["code of a ended", "-pool shutdown"]
    assert stage.events.of(UncleanShutdowns) == [], "how it ended before is no news"


async def test_the_successor_of_a_dynamic_supervisor_waits_too(stage: Stage) -> None:
    def make(name: str) -> ChildSpec:
        return held(stage, name)

    spec = ChildSpec("pool", DynamicSupervisor, (make,), name="pool", backoff=SOON)
    await stage.supervise(spec)
    ensure(stage.ref("pool"), "a")
    await settle()
    gate, old = await hold(stage, "a"), stage.ref("pool")
    old.exit(KILL)
    await advance(LONG_S)
    assert old.exit_reason == KILLED
    sup = stage.ref("pool")
    assert [ensure(sup, "a") for _ in range(3)] == [None] * 3
    assert len(sup._cell.more().tasks) == 1, "it waits once"
    assert await admin.start_child(sup, make("a")) is Refusal.UNWINDING
    gate.set()
    await advance(1.0)
    assert stage.world.take() == ["+a", "-pool killed", "-a killed", "code of a ended", "+a"]


async def test_a_dynamic_child_that_is_dead_is_not_up(stage: Stage) -> None:
    sup = await pool(stage, backoff=Backoff(min_s=1.0, max_s=8.0, jitter=0.0))
    ensure(sup, "a")
    await settle()
    for delay_s in (1.0, 2.0):
        gate = await hold(stage, "a")
        stage.ref("a").exit(KILL)
        await advance(60.0)
        gate.set()
        await advance(delay_s + 0.1)
    assert [event.delay_s for event in stage.events.of(RestartScheduled)] == [1.0, 2.0]
