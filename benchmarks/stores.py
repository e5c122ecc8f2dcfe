"""`run.py bench stores`: `bench relay` on each set-up of stores that this machine has, in turn.

All servers stand ready at the same time, and each round goes through all of them. `make servers`
starts the Cassandra nodes; PostgreSQL is started here. What is missing is named, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.machine import keyspace, node_pids, postgres
from benchmarks.relay import Setup, add_options, measure

SETUPS = {
    "embedded": (0, "", 2),
    "embedded, groups of 50": (0, "", 50),
    "postgres-1": (1, "", 2),
    "postgres-3": (3, "", 2),
    "cassandra-1": (0, "cassandra-1", 2),
    "cassandra-3": (0, "cassandra-3", 2),
    "postgres-3, cassandra-3": (3, "cassandra-3", 2),
}
"""By name: how many databases, the cluster of the log, users in a thread. What has neither is
embedded."""

COLUMNS = {
    "acked_per_s": ("acked/s", ",.0f"),
    "deliveries_per_s": ("told/s", ",.0f"),
    "p50_ms": ("p50 ms", ",.0f"),
    "p99_ms": ("p99 ms", ",.0f"),
    "cpu_us_per_message": ("CPU us", ",.0f"),
    "log_cpu_us_per_message": ("nodes us", ",.0f"),
    "ratio_to_echo": ("/echo", ".2f"),
    "appends_at_once": ("at once", ",.0f"),
    "messages_per_append": ("msg/app", ".1f"),
    "log_floor_per_s": ("log floor", ",.0f"),
    "ratio_to_log_floor": ("/floor", ".2f"),
    "sql_floor_per_s": ("sql floor", ",.0f"),
    "sql_bytes_per_user": ("B/user", ",.0f"),
    "refused": ("refused", ",.0f"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench stores", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--only", nargs="+", choices=SETUPS, default=list(SETUPS), help="default: all"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        setups, missing = present(options.only, stack)
        report = measure(setups, options.users, options.rounds, options.quick)
    report["missing"] = missing | report["missing"]
    load = os.getloadavg()[2]
    report["machine"] = f"{os.cpu_count()} cores, load {load:.1f} in the last 15 minutes"
    print(json.dumps(report) if options.json else "\n".join(text(report)))


def present(names: list[str], stack: ExitStack) -> tuple[list[Setup], dict[str, str]]:
    """Those set-ups whose servers are here, each on databases and a keyspace of its own."""
    setups, missing = [], {}
    server = None
    for name in names:
        databases, cluster, group = SETUPS[name]
        try:
            if databases and server is None:
                server = postgres(stack)
            sql = server.create(databases) if server is not None and databases else ()
            log = stack.enter_context(keyspace(cluster)) if cluster else ""
        except LookupError as reason:
            missing[name] = str(reason)
        else:
            nodes = node_pids(cluster) if cluster else ()
            setups.append(Setup(name, sql, log, nodes, group))
    return setups, missing


def text(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['users']} users, in pairs unless said; {report['rounds']} rounds, medians"
    yield report["machine"]
    yield f"bare echo: {report['echo_per_s']:,.0f} round trips/s"
    yield f"{'':<24}" + "".join(f"{title:>10}" for title, _ in COLUMNS.values())
    for name, figures in report["setups"].items():
        cells = (
            format(figures[key], how) if key in figures else "-"
            for key, (_, how) in COLUMNS.items()
        )
        yield f"{name:<24}" + "".join(f"{cell:>10}" for cell in cells)
    for name, reason in report["missing"].items():
        yield f"{name}: {reason}"


if __name__ == "__main__":
    main()
