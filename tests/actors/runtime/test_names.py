"""Names: found at once, waited for, watched, forgotten with their watchers."""

from __future__ import annotations

import pytest
import trio

from actors.runtime import KILL, ActorSystem, DeadlineExceeded, NameUp, names
from actors.testkit import Probe, settle
from tests.actors.runtime.support import Puppet, puppet


class Gated(Puppet):
    def __init__(self, gate: trio.Event) -> None:
        super().__init__()
        self.gate = gate

    async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
        await self.gate.wait()


async def test_a_watcher_is_told_once_when_the_name_is_ready(system: ActorSystem) -> None:
    gate = trio.Event()
    watcher = Probe(system)
    system.watch_name("n", watcher.ref)
    system.watch_name("n", watcher.ref)
    ref = system.spawn(Gated, gate, name="n")
    await watcher.expect_nothing()  # spawned, but not ready
    gate.set()
    await watcher.expect(NameUp("n", ref))
    await system.stop(ref)
    await puppet(system, name="n")
    await watcher.expect_nothing()


async def test_a_name_that_is_ready_is_told_at_once(system: ActorSystem) -> None:
    watcher, other = Probe(system), await puppet(system, name="n")
    system.watch_name("n", watcher.ref)
    await watcher.expect(NameUp("n", other.ref), within_s=0)


async def test_who_looks_away_is_not_told(system: ActorSystem) -> None:
    watcher, keeps = Probe(system), Probe(system)
    for ref in (watcher.ref, keeps.ref):
        system.watch_name("n", ref)
    system.unwatch_name("n", watcher.ref)
    system.unwatch_name("n", watcher.ref)
    await puppet(system, name="n")
    await keeps.expect(NameUp)
    await watcher.expect_nothing()


async def test_watches_are_forgotten_with_their_watcher(system: ActorSystem) -> None:
    watcher, keeps = await puppet(system), await puppet(system)
    for name in ("a", "b", "c"):
        system.watch_name(name, watcher.ref)
    system.watch_name("a", keeps.ref)
    watcher.ref.exit(KILL)
    assert len(system._names) == 1
    system.watch_name("d", watcher.ref)
    assert len(system._names) == 1, "the dead watch nothing"


async def test_waiting_for_a_name(system: ActorSystem) -> None:
    gate, found = trio.Event(), list[object]()

    async def wait() -> None:
        found.append(await system.wait_name("n", 10.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await settle()
        ref = system.spawn(Gated, gate, name="n")
        await settle()
        assert found == []
        gate.set()
    assert found == [ref, ref]
    assert await system.wait_name("n", 1.0) is ref
    assert len(system._names) == 0


async def test_waiting_for_a_name_ends_at_its_deadline(system: ActorSystem) -> None:
    with pytest.raises(DeadlineExceeded, match="n was not ready"):
        await system.wait_name("n", 3.0)
    assert len(system._names) == 0


async def test_lives_are_counted_for_a_bounded_number_of_names(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "INCARNATIONS_MAX", 3)
    for name in "abcd":
        system.spawn(Puppet, name=name).exit(KILL)
    lives = {name: system.spawn(Puppet, name=name).incarnation for name in "abcd"}
    assert lives == {"a": 1, "b": 2, "c": 2, "d": 2}, "the longest dead is forgotten"


async def test_an_actor_is_found_by_name_or_id(system: ActorSystem) -> None:
    ref = system.spawn(Puppet, name="n")
    digits = system.spawn(Puppet, name="42")
    assert system.find("n") is system.find(ref.id) is system.find(str(ref.id)) is ref
    assert system.find("42") is digits
    assert system.find("nobody") is system.find(10_000) is None
    assert set(system.actors()) == {ref, digits}
