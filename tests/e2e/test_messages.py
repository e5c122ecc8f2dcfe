"""PROTOCOL.md §2 to §4: messages, receipts, typing, history, sync, and what is pushed to whom."""

from __future__ import annotations

import pytest

from tests.e2e.wire import Frame, Server, Wire


def seqs(events: list[Frame]) -> list[int]:
    return [event["seq"] for event in events]


def test_a_message_reaches_every_other_device_of_every_member(
    server: Server, alice: Wire, bob: Wire
) -> None:
    own, phone = server.device(alice), server.device(bob)
    sent = alice.say(bob, "hi", cid="c-1")
    expected = {"op": "ev", "e": "msg", "thread": sent["thread"], "seq": 1, "n": 1,
                "from": alice.uid, "ts": sent["ts"], "text": "hi"}  # fmt: skip
    assert bob.event("msg") == expected
    assert phone.event("msg") == expected
    assert own.event("msg") == expected | {"cid": "c-1"}
    assert [event for event in alice.quiet() if event["e"] == "msg"] == []


def test_replies_mentions_and_names(alice: Wire, bob: Wire) -> None:
    thread = alice.ok("send", to=f"@{bob.user}", text="first")["thread"]
    bob.say(thread, "answer", reply_to=1, mentions=[alice.uid])
    event = alice.event("msg", text="answer")
    assert (event["reply_to"], event["mentions"], event["from"]) == (1, [alice.uid], bob.uid)
    assert alice.refused("send", to="@nobody.here", text="x") == "not_found"
    assert alice.refused("send", to="u999999", text="x") == "not_found"
    assert alice.refused("send", thread=thread, text="x", reply_to=99) == "not_found"
    assert alice.refused("send", text="nowhere") == "bad_request"


def test_a_repeat_answers_the_same_and_other_content_conflicts(alice: Wire, bob: Wire) -> None:
    first = alice.say(bob, "once", cid="c")
    again = alice.say(bob, "once", cid="c")
    assert again["dup"] is True
    assert [again[k] for k in ("thread", "seq", "n", "ts")] == [
        first[k] for k in ("thread", "seq", "n", "ts")
    ]
    assert alice.refused("send", to=bob.uid, text="twice", cid="c") == "conflict"
    assert alice.refused("edit", thread=first["thread"], seq=1, text="once", cid="c") == "conflict"
    bob.event("msg")
    assert [event for event in bob.quiet() if event["e"] == "msg"] == []


def test_a_repeat_is_recognised_before_anything_else(alice: Wire, bob: Wire) -> None:
    first = alice.say(bob, "early", cid="c")
    thread = first["thread"]
    alice.ok("edit", thread=thread, seq=1, text="edited")
    alice.ok("delete", thread=thread, seqs=[1], for_="all")
    bob.ok("block", uid=alice.uid)
    again = alice.say(bob, "early", cid="c")
    assert (again["seq"], again["dup"]) == (1, True)
    assert alice.refused("send", to=bob.uid, text="early") == "blocked"


def test_pipelined_sends_are_applied_in_order(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob, "0")["thread"]
    ids = [alice.begin("send", thread=thread, text=str(number)) for number in range(1, 51)]
    assert [alice.end(number)["seq"] for number in ids] == list(range(2, 52))
    texts = [bob.event("msg", seq=seq)["text"] for seq in range(1, 52)]
    assert texts == [str(number) for number in range(51)]


def test_an_edit_is_an_event_and_shows_in_history(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob, "helo")["thread"]
    edited = alice.ok("edit", thread=thread, seq=1, text="hello", cid="e")
    event = bob.event("edit")
    assert (event["seq"], event["target"], event["text"], event["from"]) == (
        2,
        1,
        "hello",
        alice.uid,
    )
    page = bob.ok("history", thread=thread)["events"]
    assert (page[0]["text"], page[0]["edited"], page[1]["e"]) == ("hello", 2, "edit")
    again = alice.ok("edit", thread=thread, seq=1, text="hello", cid="e")
    assert (again["seq"], again["ts"], again["dup"]) == (edited["seq"], edited["ts"], True)
    assert bob.refused("edit", thread=thread, seq=1, text="mine") == "forbidden"
    assert alice.refused("edit", thread=thread, seq=99, text="x") == "not_found"
    assert alice.refused("edit", thread=thread, seq=2, text="x") == "bad_request"


