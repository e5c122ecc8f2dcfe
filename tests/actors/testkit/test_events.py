"""The event stream as a list: looked at, awaited, compared."""

from __future__ import annotations

import random

import pytest
import trio

from actors.runtime import KILL, KILLED, SHUTDOWN, ActorSystem, Killed, open_system
from actors.runtime.tracing import Event, Exited, Started
from actors.testkit import EventLog, Script, Scripted, record_events, run_virtual, settle


async def test_events_are_found_by_kind_and_fields(system: ActorSystem) -> None:
    events, ends = record_events(system), record_events(system, Exited)
    for name in ("a", "b"):
        await system.start(Scripted, Script(), name=name)
    system.names["b"].exit(KILL)
    assert [event.name for event in events.of(Started)] == ["a", "b"]
    assert [event.name for event in events.of(Exited, reason=Killed)] == ["b"]
    assert [event.name for event in ends] == ["b"]
    assert not events.of(Exited, reason=SHUTDOWN)
    assert (len(events), len(events.of(Event))) == (3, 3)


async def test_what_was_taken_is_gone(system: ActorSystem) -> None:
    events = record_events(system)
    ref = await system.start(Scripted, Script(), name="a")
    assert ref is not None
    assert [type(event) for event in events.take()] == [Started]
    ref.exit(KILL)
    assert [type(event) for event in events] == [Exited]


async def test_an_event_is_awaited_or_there_already(system: ActorSystem) -> None:
    events = record_events(system)
    ref = await system.start(Scripted, Script(), name="a")
    assert ref is not None
    assert (await events.expect(Started)).name == "a"
    ref._actor.send_after(2.0, SHUTDOWN)
    ended = await events.expect(Exited, name="a")
    assert (ended.at_s, trio.current_time(), ended.reason) == (2.0, 2.0, SHUTDOWN)


async def test_a_missing_event_fails_with_the_log(system: ActorSystem) -> None:
    events = record_events(system)
    with pytest.raises(AssertionError, match=r"no Started\(name=str 'a'\) within 3\.0 s, but noth"):
        await events.expect(Started, name="a")
    await system.start(Scripted, Script(), name="b")
    with pytest.raises(AssertionError, match=r"no Exited within 1\.0 s, but\n  Started\(.*'b'"):
        await events.expect(Exited, within_s=1.0)


def run(seed: int) -> list[Event]:
    events = EventLog()

    async def story() -> None:
        async with open_system(random.Random(seed), tracer=events) as system:
            for number in range(3):
                await system.start(Scripted, Script(), name=f"n{number}")

            async def end(name: str) -> None:
                await trio.lowlevel.checkpoint()
                system.names[name].exit(KILL)

            async with trio.open_nursery() as nursery:
                for name in list(system.names):
                    nursery.start_soon(end, name)
            await settle()

    run_virtual(story, seed=seed)
    return events.take()


def test_logs_of_two_runs_are_compared() -> None:
    assert run(1) == run(1)
    assert [type(event) for event in run(1)] == [Started] * 3 + [Exited] * 3
    assert run(1)[-1].name != run(4)[-1].name or run(1)[-1].name != run(2)[-1].name
    assert [event.reason for event in run(1) if isinstance(event, Exited)] == [KILLED] * 3
