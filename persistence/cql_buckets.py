"""How a thread's log lies in buckets, and what an append writes where. Pure.

**Problem.** One conditional batch can be atomic in one partition only, and a partition must not
grow without end. So a thread's events lie in buckets of a fixed number of seqs, and an append has
effects outside of the bucket that decides it: cursors, the index of cids, the index of targets,
bodies of events in older buckets, and, when it crosses the end of its bucket, its own last events.

**Rule.** The batch in the append's first bucket decides. It carries a record of everything that
lies elsewhere (`Aside`), and that is written afterwards, before anybody is answered. Whoever claims
the thread next, with the record still there, writes it once more: every part of it can be repeated,
and repeated late. So an append happens whole or not at all, as seen by any owner of the thread.

A bucket is opened by the append that fills the one before, after everything else of its record. So
the bucket of the next seq is always the one that fences.

**Alternative.** Index rows written beside the batch instead of after it save a round trip, but then
those of a refused batch remain, and a late one may overwrite a true one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from persistence.errors import Corrupt
from persistence.records import Append, Event, EventKind, Head, Rewrite

BUCKET_EVENTS = 5_000
"""Seqs in a bucket: some megabytes at most. A keyspace keeps the number that it began with."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bucket `b` holds the seqs from `first(b)` to `last(b)`, `size` in all; `first(0)` is 1."""

    size: int = BUCKET_EVENTS

    def of(self, seq: int) -> int:
        return max(seq - 1, 0) // self.size

    def first(self, bucket: int) -> int:
        return bucket * self.size + 1

    def last(self, bucket: int) -> int:
        return (bucket + 1) * self.size

    def spans(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Bucket, lowest and highest seq of each part of `low … high`, downwards."""
        while high >= low:
            bucket = self.of(high)
            start = max(low, self.first(bucket))
            yield bucket, start, high
            high = start - 1


class Aside(msgspec.Struct, frozen=True, array_like=True):
    """What an append does outside of its first bucket. Its events are those after seq `since`;
    `rest` are those beyond the bucket's end, and `meta_seq` if it is one of theirs."""

    since: int
    rest: tuple[Event, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    cursors: dict[str, tuple[int, int, int]] = {}
    meta_seq: int | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Aside)


def encoded(aside: Aside) -> bytes:
    return _encoder.encode(aside)


def decoded(record: bytes) -> Aside:
    """Raises `Corrupt`."""
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"aside: {error}") from error


@dataclass(frozen=True, slots=True)
class Standing:
    """The static columns of a bucket: where the log stands in it. `msg_seq` is the newest `msg`
    event's, 0 before the first. `aside` belongs to the last append, None before the first."""

    bucket: int
    epoch: int
    seq: int
    n: int
    ts_ms: int
    meta_seq: int
    msg_seq: int
    aside: bytes | None = None

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.seq, self.n, self.meta_seq, self.ts_ms)

    def after(self, events: Sequence[Event], meta_seq: int | None) -> Standing:
        """Where the log stands once `events` follow."""
        messages = [event.seq for event in events if event.kind is EventKind.MSG]
        return replace(
            self,
            seq=events[-1].seq if events else self.seq,
            n=events[-1].n if events else self.n,
            ts_ms=events[-1].ts_ms if events else self.ts_ms,
            meta_seq=self.meta_seq if meta_seq is None else meta_seq,
            msg_seq=messages[-1] if messages else self.msg_seq,
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What an append's deciding batch writes: events and bodies of its first bucket, the record of
    the rest. `meta_seq` is None if it stays."""

    bucket: int
    events: tuple[Event, ...]
    rewrites: tuple[Rewrite, ...]
    meta_seq: int | None
    aside: Aside


def share_of(append: Append, buckets: Buckets) -> Share:
    """Divide an append, whose rewrites of its own events are done here."""
    bodies = {rewrite.seq: rewrite.body for rewrite in append.rewrites}
    events = tuple(
        replace(event, body=bodies.pop(event.seq)) if event.seq in bodies else event
        for event in append.events
    )
    bucket = buckets.of(append.expected_seq + 1)
    end = buckets.last(bucket)
    assert not events or events[-1].seq < end + buckets.size, "an append that ends a second bucket"
    rest = tuple(event for event in events if event.seq > end)
    meta_later = bool(rest) and append.meta_seq is not None and append.meta_seq > end
    older = [Rewrite(seq, body) for seq, body in bodies.items()]
    return Share(
        bucket,
        events=tuple(event for event in events if event.seq <= end),
        rewrites=tuple(each for each in older if buckets.of(each.seq) == bucket),
        meta_seq=None if meta_later else append.meta_seq,
        aside=Aside(
            append.expected_seq,
            rest=rest,
            rewrites=tuple(each for each in older if buckets.of(each.seq) != bucket),
            cursors={
                uid: (cursor.recv, cursor.read, cursor.read_n)
                for uid, cursor in append.cursors.items()
            },
            meta_seq=append.meta_seq if meta_later else None,
        ),
    )
