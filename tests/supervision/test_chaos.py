"""Seeded chaos on a whole tree: whatever is killed, crashed or held up, it is whole again after."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import trio

from actors.runtime import KILL, NORMAL, SHUTDOWN, Ref, open_system
from actors.testkit import Logs, advance, run_virtual, settle
from supervision import Backoff, SpawnerHandle, Strategy, TreeNode, snapshot
from tests.supervision.actors import Polite, Slow, Stage, World
from tests.supervision.test_dynamic import dynamic

FIXED = ("a", "b", "c", "d", "e", "f")
DYNAMIC = ("x1", "x2", "x3")
SEEDS = range(12)
STEPS = 60


def build(stage: Stage) -> tuple[object, ...]:
    backoff = Backoff(0.005, 0.5)
    limits = {"intensity": 10_000, "period_s": 5.0, "backoff": backoff}
    spec = stage.spec
    return (
        spec("a", backoff=backoff),
        stage.nest("all", spec("b"), spec("c", Polite), strategy=Strategy.ONE_FOR_ALL, **limits),
        stage.nest(
            "rest", spec("d"), stage.nest("deep", spec("e", Slow), **limits), spec("f"),
            strategy=Strategy.REST_FOR_ONE, **limits,
        ),
        dynamic(stage, Polite, intensity=10_000, backoff=backoff),
    )  # fmt: skip


async def disturb(stage: Stage, rng: random.Random) -> None:
    """One fault, or two at once, or a pause."""
    names = [name for name in stage.system.names if name != "sup"]
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2, 3)))):
        victim = stage.system.whereis(name)
        if victim is None:
            continue
        match rng.randrange(6):
            case 0 | 1:
                victim.exit(KILL)
            case 2:
                victim.exit(SHUTDOWN)
            case 3:
                stage.world.fail_next(name, rng.randrange(1, 4))
                victim.exit(KILL)
            case 4:
                held = stage.world.hold_next(name)
                stage.system.spawn_task(release, held, rng.random() * 3)
                victim.cast("crash")
            case _:
                victim.cast(NORMAL)
    if rng.random() < 0.3:
        SpawnerHandle(stage.system, "dyn").ensure(rng.choice(DYNAMIC))
    await advance(rng.choice((0.0, 0.001, 0.006, 0.1, 2.0)))


async def release(held: trio.Event, after_s: float) -> None:
    await trio.sleep(after_s)
    held.set()


def flat(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from flat(child)


async def chaos(seed: int) -> list[tuple[str, int]]:
    """Disturb a tree, let it rest, and look whether it is whole. Answers what it looked like."""
    rng = random.Random(seed)
    async with open_system(random.Random(seed)) as system:
        stage = Stage(system, World())
        sup: Ref = await stage.supervise(*build(stage), intensity=10_000)  # type: ignore[arg-type]  # built as one tuple
        for _ in range(STEPS):
            await disturb(stage, rng)
        stage.world.scripts.clear()
        await advance(30.0)
        spawner = SpawnerHandle(system, "dyn")
        for name in DYNAMIC:
            spawner.ensure(name)
        await advance(1.0)
        nodes = list(flat(snapshot(system, sup)))
        assert {node.name for node in nodes} >= {*FIXED, *DYNAMIC}
        assert {str(node.state) for node in nodes} == {"running"}
        assert len(nodes) == len(list(system.actors())), "nobody lives outside of the tree"
        assert len({node.id for node in nodes}) == len(nodes)
        await system.stop(sup, timeout_s=20.0)
        await settle()
        assert list(system.actors()) == []
        return [(type(event).__name__, event.id) for event in stage.events]


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_tree_is_whole_after_chaos(seed: int, logs: Logs) -> None:
    logs.allow("dropped a message of type")
    assert await chaos(seed)


def test_chaos_runs_on_virtual_time(logs: Logs) -> None:
    """Half an hour of faults and pauses in well under a second of ours."""
    logs.allow("dropped a message of type")
    assert run_virtual(chaos, 99)
