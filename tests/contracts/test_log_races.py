"""`MessageLog`: whatever the order of claims, appends and lost answers, the log stays one story.

Several writers contend for one thread. Each knows only what its own claim told it, as channels do
on two nodes that both believe to own it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from persistence.memory import MemoryStores
from persistence.protocols import MessageLog
from persistence.records import Committed, Cursor, Deposed, Event, Head, Repeated, Span
from persistence.sqlite import open_sqlite
from tests.contracts.cql import cql_log, needs, on
from tests.contracts.stores import ANN, DM, append, event
from tests.servers import cassandra

WRITERS = 3


@dataclass
class Writer:
    """Its own idea of where the thread stands."""

    head: Head = Head()  # noqa: RUF009  (frozen)
    acknowledged: list[Event] = field(default_factory=list)


@asynccontextmanager
async def opened(adapter: str) -> AsyncIterator[MessageLog]:
    if adapter == "memory":
        yield MemoryStores().log
    elif adapter in cassandra.NAMES:
        yield cql_log(adapter, bucket_events=4)
    else:
        with TemporaryDirectory() as directory:
            async with open_sqlite(Path(directory)) as stores:
                yield stores.log


steps = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, WRITERS - 1), st.just(0), st.just(0)),
        st.tuples(
            st.just("append"),
            st.integers(0, WRITERS - 1),
            st.integers(0, 3),  # events
            st.integers(0, 6),  # the first one's cid; few, so that they collide
        ),
    ),
    max_size=30,
)


@pytest.mark.parametrize("adapter", ["memory", "sqlite"])
@settings(max_examples=60)
@given(steps=steps)
async def test_only_the_last_claimant_writes(
    adapter: str, steps: list[tuple[str, int, int, int]]
) -> None:
    await only_the_last_claimant_writes(adapter, steps)


@settings(max_examples=10, phases=[Phase.generate])  # nothing to shrink by in minutes
@needs("cassandra-1")
@given(steps=steps)
async def test_only_the_last_claimant_writes_past_one_machine(
    steps: list[tuple[str, int, int, int]],
) -> None:
    await only_the_last_claimant_writes("cassandra-1", steps)


async def only_the_last_claimant_writes(
    adapter: str, steps: list[tuple[str, int, int, int]]
) -> None:
    writers = [Writer() for _ in range(WRITERS)]
    story: list[Event] = []
    epoch = 0
    async with opened(adapter) as log:
        for action, index, count, cid in steps:
            writer = writers[index]
            if action == "claim":
                epoch += 1
                claim = await log.claim(DM, 100)
                assert claim.head == Head(epoch, len(story), len(story), 0, ts_of(story))
                assert list(claim.recent) == story
                writer.head = claim.head
                continue
            events = [
                event(writer.head.seq + 1 + i, cid=f"{cid}" if i == 0 else None)
                for i in range(count)
            ]
            (outcome,) = await log.append([append(DM, writer.head.epoch, writer.head.seq, *events)])
            used = {old.cid: old for old in story if old.cid is not None}
            if writer.head.epoch != epoch or not epoch:
                assert outcome == Deposed(Head(epoch, len(story), len(story), 0, ts_of(story)))
            elif events and events[0].cid in used:
                assert outcome == Repeated((used[events[0].cid],))
            else:
                assert outcome == Committed()
                story += events
                writer.head = Head(epoch, len(story), len(story), 0, ts_of(story))
        assert await log.read(DM, Span(), 1_000) == story


def ts_of(story: list[Event]) -> int:
    return story[-1].ts_ms if story else 0


@pytest.mark.parametrize(
    ("adapter", "posters", "posts"), [("memory", 4, 8), ("sqlite", 4, 8), on("cassandra-1", 2, 4)]
)
async def test_concurrent_writers_lose_and_duplicate_nothing(
    adapter: str, posters: int, posts: int
) -> None:
    """Many tasks claim and append at once; each post is retried under its cid until it is in."""
    seqs: dict[str, int] = {}

    async def poster(log: MessageLog, name: int) -> None:
        for number in range(posts):
            cid = f"{name}-{number}"
            while cid not in seqs:
                head = (await log.claim(DM, 0)).head
                draft = event(head.seq + 1, cid=cid)
                (outcome,) = await log.append([append(DM, head.epoch, head.seq, draft)])
                match outcome:
                    case Committed():
                        seqs[cid] = draft.seq
                    case Repeated((found,)):
                        seqs[cid] = found.seq

    async with opened(adapter) as log:
        async with trio.open_nursery() as nursery:
            for name in range(posters):
                nursery.start_soon(poster, log, name)
        story = await log.read(DM, Span(), 1_000)
    assert [found.seq for found in story] == list(range(1, posters * posts + 1))
    assert {found.cid: found.seq for found in story} == seqs


@pytest.mark.parametrize("adapter", ["memory", "sqlite", on("cassandra-1")])
async def test_cancelled_append_happens_whole_or_not_at_all(adapter: str) -> None:
    """Its outcome is unknown; the next claim, which fences it, tells."""
    async with opened(adapter) as log:
        for attempt in range(12):
            head = (await log.claim(DM, 0)).head
            first, second = event(head.seq + 1), event(head.seq + 2)
            draft = append(
                DM, head.epoch, head.seq, first, second, cursors={ANN: Cursor(second.seq, 0, 0)}
            )
            with trio.move_on_after(attempt * 0.0002):
                await log.append([draft])
            claim = await log.claim(DM, 2)
            if claim.head.seq == head.seq:
                assert second not in claim.recent
            else:
                assert claim.recent == (first, second)
                assert claim.cursors[ANN].recv == second.seq
            assert claim.head.epoch == head.epoch + 1
