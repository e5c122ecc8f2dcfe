"""A CQL keyspace as the target of a copy of the message log.

**Problem.** A log is written with conditional batches, one round of agreement for each, which a
copy of a million events cannot afford and, alone as it is, does not need. Yet what it wrote must
never win over what a server writes later, even if a request of a copy that was killed is late.

**Rule.** Everything is written plainly, with the timestamp 1: older than any real write, and the
same if it is written again. The head of a thread is written when everything else of it is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import trio
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from cassandra.query import UNSET_VALUE, PreparedStatement

from persistence.batching import BATCH_BYTES_MAX
from persistence.blocking import Lane
from persistence.cql_bridge import Bridge
from persistence.cql_buckets import BUCKET_EVENTS, Buckets
from persistence.cql_reading import CqlReading, together
from persistence.cql_session import (
    SCHEMA_S,
    Bound,
    Connected,
    CqlSession,
    Suspects,
    connect,
    has_table,
    open_session,
)
from persistence.cql_settings import CqlSettings, parse
from persistence.errors import NotEmpty, StoreUnavailable
from persistence.records import Event, ThreadId, UserId
from persistence.transfer import PAGE_EVENTS, LogsSource, thread_checksum
from persistence.transfer_rows import MARK, Checksum, Rows, ThreadState

T = TypeVar("T")

PAGE_PARTITIONS: Final = 1_000

_MARK_SCRIPT: Final = (
    f"CREATE TABLE IF NOT EXISTS {MARK} (id int PRIMARY KEY, identity text, done bigint)"
)
_HERE: Final = "WHERE thread = ? AND bucket = ?"
_TEXTS: Final = {
    "event": "INSERT INTO events (thread, bucket, seq, n, kind, sender, ts_ms, body, cid, digest,"
    " target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP 1",
    "full": f"UPDATE events USING TIMESTAMP 1 SET epoch = ?, head = ? {_HERE}",
    "head": "UPDATE events USING TIMESTAMP 1 SET epoch = ?, head = ?, head_n = ?, head_ts_ms = ?,"
    f" meta_seq = ?, msg_seq = ? {_HERE}",
    "partitions": f"SELECT DISTINCT thread, bucket FROM events LIMIT {PAGE_PARTITIONS}",
    "more_partitions": "SELECT DISTINCT thread, bucket FROM events"
    f" WHERE token(thread, bucket) > token(?, ?) LIMIT {PAGE_PARTITIONS}",
}
_FILLED: Final = ("events", "cids", "targets", "cursors")


class CqlTarget:
    """`LogsTarget`. Made by `open_target`."""

    def __init__(self, connected: Connected, settings: CqlSettings, buckets: Buckets) -> None:
        self._driver = connected.session
        self._lane = Lane("cql copying", 1)
        self._settings = settings
        self._session = CqlSession(connected, Bridge())
        self._statements = connected.statements
        self._own: dict[str, PreparedStatement] = {}
        self._buckets = buckets
        self._reading = CqlReading(self._session, buckets)

    def __str__(self) -> str:
        return str(self._settings)

    async def prepare(self) -> None:
        for name, text in _TEXTS.items():
            self._own[name] = await self._run(partial(self._driver.prepare, text))
            self._own[name].is_idempotent = True

    # ------------------------------------------------------------------ the mark

    async def begin(self, identity: str) -> int | None:
        """A mark without an identity is of a copy that was killed before it wrote anything."""
        is_marked = await self._run(partial(has_table, self._driver, self._settings, MARK))
        rows = await self._query(f"SELECT identity, done FROM {MARK}") if is_marked else []
        for marked, done in rows:
            if marked != identity:
                raise NotEmpty(f"{self} has part of another copy: begin again with a new keyspace")
            return int(done)
        for table in _FILLED:
            if await self._query(f"SELECT thread FROM {table} LIMIT 1"):
                return None
        await self._query(_MARK_SCRIPT)
        await self._query(f"INSERT INTO {MARK} (id, identity, done) VALUES (0, %s, 0)", (identity,))
        return 0

    async def note(self, done: int) -> None:
        await self._query(f"UPDATE {MARK} SET done = %s WHERE id = 0", (done,))

    async def finish(self) -> None:
        await self._query(f"DROP TABLE IF EXISTS {MARK}")

    # ------------------------------------------------------------------ writing

    async def write(self, threads: Sequence[ThreadId], source: LogsSource) -> None:
        await together([partial(self._write, thread, source) for thread in threads])

    async def _write(self, thread: ThreadId, source: LogsSource) -> None:
        state = await source.state(thread)
        assert state is not None, "a thread that the source named"
        last = 0
        while events := await source.events(thread, last, PAGE_EVENTS):
            for share in shares(events):
                await self._write_events(thread, state.head.epoch, share)
            last = events[-1].seq
        await self._write_state(thread, state)

    async def _write_events(self, thread: ThreadId, epoch: int, events: Sequence[Event]) -> None:
        statements = self._statements
        partitions: dict[tuple[Any, ...], list[Bound]] = {}
        for event in events:
            bucket = self._buckets.of(event.seq)
            rows = partitions.setdefault((bucket,), [])
            rows.append((self._own["event"], _event_values(thread, bucket, event)))
            if event.seq == self._buckets.last(bucket):
                # Of a bucket that is full, only this is read, to go on to the next.
                rows.append((self._own["full"], (epoch, event.seq, thread, bucket)))
            if event.cid is not None:
                cid = (thread, event.sender, event.cid, event.seq)
                partitions.setdefault((event.sender, "cids"), []).append((statements.put_cid, cid))
            if event.target is not None:
                about = self._buckets.of(event.target)
                target = (thread, about, event.target, event.seq)
                partitions.setdefault((about, "targets"), []).append(
                    (statements.put_target, target)
                )
        await together([partial(self._session.write, *rows) for rows in partitions.values()])

    async def _write_state(self, thread: ThreadId, state: ThreadState) -> None:
        statements = self._statements
        head = state.head
        bucket = self._buckets.of(head.seq + 1)  # the next event's is the one that fences
        calls: list[Callable[[], Awaitable[Any]]] = []
        for uid, cursor in state.cursors.items():
            rows: list[Bound] = [(statements.put_recv, (thread, uid, cursor.recv, cursor.recv))]
            if cursor.read:
                rows.append((statements.put_read, (cursor.read, cursor.read, thread, uid)))
            if cursor.read_n:
                rows.append((statements.put_read_n, (cursor.read_n, cursor.read_n, thread, uid)))
            calls.append(partial(self._session.write, *rows))
        if bucket:
            put = (statements.put_bucket, (thread, bucket, bucket))
            calls.append(partial(self._session.write, put))
        await together(calls)
        values = (
            head.epoch, head.seq, head.n, head.ts_ms, head.meta_seq, state.msg_seq, thread, bucket,
        )  # fmt: skip
        await self._session.write((self._own["head"], values))

    # ------------------------------------------------------------------ reading back

    async def state(self, thread: ThreadId) -> ThreadState | None:
        found = await self._reading.last(thread)
        if found is None:
            return None
        standing = found[0]
        return ThreadState(standing.head, standing.msg_seq, await self._reading.cursors(thread))

    async def events(self, thread: ThreadId, after: int, limit: int) -> Sequence[Event]:
        return await self._reading.events_up(thread, after + 1, None, limit)

    async def pointers(self, thread: ThreadId, events: Sequence[Event]) -> Rows:
        named: dict[UserId, list[str]] = {}
        for event in events:
            if event.cid is not None:
                named.setdefault(event.sender, []).append(event.cid)
        senders = list(named)
        found = await together(
            [
                partial(
                    self._session.read, self._statements.cids, thread, sender, tuple(named[sender])
                )
                for sender in senders
            ]
        )
        speaking = await self._reading.targeting(thread, [event.seq for event in events])
        return [
            *(
                ("cid", sender, cid, seq)
                for sender, rows in zip(senders, found, strict=True)
                for cid, seq in rows
            ),
            *(("target", seq) for seq in speaking),
        ]

    async def checksums(self, threads: Sequence[ThreadId]) -> Sequence[Checksum]:
        return await together(
            [partial(thread_checksum, self, thread, is_source=False) for thread in threads]
        )

    async def count(self) -> int:
        count = 0
        page = await self._session.read(self._own["partitions"])
        while page:
            count += sum(bucket == 0 for _, bucket in page)
            page = await self._session.read(self._own["more_partitions"], *page[-1])
        return count

    # ------------------------------------------------------------------ blocking

    async def _query(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return await self._run(
            lambda: self._driver.execute(statement, values or None, timeout=SCHEMA_S).all()
        )

    async def _run(self, call: Callable[[], T]) -> T:
        with _naming(self._settings):
            return await self._lane.run(call)


def shares(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The events in as many requests as it takes for none to be too large."""
    share: list[Event] = []
    size = 0
    for event in events:
        size += len(event.body)
        if share and size > BATCH_BYTES_MAX:
            yield share
            share, size = [], len(event.body)
        share.append(event)
    yield share


