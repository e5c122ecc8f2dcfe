"""`MessageLog`: appending."""

from __future__ import annotations

import pytest
import trio

from persistence.records import (
    ClientId,
    Committed,
    Cursor,
    Deposed,
    EventKind,
    Head,
    Repeated,
    Rewrite,
    Span,
    ThreadId,
    UserId,
)
from tests.contracts.stores import ANN, BOB, DM, GROUP, OTHER, Stores, append, event, filled


async def test_claim_raises_the_epoch_from_nothing(stores: Stores) -> None:
    for epoch in (1, 2, 3):
        claim = await stores.log.claim(DM, 10)
        assert (claim.head, claim.recent, claim.cursors) == (Head(epoch), (), {})
    assert (await stores.log.claim(GROUP, 10)).head.epoch == 1, "each thread has its own"


async def test_claim_reads_the_newest_events_and_every_cursor(stores: Stores) -> None:
    events = [event(seq) for seq in range(1, 6)]
    epoch = await filled(stores.log, DM, *events)
    cursors = {ANN: Cursor(5, 4, 3), BOB: Cursor(1, 0, 0)}
    await stores.log.append([append(DM, epoch, 5, cursors=cursors, meta_seq=2)])
    claim = await stores.log.claim(DM, 2)
    assert claim.head == Head(2, 5, 5, 2, events[-1].ts_ms)
    assert claim.recent == tuple(events[3:])
    assert claim.cursors == cursors
    assert (await stores.log.claim(DM, 100)).recent == tuple(events)
    assert (await stores.log.claim(DM, 0)).recent == ()


async def test_append_writes_events_and_moves_the_head(stores: Stores) -> None:
    await stores.log.claim(GROUP, 0)
    first = event(1, 0, EventKind.THREAD)
    second, third = event(2, 1, cid="c"), event(3, 1, EventKind.REACT, target=2, text='"\\\\😀"')
    assert await stores.log.append([append(GROUP, 1, 0, first, meta_seq=1)]) == [Committed()]
    assert await stores.log.append([append(GROUP, 1, 1, second, third)]) == [Committed()]
    claim = await stores.log.claim(GROUP, 10)
    assert claim.head == Head(2, 3, 1, 1, third.ts_ms)
    assert claim.recent == (first, second, third)


async def test_append_under_an_older_epoch_is_deposed(stores: Stores) -> None:
    await filled(stores.log, DM, event(1))
    claim = await stores.log.claim(DM, 0)
    late = append(DM, 1, 1, event(2), cursors={ANN: Cursor(2, 2, 2)}, rewrites=(Rewrite(1, b"{}"),))
    assert await stores.log.append([late]) == [Deposed(claim.head)]
    after = await stores.log.claim(DM, 10)
    assert (after.head.seq, after.recent, after.cursors) == (1, (event(1),), {})


async def test_append_at_another_head_is_deposed(stores: Stores) -> None:
    await filled(stores.log, DM, event(1))
    head = Head(1, 1, 1, 0, event(1).ts_ms)
    assert await stores.log.append([append(DM, 1, 0, event(1, text="x"))]) == [Deposed(head)]
    assert await stores.log.append([append(DM, 1, 2, event(3))]) == [Deposed(head)]
    assert await stores.log.append([append(DM, 2, 1, event(2))]) == [Deposed(head)]
    assert await stores.log.read(DM, Span(), 10) == [event(1)]


async def test_append_to_a_thread_nobody_claimed_is_deposed(stores: Stores) -> None:
    for epoch in (0, 1):
        outcome = await stores.log.append([append(DM, epoch, 0, event(1))])
        assert outcome == [Deposed(Head())]
    assert (await stores.log.claim(DM, 10)).head == Head(1)


async def test_repeated_cid_is_refused_with_the_event_it_names(stores: Stores) -> None:
    first, second = event(1, cid="a"), event(2, cid="b")
    epoch = await filled(stores.log, DM, first, second)
    again = append(DM, epoch, 2, event(3, cid="b"), event(4, cid="new"), event(5, cid="a"))
    assert await stores.log.append([again]) == [Repeated((first, second))]
    assert (await stores.log.claim(DM, 10)).head.seq == 2


