"""Rounds of all systems in turn, medians, ratios of the same round, and the goals beside them.

Every system runs in a process of its own, a new one each round: memory is measured first, in a
process that has held nothing yet. What is not installed is said to be so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.actor_systems.measures import (
    BATCH,
    CLIENTS,
    FEW_CHILDREN,
    GOALS,
    LINEARITY_MAX,
    MANY_CHILDREN,
    MEASURES,
    RING,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROUNDS = 3
FEW_TIMES = 15
"""Few children are done within the noise of one measurement: theirs is the median of this many."""
ROUND_MAX_S = 900.0
"""A process that takes longer hangs, and is killed. A round takes some ten seconds."""
QUICK_DIVISOR = 100
LABELS = {
    "coppice": "coppice", "pykka": "pykka threads", "thespian": "thespian simpleSystemBase",
    "erlang": "Erlang/OTP",
}  # fmt: skip

Figures = dict[str, float | None]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="run.py bench actors", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it still work?")
    options = parser.parse_args(argv)
    report = measure(options.rounds, QUICK_DIVISOR if options.quick else 1)
    print(json.dumps(report) if options.json else "\n".join(text(report)))
    return 0


def measure(rounds: int, divisor: int) -> dict[str, Any]:
    """Everything, as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="coppice-bench-") as folder:
        commands, missing = systems(Path(folder))
        history: dict[str, list[Figures]] = {system: [] for system in commands}
        for _ in range(rounds):
            for system, command in commands.items():
                history[system].append(one_round(system, command, divisor))
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "rounds": rounds,
        "figures": {system: medians(done) for system, done in history.items()},
        "missing": missing,
        "goals": list(goals(history)),
    }


# ---------------------------------------------------------------------------- processes


def systems(folder: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """How each system is run, and why some are not."""
    commands = {"coppice": python("coppice"), "pykka": python("pykka_threads")}
    missing = {}
    if find_spec("thespian") is None:
        missing["thespian"] = "not installed (pip install 'coppice[benchmark]')"
    else:
        commands["thespian"] = python("thespian_simple")
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        missing["erlang"] = "not installed (Debian: erlang-base)"
    else:
        subprocess.run(["erlc", "-o", folder, HERE / "actor_bench.erl"], check=True)
        settings = [os.sysconf("SC_PAGE_SIZE"), BATCH, CLIENTS, RING]
        commands["erlang"] = [
            "erl", "-noshell", "+P", "1000000", "-pa", str(folder),
            "-s", "actor_bench", "main", *map(str, settings),
        ]  # fmt: skip
    return commands, missing


def python(module: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.actor_systems.{module}"]


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    limit = threading.Timer(ROUND_MAX_S, started.kill)
    limit.start()
    try:
        yield started
    finally:
        limit.cancel()
        assert started.stdin is not None
        started.stdin.close()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()


def one_round(system: str, command: list[str], divisor: int) -> Figures:
    """All figures of one system, from a fresh process."""
    figures: Figures = {}
    with ExitStack() as stack:
        worker = stack.enter_context(process(command))
        for wanted in MEASURES:
            count = wanted.count_for(system, divisor)
            times = FEW_TIMES if wanted.name == "few_children_s" and divisor == 1 else 1
            values = [ask(worker, wanted.name, count) for _ in range(times)] if count else []
            figures[wanted.name] = statistics.median(values) if values else None
    few, many = figures["few_children_s"], figures["many_children_s"]
    figures["growth"] = None if not few or not many else many / few / (MANY_CHILDREN / FEW_CHILDREN)
    return figures


def ask(worker: subprocess.Popen[str], name: str, count: int) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{name} {count}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"the process ended while measuring {name}; its error is above")
    return float(json.loads(line)["value"])


# ---------------------------------------------------------------------------- figures


def medians(history: Sequence[Figures]) -> Figures:
    result: Figures = {}
    for name in history[0]:
        values = [figures[name] for figures in history]
        known = [value for value in values if value is not None]
        result[name] = statistics.median(known) if known else None
    return result


def goals(history: dict[str, list[Figures]]) -> Iterator[dict[str, Any]]:
    """Each goal with what was measured: the median of the ratios of each round."""
    for goal in GOALS:
        pairs = zip(history["coppice"], history.get(goal.other, ()), strict=False)
        ratios = [(ours[goal.measure] or 0) / (theirs[goal.measure] or 1) for ours, theirs in pairs]
        ratio = statistics.median(ratios) if ratios else None
        yield {
            "goal": f"{goal.measure}, ours / {LABELS[goal.other]}",
            "bound": f"{'<=' if goal.at_most else '>='} {goal.bound:.2f}",
            "ratio": ratio,
            "met": None if ratio is None else goal.is_met(ratio),
        }
    growth = medians(history["coppice"])["growth"]
    yield {
        "goal": f"time per child, {MANY_CHILDREN:,} / {FEW_CHILDREN:,}",
        "bound": f"<= {LINEARITY_MAX:.2f}",
        "ratio": growth,
        "met": None if growth is None else growth <= LINEARITY_MAX,
    }


def text(report: dict[str, Any]) -> Iterator[str]:
    figures: dict[str, Figures] = report["figures"]
    yield f"medians of {report['rounds']} rounds, each system in a process of its own"
    yield report["machine"]
    yield " " * 44 + "".join(f"{system:>14}" for system in LABELS)
    for wanted in MEASURES:
        cells = [cell(figures.get(system, {}).get(wanted.name)) for system in LABELS]
        yield f"{wanted.meaning + ', ' + wanted.unit:<44}" + "".join(f"{c:>14}" for c in cells)
    growth = [cell(figures.get(system, {}).get("growth")) for system in LABELS]
    yield f"{'its growth, in ratio to linear':<44}" + "".join(f"{c:>14}" for c in growth)
    for system, why in report["missing"].items():
        yield f"{LABELS[system]}: {why}"
    yield "goals"
    for goal in report["goals"]:
        ratio, met = (
            goal["ratio"],
            {True: "met", False: "MISSED", None: "not measured"}[goal["met"]],
        )
        shown = "-" if ratio is None else f"{ratio:.2f}"
        yield f"  {goal['goal']:<42}{goal['bound']:>10}{shown:>10}  {met}"


def cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