def _event_values(thread: ThreadId, bucket: int, event: Event) -> tuple[Any, ...]:
    """A null would be stored as a deletion."""
    cid = UNSET_VALUE if event.cid is None else event.cid
    target = UNSET_VALUE if event.target is None else event.target
    return (
        thread, bucket, event.seq, event.n, event.kind.value, event.sender, event.ts_ms, event.body,
        cid, event.digest, target,
    )  # fmt: skip


@contextmanager
def _naming(settings: CqlSettings) -> Iterator[None]:
    """What the driver raises, in one line that says where; to go on is to begin again."""
    try:
        yield
    except (DriverException, NoHostAvailable) as error:
        raise StoreUnavailable(f"{settings}: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def open_target(url: str, *, bucket_events: int = BUCKET_EVENTS) -> AsyncIterator[CqlTarget]:
    """Connect, make the keyspace and bring it up to date. Raises as `cql.open_log` does, but
    `StoreUnavailable` for everything that the server refuses."""
    settings, suspects = parse(url), Suspects()
    lane = Lane("cql opening", 1)
    cluster = await lane.run(partial(connect, settings, suspects))
    try:
        with _naming(settings):
            connected = await lane.run(partial(open_session, cluster, settings, suspects))
        target = CqlTarget(connected, settings, Buckets(bucket_events))
        await target.prepare()
        yield target
    finally:
        with trio.CancelScope(shield=True):
            await lane.run(cluster.shutdown)
