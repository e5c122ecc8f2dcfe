"""The reference message log: one list of events and one dict of cids per thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trio.lowlevel import checkpoint

from persistence.batching import check_append
from persistence.records import (
    Append,
    Claim,
    ClientId,
    Committed,
    Cursor,
    Deposed,
    Event,
    EventKind,
    Head,
    Outcome,
    Repeated,
    Span,
    Summary,
    ThreadId,
    UserId,
)

_NO_HEAD = Head()


@dataclass(slots=True)
class _Thread:
    """Event `seq` stands at index `seq - 1`."""

    head: Head = _NO_HEAD
    events: list[Event] = field(default_factory=list)
    cids: dict[tuple[UserId, ClientId], int] = field(default_factory=dict)
    cursors: dict[UserId, Cursor] = field(default_factory=dict)

    def within(self, span: Span) -> list[Event]:
        return self.events[max(span.low - 1, 0) : span.high]


class MemoryLog:
    """`MessageLog`."""

    commits_at_once = 1

    def __init__(self) -> None:
        self._threads: dict[ThreadId, _Thread] = {}

    async def claim(self, thread: ThreadId, recent: int) -> Claim:
        await checkpoint()
        log = self._threads.setdefault(thread, _Thread())
        log.head = replace(log.head, epoch=log.head.epoch + 1)
        newest = log.events[-recent:] if recent > 0 else []
        return Claim(log.head, tuple(newest), dict(log.cursors))

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        await checkpoint()
        assert len({append.thread for append in batch}) == len(batch), "a thread twice in a batch"
        for append in batch:
            check_append(append)
        return [self._append(append) for append in batch]

    async def read(
        self,
        thread: ThreadId,
        span: Span,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[Event]:
        await checkpoint()
        assert after is None or before is None, "one bound at most"
        events = self._threads.get(thread, _Thread()).within(span)
        if limit <= 0:
            return []
        if after is not None:
            return [event for event in events if event.seq > after][:limit]
        return [event for event in events if before is None or event.seq < before][-limit:]

    async def related(self, thread: ThreadId, targets: Collection[int]) -> Sequence[Event]:
        await checkpoint()
        events = self._threads.get(thread, _Thread()).events
        return [event for event in events if event.seq in targets or event.target in targets]

    async def find(self, thread: ThreadId, sender: UserId, cid: ClientId) -> Event | None:
        await checkpoint()
        log = self._threads.get(thread, _Thread())
        seq = log.cids.get((sender, cid))
        return None if seq is None else log.events[seq - 1]

    async def summaries(
        self, spans: Mapping[ThreadId, Span], readers: Mapping[ThreadId, Collection[UserId]]
    ) -> Mapping[ThreadId, Summary]:
        await checkpoint()
        summaries = {}
        for thread, span in spans.items():
            log = self._threads.get(thread)
            if log is None:
                continue
            messages = [event for event in log.within(span) if event.kind is EventKind.MSG]
            cursors = {
                uid: log.cursors[uid] for uid in readers.get(thread, ()) if uid in log.cursors
            }
            summaries[thread] = Summary(log.head, messages[-1] if messages else None, cursors)
        return summaries

    def _append(self, append: Append) -> Outcome:
        log = self._threads.get(append.thread)
        if log is None:
            return Deposed(Head())
        if (log.head.epoch, log.head.seq) != (append.epoch, append.expected_seq):
            return Deposed(log.head)
        names = [(event.sender, event.cid) for event in append.events if event.cid is not None]
        seqs = sorted(log.cids[name] for name in names if name in log.cids)
        if seqs:
            return Repeated(tuple(log.events[seq - 1] for seq in seqs))
        _write(log, append)
        return Committed()


def _write(log: _Thread, append: Append) -> None:
    for event in append.events:
        log.events.append(event)
        if event.cid is not None:
            log.cids[event.sender, event.cid] = event.seq
    for rewrite in append.rewrites:
        log.events[rewrite.seq - 1] = replace(log.events[rewrite.seq - 1], body=rewrite.body)
    for uid, new in append.cursors.items():
        old = log.cursors.get(uid, Cursor())
        log.cursors[uid] = Cursor(
            max(old.recv, new.recv), max(old.read, new.read), max(old.read_n, new.read_n)
        )
    log.head = replace(
        log.head,
        seq=append.expected_seq + len(append.events),
        n=append.events[-1].n if append.events else log.head.n,
        ts_ms=append.events[-1].ts_ms if append.events else log.head.ts_ms,
        meta_seq=log.head.meta_seq if append.meta_seq is None else append.meta_seq,
    )
