"""What many children cost: ten times as many, ten times as much.

Counted in calls, which are the same on every machine; a list searched for each child would not
show in calls from one place, but does as soon as our own code compares or moves what is in it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.runtime import KILL, Ref, open_system
from actors.testkit import run_virtual, settle
from supervision import BRUTAL_KILL, Strategy, admin
from tests.supervision.actors import TEMPORARY, Stage, World
from tests.supervision.test_dynamic import start

FEW, MANY = 20, 200
TOLERANCE = 1.3
"""Linear growth is tenfold; what does not depend on the number makes it less."""

Scene = Callable[[Stage, int], Awaitable[Callable[[], Awaitable[Any]]]]


async def static(stage: Stage, children: int) -> Callable[[], Awaitable[Any]]:
    """Start and stop that many children of a fixed supervisor."""

    async def act() -> None:
        sup = await stage.supervise(*(stage.spec(f"c{index}") for index in range(children)))
        await stage.system.stop(sup)

    return act


async def static_temporary(stage: Stage, children: int) -> Callable[[], Awaitable[Any]]:
    """Kill that many temporary children of a fixed supervisor."""
    specs = [stage.spec(f"c{index}", restart=TEMPORARY) for index in range(children)]
    sup = await stage.supervise(*specs)

    async def act() -> None:
        for spec in specs:
            stage.ref(spec.id).exit(KILL)
        await settle()
        assert (await admin.count_children(sup)).specs == 0

    return act


async def dynamic(stage: Stage, children: int) -> Callable[[], Awaitable[Any]]:
    """Terminate that many temporary children of a dynamic supervisor one by one."""
    spawner, sup = await start(stage, restart=TEMPORARY, shutdown_s=BRUTAL_KILL)
    refs = [spawner.ensure(f"x{index}") for index in range(children)]
    await settle()

    async def act() -> None:
        for ref in refs:
            assert isinstance(ref, Ref)
            await admin.terminate_child(sup, ref)

    return act


async def dynamic_stop(stage: Stage, children: int) -> Callable[[], Awaitable[Any]]:
    """Stop a dynamic supervisor with that many children."""
    spawner, sup = await start(stage)
    for index in range(children):
        spawner.ensure(f"x{index}")
    await settle()
    return lambda: stage.system.stop(sup)


async def restarts(stage: Stage, children: int) -> Callable[[], Awaitable[Any]]:
    """Kill one of that many children again and again: it does not matter how many there are."""
    specs = [stage.spec(f"c{index}") for index in range(children)]
    await stage.supervise(*specs, strategy=Strategy.ONE_FOR_ONE, intensity=10_000)

    async def act() -> None:
        for _ in range(30):
            stage.ref("c0").exit(KILL)
            await trio.sleep(0.02)

    return act


async def calls(scene: Scene, children: int) -> int:
    """How many calls it makes, of ours and of the interpreter's."""
    count = 0

    def counted(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    async with open_system(random.Random(7)) as system:
        act = await scene(Stage(system, World()), children)
        sys.setprofile(counted)
        try:
            await act()
        finally:
            sys.setprofile(None)
    return count


def ratio(scene: Scene) -> float:
    few, many = (run_virtual(calls, scene, children) for children in (FEW, MANY))
    return many / few


@pytest.mark.otp("supervisor_SUITE.scale_start_stop_many_children")
@pytest.mark.parametrize("scene", [static, static_temporary])
def test_static_children_cost_the_same_each(scene: Scene) -> None:
    assert ratio(scene) < MANY / FEW * TOLERANCE


@pytest.mark.otp("supervisor_SUITE.simple_one_for_one_scale_many_temporary_children")
@pytest.mark.parametrize("scene", [dynamic, dynamic_stop])
def test_dynamic_children_cost_the_same_each(scene: Scene) -> None:
    assert ratio(scene) < MANY / FEW * TOLERANCE


def test_a_restart_costs_the_same_among_many() -> None:
    assert ratio(restarts) < 1.1