async def test_cid_belongs_to_thread_and_sender(stores: Stores) -> None:
    epoch = await filled(stores.log, DM, event(1, cid="a"))
    await stores.log.claim(GROUP, 0)
    batch = [
        append(DM, epoch, 1, event(2, sender=BOB, cid="a")),
        append(GROUP, 1, 0, event(1, cid="a")),
    ]
    assert await stores.log.append(batch) == [Committed(), Committed()]


async def test_cid_stays_unique_after_a_rewrite_and_a_new_epoch(stores: Stores) -> None:
    epoch = await filled(stores.log, DM, event(1, cid="a"))
    body = b'{"deleted":true}'
    await stores.log.append([append(DM, epoch, 1, rewrites=(Rewrite(1, body),))])
    epoch = (await stores.log.claim(DM, 0)).head.epoch
    (outcome,) = await stores.log.append([append(DM, epoch, 1, event(2, cid="a"))])
    assert isinstance(outcome, Repeated)
    assert [(found.seq, found.body, found.digest) for found in outcome.events] == [
        (1, body, event(1, cid="a").digest)
    ]


async def test_deposed_goes_before_repeated(stores: Stores) -> None:
    await filled(stores.log, DM, event(1, cid="a"))
    (outcome,) = await stores.log.append([append(DM, 1, 0, event(1, cid="a"))])
    assert isinstance(outcome, Deposed)


