"""The stores that this machine has for a benchmark: `tests/servers` starts and finds them.

PostgreSQL is started for the benchmark, with fsync; a Cassandra is used if it runs, in a keyspace
that is dropped afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from cassandra.cluster import NoHostAvailable

from persistence.cql_session import Suspects, connect
from persistence.cql_settings import parse
from tests import servers
from tests.servers import cassandra
from tests.servers import postgres as postgres_servers

SCHEMA_S = 60.0
"""Of what changes or sums up much, after a million messages, with half a gigabyte of heap."""

FLUSH_MS = 500


def postgres(stack: ExitStack) -> postgres_servers.PostgresServer:
    """Raises `LookupError`, which says why there is none."""
    reason = postgres_servers.missing()
    if reason is not None:
        raise LookupError(reason)
    return stack.enter_context(postgres_servers.running(postgres_servers.DURABLE))


@contextmanager
def keyspace(name: str) -> Iterator[str]:
    """The URL of a new keyspace on the Cassandra of this name. Raises `LookupError`."""
    url = cassandra.url(name) if name in cassandra.NAMES else None
    if url is None:
        raise LookupError(f"{name} does not run: {servers.HINT}")
    settings = replace(parse(url), keyspace=f"bench_{os.getpid()}_{os.urandom(2).hex()}")
    hosts = ",".join(settings.hosts)
    try:
        yield (
            f"cql://{hosts}:{settings.port}/{settings.keyspace}?replication={settings.replication}"
        )
    finally:
        cluster = connect(settings, Suspects())
        with suppress(NoHostAvailable):  # it does not run any more, and keeps nothing then
            drop = f"DROP KEYSPACE IF EXISTS {settings.keyspace}"
            cluster.connect().execute(drop, timeout=SCHEMA_S)
        cluster.shutdown()


def node_pids(name: str) -> list[int]:
    """The processes of the Cassandra of this name."""
    homes = [servers.directory() / name / address for address in cassandra.ADDRESSES[name]]
    return [int((home / "pid").read_text()) for home in homes]


def table_bytes(url: str) -> int:
    """What the tables of a keyspace take on the disk of one Cassandra node, which is told to write
    what it still has in memory; to the mebibyte. Each node has all of it only if there are as many
    copies as nodes."""
    settings = parse(url)
    cluster = connect(settings, Suspects())
    try:
        session = cluster.connect(settings.keyspace)
        tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
        names = [
            name for (name,) in session.execute(tables, (settings.keyspace,), timeout=SCHEMA_S)
        ]

        def flush_every(period_ms: int) -> None:
            for name in names:
                change = f"ALTER TABLE {name} WITH memtable_flush_period_in_ms = {period_ms}"
                session.execute(change, timeout=SCHEMA_S)

        flush_every(FLUSH_MS)
        time.sleep(4 * FLUSH_MS / 1_000)
        flush_every(0)  # not at all
        usage = "SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = %s"
        rows = session.execute(f"{usage} ALLOW FILTERING", (settings.keyspace,), timeout=SCHEMA_S)
        mebibytes: int = sum(found for (found,) in rows)
        return mebibytes * 2**20
    finally:
        cluster.shutdown()
