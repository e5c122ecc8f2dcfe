"""`run.py bench relay`: durable acknowledged messages through the whole server.

Users in pairs, or groups, with two messages in flight each, beside two references in the same
rounds: a bare trio-websocket echo under the same load, and what the store does at most (`floors`:
the message log's bare writes in the portions that the server has just had; with `--sql`
PostgreSQL's, too).
Server, references and loads are processes of their own. Rounds of all of them alternate; medians
are reported, and ratios are of figures from the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.floors import stored_bytes
from benchmarks.processes import ROOT, Server, Worker, coppice, cpu_s, echo_server, worker

USERS, ROUNDS, ROUND_S, WARM_UP_S = 500, 5, 3.0, 2.0
QUICK_USERS, QUICK_ROUND_S = 10, 0.3

Figures = dict[str, float]

TEXT = """\
{users} users in threads of {group}, 2 in flight each, every ok durable; {rounds} rounds, medians
  durable acknowledged messages  {acked_per_s:>10,.0f} /s
  deliveries                     {deliveries_per_s:>10,.0f} /s
  latency of an ok               p50 {p50_ms} ms, p99 {p99_ms} ms
  server CPU per message         {cpu_us_per_message:>10.1f} us
reference: bare trio-websocket echo, same connections and load
  round trips                    {echo_per_s:>10,.0f} /s
  ratio to echo                  {ratio_to_echo:>10.3f}
floor: bare writes of the message log, {appends_at_once:.0f} x {messages_per_append:.1f} at once
  messages                       {log_floor_per_s:>10,.0f} /s
  ratio to floor                 {ratio_to_log_floor:>10.3f}"""
SQL_TEXT = """\
floor: bare inserts into PostgreSQL, which messages do not touch
  rows                           {sql_floor_per_s:>10,.0f} /s
