"""Reading the log on CQL: where a thread stands, pages of events across buckets, cursors.

Most threads have one bucket and are read with one request. For the others a table says where to
begin looking for the last bucket, and what was found is remembered: it can only be too low, and
then the search walks on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import trio

from persistence.cql_buckets import Buckets, Standing
from persistence.cql_session import CqlSession
from persistence.errors import Corrupt, StoreError
from persistence.records import Cursor, Event, EventKind, Span, Summary, ThreadId, UserId

BUCKETS_REMEMBERED_MAX = 100_000
"""Threads of more than one bucket whose last one is remembered: some 10 MB."""

KINDS_PAGE = 500
"""Rows looked at in one request for the newest message that a former member may see."""

T = TypeVar("T")


class CqlReading:
    """Reads of one keyspace. What they answer, `MessageLog` says."""

    def __init__(self, session: CqlSession, buckets: Buckets) -> None:
        self._session = session
        self._statements = session.statements
        self._buckets = buckets
        self._last_buckets: dict[ThreadId, int] = {}

    # ------------------------------------------------------------------ where a thread stands

    async def last(self, thread: ThreadId) -> tuple[Standing, Event | None] | None:
        """Where the log stands, and the newest event of the last bucket. None: never claimed."""
        return await self._walk(thread, self._newest)

    async def last_serial(self, thread: ThreadId) -> Standing | None:
        """As `last`, for who decides by it: with nothing under way, and with the last append's
        record."""
        found = await self._walk(thread, self._fence)
        return None if found is None else found[0]

    async def fence(self, thread: ThreadId, bucket: int) -> Standing | None:
        found = await self._fence(thread, bucket)
        return None if found is None else found[0]

    async def _walk(
        self,
        thread: ThreadId,
        look: Callable[[ThreadId, int], Awaitable[tuple[Standing, Event | None] | None]],
    ) -> tuple[Standing, Event | None] | None:
        remembered = self._last_buckets.get(thread)
        found = await look(thread, remembered or 0)
        if found is not None and self._is_full(found[0]) and remembered is None:
            rows = await self._session.read(self._statements.bucket, thread)
            if rows:
                found = await look(thread, rows[0][0]) or found
        while found is not None and self._is_full(found[0]):
            beyond = await look(thread, found[0].bucket + 1)
            if beyond is None:
                break
            found = beyond
        if found is not None and found[0].bucket:
            self._remember(thread, found[0].bucket)
        return found

    def _is_full(self, standing: Standing) -> bool:
        return standing.seq == self._buckets.last(standing.bucket)

    def _remember(self, thread: ThreadId, bucket: int) -> None:
        self._last_buckets.pop(thread, None)
        self._last_buckets[thread] = bucket
        if len(self._last_buckets) > BUCKETS_REMEMBERED_MAX:
            del self._last_buckets[next(iter(self._last_buckets))]

    async def _newest(self, thread: ThreadId, bucket: int) -> tuple[Standing, Event | None] | None:
        rows = await self._session.read(self._statements.newest, thread, bucket)
        if not rows or rows[0][0] is None:
            return None
        row = rows[0]
        return Standing(bucket, *row[:6]), None if row[6] is None else event_of(row[6:])

    async def _fence(self, thread: ThreadId, bucket: int) -> tuple[Standing, None] | None:
        rows = await self._session.read_serial(self._statements.fence, thread, bucket)
        if not rows or rows[0][0] is None:
            return None
        return Standing(bucket, *rows[0]), None

    # ------------------------------------------------------------------ events

    async def events_up(
        self, thread: ThreadId, low: int, high: int | None, limit: int
    ) -> list[Event]:
        """The first `limit` from `low` on, ascending."""
        found: list[Event] = []
        bucket = self._buckets.of(low)
        while len(found) < limit and (high is None or low <= high):
            end = self._buckets.last(bucket)
            top = end if high is None else min(end, high)
            page = await self._page(
                self._statements.page_up, thread, bucket, low, top, limit - len(found)
            )
            found += page
            if not page or page[-1].seq < end:
                break
            bucket, low = bucket + 1, end + 1
        return found

    async def events_down(
        self, thread: ThreadId, low: int, high: int | None, limit: int
    ) -> list[Event]:
        """The last `limit` up to `high`, ascending. A `high` within the log spares a request."""
        if limit <= 0 or (high is not None and high < low):
            return []
        if high is not None:
            bucket = self._buckets.of(high)
            start = max(low, self._buckets.first(bucket))
            page = await self._page(self._statements.page_down, thread, bucket, start, high, limit)
            if page:
                return await self._below(thread, low, start, limit, page)
        found = await self.last(thread)
        if found is None:
            return []
        top = found[0].seq if high is None else min(high, found[0].seq)
        return await self._below(thread, low, top + 1, limit, [])

    async def _below(
        self, thread: ThreadId, low: int, start: int, limit: int, found: list[Event]
    ) -> list[Event]:
        """`found`, which is descending, and what is below `start`; ascending."""
        for bucket, bottom, top in self._buckets.spans(low, start - 1):
            if len(found) >= limit:
                break
            found = [
                *found,
                *await self._page(
                    self._statements.page_down, thread, bucket, bottom, top, limit - len(found)
                ),
            ]
        return found[::-1]

    async def _page(self, statement: Any, *values: Any) -> list[Event]:
        return [event_of(row) for row in await self._session.read(statement, *values)]

    async def events_at(self, thread: ThreadId, seqs: Iterable[int]) -> list[Event]:
        """Those of `seqs` that are there, ascending."""
        by_bucket: dict[int, list[int]] = {}
        for seq in sorted({seq for seq in seqs if seq > 0}):
            by_bucket.setdefault(self._buckets.of(seq), []).append(seq)
        pages = await together(
            [
                partial(self._page, self._statements.at, thread, bucket, tuple(named))
                for bucket, named in by_bucket.items()
            ]
        )
        return [event for page in pages for event in page]

    async def targeting(self, thread: ThreadId, targets: Collection[int]) -> list[int]:
        """The seqs of the events that speak of one of `targets`."""
        by_bucket: dict[int, list[int]] = {}
        for target in sorted(set(targets)):
            by_bucket.setdefault(self._buckets.of(target), []).append(target)
        read, statement = self._session.read, self._statements.targets
        found = await together(
            [
                partial(read, statement, thread, bucket, tuple(named))
                for bucket, named in by_bucket.items()
            ]
        )
        return [seq for rows in found for (seq,) in rows]

    # ------------------------------------------------------------------ the rest

    async def cids(self, thread: ThreadId, named: Mapping[UserId, Collection[str]]) -> list[int]:
        """The seqs under which these senders' cids are in the log."""
        read, statement = self._session.read, self._statements.cids
        found = await together(
            [
                partial(read, statement, thread, sender, tuple(cids))
                for sender, cids in named.items()
            ]
        )
        return [seq for rows in found for _, seq in rows]

    async def cursors(
        self, thread: ThreadId, uids: Collection[UserId] | None = None
    ) -> dict[UserId, Cursor]:
        """The cursors of `uids`, or all."""
        if uids is None:
            rows = await self._session.read(self._statements.cursors, thread)
        elif uids:
            named = tuple(sorted(set(uids)))
            rows = await self._session.read(self._statements.cursors_of, thread, named)
        else:
            rows = []
        return {uid: Cursor(recv or 0, read or 0, read_n or 0) for uid, recv, read, read_n in rows}

    async def summary(
        self, thread: ThreadId, span: Span, readers: Collection[UserId]
    ) -> Summary | None:
        found, cursors = await together(
            [partial(self.last, thread), partial(self.cursors, thread, readers)]
        )
        if found is None:
            return None
        standing, newest = found
        return Summary(
            standing.head, await self._last_message(thread, span, standing, newest), cursors
        )

    async def _last_message(
        self, thread: ThreadId, span: Span, standing: Standing, newest: Event | None
    ) -> Event | None:
        seq = standing.msg_seq
        if span.high is not None and seq > span.high:
            seq = await self._message_below(thread, span.low, span.high)
        if seq < max(span.low, 1):
            return None
        if newest is not None and newest.seq == seq:
            return newest
        events = await self.events_at(thread, [seq])
        if not events:
            raise Corrupt(
                f"the log of {thread} has no event {seq} below its head at {standing.seq}"
            )
        return events[0]

    async def _message_below(self, thread: ThreadId, low: int, high: int) -> int:
        """The newest `msg` event's seq from `low` to `high`, or 0."""
        for bucket, bottom, start in self._buckets.spans(max(low, 1), high):
            top = start
            while top >= bottom:
                rows = await self._session.read(
                    self._statements.kinds, thread, bucket, bottom, top, KINDS_PAGE
                )
                for seq, kind in rows:
                    if kind == EventKind.MSG:
                        return int(seq)
                top = rows[-1][0] - 1 if rows else 0
        return 0


def event_of(row: Sequence[Any]) -> Event:
    seq, n, kind, sender, ts_ms, body, cid, digest, target = row
    return Event(seq, n, EventKind(kind), sender, ts_ms, body, cid, digest, target)


async def together(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """What the calls return, in order; or, once all have ended, the first `StoreError`."""
    if len(calls) == 1:
        return [await calls[0]()]
    results: list[Any] = [None] * len(calls)
    errors: list[StoreError] = []

    async def run(index: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            results[index] = await call()
        except StoreError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(run, index, call)
    if errors:
        raise errors[0]
    return results
