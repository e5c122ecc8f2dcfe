"""The message log on a CQL cluster: a page of a long thread, and what an append adds to its floor.

    python -m benchmarks.message_log cql://127.0.0.1:9042/bench?replication=1 --messages 1000000

The floor of an append is the store's own conditional batch: the same condition and the same rows,
through the same driver, with nothing looked up before and nothing written after. Pages of a short
and of a long thread are read in turn, and so are the two kinds of append, so that whatever else the
machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import trio

from persistence.cql import open_log
from persistence.cql_buckets import share_of
from persistence.cql_log import CqlLog
from persistence.records import (
    Append,
    ClientId,
    Committed,
    Cursor,
    Event,
    EventKind,
    Span,
    ThreadId,
    UserId,
)

BODY = b'{"text":"%s"}' % (b"x" * 185)
FILL_EVENTS = 256
PAGE_EVENTS = 50
ROUNDS = 500
AT_ONCE = 64
ANN = UserId("u1")


def thread_id() -> ThreadId:
    return ThreadId(f"bench:{uuid.uuid4().hex}")


def message(seq: int, cid: str | None = None) -> Event:
    named = None if cid is None else ClientId(cid)
    return Event(seq, seq, EventKind.MSG, ANN, seq, BODY, named, b"12345678" if cid else b"")


async def filled(log: CqlLog, messages: int) -> ThreadId:
    thread = thread_id()
    epoch = (await log.claim(thread, 0)).head.epoch
    for start in range(0, messages, FILL_EVENTS):
        count = min(FILL_EVENTS, messages - start)
        events = tuple(message(start + 1 + index) for index in range(count))
        assert await log.append([Append(thread, epoch, start, events)]) == [Committed()]
    return thread


async def page(log: CqlLog, thread: ThreadId) -> None:
    """The newest page of a thread without a live channel: its head, then its events."""
    head = (await log.summaries({thread: Span()}, {}))[thread].head.seq
    events = await log.read(thread, Span(head - PAGE_EVENTS + 1, head), PAGE_EVENTS)
    assert len(events) == PAGE_EVENTS


class Writer:
    """Appends of one message with a cid and a cursor, to a thread of its own."""

    def __init__(self, log: CqlLog) -> None:
        self._log = log
        self._thread = thread_id()
        self._seq = 0

    async def claim(self) -> None:
        await self._log.claim(self._thread, 0)

    def _next(self) -> Append:
        event = message(self._seq + 1, f"c{self._seq}")
        append = Append(self._thread, 1, self._seq, (event,), cursors={ANN: Cursor(event.seq)})
        self._seq += 1
        return append

    async def ours(self) -> None:
        assert await self._log.append([self._next()]) == [Committed()]

    async def floor(self) -> None:
        append = self._next()
        share = share_of(replace(append, cursors={}), self._log._buckets)
        assert await self._log._session.conditional(*self._log._decide(append, share))


async def in_turn(
    rounds: int, **calls: Callable[[], Awaitable[None]]
) -> dict[str, dict[str, float]]:
    """Milliseconds of each call: median and 99th percentile."""
    times_s: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            await call()
            times_s[name].append(time.perf_counter() - began)
    return {name: percentiles(found) for name, found in times_s.items()}


def percentiles(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    return {
        f"p{percent}_ms": round(ordered[len(ordered) * percent // 100] * 1_000, 2)
        for percent in (50, 99)
    }


async def per_second(rounds: int, calls: Sequence[Callable[[], Awaitable[None]]]) -> int:
    """Each of `calls` again and again, all at once."""

    async def repeat(call: Callable[[], Awaitable[None]]) -> None:
        for _ in range(rounds):
            await call()

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(repeat, call)
    return round(rounds * len(calls) / (time.perf_counter() - began))


async def measure(url: str, messages: int) -> dict[str, Any]:
    async with open_log(url) as log:
        short, long = await filled(log, 1_000), await filled(log, messages)
        pages = {"page_of_1000": lambda: page(log, short), "page_of_all": lambda: page(log, long)}
        await in_turn(ROUNDS // 10, **pages)  # connections and caches warm
        figures: dict[str, Any] = {"messages": messages, **await in_turn(ROUNDS, **pages)}
        ours, floor = Writer(log), Writer(log)
        writers = [Writer(log) for _ in range(2 * AT_ONCE)]
        for writer in (ours, floor, *writers):
            await writer.claim()
        figures |= await in_turn(ROUNDS, append=ours.ours, floor=floor.floor)
        at_once = {
            "append": [writer.ours for writer in writers[:AT_ONCE]],
            "floor": [writer.floor for writer in writers[AT_ONCE:]],
        }
        for name, calls in at_once.items():
            figures[name][f"per_s_at_{AT_ONCE}"] = await per_second(ROUNDS // 25, calls)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.message_log")
    parser.add_argument("url", help="cql://…; its keyspace keeps what is written")
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    for name, found in trio.run(measure, options.url, options.messages).items():
        print(f"{name:<14} {json.dumps(found)}")


if __name__ == "__main__":
    main()
