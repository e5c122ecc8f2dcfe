"""`run.py bench log`: the newest page of threads of every length, bytes on disk, appends.

On the embedded log and on the CQL clusters that `make servers` starts, or on those named. Threads
are filled through the log's own `append`, as many messages at a time as a bucket's batch takes, and
with client ids as real ones have. Pages of all lengths are read in turn, so that whatever else the
machine does meets all of them: what counts is the growth from the shortest to the longest. Each
thread has a page's messages more than is said: one page in a hundred lies in two buckets of a CQL
log, and powers of ten always do. Such a page is measured beside one that does not.

On CQL, appends of one message are measured beside their floor, the store's own conditional batch:
the same condition and the same rows, through the same driver, with nothing looked up before and
nothing written after.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from benchmarks.machine import keyspace, table_bytes
from benchmarks.processes import ROOT
from persistence.cql import open_log
from persistence.cql_buckets import share_of
from persistence.cql_log import CqlLog
from persistence.cql_settings import parse
from persistence.errors import StoreError
from persistence.protocols import MessageLog
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
from persistence.sqlite import open_sqlite
from tests.servers import cassandra

EMBEDDED = "embedded"
LOGS = (EMBEDDED, *cassandra.NAMES)
BODY_BYTES = 200
DIGITS = random.Random(0).randbytes(2**20).hex().encode()
"""What messages say: compressed to half, as chats are, for no two that lie together are alike."""

FILL_EVENTS = 256
PAGE_EVENTS = 50
ROUNDS, PAGES = 3, 500
APPENDS, AT_ONCE = 500, 64
QUICK_DIVISOR = 100
ANN = UserId("u1")

Call = Callable[[], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench log", description=__doc__)
    parser.add_argument(
        "logs", nargs="*", default=LOGS, metavar="LOG",
        help=f"of {', '.join(LOGS)}, or cql://…, whose keyspace keeps what is written",
    )  # fmt: skip
    parser.add_argument("--messages", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few: does it still work?")
    options = parser.parse_args()
    with ExitStack() as stack:
        places, missing = logs(options.logs, stack)
        divisor = QUICK_DIVISOR if options.quick else 1
        messages = max(1_000, options.messages // divisor)
        found = {}
        for name, url in places.items():
            try:
                found[name] = trio.run(measure, url, messages, divisor)
            except StoreError as error:
                missing[name] = f"failed: {error}"
        report = {"lengths": lengths(messages), "logs": found, "missing": missing}
    print(json.dumps(report) if options.json else "\n".join(text(report)))


def logs(names: Sequence[str], stack: ExitStack) -> tuple[dict[str, str], dict[str, str]]:
    """URLs by name, without one for the embedded log; and why others are not among them."""
    places, missing = {}, {}
    for name in names:
        try:
            if name == EMBEDDED:
                places[name] = ""
            elif "://" in name:
                places[str(parse(name))] = name
            else:
                places[name] = stack.enter_context(keyspace(name))
        except (LookupError, ValueError) as reason:
            missing[name] = str(reason)
    return places, missing


def lengths(messages: int) -> list[int]:
    """A thousand, and ten times that up to `messages`."""
    return [length for length in (10**power for power in range(3, 9)) if length <= messages]


# ---------------------------------------------------------------------------- what is measured


async def measure(url: str, messages: int, divisor: int) -> dict[str, Any]:
    async with opened(url) as (log, stored_bytes):
        began = time.perf_counter()
        threads = {length: await filled(log, length + PAGE_EVENTS) for length in lengths(messages)}
        fill_s = time.perf_counter() - began
        events = sum(length + PAGE_EVENTS for length in threads)
        figures: dict[str, Any] = {
            "filled": events,
            "fill_s": round(fill_s, 1),
            "bytes_per_message": round(await stored_bytes() / events),
            **await pages(log, threads, max(2, PAGES // divisor)),
        }
        if isinstance(log, CqlLog):
            figures |= await buckets(log, threads[max(threads)], max(2, PAGES // divisor))
            figures |= await appends(log, max(2, APPENDS // divisor))
        return figures


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[MessageLog, Callable[[], Awaitable[int]]]]:
    """A log, and what asks for the bytes that it takes on disk, in one copy."""
    if url:
        async with open_log(url) as log:
            yield log, lambda: trio.to_thread.run_sync(table_bytes, url)
        return
    with tempfile.TemporaryDirectory(prefix="coppice-bench-", dir=ROOT) as folder:
        async with open_sqlite(Path(folder)) as stores:

            async def stored_bytes() -> int:
                return stores.statistics().database_bytes

            yield stores.log, stored_bytes


async def pages(
    log: MessageLog, threads: Mapping[int, ThreadId], repetitions: int
) -> dict[str, Any]:
    """Percentiles for each length, and their growth; medians over the rounds."""

    def reading(thread: ThreadId) -> Call:
        return lambda: page(log, thread)

    calls = {str(length): reading(thread) for length, thread in threads.items()}
    await in_turn(max(2, repetitions // 10), **calls)  # connections and caches warm
    rounds = [await in_turn(repetitions, **calls) for _ in range(ROUNDS)]
    shortest, longest = (str(length) for length in (min(threads), max(threads)))
    return {
        "pages": {
            length: {key: statistics.median(done[length][key] for done in rounds)
                     for key in ("p50_ms", "p99_ms")}
            for length in calls
        },
        "growth": {
            key: round(statistics.median(done[longest][f"{key}_ms"] / done[shortest][f"{key}_ms"]
                                         for done in rounds), 2)
            for key in ("p50", "p99")
        },
    }  # fmt: skip


async def buckets(log: CqlLog, thread: ThreadId, repetitions: int) -> dict[str, Any]:
    """Pages of events that lie in one bucket, and in two; none if the thread has one bucket."""
    end = log._buckets.last(0)
    if (await log.summaries({thread: Span()}, {}))[thread].head.seq < end + PAGE_EVENTS:
        return {}
    half = PAGE_EVENTS // 2
    figures = await in_turn(
        repetitions,
        one=lambda: span(log, thread, Span(end + 1, end + PAGE_EVENTS)),
        two=lambda: span(log, thread, Span(end + 1 - half, end + half)),
    )
    return {"buckets": figures}


async def appends(log: CqlLog, repetitions: int) -> dict[str, dict[str, float]]:
    """One at a time, and many at once; ours and the floor."""
    ours, floor = Writer(log), Writer(log)
    writers = [Writer(log) for _ in range(2 * AT_ONCE)]
    for writer in (ours, floor, *writers):
        await writer.claim()
    figures = await in_turn(repetitions, append=ours.ours, floor=floor.floor)
    at_once = {
        "append": [writer.ours for writer in writers[:AT_ONCE]],
        "floor": [writer.floor for writer in writers[AT_ONCE:]],
    }
    for name, calls in at_once.items():
        figures[name][f"per_s_at_{AT_ONCE}"] = await per_second(max(1, repetitions // 25), calls)
    return figures


# ---------------------------------------------------------------------------- messages


def thread_id() -> ThreadId:
    return ThreadId(f"bench:{uuid.uuid4().hex}")


def message(seq: int) -> Event:
    size = BODY_BYTES - len(b'{"text":""}')
    start = seq * size % (len(DIGITS) - size)
    body = b'{"text":"%s"}' % DIGITS[start : start + size]
    return Event(seq, seq, EventKind.MSG, ANN, seq, body, ClientId(f"c{seq}"), b"12345678")


async def filled(log: MessageLog, messages: int) -> ThreadId:
    """A thread of so many. What times out is settled and sent again, as a channel does."""
    thread = thread_id()
    head = (await log.claim(thread, 0)).head
    seq = head.seq
    while seq < messages:
        events = tuple(map(message, range(seq + 1, min(seq + FILL_EVENTS, messages) + 1)))
        if await log.append([Append(thread, head.epoch, seq, events)]) == [Committed()]:
            seq = events[-1].seq
        else:
            head = (await log.claim(thread, 0)).head
            seq = head.seq
    return thread


async def page(log: MessageLog, thread: ThreadId) -> None:
    """The newest page of a thread without a live channel: its head, then its events."""
    head = (await log.summaries({thread: Span()}, {}))[thread].head.seq
    await span(log, thread, Span(head - PAGE_EVENTS + 1, head))


async def span(log: MessageLog, thread: ThreadId, seqs: Span) -> None:
    assert len(await log.read(thread, seqs, PAGE_EVENTS)) == PAGE_EVENTS


class Writer:
    """Appends of one message with a cid and a cursor, to a thread of its own."""

    def __init__(self, log: CqlLog) -> None:
        self._log = log
        self._thread = thread_id()
        self._seq = 0

    async def claim(self) -> None:
        await self._log.claim(self._thread, 0)

    def _next(self) -> Append:
        event = message(self._seq + 1)
        append = Append(self._thread, 1, self._seq, (event,), cursors={ANN: Cursor(event.seq)})
        self._seq += 1
        return append

    async def ours(self) -> None:
        assert await self._log.append([self._next()]) == [Committed()]

    async def floor(self) -> None:
        append = self._next()
        share = share_of(replace(append, cursors={}), self._log._buckets)
        assert await self._log._session.conditional(*self._log._decide(append, share))


# ---------------------------------------------------------------------------- figures


async def in_turn(repetitions: int, **calls: Call) -> dict[str, dict[str, float]]:
    """Milliseconds of each call: median and 99th percentile."""
    times_s: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
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


async def per_second(repetitions: int, calls: Sequence[Call]) -> int:
    """Each of `calls` again and again, all at once."""

    async def repeat(call: Call) -> None:
        for _ in range(repetitions):
            await call()

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(repeat, call)
    return round(repetitions * len(calls) / (time.perf_counter() - began))


def text(report: dict[str, Any]) -> Iterator[str]:
    for name, figures in report["logs"].items():
        filling = f"{figures['filled']:,} messages in {figures['fill_s']} s"
        yield f"{name}: {filling}, {figures['bytes_per_message']} bytes each on disk"
        for length, found in figures["pages"].items():
            yield (
                f"  newest page of {int(length):>9,}  p50 {found['p50_ms']:>7.2f} ms,"
                f" p99 {found['p99_ms']:>7.2f} ms"
            )
        growth = figures["growth"]
        yield f"  growth from first to last p50 x{growth['p50']}, p99 x{growth['p99']}"
        for number, found in figures.get("buckets", {}).items():
            yield (
                f"  page in {number} of its buckets   p50 {found['p50_ms']:>7.2f} ms,"
                f" p99 {found['p99_ms']:>7.2f} ms"
            )
        for kind in ("append", "floor") if "append" in figures else ():
            found = figures[kind]
            yield (
                f"  {kind:<24}  p50 {found['p50_ms']:>7.2f} ms, p99 {found['p99_ms']:>7.2f} ms,"
                f" {found[f'per_s_at_{AT_ONCE}']:,} /s with {AT_ONCE} at once"
            )
    for name, reason in report["missing"].items():
        yield f"{name}: {reason}"


if __name__ == "__main__":
    main()
