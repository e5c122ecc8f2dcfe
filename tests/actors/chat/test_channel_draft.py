"""The rules of a thread, post by post (PROTOCOL.md §2 to §4)."""

from __future__ import annotations

import pytest

from actors.chat.channel_plan import (
    MaybeRepeat,
    NeedEvents,
    Rules,
    Settled,
    Written,
)
from actors.chat.channel_state import RECENT_EVENTS_MAX, masked
from actors.chat.commands import (
    AddMembers,
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
from persistence.records import Cursor, EventKind, Role, UserId
from tests.actors.chat.threads import (
    A,
    B,
    C,
    D,
    answer,
    body,
    commit,
    dm_state,
    group_state,
    plan,
    post,
    refusal,
)


def test_messages_get_dense_seqs_and_their_own_count() -> None:
    state = group_state(A, B)
    first, second = commit(state, post(A, Send("one")), post(B, Send("two")))
    assert answer(first) | answer(second) == {"thread": "g1", "seq": 3, "n": 2, "ts": 1000}
    assert [event.seq for event in state.recent] == [1, 2, 3]
    assert (state.head.seq, state.head.n) == (3, 2)


def test_time_never_decreases_within_a_thread() -> None:
    state = dm_state()
    commit(state, post(A, Send("late")), now_ms=5000)
    commit(state, post(A, Send("clock went back")), now_ms=3000)
    assert [event.ts_ms for event in state.recent] == [5000, 5000]


def test_sending_moves_the_senders_own_cursor() -> None:
    state = dm_state()
    commit(state, post(A, Send("one")), post(B, Send("two")))
    assert state.cursors == {A: Cursor(1, 1, 1), B: Cursor(2, 2, 2)}


def test_a_repeat_answers_the_same_seq_and_writes_nothing() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi"), "c"))
    (again,) = commit(state, post(A, Send("hi"), "c"), now_ms=9000)
    assert answer(again) == {"thread": "d:u1:u2", "seq": 1, "n": 1, "ts": 1000, "dup": True}
    assert state.head.seq == 1


def test_a_repeat_within_one_batch_is_recognised() -> None:
    state = dm_state()
    first, again = commit(state, post(A, Send("hi"), "c"), post(A, Send("hi"), "c"))
    assert isinstance(first, Written)
    assert isinstance(again, Settled)
    assert answer(again)["dup"] is True


def test_the_same_cid_with_other_content_is_a_conflict() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi"), "c"))
    (other,) = commit(state, post(A, Send("ho"), "c"))
    assert refusal(other) == "conflict"


def test_cids_of_different_senders_do_not_meet() -> None:
    state = dm_state()
    planned = commit(state, post(A, Send("hi"), "c"), post(B, Send("ho"), "c"))
    assert all(isinstance(each, Written) for each in planned)


def test_send_and_edit_share_one_name_space() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi"), "c"))
    (edit,) = commit(state, post(A, Edit(1, "ho"), "c"))
    assert refusal(edit) == "conflict"


def test_a_repeat_is_recognised_after_removal_and_deletion() -> None:
    state = group_state(A, B)
    commit(state, post(B, Send("hi"), "c"))
    commit(state, post(A, DeleteForAll((2,))))
    commit(state, post(A, RemoveMember(B)))
    (again,) = commit(state, post(B, Send("hi"), "c"))
    assert answer(again)["seq"] == 2


def test_a_refusal_waits_for_the_log_when_memory_does_not_reach_back() -> None:
    state = group_state(A, B)
    for _ in range(2 * RECENT_EVENTS_MAX + 1):
        commit(state, post(A, Send("x")))
    commit(state, post(A, RemoveMember(B)))
    _, (planned,) = plan(state, post(B, Send("an old cid, perhaps")))
    assert isinstance(planned, MaybeRepeat)
    assert refusal(planned) == "not_member"


# ---------------------------------------------------------------------------- edit, delete, react


def test_an_edit_is_a_new_event_and_rewrites_the_message() -> None:
    state = dm_state()
    (sent, edited) = commit(state, post(A, Send("hi")), post(A, Edit(1, "hello")))
    assert answer(sent)["seq"] == 1
    assert answer(edited) == {"seq": 2, "ts": 1000}
    assert body(state.recent[0])["text"] == "hello"
    assert body(state.recent[0])["edited"] == 2
    assert body(state.recent[1])["text"] == "hello"


def test_only_the_author_edits() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")))
    assert refusal(commit(state, post(B, Edit(1, "ho")))[0]) == "forbidden"


def test_deleting_for_all_takes_the_text_out_of_message_and_edits() -> None:
    state = dm_state()
    commit(state, post(A, Send("secret")), post(A, Edit(1, "secret too")))
    commit(state, post(A, DeleteForAll((1,))))
    assert body(state.recent[0]).get("text") is None
    assert body(state.recent[0])["deleted"] is True
    assert body(state.recent[1]).get("text") is None
    assert b"secret" not in b"".join(event.body for event in state.recent)


def test_deleting_again_is_done_already() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")), post(A, DeleteForAll((1,))))
    (again,) = commit(state, post(A, DeleteForAll((1,))))
    assert answer(again) == {}
    assert state.head.seq == 2


def test_a_deletion_that_names_a_foreign_message_is_refused_whole() -> None:
    state = dm_state()
    commit(state, post(A, Send("mine")), post(B, Send("yours")))
    (planned,) = commit(state, post(A, DeleteForAll((1, 2))))
    assert refusal(planned) == "forbidden"
    assert state.head.seq == 2


def test_an_admin_deletes_what_others_wrote() -> None:
    state = group_state(A, B, C)
    commit(state, post(A, SetRole(B, Role.ADMIN)), post(C, Send("hi")))
    (planned,) = commit(state, post(B, DeleteForAll((3,))))
    assert answer(planned) == {"seq": 4}


@pytest.mark.parametrize("command", [Edit(1, "x"), React(1, "👍", on=True)])
def test_a_deleted_message_is_gone(command: Edit | React) -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")), post(A, DeleteForAll((1,))))
    assert refusal(commit(state, post(A, command))[0]) == "gone"


def test_at_most_twenty_distinct_reactions() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")))
    for index in range(20):
        commit(state, post(B, React(1, f"e{index}", on=True)))
    assert refusal(commit(state, post(A, React(1, "one more", on=True)))[0]) == "limit"
    assert answer(commit(state, post(A, React(1, "e3", on=True)))[0])["seq"] == 22
    commit(state, post(B, React(1, "e7", on=False)))
    assert "seq" in answer(commit(state, post(A, React(1, "one more", on=True)))[0])


def test_what_is_no_message_cannot_be_edited_or_reacted_to() -> None:
    state = group_state(A, B)
    assert refusal(commit(state, post(A, React(1, "x", on=True)))[0]) == "bad_request"


def test_an_old_target_is_asked_for_with_all_that_refers_to_it() -> None:
    state = dm_state()
    commit(state, post(A, Send("old")))
    old = state.recent[0]
    for _ in range(2 * RECENT_EVENTS_MAX + 1):
        commit(state, post(A, Send("x")))
    assert plan(state, post(A, Edit(1, "new")))[1] == [NeedEvents((1,))]
    draft, (planned,) = plan(state, post(A, Edit(1, "new")), related={1: old})
    assert isinstance(planned, Written)
    assert b'"text":"new"' in draft.rewrites[1]


def test_reply_to_must_exist_and_be_visible() -> None:
    state = group_state(A, B)
    commit(state, post(A, Send("before")), post(A, AddMembers((C,))))
    assert refusal(commit(state, post(C, Send("x", reply_to=2)))[0]) == "not_found"
    assert refusal(commit(state, post(C, Send("x", reply_to=99)))[0]) == "not_found"
    assert answer(commit(state, post(C, Send("x", reply_to=3)))[0])["seq"] == 4


# ---------------------------------------------------------------------------- groups


def test_founders_join_at_one_and_hear_of_it() -> None:
    state = group_state(A, B)
    assert body(state.recent[0]) == {
        "e": "thread", "thread": "g1", "seq": 1, "ts": 1000, "name": "Wood", "by": "u1",
    }  # fmt: skip
    assert {member.join_seq for member in state.members.values()} == {1}


def test_adding_writes_one_event_for_each_and_answers_the_last() -> None:
    state = group_state(A, B)
    draft, (planned,) = plan(state, post(A, AddMembers((C, D))))
    assert answer(planned) == {"seq": 3}
    assert [body(event)["user"] for event in draft.events] == [C, D]
    assert draft.audiences == [(A, B, C), (A, B, C, D)]


def test_a_removed_member_sees_the_removal_last() -> None:
    state = group_state(A, B, C)
    draft, _ = plan(state, post(A, RemoveMember(B)), post(A, Send("without you")))
    assert draft.audiences == [(A, B, C), (A, C)]
    draft.apply()
    assert state.members[B].left_seq == 2
    assert refusal(commit(state, post(B, Send("x")))[0]) == "not_member"


def test_who_returns_starts_at_the_new_join() -> None:
    state = group_state(A, B)
    commit(state, post(A, RemoveMember(B)), post(A, Send("x")), post(A, AddMembers((B,))))
    assert (state.members[B].join_seq, state.members[B].left_seq) == (4, None)
    assert state.cursors[B] == Cursor(3, 3, 1)


def test_adding_a_member_again_is_a_conflict() -> None:
    state = group_state(A, B)
    assert refusal(commit(state, post(A, AddMembers((C, B))))[0]) == "conflict"
    assert state.head.seq == 1


def test_a_group_has_a_largest_size() -> None:
    state = group_state(A, B)
    (planned,) = commit(state, post(A, AddMembers((C, D))), rules=Rules(group_members=3))
    assert refusal(planned) == "limit"


@pytest.mark.parametrize(
    ("who", "command", "code"),
    [
        (C, AddMembers((D,)), "forbidden"),
        (C, RemoveMember(B), "forbidden"),
        (C, UpdateGroup("x", None, None), "forbidden"),
        (C, SetRole(C, Role.ADMIN), "forbidden"),
        (B, SetRole(C, Role.ADMIN), "forbidden"),
        (B, RemoveMember(A), "forbidden"),
        (B, DeleteGroup(), "forbidden"),
        (A, RemoveMember(D), "not_found"),
        (A, SetRole(D, Role.ADMIN), "not_found"),
        (A, LeaveGroup(), "conflict"),
        (D, Send("x"), "not_found"),
    ],
)
def test_who_may_do_what(who: UserId, command: object, code: str) -> None:
    state = group_state(A, B, C)
    commit(state, post(A, SetRole(B, Role.ADMIN)))
    assert refusal(commit(state, post(who, command))[0]) == code  # type: ignore[arg-type]


def test_a_new_owner_demotes_the_old_one_by_one_event() -> None:
    state = group_state(A, B)
    draft, _ = plan(state, post(A, SetRole(B, Role.OWNER)))
    assert [body(event)["role"] for event in draft.events] == ["owner"]
    draft.apply()
    assert (state.members[A].role, state.members[B].role) == (Role.ADMIN, Role.OWNER)


def test_a_deleted_group_is_gone() -> None:
    state = group_state(A, B, C)
    commit(state, post(A, RemoveMember(C)), post(A, DeleteGroup()))
    assert body(state.recent[-1])["deleted"] is True
    assert refusal(commit(state, post(B, Send("x")))[0]) == "gone"
    assert refusal(commit(state, post(C, Send("x")))[0]) == "not_member"


def test_group_requests_to_a_direct_thread_are_refused() -> None:
    assert refusal(commit(dm_state(), post(A, LeaveGroup()))[0]) == "bad_request"


def test_a_block_stops_messages_edits_and_reactions() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")))
    state.blocked = True
    for command in (Send("x"), Edit(1, "x"), React(1, "x", on=True)):
        assert refusal(commit(state, post(A, command))[0]) == "blocked"
    assert answer(commit(state, post(A, DeleteForAll((1,))))[0]) == {"seq": 2}


def test_deleted_for_me_masks_message_and_edits_for_that_user_only() -> None:
    state = dm_state()
    commit(state, post(A, Send("hi")), post(A, Edit(1, "ho")), post(A, Send("stay")))
    page = [(event.seq, event.body) for event in state.recent]
    shown = masked(page, frozenset({1}))
    assert b"ho" not in shown[0] + shown[1]
    assert shown[2] == state.recent[2].body
    assert state.recent[0].kind is EventKind.MSG
