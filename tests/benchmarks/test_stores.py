"""`run.py bench relay | stores | log | idle` work, whatever their figures; and their sums."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from benchmarks import floors, idle, message_log, relay, stores
from persistence.memory import MemoryStores
from persistence.records import Append, Failed, Outcome, Span
from tests import servers
from tests.servers import cassandra
from tests.servers import postgres as postgres_servers
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
RUN_S = 300.0
RELAYED = {
    "acked_per_s", "deliveries_per_s", "p50_ms", "p99_ms", "cpu_us_per_message", "ratio_to_echo",
    "appends_at_once", "messages_per_append", "log_floor_per_s", "ratio_to_log_floor",
    "sql_floor_per_s", "ratio_to_sql_floor", "sql_bytes_per_user", "refused",
}  # fmt: skip


def bench(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "run.py", "bench", *words, "--quick"], env=os.environ | environment,
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_relay_shows_the_server_beside_the_echo_and_the_floor() -> None:
    shown = bench("relay", "--group", "5")
    assert "durable acknowledged messages" in shown
    assert "ratio to echo" in shown
    assert "ratio to floor" in shown


def test_a_set_up_is_measured_beside_the_floors_of_both_its_stores(
    postgres: PostgresServer,
) -> None:
    place = {postgres_servers.VARIABLE: postgres.url("postgres")}
    report = json.loads(bench("stores", "--only", "postgres-1", "--json", **place))
    assert set(report["setups"]) == {"postgres-1"}
    assert report["missing"] == {}
    figures = report["setups"]["postgres-1"]
    assert set(figures) == RELAYED
    assert all(figures[name] > 0 for name in RELAYED - {"refused"})
    assert figures["refused"] == 0
    assert any("postgres-1" in line for line in stores.text(report))


def test_a_cluster_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cassandra, "url", lambda _: None)
    with ExitStack() as stack:
        setups, missing = stores.present(["cassandra-1", "embedded"], stack)
        places, missing_logs = message_log.logs(message_log.LOGS, stack)
    assert [setup.name for setup in setups] == ["embedded"]
    assert missing == {"cassandra-1": f"cassandra-1 does not run: {servers.HINT}"}
    assert places == {"embedded": ""}
    assert set(missing_logs) == {"cassandra-1", "cassandra-3"}


def test_a_set_up_that_does_not_start_is_told_from_those_that_do() -> None:
    nowhere = relay.Setup("nowhere", sql=("postgresql://127.0.0.1:1/none",))
    report = relay.measure([nowhere], users=2, rounds=1, quick=True)
    assert report["setups"] == {}
    assert "ended" in report["missing"]["nowhere"]


def test_idle_connections_cost_memory_and_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "ROUND_S", 0.1)
    figures = idle.measure(20)
    assert figures["bytes_per_connection"] > 0
    assert figures["cpu_us_per_heartbeat"] > 0


def test_figures_are_medians_of_the_rounds() -> None:
    history = [{"acked_per_s": value, "ratio": 1 / value} for value in (1.0, 8.0, 4.0)]
    assert relay.medians(history) == {"acked_per_s": 4.0, "ratio": 0.25}


def test_floor_of_sqlite_writes_the_portions_that_the_server_had(tmp_path: Path) -> None:
    per_s = floors.sqlite(str(tmp_path))(0.01, 2.6, 1.5)
    with closing(sqlite3.connect(tmp_path / "floor.db")) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM floor").fetchall()
    assert per_s > 0
    assert rows > 0
    assert rows % 4 == 0


# ---------------------------------------------------------------------------- bench log


@pytest.mark.parametrize("name", ["embedded", "cassandra-1"])
def test_pages_of_every_length_are_measured(name: str) -> None:
    if name != "embedded" and cassandra.url(name) is None:
        pytest.skip(f"{name} does not run: {servers.HINT}")
    report = json.loads(bench("log", name, "--json"))
    assert report["lengths"] == [1_000, 10_000]
    assert report["missing"] == {}
    figures = report["logs"][name]
    assert figures["filled"] == 11_000 + 2 * message_log.PAGE_EVENTS
    assert figures["bytes_per_message"] > message_log.BODY_BYTES
    assert set(figures["pages"]) == {"1000", "10000"}
    assert all(found["p99_ms"] >= found["p50_ms"] > 0 for found in figures["pages"].values())
    assert set(figures["growth"]) == {"p50", "p99"}
    assert ("append" in figures) == ("floor" in figures) == (name != "embedded")
    assert ("buckets" in figures) == (name != "embedded")
    assert any("growth" in line for line in message_log.text(report))


async def test_filling_settles_what_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_log, "FILL_EVENTS", 4)
    log = MemoryStores().log
    carry_out = log.append
    answers = 0

    async def append(batch: Sequence[Append]) -> Sequence[Outcome]:
        nonlocal answers
        answers += 1
        if answers == 1:
            return [Failed(False, "lost on the way")]
        outcomes = await carry_out(batch)
        return [Failed(False, "the answer was lost")] if answers == 2 else outcomes

    monkeypatch.setattr(log, "append", append)
    thread = await message_log.filled(log, 10)
    events = await log.read(thread, Span(), 100)
    assert [event.seq for event in events] == list(range(1, 11))
    assert answers == 4


def test_lengths_are_powers_of_ten_from_a_thousand() -> None:
    assert message_log.lengths(1_000_000) == [1_000, 10_000, 100_000, 1_000_000]
    assert message_log.lengths(2_500) == [1_000]