def test_deleting_for_all_takes_the_text_from_everywhere(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob, "secret")["thread"]
    alice.ok("edit", thread=thread, seq=1, text="secret two")
    seq = alice.ok("delete", thread=thread, seqs=[1], for_="all")["seq"]
    event = bob.event("del")
    assert (event["seq"], event["target"]) == (seq, 1)
    page = bob.ok("history", thread=thread)["events"]
    assert seqs(page) == [1, 2, 3]
    assert "text" not in page[0]
    assert page[0]["deleted"] is True
    assert "text" not in page[1]
    assert "secret" not in str(bob.ok("sync", cursors={}))
    assert "seq" not in alice.ok("delete", thread=thread, seqs=[1], for_="all")
    assert alice.refused("edit", thread=thread, seq=1, text="x") == "gone"
    assert bob.refused("react", thread=thread, seq=1, emoji="x", on=True) == "gone"
    mine = bob.say(thread, "mine")["seq"]
    assert alice.refused("delete", thread=thread, seqs=[mine], for_="all") == "forbidden"
    assert alice.refused("delete", thread=thread, seqs=[99], for_="all") == "not_found"


def test_an_admin_deletes_for_all_in_a_group(alice: Wire, bob: Wire) -> None:
    thread = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    bob.say(thread, "rude")
    alice.ok("delete", thread=thread, seqs=[2], for_="all")
    assert bob.event("del")["target"] == 2


def test_deleting_for_me_hides_it_from_me_alone(server: Server, alice: Wire, bob: Wire) -> None:
    phone = server.device(bob)
    thread = alice.say(bob, "hide me")["thread"]
    alice.ok("edit", thread=thread, seq=1, text="hide me too")
    head = alice.say(thread, "keep")["seq"]
    bob.ok("delete", thread=thread, seqs=[1], for_="me")
    for device in (bob, phone):
        page = device.ok("history", thread=thread)
        assert "text" not in page["events"][0]
        assert "text" not in page["events"][1]
        assert page["events"][2]["text"] == "keep"
        assert page["head"] == head
    assert alice.ok("history", thread=thread)["events"][0]["text"] == "hide me too"
    bob.ok("delete", thread=thread, seqs=[1], for_="me")
    assert bob.refused("delete", thread=thread, seqs=[99], for_="me") == "not_found"


@pytest.mark.parametrize(
    ("op", "fields", "named"),
    [
        ("send", {"to": "u999999", "text": "x"}, "to"),
        ("send", {"to": "@nobody.here", "text": "x"}, "to"),
        ("send", {"text": "x", "reply_to": 99}, "reply_to"),
        ("send", {"text": "x" * 4097}, "text"),
        ("send", {"text": "x", "cid": ""}, "cid"),
        ("send", {"text": "x", "cid": "\x1fc"}, "cid"),  # the server's own begin so
        ("send", {"text": "x", "mentions": ["u1"] * 257}, "mentions"),
        ("edit", {"seq": 99, "text": "x"}, "seq"),
        ("edit", {"seq": 2, "text": "x" * 4097}, "text"),
        ("delete", {"seqs": [99], "for_": "all"}, "seqs"),
        ("delete", {"seqs": [1], "for_": "all"}, "seqs"),
        ("delete", {"seqs": [99], "for_": "me"}, "seqs"),
        ("delete", {"seqs": [1] * 3 + list(range(2, 103)), "for_": "all"}, "seqs"),
        ("react", {"seq": 2, "emoji": " ", "on": True}, "emoji"),
        ("group.add", {"users": ["u999999"]}, "users"),
        ("group.remove", {"user": "u999999"}, "user"),
        ("group.role", {"user": "@nobody.here", "role": "admin"}, "user"),
        ("group.update", {"name": " "}, "name"),
        ("group.update", {"about": "x" * 501}, "about"),
        ("history", {"before": 1, "after": 1}, "before"),
        ("read", {"seq": "1"}, "seq"),
    ],
)
def test_a_refusal_names_the_field_at_fault(
    alice: Wire, op: str, fields: Frame, named: str
) -> None:
    thread = alice.ok("group.create", name="G", members=[])["thread"]
    alice.say(thread)
    where = {} if "to" in fields else {"thread": thread}
    answer = alice.request(op, **where, **fields)
    assert answer["op"] == "err"
    assert answer["msg"].strip("`").startswith(named)
    assert not answer["msg"].strip("`").removeprefix(named)[0].isalnum()


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("send", {"text": "x" * 4097}),
        ("send", {"text": "x", "cid": "c" * 129}),
        ("edit", {"seq": 2, "text": "x" * 4097}),
        ("react", {"seq": 2, "emoji": "x" * 33, "on": True}),
        ("group.update", {"name": "x" * 129}),
        ("group.update", {"about": "x" * 501}),
        ("group.update", {"avatar": "x" * 2049}),
        ("profile.set", {"name": "x" * 65}),
        ("contact.add", {"uid": "u1", "alias": "x" * 65}),
    ],
)
def test_a_text_too_long_is_too_large(alice: Wire, op: str, fields: Frame) -> None:
    thread = alice.ok("group.create", name="G", members=[])["thread"]
    alice.say(thread)
    assert alice.refused(op, thread=thread, **fields) == "too_large"


