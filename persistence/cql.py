"""The message log past one machine: ScyllaDB or Cassandra, through scylla-driver.

Reading order: `cql_buckets` for how the log lies in partitions, `cql_log` for how it is written,
`cql_reading`, `cql_session` and `cql_bridge` for how requests are sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from persistence.blocking import Lane
from persistence.cql_bridge import Bridge
from persistence.cql_buckets import BUCKET_EVENTS, Buckets
from persistence.cql_log import CqlLog
from persistence.cql_session import CqlSession, Suspects, connect, has_table, open_session
from persistence.cql_settings import parse
from persistence.errors import Corrupt
from persistence.transfer_rows import MARK, UNFINISHED


@asynccontextmanager
async def open_log(url: str, *, bucket_events: int = BUCKET_EVENTS) -> AsyncIterator[CqlLog]:
    """Connect to a `cql://` address (see `cql_settings`) and yield its `MessageLog`.

    Makes the keyspace and brings its tables up to date. Its `health()` is for `/ready`. A keyspace
    keeps the `bucket_events` that it began with. Raises `ValueError` for a wrong address,
    `StoreUnavailable`, `Corrupt` (also where a copy into it has not ended).
    """
    settings, suspects = parse(url), Suspects()
    lane = Lane("cql opening", 1)
    cluster = await lane.run(partial(connect, settings, suspects))
    try:
        connected = await lane.run(partial(open_session, cluster, settings, suspects))
        if await lane.run(partial(has_table, connected.session, settings, MARK)):
            raise Corrupt(f"{settings}: {UNFINISHED}")
        yield CqlLog(CqlSession(connected, Bridge()), Buckets(bucket_events))
    finally:
        with trio.CancelScope(shield=True):
            await lane.run(cluster.shutdown)
