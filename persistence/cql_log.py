"""The message log on ScyllaDB and Cassandra: appends fenced by a conditional batch.

An append is one conditional batch in the thread's last bucket, sent once, then what it does
elsewhere (`cql_buckets` says what, and why that is safe). Its condition names the writer's epoch
and the head: of two owners only the last claimant writes, whatever clocks and leases say.

**When nobody knows whether a batch was applied**, the append is `Failed`, and its owner claims the
thread before going on. A claim raises the epoch first, which makes it impossible for the lost
request to be applied later, and reads afterwards. Reading alone would not do: a coordinator that
was frozen carries out what lies in its queue when it thaws.

**A cid is unique for the life of its thread**: a table has every one, written after the batch that
decided and before anybody is answered, or else by the next claim. So each row is true, and what is
missing belongs to a batch whose outcome is still being settled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import trio
from cassandra.query import UNSET_VALUE

from persistence.batching import check_append
from persistence.cql_buckets import (
    Aside,
    Buckets,
    Share,
    Standing,
    decoded,
    encoded,
    share_of,
)
from persistence.cql_cids import KnownCids
from persistence.cql_reading import CqlReading, together
from persistence.cql_session import Bound, CqlSession, CqlStatistics
from persistence.errors import Corrupt, OutcomeUnknown, StoreError, StoreUnavailable
from persistence.records import (
    Append,
    Claim,
    ClientId,
    Committed,
    Deposed,
    Event,
    Failed,
    Head,
    Outcome,
    Repeated,
    Span,
    Summary,
    ThreadId,
    UserId,
)

CLAIM_ATTEMPTS_MAX = 32
"""Each that fails to another claimant means that one of them succeeded."""

COMMITS_AT_ONCE = 64
"""An append is some requests of its own. `cql_bridge` bounds those; this keeps room for reads."""

HEALTH = ThreadId("health")
"""No thread's id."""


