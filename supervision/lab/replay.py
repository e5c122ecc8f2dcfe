"""Same seed, same run: a tree, or a whole scenario, on virtual time under a seeded scheduler.

A run is decided by its code, its seed and its faults: time is a clock that jumps, the order of
trio's tasks and all chance of the system (`system.rng`, from which backoffs draw) come from the
seed. What asks anything else (a wall clock, `random`'s own generator, a socket, a thread) is not
repeated. Nor is a spec whose arguments a run changes: give a function that makes a new one.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import trio
from trio.testing import MockClock

from actors.runtime import ActorSystem, open_system
from actors.runtime.determinism import seeded_scheduler
from actors.runtime.tracing import Event
from supervision.admin import Init
from supervision.lab.eventlog import Entry, entry_of
from supervision.lab.faults import Fault
from supervision.lab.injection import play
from supervision.spec import SupervisorSpec
from supervision.supervisor import Supervisor

ROOT = "root"
"""The name of a tree's first supervisor."""

STOP_S = 3_600.0
"""Virtual time a tree has to stop in order; children may wait for each other, each as long as its
spec says."""

Scenario = Callable[[ActorSystem], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Run:
    """What happened, from the first start to the last end. Two runs are equal if their logs and
    seeds are; `events` are what the log was made of, for whoever wants their types."""

    seed: int
    log: tuple[Entry, ...]
    events: tuple[Event, ...] = field(compare=False, repr=False)

    def to_text(self) -> str:
        """A line for each entry."""
        return "\n".join(entry.text() for entry in self.log)

    def to_jsonl(self) -> str:
        """A JSON object on a line for each entry."""
        return "\n".join(json.dumps(entry.to_json()) for entry in self.log)


def run_tree(
    tree: SupervisorSpec | Init, *, seed: int, faults: Iterable[Fault] = (), for_s: float = 60.0
) -> Run:
    """Run a tree for so many virtual seconds, do these faults to it, then stop it in order.

    The first supervisor is called `ROOT`. It may end before its time, or never get ready: the log
    says so. Raises what `run_scenario` does, and `ValueError` if a time makes no sense.
    """
    schedule = tuple(faults)
    if not 0 <= for_s < math.inf:
        raise ValueError(f"for_s: {for_s!r} is not so many seconds")
    for number, fault in enumerate(schedule):
        if not 0 <= fault.at_s <= for_s:
            raise ValueError(f"faults[{number}].at_s: {fault.at_s!r} is no time of this run")
    scenario = partial(_tree, tree=tree, faults=schedule, for_s=for_s)
    return run_scenario(scenario, seed=seed)


def run_scenario(scenario: Scenario, *, seed: int) -> Run:
    """Run an async function in a system of its own; when it returns, whatever it started is stopped
    as by `ActorSystem.close`.

    To be called where no trio runs. Raises what the scenario raises, and `RuntimeError` if trio's
    scheduler cannot be seeded.
    """
    events: list[Event] = []

    async def main() -> None:
        async with open_system(random.Random(seed), tracer=events.append) as system:
            await scenario(system)

    with seeded_scheduler(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    return Run(seed, tuple(map(entry_of, events)), tuple(events))


async def _tree(
    system: ActorSystem, *, tree: SupervisorSpec | Init, faults: tuple[Fault, ...], for_s: float
) -> None:
    root = system.spawn(Supervisor, tree, name=ROOT)
    with trio.move_on_at(for_s):
        await play(system, faults)
        await root.wait_exit()
    await system.stop(root, timeout_s=STOP_S)
