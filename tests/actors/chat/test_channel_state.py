"""Pages, cursors, and the thread tables following the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.channel_cursors import CursorBook, NeedCount, cursor_of
from actors.chat.channel_state import merge_cursors, page_range, replay
from actors.chat.commands import (
    AddMembers,
    DeleteGroup,
    RemoveMember,
    Send,
    SetRole,
    UpdateGroup,
)
from actors.chat.messages import Caller, Mark, dm_members, dm_thread
from persistence.records import Cursor, Role, Span, ThreadId, UserId
from tests.actors.chat.threads import A, B, C, D, commit, dm_state, group_state, post

SEQ = st.integers(0, 300)
LIMIT = st.integers(1, 100)
CURSOR = st.builds(Cursor, SEQ, SEQ, SEQ)


def test_the_newest_page_and_the_pages_around_it() -> None:
    span = Span(1)
    assert page_range(span, 100, 10) == (91, 100, True)
    assert page_range(span, 100, 10, before=91) == (81, 90, True)
    assert page_range(span, 100, 10, after=95) == (96, 100, False)
    assert page_range(span, 100, 10, around=50) == (45, 54, True)
    assert page_range(span, 5, 10) == (1, 5, False)


@given(st.integers(1, 50), SEQ, LIMIT, st.integers(-10, 400))
def test_pages_stay_inside_what_may_be_read(low: int, extra: int, limit: int, bound: int) -> None:
    head = low + extra
    for bounds in ({}, {"before": bound}, {"after": bound}, {"around": bound}):
        first, last, more = page_range(Span(low), head, limit, **bounds)
        if first > last:
            assert not more
            continue
        assert low <= first <= last <= head
        assert last - first < limit
        assert more == (last < head if "after" in bounds else first > low)


@given(SEQ, st.integers(1, 20))
def test_walking_back_page_by_page_sees_every_event_once(head: int, limit: int) -> None:
    seen: list[int] = []
    before, more = None, head > 0
    while more:
        low, high, more = page_range(Span(1), head, limit, before=before)
        seen = list(range(low, high + 1)) + seen
        before = low
    assert seen == list(range(1, head + 1))


@given(CURSOR, CURSOR, CURSOR)
def test_cursors_merge_in_any_order(a: Cursor, b: Cursor, c: Cursor) -> None:
    assert merge_cursors(a, merge_cursors(b, c)) == merge_cursors(merge_cursors(a, b), c)
    merged = merge_cursors(a, b)
    assert merged.recv >= merged.read
    assert merged.read >= max(a.read, b.read)
    assert merge_cursors(merged, a) == merged


def mark(uid: UserId, recv: int | None = None, read: int | None = None) -> Mark:
    return Mark(Caller(uid, 1, 1), recv, read, answered=False)


def test_reading_counts_messages_not_events() -> None:
    state = group_state(A, B)
    commit(state, post(A, Send("one")), post(A, UpdateGroup("x", None, None)), post(A, Send("two")))
    assert cursor_of(state, mark(B, read=3)) == Cursor(3, 3, 1)
    assert cursor_of(state, mark(B, read=99)) == Cursor(4, 4, 2)
    assert cursor_of(state, mark(B, recv=99)) == Cursor(4, 0, 0)


def test_what_is_not_in_memory_is_asked_for() -> None:
    state = dm_state()
    for _ in range(250):
        commit(state, post(A, Send("x")))
    assert cursor_of(state, mark(B, read=3)) == NeedCount(3, 3)


def test_a_removed_member_reads_up_to_the_removal() -> None:
    state = group_state(A, B)
    commit(state, post(A, RemoveMember(B)), post(A, Send("later")))
    assert cursor_of(state, mark(B, read=99)) == Cursor(2, 2, 0)


def test_a_flush_answers_those_who_asked_before_it_and_keeps_later_moves() -> None:
    book = CursorBook()
    first, second = Caller(A, 1, 1), Caller(A, 1, 2)
    book.moved(first, Cursor(1, 1, 1))
    book.await_flush(first)
    written: dict[UserId, Cursor] = {}
    book.into(written)
    book.moved(second, Cursor(2, 2, 2))
    book.await_flush(second)
    assert book.committed(written) == [first]
    assert book.dirty == {A: Cursor(2, 2, 2)}
    assert book.due
    book.into({})
    book.taken_back()
    assert book.due
    book.into({})
    assert book.failed() == [second]


def test_the_thread_tables_can_be_rebuilt_from_the_log() -> None:
    state = group_state(A, B)
    meta, members = state.meta, dict(state.members)
    commit(
        state,
        post(A, AddMembers((C, D))),
        post(A, SetRole(C, Role.ADMIN)),
        post(C, RemoveMember(D)),
        post(A, UpdateGroup("New", "about", None)),
        post(A, SetRole(B, Role.OWNER)),
        post(B, DeleteGroup()),
    )
    assert meta is not None
    events = [event for event in state.recent if event.seq > 1]
    assert replay(meta, members, events) == (state.meta, state.members)
    assert replay(*replay(meta, members, events), events) == (state.meta, state.members)


def test_the_id_of_a_direct_thread_compares_uids_as_text() -> None:
    assert dm_thread(UserId("u10"), UserId("u9")) == "d:u10:u9"
    assert dm_members(ThreadId("d:u10:u9")) == ("u10", "u9")
    assert dm_members(ThreadId("d:u9:u10")) == ()
    assert dm_members(ThreadId("g1")) == ()