class CqlLog:
    """`MessageLog`. An epoch belongs to the log object that claimed it."""

    commits_at_once = COMMITS_AT_ONCE

    def __init__(self, session: CqlSession, buckets: Buckets | None = None) -> None:
        self._session = session
        self._statements = session.statements
        self._buckets = buckets or Buckets()
        self._reading = CqlReading(session, self._buckets)
        self._known = KnownCids()

    # ------------------------------------------------------------------ claiming

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        head = (await self._claim(thread)).head
        low = max(head.seq - max(recent, 0), 0) + 1
        events, cursors = await together(
            [
                partial(self._reading.events_down, thread, low, head.seq, recent),
                partial(self._reading.cursors, thread),
            ]
        )
        if [event.seq for event in events] != list(range(low, head.seq + 1)):
            raise Corrupt(f"the log of {thread} has gaps below its head at {head.seq}")
        claim = Claim(head, tuple(events), cursors)
        self._known.claimed(thread, claim)
        return claim

    async def _claim(self, thread: ThreadId) -> Standing:
        """Raise the epoch, in the last bucket, and finish what the last append left undone."""
        epoch = 0
        for _ in range(CLAIM_ATTEMPTS_MAX):
            found = await self._reading.last(thread)
            seen = None if found is None else found[0]
            epoch = max(epoch, 1 if seen is None else seen.epoch + 1)
            try:
                claimed = await self._raise_epoch(thread, seen, epoch)
            except OutcomeUnknown:
                continue  # settled by the epoch after it
            if claimed is None:
                continue
            try:
                standing = await self._finish(thread, claimed)
            except OutcomeUnknown:
                continue
            if standing is not None:
                return standing
        raise StoreUnavailable(f"{thread} is claimed by others all the time")

    async def _raise_epoch(
        self, thread: ThreadId, seen: Standing | None, epoch: int
    ) -> Standing | None:
        """Where the log stands under the new epoch; None if another claimant was faster."""
        if seen is None:
            raised = await self._open(thread, Standing(0, epoch, 0, 0, 0, 0, 0))
            bucket = 0
        else:
            bucket = seen.bucket
            raised = await self._session.conditional(
                (self._statements.claim, (epoch, thread, bucket, seen.epoch))
            )
        if not raised:
            return None
        standing = await self._reading.fence(thread, bucket)
        return standing if standing is not None and standing.epoch == epoch else None

    async def _finish(self, thread: ThreadId, standing: Standing) -> Standing | None:
        """Do again what the last append does elsewhere. None: the bucket was full, and another
        owner has opened the next one."""
        if standing.aside is None:
            return standing
        aside = decoded(standing.aside)
        events = await self._reading.events_up(
            thread, aside.since + 1, standing.seq, standing.seq - aside.since
        )
        await self._do_aside(thread, standing.epoch, aside, (*events, *aside.rest))
        if standing.seq < self._buckets.last(standing.bucket):
            return standing
        return await self._open_next(thread, standing, aside)

    async def _open(self, thread: ThreadId, standing: Standing, *rows: Bound) -> bool:
        """Make a bucket the one that fences, unless somebody has."""
        values = (
            standing.epoch, standing.seq, standing.n, standing.ts_ms, standing.meta_seq,
            standing.msg_seq, thread, standing.bucket,
        )  # fmt: skip
        return await self._session.conditional((self._statements.open, values), *rows)

    async def _open_next(self, thread: ThreadId, full: Standing, aside: Aside) -> Standing | None:
        """Open the bucket after a full one, with the events that the last append has there. None:
        another owner did, with the same events."""
        after = full.after(aside.rest, aside.meta_seq)
        bucket = full.bucket + 1
        opened = Standing(
            bucket, full.epoch, after.seq, after.n, after.ts_ms, after.meta_seq, after.msg_seq
        )
        inserts = [self._insert(thread, bucket, event) for event in aside.rest]
        if not await self._open(thread, opened, *inserts):
            return None
        await self._session.write((self._statements.put_bucket, (thread, bucket, bucket)))
        return opened

    # ------------------------------------------------------------------ appending

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        assert len({append.thread for append in batch}) == len(batch), "a thread twice in a batch"
        for append in batch:
            check_append(append)
        outcomes: dict[ThreadId, Outcome] = {}

        async def run(append: Append) -> None:
            try:
                outcomes[append.thread] = await self._append(append)
            except StoreError as error:
                outcomes[append.thread] = Failed(isinstance(error, StoreUnavailable), str(error))
                self._known.forget(append.thread)

        async with trio.open_nursery() as nursery:
            for append in batch:
                nursery.start_soon(run, append)
        return [outcomes[append.thread] for append in batch]

    async def _append(self, append: Append) -> Outcome:
        """Raises `StoreUnavailable` only if surely nothing was written."""
        repeats = await self._repeats(append)
        if repeats:
            head = await self._head(append.thread)
            if (head.epoch, head.seq) != (append.epoch, append.expected_seq):
                return Deposed(head)
            return Repeated(tuple(await self._reading.events_at(append.thread, repeats)))
        share = share_of(append, self._buckets)
        if not await self._session.conditional(*self._decide(append, share)):
            return Deposed(await self._head(append.thread))
        events = (*share.events, *share.aside.rest)
        try:
            await self._do_aside(append.thread, append.epoch, share.aside, events)
            if share.events and share.events[-1].seq == self._buckets.last(share.bucket):
                await self._roll(append, share)
        except StoreUnavailable as error:
            raise OutcomeUnknown(f"written, but not everywhere: {error}") from error
        self._known.committed(append)
        return Committed()

    async def _repeats(self, append: Append) -> list[int]:
        known = self._known.repeats(append)
        if known is not None:
            return known
        named: dict[UserId, list[str]] = {}
        for event in append.events:
            if event.cid is not None:
                named.setdefault(event.sender, []).append(event.cid)
        return await self._reading.cids(append.thread, named)

    async def _head(self, thread: ThreadId) -> Head:
        standing = await self._reading.last_serial(thread)
        return Head() if standing is None else standing.head

    def _decide(self, append: Append, share: Share) -> list[Bound]:
        """The batch that decides: condition and head, events, bodies."""
        thread, bucket = append.thread, share.bucket
        before = Standing(bucket, append.epoch, append.expected_seq, 0, 0, 0, 0)
        after = before.after(share.events, share.meta_seq)
        moved = bool(share.events)
        values = (
            after.seq if moved else UNSET_VALUE,
            after.n if moved else UNSET_VALUE,
            after.ts_ms if moved else UNSET_VALUE,
            UNSET_VALUE if share.meta_seq is None else share.meta_seq,
            after.msg_seq or UNSET_VALUE,
            encoded(share.aside),
            thread, bucket, append.epoch, append.expected_seq,
        )  # fmt: skip
        return [
            (self._statements.move, values),
            *(self._insert(thread, bucket, event) for event in share.events),
            *(
                (self._statements.rewrite, (rewrite.body, thread, bucket, rewrite.seq))
                for rewrite in share.rewrites
            ),
        ]

    def _insert(self, thread: ThreadId, bucket: int, event: Event) -> Bound:
        values = (
            thread, bucket, event.seq, event.n, event.kind.value, event.sender, event.ts_ms,
            event.body, _or_unset(event.cid), event.digest, _or_unset(event.target),
        )  # fmt: skip
        return self._statements.insert, values

    async def _roll(self, append: Append, share: Share) -> None:
        """The append has filled its bucket: open the next. If another owner has taken the thread
        over, that one did."""
        full = await self._reading.fence(append.thread, share.bucket)
        assert full is not None, "a bucket that was written is there"
        if full.epoch == append.epoch:
            await self._open_next(append.thread, full, share.aside)

    # ------------------------------------------------------------------ elsewhere

    async def _do_aside(
        self, thread: ThreadId, epoch: int, aside: Aside, events: Sequence[Event]
    ) -> None:
        """Everything that an append does outside of its bucket, except opening the next one. May be
        done again at any time."""
        statements = self._statements
        by_sender: dict[UserId, list[Bound]] = {}
        by_target: dict[int, list[Bound]] = {}
        for event in events:
            if event.cid is not None:
                row = (thread, event.sender, event.cid, event.seq)
                by_sender.setdefault(event.sender, []).append((statements.put_cid, row))
            if event.target is not None:
                bucket = self._buckets.of(event.target)
                target = (thread, bucket, event.target, event.seq)
                by_target.setdefault(bucket, []).append((statements.put_target, target))
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(self._session.write, *rows)
            for rows in (*by_sender.values(), *by_target.values())
        ]
        if aside.cursors:
            calls.append(partial(self._session.write, *self._cursors(thread, aside)))
        by_bucket: dict[int, list[Bound]] = {}
        for rewrite in aside.rewrites:
            bucket = self._buckets.of(rewrite.seq)
            body = (rewrite.body, thread, bucket, rewrite.seq)
            by_bucket.setdefault(bucket, []).append((statements.rewrite, body))
        for bucket, rows in by_bucket.items():
            # Refused if a later owner has been here: that one has done the same.
            fence = (statements.raise_old, (epoch, thread, bucket, epoch))
            calls.append(partial(self._session.conditional, fence, *rows))
        if calls:
            await together(calls)

    def _cursors(self, thread: ThreadId, aside: Aside) -> list[Bound]:
        rows: list[Bound] = []
        for uid, (recv, read, read_n) in aside.cursors.items():
            rows.append((self._statements.put_recv, (thread, uid, recv, recv)))
            if read:
                rows.append((self._statements.put_read, (read, read, thread, uid)))
            if read_n:
                rows.append((self._statements.put_read_n, (read_n, read_n, thread, uid)))
        return rows

    # ------------------------------------------------------------------ reading

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        page = span.narrowed(after, before)
        reading = self._reading.events_down if after is None else self._reading.events_up
        return await reading(thread, max(page.low, 1), page.high, limit)

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        if not targets:
            return []
        speaking = await self._reading.targeting(thread, targets)
        return await self._reading.events_at(thread, {*targets, *speaking})

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        seqs = await self._reading.cids(thread, {sender: [cid]})
        events = await self._reading.events_at(thread, seqs)
        return events[0] if events else None

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        found = await together(
            [
                partial(self._reading.summary, thread, span, readers.get(thread, ()))
                for thread, span in spans.items()
            ]
        )
        return {
            thread: summary
            for thread, summary in zip(spans, found, strict=True)
            if summary is not None
        }

    # ------------------------------------------------------------------ health

    async def health(self) -> None:
        """Prove that a quorum takes a write and answers a read. Raises `StoreError` if not."""
        await self._session.write((self._statements.put_bucket, (HEALTH, 0, 0)))
        await self._session.read(self._statements.bucket, HEALTH)

    def statistics(self) -> CqlStatistics:
        return self._session.statistics()

    def __repr__(self) -> str:
        return f"<CqlLog {self.statistics()}>"


def _or_unset(value: Any) -> Any:
    """A null would be stored as a deletion."""
    return UNSET_VALUE if value is None else value