def test_reactions(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    seq = bob.ok("react", thread=thread, seq=1, emoji="👍", on=True)["seq"]
    event = alice.event("react")
    assert (event["seq"], event["target"], event["emoji"], event["on"]) == (seq, 1, "👍", True)
    for number in range(19):
        bob.ok("react", thread=thread, seq=1, emoji=f"e{number}", on=True)
    assert bob.refused("react", thread=thread, seq=1, emoji="one more", on=True) == "limit"
    bob.ok("react", thread=thread, seq=1, emoji="👍", on=False)
    bob.ok("react", thread=thread, seq=1, emoji="one more", on=True)
    assert bob.refused("react", thread=thread, seq=2, emoji="x", on=True) == "bad_request"


# ---------------------------------------------------------------------------- history, sync


def test_history_in_all_directions(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob, "1")["thread"]
    for number in range(2, 251):
        alice.say(thread, str(number))
    newest = bob.ok("history", thread=thread, limit=10)
    assert (seqs(newest["events"]), newest["head"], newest["more"]) == (
        list(range(241, 251)),
        250,
        True,
    )
    older = bob.ok("history", thread=thread, before=11, limit=100)
    assert (seqs(older["events"]), older["more"]) == (list(range(1, 11)), False)
    newer = bob.ok("history", thread=thread, after=100, limit=5)
    assert (seqs(newer["events"]), newer["more"]) == ([101, 102, 103, 104, 105], True)
    around = bob.ok("history", thread=thread, around=100, limit=5)
    assert 100 in seqs(around["events"])
    assert len(around["events"]) == 5
    assert around["more"] is True
    assert len(bob.ok("history", thread=thread, limit=1000)["events"]) == 100
    assert len(bob.ok("history", thread=thread, limit=0)["events"]) == 1
    assert bob.ok("history", thread=thread, after=9999)["events"] == []
    assert bob.ok("history", thread=thread, before=-5)["events"] == []
    assert bob.refused("history", thread=thread, before=5, after=1) == "bad_request"


def test_an_event_in_history_is_what_was_pushed(server: Server, alice: Wire, bob: Wire) -> None:
    own = server.device(alice)
    thread = alice.say(bob, "hi", cid="c")["thread"]
    pushed = {k: v for k, v in own.event("msg").items() if k != "op"}
    assert alice.ok("history", thread=thread)["events"] == [pushed]
    assert bob.ok("history", thread=thread)["events"] == [
        {k: v for k, v in pushed.items() if k != "cid"}
    ]


def test_a_new_member_reads_from_the_join(server: Server, alice: Wire, bob: Wire) -> None:
    thread = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    alice.say(thread, "before")
    late = server.user()
    joined = alice.ok("group.add", thread=thread, users=[late.uid])["seq"]
    alice.say(thread, "after")
    page = late.ok("history", thread=thread)
    assert seqs(page["events"]) == [joined, joined + 1]
    assert page["more"] is False
    (shown,) = late.ok("thread.list")["threads"]
    assert (shown["read"], shown["unread"]) == (joined - 1, 1)


def test_sync_brings_every_thread_that_is_ahead(server: Server, alice: Wire, bob: Wire) -> None:
    carol = server.user()
    one = alice.say(bob, "1")["thread"]
    two = carol.say(bob, "1")["thread"]
    alice.say(one, "2")
    fresh = bob.ok("sync", cursors={})
    assert {thread["thread"] for thread in fresh["threads"]} == {one, two}
    assert seqs(fresh["events"][one]) == [1, 2]
    assert (fresh["more"], fresh["removed"], fresh["reset"]) == ([], [], [])
    some = bob.ok("sync", cursors={one: 1, two: 1})
    assert [thread["thread"] for thread in some["threads"]] == [one]
    assert seqs(some["events"][one]) == [2]
    assert bob.ok("sync", cursors={one: 2, two: 1})["threads"] == []


def test_sync_is_paged_until_more_is_empty(server: Server, alice: Wire, bob: Wire) -> None:
    carol = server.user()
    for sender in (alice, carol):
        thread = sender.say(bob, "1")["thread"]
        for number in range(2, 8):
            sender.say(thread, str(number))
    cursors: dict[str, int] = {}
    received: dict[str, list[int]] = {}
    for _ in range(20):
        page = bob.ok("sync", cursors=cursors, limit=3)
        assert sum(len(events) for events in page["events"].values()) <= 3
        for name, events in page["events"].items():
            received.setdefault(name, []).extend(seqs(events))
            if events:
                cursors[name] = events[-1]["seq"]
        if not page["more"]:
            break
    assert list(received.values()) == [list(range(1, 8))] * 2


def test_a_cursor_beyond_the_head_is_reset(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    answer = bob.ok("sync", cursors={thread: 500})
    assert answer["reset"] == [thread]
    assert seqs(answer["events"][thread]) == [1]


def test_resets_keep_to_the_limit(server: Server, bob: Wire) -> None:
    threads = [server.user().say(bob)["thread"] for _ in range(3)]
    cursors = dict.fromkeys(threads, 500)
    served: list[str] = []
    for left in (2, 1, 0):
        page = bob.ok("sync", cursors=cursors, limit=1)
        assert [len(events) for events in page["events"].values()] == [1]
        assert page["reset"] == list(page["events"])
        assert len(page["more"]) == left
        served += page["reset"]
        cursors |= dict.fromkeys(page["reset"], 1)
    assert sorted(served) == sorted(threads)


# ---------------------------------------------------------------------------- receipts, typing


def test_receipts_move_forward_only(server: Server, alice: Wire, bob: Wire) -> None:
    phone = server.device(bob)
    thread = alice.say(bob)["thread"]
    alice.say(thread)
    alice.say(thread)
    bob.ok("recv", thread=thread, seq=2)
    assert alice.event("cursor", user=bob.uid)["recv"] == 2
    bob.ok("read", thread=thread, seq=2)
    event = alice.event("cursor", user=bob.uid)
    assert (event["recv"], event["read"]) == (2, 2)
    assert phone.event("cursor", user=bob.uid, read=2)
    bob.ok("read", thread=thread, seq=1)
    bob.ok("read", thread=thread, seq=99)
    (shown,) = bob.ok("thread.list")["threads"]
    assert (shown["read"], shown["recv"], shown["read_n"], shown["unread"]) == (3, 3, 3, 0)


def test_receipts_usually_come_without_an_id(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    bob.send({"op": "read", "thread": thread, "seq": 1})
    assert alice.event("cursor", user=bob.uid)["read"] == 1
    bob.send({"op": "read", "thread": "g999999", "seq": 1})
    assert bob.error()["code"] == "not_found"


def test_sending_reads(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    bob.say(thread)
    (shown,) = bob.ok("thread.list")["threads"]
    assert (shown["read"], shown["unread"]) == (2, 0)
    (shown,) = alice.ok("thread.list")["threads"]
    assert (shown["read"], shown["unread"]) == (1, 1)


def test_hidden_receipts_are_hidden_both_ways_in_dms_only(alice: Wire, bob: Wire) -> None:
    bob.ok("privacy.set", receipts="nobody")
    dm = alice.say(bob)["thread"]
    group = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    bob.ok("read", thread=group, seq=1)
    bob.ok("read", thread=dm, seq=1)
    bob.say(dm)
    alice.ok("read", thread=dm, seq=2)
    assert alice.event("cursor", user=bob.uid)["thread"] == group
    assert not [e for e in bob.quiet() if e["e"] == "cursor" and e["thread"] == dm]
    assert not [e for e in alice.quiet() if e["e"] == "cursor" and e["thread"] == dm]


def test_typing_is_shown_to_the_others(server: Server, alice: Wire, bob: Wire) -> None:
    own = server.device(alice)
    thread = alice.say(bob)["thread"]
    alice.send({"op": "typing", "thread": thread, "on": True})
    event = bob.event("typing")
    assert event == {"op": "ev", "e": "typing", "thread": thread, "user": alice.uid, "on": True}
    assert not [e for e in own.quiet() + alice.quiet() if e["e"] == "typing"]


@pytest.mark.parametrize("emoji", ["", "x" * 33])
def test_an_emoji_is_short(alice: Wire, bob: Wire, emoji: str) -> None:
    thread = alice.say(bob)["thread"]
    code = alice.refused("react", thread=thread, seq=1, emoji=emoji, on=True)
    assert code in {"bad_request", "too_large"}
