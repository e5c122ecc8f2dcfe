"""`MessageLog`: reading."""

from __future__ import annotations

import pytest

from persistence.records import Cursor, EventKind, Head, Span, Summary
from tests.contracts.stores import ANN, BOB, CID, DM, GROUP, OTHER, Stores, append, event, filled

TEN = [event(seq) for seq in range(1, 11)]


@pytest.mark.parametrize(
    ("span", "limit", "bounds", "expected"),
    [
        (Span(), 3, {}, [8, 9, 10]),
        (Span(), 100, {}, list(range(1, 11))),
        (Span(3, 6), 100, {}, [3, 4, 5, 6]),
        (Span(3, 6), 2, {}, [5, 6]),
        (Span(), 3, {"after": 4}, [5, 6, 7]),
        (Span(), 3, {"after": 0}, [1, 2, 3]),
        (Span(), 3, {"after": -5}, [1, 2, 3]),
        (Span(), 3, {"after": 10}, []),
        (Span(), 3, {"after": 99}, []),
        (Span(3, 6), 9, {"after": 4}, [5, 6]),
        (Span(3, 6), 9, {"after": 1}, [3, 4, 5, 6]),
        (Span(), 3, {"before": 4}, [1, 2, 3]),
        (Span(), 2, {"before": 4}, [2, 3]),
        (Span(), 2, {"before": 1}, []),
        (Span(), 2, {"before": 0}, []),
        (Span(), 2, {"before": 99}, [9, 10]),
        (Span(3, 6), 2, {"before": 99}, [5, 6]),
        (Span(3, 6), 9, {"before": 5}, [3, 4]),
        (Span(3, 6), 9, {"before": 3}, []),
        (Span(5, 20), 9, {}, [5, 6, 7, 8, 9, 10]),
        (Span(11), 9, {}, []),
        (Span(6, 5), 9, {}, []),
        (Span(1, 0), 9, {}, []),
        (Span(), 0, {}, []),
        (Span(), 0, {"after": 2}, []),
    ],
)
async def test_page_is_ascending_and_within_the_span(
    stores: Stores, span: Span, limit: int, bounds: dict[str, int], expected: list[int]
) -> None:
    await filled(stores.log, DM, *TEN)
    page = await stores.log.read(DM, span, limit, **bounds)
    assert page == [TEN[seq - 1] for seq in expected]


async def test_unknown_thread_has_no_events(stores: Stores) -> None:
    await filled(stores.log, DM, *TEN)
    assert await stores.log.read(OTHER, Span(), 10) == []
    assert await stores.log.related(OTHER, [1]) == []


async def test_related_is_the_targets_and_what_speaks_of_them(stores: Stores) -> None:
    events = [
        event(1),
        event(2),
        event(3, 2, EventKind.EDIT, target=1),
        event(4, 2, EventKind.REACT, target=3),
        event(5, 2, EventKind.REACT, target=2),
        event(6, 2, EventKind.DEL, target=1),
        event(7, 3),
    ]
    await filled(stores.log, DM, *events)
    await filled(stores.log, GROUP, event(1), event(2, 1, EventKind.REACT, target=1))

    async def seqs(*targets: int) -> list[int]:
        return [found.seq for found in await stores.log.related(DM, targets)]

    assert await stores.log.related(DM, [1]) == [events[0], events[2], events[5]]
    assert await seqs(2, 3, 2) == [2, 3, 4, 5]
    assert await seqs(7, 99) == [7]
    assert await seqs() == []


async def test_summary_tells_head_last_message_and_asked_cursors(stores: Stores) -> None:
    events = [
        event(1, 0, EventKind.THREAD),
        event(2, 1),
        event(3, 2),
        event(4, 2, EventKind.MEMBER),
    ]
    epoch = await filled(stores.log, GROUP, *events)
    cursors = {ANN: Cursor(3, 2, 1), BOB: Cursor(1, 1, 0)}
    await stores.log.append([append(GROUP, epoch, 4, cursors=cursors, meta_seq=4)])
    await filled(stores.log, DM, event(1, text="dm"))
    found = await stores.log.summaries(
        {GROUP: Span(), DM: Span(), OTHER: Span()}, {GROUP: [ANN, CID, ANN], OTHER: [ANN]}
    )
    assert found == {
        GROUP: Summary(Head(1, 4, 2, 4, events[3].ts_ms), events[2], {ANN: cursors[ANN]}),
        DM: Summary(Head(1, 1, 1, 0, event(1).ts_ms), event(1, text="dm"), {}),
    }
    assert await stores.log.summaries({}, {}) == {}


async def test_claimed_thread_has_a_head_and_so_a_summary(stores: Stores) -> None:
    await stores.log.claim(DM, 0)
    assert await stores.log.summaries({DM: Span()}, {}) == {DM: Summary(Head(1), None, {})}


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(), 6),
        (Span(1, 6), 6),
        (Span(1, 5), 3),
        (Span(1, 3), 3),
        (Span(1, 2), 2),
        (Span(1, 1), None),
        (Span(6, 6), 6),
        (Span(7), None),
        (Span(4, 5), None),
        (Span(4), 6),
        (Span(3, 5), 3),
        (Span(9, 20), None),
    ],
)
async def test_last_message_lies_within_the_span(
    stores: Stores, span: Span, expected: int | None
) -> None:
    kinds = [EventKind.MEMBER, EventKind.MSG, EventKind.MSG, EventKind.REACT, EventKind.EDIT,
             EventKind.MSG, EventKind.DEL]  # fmt: skip
    await filled(stores.log, GROUP, *(event(i + 1, kind=kind) for i, kind in enumerate(kinds)))
    last = (await stores.log.summaries({GROUP: span}, {}))[GROUP].last
    assert (None if last is None else last.seq) == expected
