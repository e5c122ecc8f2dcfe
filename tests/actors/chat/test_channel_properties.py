"""What holds of a thread's rules whatever is posted, and however the posts fall into commits."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.answers import Done, Refused
from actors.chat.channel_draft import Draft
from actors.chat.channel_plan import (
    Rules,
    Settled,
    Written,
    answer_for,
    digest_of,
    repeat_of,
)
from actors.chat.channel_state import ThreadState, merge_cursors, replay
from actors.chat.commands import (
    AddMembers,
    Command,
    DeleteForAll,
    DeleteGroup,
    Edit,
    LeaveGroup,
    React,
    RemoveMember,
    Send,
    SetRole,
    UpdateGroup,
)
from actors.chat.messages import Caller, Post, dm_members, dm_thread
from persistence.batching import check_append
from persistence.records import ClientId, Cursor, Event, EventKind, Role, UserId
from tests.actors.chat.threads import GROUP, A, B, C, D, body, group_state

USERS = st.sampled_from([A, B, C, D])
TEXTS = st.sampled_from(["", "hello", "\x00", "né\N{GRINNING FACE}", '"}'])
SEQS = st.integers(0, 14)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Send, TEXTS, st.none() | SEQS, st.lists(USERS, max_size=2).map(tuple)),
    st.builds(Edit, SEQS, TEXTS),
    st.builds(DeleteForAll, st.lists(SEQS, min_size=1, max_size=3).map(tuple)),
    st.builds(React, SEQS, st.sampled_from("ab"), st.booleans()),
    st.builds(AddMembers, st.lists(USERS, min_size=1, max_size=2).map(tuple)),
    st.builds(RemoveMember, USERS),
    st.builds(SetRole, USERS, st.sampled_from(Role)),
    st.builds(LeaveGroup),
    st.builds(UpdateGroup, TEXTS, st.none() | TEXTS, st.none()),
)
ASKED = st.lists(
    st.tuples(USERS, st.one_of(COMMANDS, COMMANDS, st.builds(DeleteGroup)), st.booleans()),
    max_size=25,
)
Asked = list[tuple[UserId, Command, bool]]


class Run:
    """A group and everything that was committed to it."""

    def __init__(self) -> None:
        self.state: ThreadState = group_state(A, B, C)
        self.founding = (self.state.meta, dict(self.state.members))
        self.events: list[Event] = []
        self.audiences: list[tuple[UserId, ...]] = []
        self.results: list[Any] = []

    def commit(self, posts: list[Post]) -> None:
        draft = Draft(self.state, 1000, Rules(group_members=4))
        for each in posts:
            planned = draft.plan(each)
            assert isinstance(planned, Written | Settled), "all of it is in memory"
            self.results.append(planned.answer if isinstance(planned, Written) else planned.result)
        check_append(draft.to_append())
        draft.apply()
        self.events += draft.events
        self.audiences += draft.audiences


def posts_of(asked: Asked) -> list[Post]:
    numbers = count(1)
    return [
        Post(Caller(uid, 1, number), ClientId(f"c-{number}"), command)
        for number, (uid, command, _) in zip(numbers, asked, strict=False)
    ]


def committed(asked: Asked, *, together: bool) -> Run:
    """Everything asked, in commits of one post, or cut where the flags say."""
    run = Run()
    batch: list[Post] = []
    for each, (_, _, is_cut) in zip(posts_of(asked), asked, strict=True):
        batch.append(each)
        if is_cut or not together:
            run.commit(batch)
            batch = []
    run.commit(batch)
    return run


@given(ASKED)
def test_how_posts_fall_into_commits_is_seen_by_nobody(asked: Asked) -> None:
    alone, together = committed(asked, together=False), committed(asked, together=True)
    assert together.results == alone.results
    assert [sorted(each) for each in together.audiences] == [
        sorted(each) for each in alone.audiences
    ]
    assert together.state.recent[1:] == alone.state.recent[1:], "the first is made by the builder"
    assert together.state.meta == alone.state.meta
    assert together.state.members == alone.state.members
    assert together.state.cursors == alone.state.cursors


@given(ASKED)
def test_seqs_are_dense_and_n_counts_messages(asked: Asked) -> None:
    run = committed(asked, together=True)
    assert [event.seq for event in run.events] == list(range(2, len(run.events) + 2))
    messages = 0
    for event in run.events:
        messages += event.kind is EventKind.MSG
        assert event.n == messages
        assert body(event)["seq"] == event.seq
    assert (run.state.head.seq, run.state.head.n) == (len(run.events) + 1, messages)


@given(ASKED)
def test_an_event_goes_to_those_who_may_read_it_and_to_nobody_else(asked: Asked) -> None:
    """PROTOCOL.md §4.5, from the events alone: a removal is the last, an addition the first."""
    run = committed(asked, together=True)
    inside = {A, B, C}
    for event, audience in zip(run.events, run.audiences, strict=True):
        fields = body(event)
        if fields.get("act") in ("add", "join"):
            inside.add(UserId(fields["user"]))
        assert set(audience) == inside
        assert len(audience) == len(inside)
        if fields.get("act") in ("remove", "leave"):
            inside.remove(UserId(fields["user"]))
    assert set(run.state.active_members()) == inside


@given(ASKED)
def test_the_log_alone_tells_who_is_in_and_what_the_group_is_called(asked: Asked) -> None:
    run = committed(asked, together=True)
    meta, members = run.founding
    assert meta is not None
    assert replay(meta, members, run.events) == (run.state.meta, run.state.members)
    owners = [m.uid for m in run.state.members.values() if m.role is Role.OWNER]
    assert len(owners) == 1
    for member in run.state.members.values():
        assert member.left_seq is None or member.left_seq > member.join_seq


@given(ASKED)
def test_everything_posted_again_is_recognised(asked: Asked) -> None:
    """Also by those who could not do it now (PROTOCOL.md §4.4)."""
    run = committed(asked, together=True)
    head = run.state.head
    written = [
        (each, result)
        for each, result in zip(posts_of(asked), run.results, strict=True)
        if isinstance(result, Done) and "seq" in result.fields
    ]
    run.results.clear()
    run.commit([each for each, _ in written])
    assert run.state.head == head
    for (_, first), again in zip(written, run.results, strict=True):
        assert isinstance(again, Done)
        assert again.fields["seq"] == first.fields["seq"]


@given(ASKED)
def test_a_deleted_text_is_nowhere(asked: Asked) -> None:
    run = committed(asked, together=True)
    deleted = {event.target for event in run.events if event.kind is EventKind.DEL}
    for event in run.state.recent:
        if event.seq in deleted or event.target in deleted:
            assert "text" not in body(event)


# ---------------------------------------------------------------------- repeats


@given(COMMANDS, COMMANDS)
def test_a_digest_tells_contents_apart(one: Command, other: Command) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


@given(COMMANDS, st.integers(1, 9), st.integers(0, 9))
def test_a_repeat_answers_what_the_first_did(command: Command, seq: int, n: int) -> None:
    again = Post(Caller(A, 2, 7), ClientId("c"), command)
    event = Event(seq, n, EventKind.MSG, A, 1000, b"{}", ClientId("c"), digest_of(command))
    first = answer_for(command, GROUP, event)
    repeated = repeat_of(again, GROUP, event)
    assert isinstance(repeated, Done)
    assert {k: v for k, v in repeated.fields.items() if k != "dup"} == first.fields
    conflict = repeat_of(Post(again.caller, again.cid, Send("another text")), GROUP, event)
    assert isinstance(conflict, Refused)
    assert conflict.code == "conflict"


# ---------------------------------------------------------------------- ids, cursors

UIDS = st.integers(1, 10**12).map(lambda number: UserId(f"u{number}"))


@given(UIDS, UIDS)
def test_a_direct_thread_is_the_same_from_both_sides(one: UserId, other: UserId) -> None:
    thread = dm_thread(one, other)
    assert thread == dm_thread(other, one)
    assert set(dm_members(thread)) == {one, other}


CURSORS = st.builds(Cursor, *[st.integers(0, 20)] * 3)


@given(CURSORS, CURSORS, CURSORS)
def test_cursors_merge_forward_in_any_order(a: Cursor, b: Cursor, c: Cursor) -> None:
    merged = merge_cursors(merge_cursors(a, b), c)
    assert merged == merge_cursors(a, merge_cursors(c, b))
    assert merged.read == max(a.read, b.read, c.read)
    assert merged.recv >= merged.read
    assert merge_cursors(merged, a) == merged
