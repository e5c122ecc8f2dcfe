"""Same seed, same run; and each fault does what it says to actors that know nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.runtime import KILLED, NORMAL, Actor, ActorSystem, Custom
from actors.runtime.tracing import Escalated
from supervision import (
    AlreadyRunning,
    ChildSpec,
    DynamicSupervisor,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    admin,
)
from supervision.lab import (
    Ask,
    Crash,
    Ensure,
    Exit,
    Fault,
    Hang,
    Kill,
    Run,
    run_scenario,
    run_tree,
)
from supervision.lab.eventlog import plain

ROOT = Path(__file__).parents[3]


class Plain(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Async(Actor):
    trap_exit = True

    async def on_receive(self, message: Any) -> Any:
        return message


def room(name: str) -> ChildSpec:
    return ChildSpec(name, Plain, name=name, restart=Restart.TRANSIENT)


def tree() -> SupervisorSpec:
    inner = SupervisorSpec(
        Strategy.REST_FOR_ONE,
        children=(
            ChildSpec("source", Plain, name="source"), ChildSpec("sink", Async, name="sink"),
        ),
    )  # fmt: skip
    return SupervisorSpec(
        children=(
            ChildSpec("clock", Async, name="clock", shutdown_s=1.0),
            ChildSpec("inner", Supervisor, (inner,), name="inner", kind="supervisor"),
            ChildSpec("rooms", DynamicSupervisor, (room,), name="rooms", kind="supervisor"),
        )
    )


FAULTS: tuple[Fault, ...] = (
    Ensure(0.5, "rooms", "room"),
    Kill(1.0, "source"),
    Kill(1.0, "room"),
    Crash(2.0, "clock"),
    Hang(3.0, "sink"),
    Ask(3.5, "root", admin.TerminateChild("clock")),
    Exit(4.0, "source", Custom("done")),
)


def lines(run: Run, *kinds: str) -> list[str]:
    """Of these kinds, without times."""
    return [" ".join(entry.text().split()[1:]) for entry in run.log if entry.kind in kinds]


def once(*faults: Fault, for_s: float = 20.0) -> Run:
    return run_tree(tree(), seed=1, faults=faults, for_s=for_s)


# ------------------------------------------------------------------ the same again


def test_a_seed_and_a_schedule_decide_the_run() -> None:
    first, again = (run_tree(tree(), seed=5, faults=FAULTS) for _ in range(2))
    assert first == again
    assert first.to_text() == again.to_text()
    assert len(first.log) > 40


def test_seeds_and_schedules_make_a_difference() -> None:
    runs = [run_tree(tree(), seed=seed, faults=FAULTS) for seed in range(5)]
    assert len({run.log for run in runs}) == 5
    assert run_tree(tree(), seed=0, faults=FAULTS[1:]).log != runs[0].log


SCRIPT = """
import logging
from supervision.lab import run_tree
from tests.supervision.lab.test_replay import FAULTS, tree
logging.disable()
print(run_tree(tree(), seed=5, faults=FAULTS).to_jsonl())
"""


def test_a_run_is_the_same_in_another_process() -> None:
    """Whatever its hash seed."""
    told = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, check=True,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        told.add(done.stdout.strip())
    assert told == {run_tree(tree(), seed=5, faults=FAULTS).to_jsonl()}


def test_a_function_makes_the_tree_of_each_run() -> None:
    """It is the init of the root, so it is asked at every start."""
    made: list[SupervisorSpec] = []

    def init() -> SupervisorSpec:
        made.append(tree())
        return made[-1]

    assert run_tree(init, seed=5).log == run_tree(tree(), seed=5).log
    assert len(made) == 1


# ------------------------------------------------------------------ what faults do


def test_a_kill_also_meets_who_has_not_started() -> None:
    class Slow(Plain):
        async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
            await trio.sleep(2.0)

    spec = SupervisorSpec(children=(ChildSpec("slow", Slow, name="slow"),))
    run = run_tree(spec, seed=1, faults=[Crash(1.0, "slow"), Kill(1.5, "slow")])
    assert lines(run, "Missed", "Exited") == [
        "slow#0 Missed fault=Crash(1.0, slow)",
        "slow#1 Exited reason=killed",
        "root#1 Exited reason=slow failed to start: killed",
    ]


def test_a_crash_is_the_actors_own() -> None:
    run = once(Crash(1.0, "source"))
    assert "source#1 Crashed report=InjectedCrash: injected" in lines(run, "Crashed")
    assert lines(run, "Exited")[0] == "source#1 Exited reason=InjectedCrash: injected"
    assert lines(run, "Restarted") == [
        "inner#1 Restarted child=source restarts=1", "inner#1 Restarted child=sink restarts=1",
    ]  # fmt: skip


def test_who_hangs_is_killed_when_it_does_not_stop() -> None:
    run = once(Hang(1.0, "clock"), for_s=5.0)
    end = next(entry for entry in run.log if entry.kind == "Exited" and entry.name == "clock")
    assert (end.at_s, end.details) == (6.0, (("reason", "killed"),))


def test_a_plain_actor_cannot_hang() -> None:
    assert lines(once(Hang(1.0, "source")), "Missed") == ["source#0 Missed fault=Hang(1.0, source)"]


def test_an_exit_of_the_root_stops_the_tree_from_right_to_left() -> None:
    ends = [entry.name for entry in once(Exit(1.0, "root", NORMAL)).log if entry.kind == "Exited"]
    assert ends == ["rooms", "sink", "source", "inner", "clock", "root"]


def test_requests_are_answered_in_the_log() -> None:
    run = once(
        Ask(1.0, "root", admin.TerminateChild("clock")),
        Ask(2.0, "root", admin.StartChild(ChildSpec("more", Plain, name="more"))),
        Ask(3.0, "nobody", admin.WhichChildren()),
        Ensure(4.0, "rooms", "room"),
        Kill(5.0, "rooms"),
        Ensure(5.0, "rooms", "other"),
    )
    answers = [dict(entry.details)["answer"] for entry in run.log if entry.kind == "Answered"]
    assert answers == ["Done()", "ChildStarted(more#1, None)", "room#1", None]
    assert "other#1 Started" in lines(run, "Started"), "it was owed"
    assert len(lines(run, "Missed")) == 1


def test_who_ends_before_he_answers_is_told_of() -> None:
    run = once(
        Hang(0.5, "clock"), Ask(1.0, "root", admin.TerminateChild("clock")), Kill(1.5, "root")
    )
    answers = [dict(entry.details)["answer"] for entry in run.log if entry.kind == "Answered"]
    assert answers == [plain(KILLED)]


def test_faults_of_one_time_come_before_any_reaction() -> None:
    run = once(Kill(1.0, "source"), Kill(1.0, "sink"))
    assert len(lines(run, "RestartScheduled")) == 1, "one plan for both"


@pytest.mark.parametrize(
    ("faults", "for_s", "named"),
    [
        ((Kill(-1.0, "clock"),), 5.0, "at_s"),
        ((Kill(float("nan"), "clock"),), 5.0, "at_s"),
        ((Kill(6.0, "clock"),), 5.0, "at_s"),
        ((), float("inf"), "for_s"),
        ((), -1.0, "for_s"),
    ],
)
def test_times_that_make_no_sense_are_named(
    faults: tuple[Fault, ...], for_s: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        run_tree(tree(), seed=1, faults=faults, for_s=for_s)


# ------------------------------------------------------------------ the log


def test_a_log_is_text_and_json() -> None:
    run = once(Kill(1.0, "source"))
    assert run.to_text().splitlines()[0].split() == ["0.000000", "clock#1", "Started"]
    read = [json.loads(line) for line in run.to_jsonl().splitlines()]
    assert read[0] == {"at_s": 0.0, "kind": "Started", "name": "clock", "incarnation": 1}
    assert len(read) == len(run.log) == len(run.events)


def test_a_log_holds_no_living_thing() -> None:
    """And no content: of what is unknown it tells the type."""

    async def scenario(system: ActorSystem) -> None:
        ref = await system.start(Plain)
        assert ref is not None
        system.emit(Escalated, ref, "x", Custom("y"))
        values = (ref, AlreadyRunning(ref), object(), [ref], {"a": ref}, scenario)
        told.extend(map(plain, values))

    told: list[Any] = []
    run = run_scenario(scenario, seed=3)
    assert told == ["<1>", "AlreadyRunning(<1>)", "object", "[<1>]", "{a: <1>}", "function"]
    assert [(entry.name, entry.kind) for entry in run.log] == [
        ("<1>", "Started"), ("<1>", "Escalated"), ("<1>", "Exited"),
    ]  # fmt: skip


def test_what_a_scenario_raises_comes_out() -> None:
    async def scenario(system: ActorSystem) -> None:
        system.spawn(Plain)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_scenario(scenario, seed=1)


async def test_inside_of_a_run_there_is_none_to_be_had() -> None:
    with pytest.raises(RuntimeError, match="inside"):
        run_tree(tree(), seed=1)
