"""What goes into the next group commit."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from persistence.batching import APPEND_BYTES, Batching, append_bytes
from persistence.records import Append, Cursor, Event, EventKind, Rewrite, ThreadId, UserId


def append(thread: str, size: int = 0) -> Append:
    return Append(ThreadId(thread), 1, 0, (), (Rewrite(1, b"x" * size),) if size else ())


def filled(batching: Batching[str], *items: str) -> Batching[str]:
    """Items are named after their thread: `a1` is the first of thread `a`."""
    for item in items:
        batching.add(item, append(item[0]))
    return batching


def test_nothing_waiting_is_an_empty_batch() -> None:
    batching: Batching[str] = Batching()
    assert batching.take() == ()
    assert len(batching) == 0


def test_first_come_first_served() -> None:
    assert filled(Batching(), "a1", "b1", "c1").take() == ("a1", "b1", "c1")


def test_thread_has_one_append_in_a_batch_and_then_waits_its_turn() -> None:
    batching = filled(Batching(appends_max=2), "a1", "a2", "a3", "b1", "c1")
    assert [batching.take() for _ in range(4)] == [("a1", "b1"), ("c1", "a2"), ("a3",), ()]


def test_batch_ends_at_its_count() -> None:
    batching = filled(Batching(appends_max=2), "a1", "b1", "c1")
    assert batching.take() == ("a1", "b1")
    assert len(batching) == 1
    assert batching.take() == ("c1",)


def test_batch_ends_before_it_has_too_many_bytes() -> None:
    batching: Batching[int] = Batching(bytes_max=10 * APPEND_BYTES)
    for index, size in enumerate((4, 4, 1, 1)):
        batching.add(index, append(f"t{index}", size * APPEND_BYTES))
    assert batching.take() == (0,), "6 and 6 are too many"
    assert batching.take() == (1, 2)
    assert batching.take() == (3,)


def test_append_larger_than_a_batch_goes_alone() -> None:
    batching: Batching[int] = Batching(bytes_max=10)
    batching.add(0, append("a", 100))
    batching.add(1, append("b", 100))
    assert [batching.take(), batching.take()] == [(0,), (1,)]


def test_bytes_count_bodies_and_entries() -> None:
    event = Event(1, 1, EventKind.MSG, UserId("u1"), 1, b"12345")
    cursors = {UserId("u1"): Cursor(), UserId("u2"): Cursor()}
    full = Append(ThreadId("t"), 1, 0, (event,), (Rewrite(1, b"123"),), cursors)
    assert append_bytes(full) == 5 + 3 + 5 * APPEND_BYTES


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 500)) | st.none()),
    st.integers(1, 5),
    st.integers(1, 1_500),
)
def test_nothing_is_lost_doubled_or_overtaken(
    steps: list[tuple[str, int] | None], appends_max: int, bytes_max: int
) -> None:
    """None takes a batch; anything else adds. In the end all is taken."""
    batching: Batching[tuple[str, int]] = Batching(appends_max, bytes_max)
    added: dict[str, list[int]] = defaultdict(list)
    taken: dict[str, list[int]] = defaultdict(list)
    sizes: dict[int, int] = {}
    waiting = 0
    for number, step in enumerate([*steps, *[None] * len(steps)]):
        if step is not None:
            item = append(step[0], step[1])
            sizes[number] = append_bytes(item)
            batching.add((step[0], number), item)
            added[step[0]].append(number)
            waiting += 1
        else:
            batch = batching.take()
            assert bool(batch) == bool(waiting)
            assert len({thread for thread, _ in batch}) == len(batch) <= appends_max
            assert len(batch) == 1 or sum(sizes[n] for _, n in batch) <= bytes_max or not batch
            for thread, taken_number in batch:
                taken[thread].append(taken_number)
            waiting -= len(batch)
        assert len(batching) == waiting
    assert taken == added
