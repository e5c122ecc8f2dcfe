"""A scripted child does as its script says, under a real supervisor."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from actors.runtime import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    Custom,
    Ref,
    Shutdown,
    StartFailed,
)
from actors.runtime.tracing import Exited, RestartScheduled, Started
from actors.testkit import (
    FAILS,
    HANGS,
    IGNORES,
    READY,
    Life,
    Logs,
    Probe,
    Script,
    Scripted,
    ScriptedCrash,
    advance,
    record_events,
    settle,
)
from supervision import Backoff, ChildSpec, Supervisor, SupervisorSpec

SOON = Backoff(min_s=1.0, max_s=1.0, jitter=0.0)


async def supervise(system: ActorSystem, script: Script, **options: Any) -> Ref:
    child = ChildSpec("store", Scripted, (script,), name="store", backoff=SOON, **options)
    sup = await system.start(Supervisor, SupervisorSpec(children=(child,)), name="sup")
    assert sup is not None
    return sup


async def test_each_incarnation_lives_the_next_life(system: ActorSystem, logs: Logs) -> None:
    script = Script(Life(crash_at=2), FAILS, Life(start_s=0.5))
    await supervise(system, script)
    events = record_events(system)
    store = system.names["store"]
    assert await store.call("one") == "one"
    store.tell("two")
    third = await events.expect(Started, name="store")
    assert (third.incarnation, third.at_s, script.starts) == (3, 2.5, 3)
    assert script.received == ["one", "two"]
    assert [type(event).__name__ for event in events if event.name == "store"] == [
        "Crashed", "Exited", "Crashed", "Exited", "Started",
    ]  # fmt: skip
    logs.expect("store#1 crashed")
    logs.expect("store#2 crashed")


async def test_starts_nobody_planned_are_as_usual(system: ActorSystem, logs: Logs) -> None:
    script = Script(READY, usual=FAILS)
    sup = await supervise(system, script)
    system.names["store"].tell(ValueError("told to"))
    await sup.wait_exit()
    assert script.starts == 4  # three restarts are the default limit
    logs.expect("crashed", times=4)


async def test_more_can_be_planned_while_it_runs(system: ActorSystem, logs: Logs) -> None:
    script = Script()
    await supervise(system, script)
    script.plan(HANGS)
    system.names["store"].tell(ScriptedCrash("told to"))
    await advance(5.0)
    assert (script.starts, system.is_ready("store")) == (2, False)
    logs.expect("crashed")


async def test_a_start_opens_when_the_test_says(system: ActorSystem) -> None:
    opened = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, system, Script(Life(opened=opened)))
        await advance(10.0)
        assert not system.is_ready("store")
        opened.set()
    assert system.is_ready("store")


async def test_a_start_may_be_ignored_or_refused(system: ActorSystem) -> None:
    assert await system.start(Scripted, Script(IGNORES)) is None
    with pytest.raises(StartFailed) as refused:
        await system.start(Scripted, Script(Life(raises=StartFailed(Custom("busy")))))
    assert refused.value.reason == Custom("busy")


async def test_it_ends_for_the_reason_it_is_sent(system: ActorSystem) -> None:
    probe = Probe(system)
    ref = await system.start(Scripted, Script())
    assert ref is not None
    probe.watch(ref)
    ref.tell(Shutdown("done"))
    await probe.expect_down(ref, Shutdown("done"))


@pytest.mark.parametrize(
    ("life", "reason", "after_s"),
    [
        (READY, SHUTDOWN, 0.0),
        (Life(stop_s=3.0), SHUTDOWN, 3.0),
        (Life(stop_s=0.0, stop_reason=NORMAL), NORMAL, 0.0),
        (Life(stop_s=math.inf), KILLED, 5.0),
        (Life(stop_s=60.0), KILLED, 5.0),
    ],
)
async def test_it_stops_as_its_life_says(
    system: ActorSystem, life: Life, reason: object, after_s: float
) -> None:
    events = record_events(system)
    sup = await supervise(system, Script(life))
    await system.stop(sup, timeout_s=60)
    (ended,) = events.of(Exited, name="store")
    assert (ended.reason, ended.at_s) == (reason, after_s)


async def test_who_refuses_to_stop_does_so_until_killed(system: ActorSystem) -> None:
    """Longer than the runtime waits for a last hook."""
    ref = await system.start(Scripted, Script(Life(stop_s=math.inf)))
    assert ref is not None
    assert await system.stop(ref, timeout_s=1000.0) == KILLED
    assert trio.current_time() == 1000.0


async def test_lives_are_checked(system: ActorSystem) -> None:
    with pytest.raises(ValueError, match="crash_at: messages are counted from 1, not 0"):
        Life(crash_at=0)
    with pytest.raises(ValueError, match="stop_reason"):
        Life(stop_reason=NORMAL)


async def test_scripts_serve_experiments_on_trees(system: ActorSystem, logs: Logs) -> None:
    """The order of ends and starts of two children is read from the events."""
    events = record_events(system)
    scripts = {name: Script(Life(crash_at=1)) for name in "ab"}
    children = tuple(
        ChildSpec(name, Scripted, (script,), name=name, backoff=SOON)
        for name, script in scripts.items()
    )
    await system.start(Supervisor, SupervisorSpec(children=children))
    events.take()
    for name in "ba":
        system.names[name].tell("now")
        await settle()
    await events.expect(Started, name="a")
    assert [event.child for event in events.of(RestartScheduled)] == ["b", "a"]
    assert [event.name for event in events.of(Started)] == ["b", "a"]
    logs.expect("told to crash", times=0)
    logs.expect("crashed", times=2)
