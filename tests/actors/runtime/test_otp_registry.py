"""Registries: found by key, gone with the owner, told to listeners."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILL,
    NOPROC,
    ActorDied,
    ActorSystem,
    AlreadyRegistered,
    DeadlineExceeded,
    Down,
    Entry,
    Exit,
    Ignore,
    Keys,
    NotRegistered,
    Registered,
    Registry,
    Unregistered,
    open_system,
)
from actors.testkit import Probe, advance, run_virtual, settle
from tests.actors.runtime.support import Puppet, Trapper, do, puppet


async def owner(system: ActorSystem, registry: Registry, *keys: Any, **options: Any) -> Any:
    """An actor that registered itself under these keys, with its key as the value."""
    actor = await puppet(system, **options)

    def act(self: Puppet) -> None:
        for key in keys:
            registry.register(self, key, key)

    await do(actor, act)
    return actor


# ---------------------------------------------------------------------- unique


@pytest.mark.otp("names.registry_unique")
async def test_a_unique_key_has_one_owner(system: ActorSystem) -> None:
    registry = Registry("r")
    first, second = await owner(system, registry, "k"), await puppet(system)
    for actor in (first, second):
        with pytest.raises(AlreadyRegistered) as failed:
            registry.register(actor, "k")
        assert failed.value.ref is first.ref
    assert registry.lookup("k") == [Entry(first.ref, "k")]
    assert registry.whereis("k") is first.ref
    registry.unregister(second, "k")
    assert registry.count() == 1, "nobody unregisters another"
    registry.unregister(first, "k")
    registry.unregister(first, "k")
    assert not first._actor_cell.extra.holdings, "it is told of nothing any more"
    assert (registry.lookup("k"), registry.whereis("k"), registry.count()) == ([], None, 0)
    registry.register(second, "k")
    assert registry.whereis("k") is second.ref


@pytest.mark.otp("names.registry_unique")
async def test_a_value_is_changed_by_its_owner(system: ActorSystem) -> None:
    registry = Registry("r")
    actor, other = await owner(system, registry, "k"), await puppet(system)
    assert registry.update_value(actor, "k", str.upper) == ("K", "k")
    assert registry.values("k", actor.ref) == ["K"]
    for who, key in ((other, "k"), (actor, "unknown")):
        with pytest.raises(NotRegistered):
            registry.update_value(who, key, str.lower)
    with pytest.raises(ZeroDivisionError):
        registry.update_value(actor, "k", lambda _value: 1 // 0)
    assert registry.lookup("k") == [Entry(actor.ref, "K")]


@pytest.mark.otp("names.registry_unique")
async def test_keys_are_compared_exactly(system: ActorSystem) -> None:
    registry = Registry("r")
    keys = [1, 1.0, True, (1, "a"), (1.0, "a"), "1"]
    actor = await owner(system, registry, *keys)
    assert registry.keys(actor.ref) == keys
    assert [type(key) for key in registry.keys(actor.ref)[:3]] == [int, float, bool]


@pytest.mark.otp("names.registry_cleanup", "names.local_release")
@pytest.mark.parametrize("keys_are", Keys)
async def test_an_entry_is_gone_before_anybody_hears_of_the_end(
    system: ActorSystem, keys_are: Keys
) -> None:
    """Elixir cleans up some time later; here a reader never sees the dead."""
    registry = Registry("r", keys_are)
    seen: list[tuple[str, int]] = []

    class Heir(Trapper):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, Down | Exit):
                seen.append((type(message).__name__, registry.count()))
                return None
            return super().on_receive(message)

    heir = await puppet(system, Heir)
    actor = await owner(system, registry, "a", "b", link_to=heir.ref, monitor_by=heir.ref)
    ref = actor.ref
    asked = ref.ask(lambda self: self.defer_reply() and None, block=False)
    await settle()
    asked.on_done(lambda: seen.append(("ask fails", registry.count())))
    ref.exit(KILL)
    assert (registry.lookup("a"), registry.keys(ref)) == ([], [])
    await settle()
    assert sorted(seen) == [("Down", 0), ("Exit", 0), ("ask fails", 0)]
    registry.register(actor, "a")
    assert registry.count() == 0, "code of the dead registers nothing"


# ---------------------------------------------------------------------- via


@pytest.mark.otp("names.via", "gen_server_SUITE.start")
async def test_a_key_is_an_address(system: ActorSystem) -> None:
    registry = Registry("r")
    via = registry.via("k")
    assert via.whereis() is None
    assert via.cast("x") is False
    with pytest.raises(ActorDied) as failed:
        await via.call("x")
    assert failed.value.reason == NOPROC
    with pytest.raises(ActorDied):
        via.tell("x")
    first = await owner(system, registry, "k")
    via.tell("a")
    assert via.cast("b")
    assert await via.call("c") == "c"
    assert first.got == ["a", "b", "c"]
    first.ref.exit(KILL)
    second = await owner(system, registry, "k")
    assert await via.call("d") == "d"
    assert second.got == ["d"]


@pytest.mark.otp("names.via", "gen_server_SUITE.start", "gen_server_SUITE.stop7")
async def test_an_actor_is_started_under_a_key(system: ActorSystem) -> None:
    registry = Registry("r")

    class Unneeded(Puppet):
        def on_start(self) -> None:
            assert registry.whereis("k") is self.ref
            raise Ignore

    registry.spawn(system, "k", Unneeded)
    await settle()
    assert registry.count() == 0, "nothing is left of one that was not needed"
    ref = registry.spawn(system, "k", Puppet)
    with pytest.raises(AlreadyRegistered) as failed:
        registry.spawn(system, "k", Puppet)
    assert failed.value.ref is ref
    assert system.statistics().actors == 1
    assert await system.stop(ref) is not None
    assert registry.whereis("k") is None


# ---------------------------------------------------------------------- duplicate


@pytest.mark.otp("names.registry_duplicate")
async def test_an_actor_may_have_several_entries_under_one_key(system: ActorSystem) -> None:
    registry = Registry("r", Keys.DUPLICATE)
    a, b = await puppet(system), await puppet(system)
    for actor, value in ((a, 1), (b, 2), (a, 3)):
        registry.register(actor, "k", value)
    assert registry.lookup("k") == [Entry(a.ref, 1), Entry(b.ref, 2), Entry(a.ref, 3)]
    assert registry.keys(a.ref) == ["k", "k"]
    assert registry.values("k", a.ref) == [1, 3]
    registry.unregister_match(a, "k", lambda value: value == 1)
    assert [entry.value for entry in registry.lookup("k")] == [2, 3]
    registry.unregister(a, "k")
    assert registry.lookup("k") == [Entry(b.ref, 2)]
    with pytest.raises(AssertionError):
        registry.via("k")


@pytest.mark.otp("names.registry_duplicate")
async def test_dispatching_runs_in_the_caller(system: ActorSystem) -> None:
    registry = Registry("r", Keys.DUPLICATE)
    actors = [await owner(system, registry, "k") for _ in range(3)]
    caller = await puppet(system)
    ran_by: list[Any] = []

    def send(entries: list[Entry]) -> None:
        ran_by.append(system.dispatcher.acting())
        for entry in entries:
            entry.ref.cast("to all")

    await do(caller, lambda _self: registry.dispatch("k", send))
    await do(caller, lambda _self: registry.dispatch("nobody", send))
    await settle()
    assert [actor.got for actor in actors] == [["to all"]] * 3
    assert ran_by == [caller.ref._cell]

    def failing(_entries: list[Entry]) -> None:
        raise KeyError("the caller's")

    with pytest.raises(KeyError):
        registry.dispatch("k", failing)


@pytest.mark.otp("names.registry_extras")
async def test_entries_are_selected_matched_and_counted(system: ActorSystem) -> None:
    registry = Registry("r", Keys.DUPLICATE)
    a, b = await owner(system, registry, "x", "y"), await owner(system, registry, "x")
    assert registry.count() == 3
    assert registry.match("x", lambda value: value == "x") == registry.lookup("x")
    assert registry.match("x", lambda value: value == "z") == []
    assert registry.select(lambda _key, entry: entry.ref is a.ref) == [
        ("x", Entry(a.ref, "x")),
        ("y", Entry(a.ref, "y")),
    ]
    assert len(registry.select()) == 3
    assert repr(registry) == "<Registry r: 3 entries of 2 actors>"
    del b


# ---------------------------------------------------------------------- extras


@pytest.mark.otp("names.registry_extras")
async def test_listeners_are_told_of_every_change(system: ActorSystem) -> None:
    listener = Probe(system)
    registry = Registry("r", listeners=[listener.ref], metadata={"made_for": "a test"})
    first, second = await owner(system, registry, "a"), await owner(system, registry, "b")
    registry.unregister(first, "a")
    second.ref.exit(KILL)
    await settle()
    assert listener.messages == [
        Registered("r", "a", first.ref, "a"),
        Registered("r", "b", second.ref, "b"),
        Unregistered("r", "a", first.ref),
        Unregistered("r", "b", second.ref),
    ]
    assert registry.metadata == {"made_for": "a test"}


@pytest.mark.otp("names.registry_lock")
async def test_a_lock_is_held_by_one(system: ActorSystem) -> None:
    registry = Registry("r")
    log: list[str] = []

    async def hold(name: str, key: Any, seconds: float) -> None:
        async with registry.lock(key, 10.0):
            log.append(f"{name} has it")
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, "a", "k", 2.0)
        await settle()
        nursery.start_soon(hold, "b", "k", 1.0)
        nursery.start_soon(hold, "c", "other", 1.0)
        await advance(1.0)
        assert log == ["a has it", "c has it"]
        with pytest.raises(DeadlineExceeded):
            async with registry.lock("k", 0.5):
                raise AssertionError("it is held")
    assert log == ["a has it", "c has it", "b has it"]
    assert not registry._locks


@pytest.mark.otp("names.registry_lock")
@pytest.mark.parametrize("dies", ["holder", "waiter"])
async def test_a_lock_outlives_neither_its_holder_nor_its_waiter(
    system: ActorSystem, dies: str
) -> None:
    registry = Registry("r")

    async def hold(_actor: Any = None) -> None:
        async with registry.lock("k", 100.0):
            await trio.sleep(50.0)

    actors = {name: await puppet(system) for name in ("holder", "waiter")}
    for actor in actors.values():
        actor.run_task(hold, on_done=lambda _: None)
        await settle()
    actors[dies].ref.exit(KILL)
    begun_s = trio.current_time()
    async with registry.lock("k", 1000.0):
        waited_s = trio.current_time() - begun_s
    assert waited_s == pytest.approx(50.0)
    assert not registry._locks


# ---------------------------------------------------------------------- against a model

steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "end"]), st.integers(0, 3), st.integers(0, 2)),
    max_size=30,
)


@pytest.mark.otp("names.registry_duplicate", "names.registry_cleanup")
@given(steps)
def test_a_registry_is_a_list_of_entries(wanted: list[tuple[str, int, int]]) -> None:
    async def story() -> None:
        async with open_system() as system:
            registry = Registry("r", Keys.DUPLICATE)
            actors = [await puppet(system) for _ in range(4)]
            refs = [actor.ref for actor in actors]
            model: list[tuple[int, int, int]] = []
            for number, (what, who, key) in enumerate(wanted):
                if what == "end":
                    refs[who].exit(KILL)
                    model = [entry for entry in model if entry[0] != who]
                elif what == "remove":
                    registry.unregister(actors[who], key)
                    model = [entry for entry in model if entry[:2] != (who, key)]
                else:
                    registry.register(actors[who], key, number)
                    if refs[who].is_alive():
                        model.append((who, key, number))
                for k in range(3):
                    expected = [Entry(refs[w], n) for w, other, n in model if other == k]
                    assert registry.lookup(k) == expected
                assert registry.count() == len(model)
            for ref in refs:
                ref.exit(KILL)
            assert not registry._entries
            assert not registry._keys

    run_virtual(story)