async def test_appends_of_a_batch_do_not_affect_one_another(stores: Stores) -> None:
    threads = [ThreadId(f"g{number}") for number in range(1, 7)]
    for thread in threads:
        await filled(stores.log, thread, event(1, cid="a"))
    deposed, repeated, fine, empty, unknown, cursors = threads
    await stores.log.claim(deposed, 0)
    outcomes = await stores.log.append(
        [
            append(deposed, 1, 1, event(2), cursors={ANN: Cursor(2, 2, 2)}),
            append(repeated, 1, 1, event(2, cid="a"), cursors={ANN: Cursor(2, 2, 2)}),
            append(fine, 1, 1, event(2, cid="b"), cursors={ANN: Cursor(2, 2, 2)}),
            append(empty, 1, 1),
            append(ThreadId("g99"), 1, 0, event(1)),
            append(cursors, 1, 1, cursors={BOB: Cursor(1, 1, 1)}),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        Deposed, Repeated, Committed, Committed, Deposed, Committed,
    ]  # fmt: skip
    heads = [(await stores.log.claim(thread, 0)).head.seq for thread in threads]
    assert heads == [1, 1, 2, 1, 1, 1]
    assert (await stores.log.claim(deposed, 0)).cursors == {}
    assert (await stores.log.claim(repeated, 0)).cursors == {}
    assert (await stores.log.claim(fine, 0)).cursors == {ANN: Cursor(2, 2, 2)}
    assert (await stores.log.claim(unknown, 0)).recent == ()
    assert (await stores.log.claim(cursors, 0)).cursors == {BOB: Cursor(1, 1, 1)}


async def test_append_without_events_is_fenced_all_the_same(stores: Stores) -> None:
    epoch = await filled(stores.log, DM, event(1))
    head = Head(1, 1, 1, 0, event(1).ts_ms)
    merged = {ANN: Cursor(1, 1, 1)}
    for old in (append(DM, epoch - 1, 1, cursors=merged), append(DM, epoch, 0, cursors=merged)):
        assert await stores.log.append([old]) == [Deposed(head)]
    assert (await stores.log.claim(DM, 0)).cursors == {}


async def test_cursors_merge_forward_field_by_field(stores: Stores) -> None:
    epoch = await filled(stores.log, DM, event(1))
    for given in (Cursor(5, 2, 2), Cursor(3, 4, 1), Cursor(0, 0, 9)):
        await stores.log.append([append(DM, epoch, 1, cursors={ANN: given, BOB: Cursor(1, 1, 1)})])
    cursors = (await stores.log.claim(DM, 0)).cursors
    assert cursors == {ANN: Cursor(5, 4, 9), BOB: Cursor(1, 1, 1)}


async def test_rewrite_replaces_a_body_and_nothing_else(stores: Stores) -> None:
    first, second = event(1, cid="a"), event(2, 1, EventKind.EDIT, target=1)
    epoch = await filled(stores.log, DM, first)
    rewrites = (Rewrite(1, '{"text":"ü"}'.encode()), Rewrite(2, b"{}"))
    await stores.log.append([append(DM, epoch, 1, second, rewrites=rewrites)])
    bodies = [rewrite.body for rewrite in rewrites]
    stored = await stores.log.read(DM, Span(), 10)
    assert [found.body for found in stored] == bodies, "also of an event of the same append"
    assert [(e.seq, e.cid, e.digest, e.ts_ms, e.target) for e in stored] == [
        (e.seq, e.cid, e.digest, e.ts_ms, e.target) for e in (first, second)
    ]


async def test_meta_seq_stays_unless_given(stores: Stores) -> None:
    epoch = await filled(stores.log, GROUP, event(1))
    await stores.log.append([append(GROUP, epoch, 1, event(2), meta_seq=2)])
    await stores.log.append([append(GROUP, epoch, 2, event(3))])
    assert (await stores.log.claim(GROUP, 0)).head.meta_seq == 2


@pytest.mark.parametrize("readers", [3, 6])
async def test_a_large_batch_is_written_whole(stores: Stores, readers: int) -> None:
    threads = [ThreadId(f"g{number}") for number in range(300)]
    epochs: dict[ThreadId, int] = {}

    async def claim(thread: ThreadId) -> None:
        epochs[thread] = (await stores.log.claim(thread, 0)).head.epoch

    async with trio.open_nursery() as nursery:
        for thread in threads:
            nursery.start_soon(claim, thread)
    cursors = {UserId(f"u{number}"): Cursor(1, number, 0) for number in range(readers)}
    batch = [append(t, epochs[t], 0, event(1, cid="x"), event(2), cursors=cursors) for t in threads]
    assert await stores.log.append(batch) == [Committed()] * 300
    again = [
        append(t, epochs[t], 2 * (i % 2), event(1 + 2 * (i % 2))) for i, t in enumerate(threads)
    ]
    outcomes = await stores.log.append(again)
    assert [isinstance(outcome, Committed) for outcome in outcomes] == [False, True] * 150
    found = await stores.log.summaries({t: Span() for t in threads}, {t: [BOB] for t in threads})
    assert [found[t].head.seq for t in threads] == [2, 3] * 150
    assert found[threads[7]].cursors == {BOB: cursors[BOB]}


async def test_empty_batch_is_nothing(stores: Stores) -> None:
    assert await stores.log.append([]) == []


async def test_broken_invariants_of_the_caller_are_asserted(stores: Stores) -> None:
    await stores.log.claim(DM, 0)
    for wrong in (
        [append(DM, 1, 0, event(2))],
        [append(DM, 1, 0, event(1), event(3))],
        [append(DM, 1, 0, event(1, cid="a"), event(2, cid="a"))],
        [append(DM, 1, 0, event(1), rewrites=(Rewrite(2, b"{}"),))],
        [append(DM, 1, 0, event(1)), append(DM, 1, 1, event(2))],
    ):
        with pytest.raises(AssertionError):
            await stores.log.append(wrong)
    assert (await stores.log.claim(DM, 10)).head.seq == 0


async def test_find_knows_thread_sender_and_cid(stores: Stores) -> None:
    await filled(stores.log, DM, event(1, cid="a"), event(2, sender=BOB, cid="b"))
    assert await stores.log.find(DM, ANN, ClientId("a")) == event(1, cid="a")
    assert await stores.log.find(DM, BOB, ClientId("b")) == event(2, sender=BOB, cid="b")
    assert await stores.log.find(DM, ANN, ClientId("b")) is None
    assert await stores.log.find(OTHER, ANN, ClientId("a")) is None
