"""`run.py bench actors` works, whatever its figures; and what it concludes from them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.actor_systems import report
from benchmarks.actor_systems.measures import GOALS, MEASURES, Goal

ROOT = Path(__file__).parents[2]
RUN_S = 120.0


def figures(**known: float) -> report.Figures:
    names = [*(measure.name for measure in MEASURES), "growth"]
    return {name: known.get(name) for name in names}


def test_a_tiny_run_measures_every_system_that_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "bench", "actors", "--quick", "--rounds", "1", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    by_system = measured["figures"]
    assert {"coppice", "pykka"} <= set(by_system)
    assert set(measured["missing"]) == {
        *(["thespian"] if find_spec("thespian") is None else []),
        *(["erlang"] if shutil.which("erlc") is None else []),
    }
    for measure in MEASURES:
        for system, found in by_system.items():
            is_done = measure.count_for(system, 1) > 0
            assert (found[measure.name] is not None) == is_done, (system, measure.name)
        assert by_system["coppice"][measure.name] > 0 or measure.name == "idle_bytes"
    assert len(measured["goals"]) == len(GOALS) + 1
    assert any("goals" in line for line in report.text(measured))


def test_a_goal_is_a_bound_on_the_ratio_of_the_same_round() -> None:
    faster, smaller = Goal("hops", "erlang", 0.25), Goal("idle_bytes", "erlang", 1.0, at_most=True)
    assert [faster.is_met(0.3), faster.is_met(0.2)] == [True, False]
    assert [smaller.is_met(0.3), smaller.is_met(1.2)] == [True, False]
    history = {
        "coppice": [figures(hops=1.0), figures(hops=8.0), figures(hops=3.0)],
        "erlang": [figures(hops=2.0), figures(hops=10.0), figures(hops=4.0)],
    }
    goals = {goal["goal"]: goal for goal in report.goals(history)}
    hops = goals["hops, ours / Erlang/OTP"]
    assert (hops["ratio"], hops["met"]) == (0.75, True)


def test_what_is_not_installed_is_said_to_be_so() -> None:
    alone = {"coppice": [figures(hops=1.0)]}
    report_ = {
        "machine": "any",
        "rounds": 1,
        "figures": {"coppice": figures(hops=1.0)},
        "goals": list(report.goals(alone)),
        "missing": {"erlang": "not installed"},
    }
    shown = "\n".join(report.text(report_))
    assert "Erlang/OTP: not installed" in shown
    assert "not measured" in shown
