"""What a store does at most: bare writes through its own driver, with nothing of ours.

    python -m benchmarks.floors sqlite DIRECTORY | postgres URL… | cql URL

A worker (see `processes`), told `run SECONDS APPENDS MESSAGES`: how many appends the server had at
once, and messages in an append, for a floor writes in the same portions.

* `sqlite`: a transaction with all those messages, one after the other, synced as the store's are.
* `postgres`: single inserts as pgbench makes them, on as many connections as a server has.
* `cql`: conditional batches of one partition each, so many at once: head, and messages.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import TEXT

BODY = json.dumps({"text": TEXT})
CONNECTIONS = 8
"""As many as the server keeps to each database."""

CQL_TABLE = """CREATE TABLE IF NOT EXISTS floor (thread text, seq bigint, head bigint STATIC,
    sender text, ts_ms bigint, cid text, body text, PRIMARY KEY (thread, seq))"""
CQL_MOVE = "UPDATE floor SET head = ? WHERE thread = ? IF head = ?"
CQL_INSERT = "INSERT INTO floor (thread, seq, sender, ts_ms, cid, body) VALUES (?, ?, ?, ?, ?, ?)"
PG_TABLE = """CREATE TABLE IF NOT EXISTS bench_history (tid int, bid int, aid int, delta int,
    mtime timestamp, filler char(22))"""
PG_INSERT = """INSERT INTO bench_history (tid, bid, aid, delta, mtime)
    VALUES (%s, 1, %s, 1, CURRENT_TIMESTAMP)"""

PG_BYTES = "SELECT pg_database_size(current_database()) - pg_total_relation_size('bench_history')"

Run = Callable[[float, float, float], float]
"""Seconds, appends, messages in each of those; the writes each second."""


def sqlite(directory: str) -> Run:
    path = Path(directory) / "floor.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TABLE floor (thread TEXT, seq INTEGER, sender TEXT, ts_ms INTEGER, cid TEXT,"
        " body TEXT)"
    )

    def run(seconds: float, appends: float, messages: float) -> float:
        portion = max(1, round(appends * messages))
        seq = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            rows = [("u1:u2", seq + n, "u1", seq, f"c{seq + n}", BODY) for n in range(portion)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO floor VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            seq += portion
        return seq / (time.perf_counter() - began)

    return run


def postgres(*urls: str) -> Run:
    import psycopg

    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(PG_TABLE)

    def repeat(url: str, number: int, until_s: float, counts: list[int]) -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
            count = 0
            while time.perf_counter() < until_s:
                connection.execute(PG_INSERT, (number, count))
                count += 1
            counts.append(count)

    def run(seconds: float, _appends: float, _messages: float) -> float:
        counts: list[int] = []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=repeat, args=(url, number, began + seconds, counts))
            for url in urls
            for number in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counts) == len(threads), "a connection failed; its error is above"
        return sum(counts) / (time.perf_counter() - began)

    return run


def cql(url: str) -> Run:
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy, TokenAwarePolicy

    from persistence.cql_settings import keyspace_statement, parse

    settings = parse(url)
    profile = ExecutionProfile(
        TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.data_centre)),
        FallthroughRetryPolicy(),
        ConsistencyLevel.LOCAL_QUORUM,
        ConsistencyLevel.LOCAL_SERIAL,
    )
    cluster = Cluster(
        settings.hosts, port=settings.port, protocol_version=4,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )  # fmt: skip
    session = cluster.connect()
    session.execute(keyspace_statement(settings), timeout=60)
    session.set_keyspace(settings.keyspace)
    session.execute(CQL_TABLE, timeout=60)
    writers = CqlWriters(session)

    def run(seconds: float, appends: float, messages: float) -> float:
        return writers.run(seconds, max(1, round(appends)), max(1, round(messages)))

    return run


def stored_bytes(urls: Sequence[str]) -> int:
    """What databases take on disk, without the floor's own table in them."""
    import psycopg

    size = 0
    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            ((found,),) = connection.execute(PG_BYTES).fetchall()
            size += found
    return size


class CqlWriters:
    """Each has a thread of its own and sends its next batch when the last one is answered."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._move = session.prepare(CQL_MOVE)
        self._insert = session.prepare(CQL_INSERT)
        self._messages = 1
        self._written = self._left = self._failures = 0
        self._until_s = 0.0
        self._done = threading.Event()

    def run(self, seconds: float, writers: int, messages: int) -> float:
        self._messages, self._written, self._left = messages, 0, writers
        self._done.clear()
        began = time.perf_counter()
        self._until_s = began + seconds
        for _ in range(writers):
            self._send(uuid.uuid4().hex, None)
        self._done.wait()
        if self._failures:
            print(f"{self._failures} bare batches failed", file=sys.stderr)
        return self._written / (time.perf_counter() - began)

    def _send(self, thread: str, head: int | None) -> None:
        from cassandra.query import BatchStatement, BatchType

        start = head or 0
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.add(self._move, (start + self._messages, thread, head))
        for seq in range(start + 1, start + 1 + self._messages):
            batch.add(self._insert, (thread, seq, "u1", seq, f"c{seq}", BODY))
        future = self._session.execute_async(batch)
        future.add_callbacks(self._sent, self._failed, (thread, start + self._messages))

    def _sent(self, rows: Any, thread: str, head: int) -> None:
        """On the driver's one thread for all connections."""
        assert rows[0][0], f"{thread} is nobody else's, and was refused"
        self._written += self._messages
        self._next(thread, head)

    def _failed(self, _: BaseException) -> None:
        self._failures += 1
        self._next(uuid.uuid4().hex, None)

    def _next(self, thread: str, head: int | None) -> None:
        if time.perf_counter() < self._until_s:
            self._send(thread, head)
            return
        self._left -= 1
        if self._left == 0:
            self._done.set()


KINDS: dict[str, Callable[..., Run]] = {"sqlite": sqlite, "postgres": postgres, "cql": cql}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("places", nargs="+")
    options = parser.parse_args()
    run = KINDS[options.kind](*options.places)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] != "run":
            break
        seconds, appends, messages = map(float, words[1:])
        print(json.dumps({"per_s": run(seconds, appends, messages)}), flush=True)


if __name__ == "__main__":
    main()