PostgreSQL's disk for each user, session and half a thread
  bytes                          {sql_bytes_per_user:>10,.0f}"""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a server keeps its data; with neither URL everything is embedded."""

    name: str
    sql: Sequence[str] = ()
    log: str = ""
    log_pids: Sequence[int] = ()
    """The nodes of the log, if they are on this machine."""
    group: int = 2
    """Users in each thread."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench relay", description=__doc__)
    add_options(parser)
    parser.add_argument("--sql", nargs="+", default=(), help="postgresql://… (embedded)")
    parser.add_argument("--log", default="", help="cql://HOST,…/KEYSPACE (embedded)")
    parser.add_argument("--group", type=int, default=2, help="users in a thread (2: a dm)")
    options = parser.parse_args()
    setup = Setup("relay", options.sql, options.log, group=options.group)
    report = measure([setup], options.users, options.rounds, options.quick)
    if setup.name in report["missing"]:
        sys.exit(f"coppice: {report['missing'][setup.name]}")
    figures = {
        "users": report["users"], "group": setup.group, "rounds": report["rounds"],
        "echo_per_s": report["echo_per_s"], **report["setups"][setup.name],
    }  # fmt: skip
    text = TEXT + ("\n" + SQL_TEXT if setup.sql else "")
    print(json.dumps(figures) if options.json else text.format(**figures))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--users", type=int, default=USERS, help="an even number; %(default)s")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    parser.add_argument("--quick", action="store_true", help="few and short: does it still work?")


def measure(setups: Sequence[Setup], users: int, rounds: int, quick: bool) -> dict[str, Any]:
    """The medians of every set-up; what failed is `missing`, with the reason."""
    if quick:
        users, rounds = QUICK_USERS, 1
    round_s = QUICK_ROUND_S if quick else ROUND_S
    missing: dict[str, str] = {}
    history: dict[str, list[Figures]] = {setup.name: [] for setup in setups}
    echoes: list[float] = []
    with ExitStack() as stack:
        address = stack.enter_context(echo_server()).address
        echo = stack.enter_context(worker("benchmarks.load", "echo", address, str(users)))
        running: dict[str, Running] = {}
        for setup in setups:
            try:
                running[setup.name] = started(setup, users, stack)
            except (RuntimeError, OSError) as error:
                missing[setup.name] = str(error)
        echo.run(QUICK_ROUND_S if quick else WARM_UP_S)
        for one in running.values():
            one.load.run(QUICK_ROUND_S if quick else WARM_UP_S)
        for _ in range(rounds):
            answer = echo.run(round_s)
            echoes.append(answer["acks"] / answer["seconds"])
            for name, one in list(running.items()):
                try:
                    history[name].append(one.round(round_s, echoes[-1]))
                except (RuntimeError, OSError) as error:
                    missing[name] = f"failed: {error}"
                    del running[name]
    return {
        "users": users,
        "rounds": rounds,
        "echo_per_s": round(statistics.median(echoes), 1),
        "setups": {name: medians(history[name]) for name in running},
        "missing": missing,
    }


@dataclass(slots=True)
class Running:
    """A server on some stores, its load, and the floors of those stores by name."""

    setup: Setup
    users: int
    server: Server
    load: Worker
    floors: Mapping[str, Worker]
    empty_bytes: int
    """What the databases held before the first user."""

    def round(self, seconds: float, echo_per_s: float) -> Figures:
        """The server for so many seconds, then each of the floors."""
        before, ours_s, nodes_s = self.server.metrics(), self.server.cpu_s(), self._nodes_cpu_s()
        result = self.load.run(seconds)
        ours_s, nodes_s = self.server.cpu_s() - ours_s, self._nodes_cpu_s() - nodes_s
        after = self.server.metrics()
        commits, appends, messages, waited_s = (
            after[name] - before[name]
            for name in ("coppice_journal_commits", "coppice_journal_appends",
                         "coppice_commit_events_sum", "coppice_commit_seconds_sum")
        )  # fmt: skip
        # A transaction has a commit's appends; of requests, all on their way count (Little's law).
        together = appends / max(1, commits) * (waited_s / seconds if self.setup.log else 1)
        portions = (together, messages / max(1, appends))
        acked_per_s = result["acks"] / result["seconds"]
        floors = {
            name: floor.run(seconds, *portions)["per_s"] for name, floor in self.floors.items()
        }
        figures = {
            "acked_per_s": acked_per_s,
            "deliveries_per_s": result["deliveries"] / result["seconds"],
            "refused": result["refused"],
            "p50_ms": result["p50_ms"] or 0.0,
            "p99_ms": result["p99_ms"] or 0.0,
            "cpu_us_per_message": ours_s * 1e6 / max(1, messages),
            "appends_at_once": portions[0],
            "messages_per_append": portions[1],
            "ratio_to_echo": acked_per_s / echo_per_s,
            **{f"{name}_floor_per_s": per_s for name, per_s in floors.items()},
            **{f"ratio_to_{name}_floor": acked_per_s / per_s for name, per_s in floors.items()},
        }
        if self.setup.log_pids:
            figures["log_cpu_us_per_message"] = nodes_s * 1e6 / max(1, messages)
        if self.setup.sql:
            grown = stored_bytes(self.setup.sql) - self.empty_bytes
            figures["sql_bytes_per_user"] = grown / self.users
        return figures

    def _nodes_cpu_s(self) -> float:
        return sum(map(cpu_s, self.setup.log_pids))


def started(setup: Setup, users: int, stack: ExitStack) -> Running:
    """The floors first: one of them makes the keyspace."""
    floors = {name: stack.enter_context(worker("benchmarks.floors", *command))
              for name, command in commands(setup, stack)}  # fmt: skip
    server = stack.enter_context(coppice(setup.sql, setup.log))
    empty_bytes = stored_bytes(setup.sql)
    loading = ("benchmarks.load", "relay", server.address, str(users), str(setup.group))
    load = stack.enter_context(worker(*loading))
    return Running(setup, users, server, load, floors, empty_bytes)


def commands(setup: Setup, stack: ExitStack) -> Iterator[tuple[str, Sequence[str]]]:
    if setup.log:
        yield "log", ("cql", setup.log)
    else:
        folder = tempfile.TemporaryDirectory(prefix="coppice-bench-", dir=ROOT)
        yield "log", ("sqlite", stack.enter_context(folder))
    if setup.sql:
        yield "sql", ("postgres", *setup.sql)


def medians(history: Sequence[Figures]) -> Figures:
    return {
        name: round(statistics.median(figures[name] for figures in history), 3)
        for name in history[0]
    }


if __name__ == "__main__":
    main()
