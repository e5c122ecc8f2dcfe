"""PROTOCOL.md §2 and §3, threads and groups."""

from __future__ import annotations

from tests.e2e.wire import Frame, Server, Wire


def group(owner: Wire, *members: Wire) -> str:
    answer = owner.ok("group.create", name="Wood", members=[member.uid for member in members])
    assert answer["seq"] == 1
    return str(answer["thread"])


def test_a_dm_exists_from_its_first_message(alice: Wire, bob: Wire) -> None:
    low, high = sorted((alice.uid, bob.uid))
    thread = f"d:{low}:{high}"
    assert alice.refused("send", thread=thread, text="x") == "not_found"
    assert alice.ok("thread.list")["threads"] == []
    assert alice.say(bob)["thread"] == thread
    (shown,) = bob.ok("thread.list")["threads"]
    expected: Frame = {"thread": thread, "kind": "dm", "peer": alice.uid, "name": alice.user}
    expected |= {"head": 1, "head_n": 1, "read": 0, "read_n": 0, "recv": 0, "unread": 1}
    assert expected.items() <= shown.items()
    assert shown["last"]["text"] == "hello"


def test_a_refused_first_message_leaves_no_dm(alice: Wire, bob: Wire) -> None:
    low, high = sorted((alice.uid, bob.uid))
    thread = f"d:{low}:{high}"
    assert alice.refused("send", to=bob.uid, text="x", reply_to=1) == "not_found"
    bob.ok("block", uid=alice.uid)
    assert alice.refused("send", to=bob.uid, text="x") == "blocked"
    for op, fields in (
        ("history", {}),
        ("read", {"seq": 1}),
        ("typing", {"on": True}),
        ("thread.set", {"pinned": True}),
        ("delete", {"seqs": [1], "for_": "me"}),
    ):
        assert alice.refused(op, thread=thread, **fields) == "not_found", op
    bob.ok("unblock", uid=alice.uid)
    assert alice.say(bob)["seq"] == 1


def test_threads_are_listed_newest_first_page_by_page(server: Server, alice: Wire) -> None:
    threads = [alice.say(server.user())["thread"] for _ in range(5)]
    alice.say(threads[1], "again")
    expected = [threads[1], threads[4], threads[3], threads[2], threads[0]]
    seen, after = [], None
    while True:
        page = alice.ok("thread.list", limit=2, **({} if after is None else {"after": after}))
        seen += [thread["thread"] for thread in page["threads"]]
        after = page.get("next")
        if after is None:
            break
    assert seen == expected


def test_thread_settings_are_per_user_and_shown_to_own_devices(
    server: Server, alice: Wire, bob: Wire
) -> None:
    phone = server.device(alice)
    thread = alice.say(bob)["thread"]
    alice.ok("thread.set", thread=thread, muted_until=9_999_999_999_999, pinned=True)
    assert phone.event("inbox")["pinned"] is True
    alice.ok("thread.set", thread=thread, archived=True)
    (shown,) = alice.ok("thread.list")["threads"]
    assert (shown["muted_until"], shown["pinned"], shown["archived"]) == (
        9_999_999_999_999,
        True,
        True,
    )
    alice.ok("thread.set", thread=thread, muted_until=None, pinned=False)
    (shown,) = alice.ok("thread.list")["threads"]
    assert not shown.get("pinned")
    assert not shown.get("muted_until")
    assert not bob.ok("thread.list")["threads"][0].get("archived")
    assert alice.refused("thread.set", thread="g999999", pinned=True) == "not_found"


def test_creating_a_group_is_idempotent_by_cid(alice: Wire, bob: Wire) -> None:
    first = alice.ok("group.create", name="Wood", members=[f"@{bob.user}"], cid="c")
    again = alice.ok("group.create", name="Wood", members=[f"@{bob.user}"], cid="c")
    assert again["dup"] is True
    assert [again[key] for key in ("thread", "seq", "ts")] == [
        first[k] for k in ("thread", "seq", "ts")
    ]
    assert alice.refused("group.create", name="Other", members=[bob.uid], cid="c") == "conflict"
    event = bob.event("thread", thread=first["thread"])
    assert (event["seq"], event["name"], event["by"]) == (1, "Wood", alice.uid)
    assert alice.refused("group.create", name="x", members=["u999999"]) == "not_found"


def test_a_group_is_described(alice: Wire, bob: Wire) -> None:
    thread = group(alice, bob)
    answer = alice.ok("group.update", thread=thread, name="New", about="about")
    assert bob.event("thread", seq=answer["seq"])["name"] == "New"
    assert bob.refused("group.update", thread=thread, name="Mine") == "forbidden"
    info = bob.ok("group.info", thread=thread)
    assert (info["info"]["name"], info["info"]["role"]) == ("New", "member")
    members = {m["uid"]: (m["role"], m["join_seq"]) for m in info["members"]}
    assert members == {alice.uid: ("owner", 1), bob.uid: ("member", 1)}


def test_members_are_listed_page_by_page(server: Server, alice: Wire) -> None:
    members = [server.user() for _ in range(4)]
    thread = group(alice, *members)
    first = alice.ok("group.info", thread=thread, limit=3)
    rest = alice.ok("group.info", thread=thread, limit=3, after=first["next"])
    seen = [member["uid"] for member in first["members"] + rest["members"]]
    assert sorted(seen) == sorted([alice.uid, *(member.uid for member in members)])
    assert "next" not in rest


def test_adding_writes_one_event_for_each(server: Server, alice: Wire, bob: Wire) -> None:
    thread = group(alice, bob)
    one, two = server.user(), server.user()
    answer = alice.ok("group.add", thread=thread, users=[one.uid, two.uid])
    assert answer["seq"] == 3
    assert bob.event("member", user=one.uid)["act"] == "add"
    assert bob.event("member", user=two.uid)["seq"] == 3
    assert alice.refused("group.add", thread=thread, users=[one.uid]) == "conflict"
    assert bob.refused("group.add", thread=thread, users=[server.user().uid]) == "forbidden"
    assert alice.refused("group.add", thread=thread, users=["u999999"]) == "not_found"


def test_a_removed_member_hears_it_last_and_reads_up_to_it(
    alice: Wire, bob: Wire, carol: Wire
) -> None:
    thread = group(alice, bob, carol)
    alice.say(thread, "while you are here")
    removal = alice.ok("group.remove", thread=thread, user=bob.uid)["seq"]
    alice.say(thread, "behind your back")
    carol.event("msg", text="behind your back")
    events = [event for event in bob.quiet() if event.get("thread") == thread]
    assert (events[-1]["e"], events[-1]["act"], events[-1]["seq"]) == ("member", "remove", removal)
    assert bob.refused("send", thread=thread, text="x") == "not_member"
    assert bob.refused("group.info", thread=thread) == "not_member"
    page = bob.ok("history", thread=thread)
    assert (page["events"][-1]["seq"], page["head"]) == (removal, removal)
    synced = bob.ok("sync", cursors={})
    assert thread in synced["removed"]
    assert synced["events"][thread][-1]["seq"] == removal
    assert alice.refused("group.remove", thread=thread, user=bob.uid) == "not_found"


def test_who_returns_reads_from_the_new_join(alice: Wire, bob: Wire) -> None:
    thread = group(alice, bob)
    alice.ok("group.remove", thread=thread, user=bob.uid)
    alice.say(thread, "between")
    joined = alice.ok("group.add", thread=thread, users=[bob.uid])["seq"]
    page = bob.ok("history", thread=thread)
    assert [event["seq"] for event in page["events"]] == [joined]
    (shown,) = bob.ok("thread.list")["threads"]
    assert (shown["read"], shown["unread"]) == (joined - 1, 0)
    assert bob.refused("send", thread=thread, text="x", reply_to=1) == "not_found"


def test_only_the_owner_changes_roles(alice: Wire, bob: Wire, carol: Wire) -> None:
    thread = group(alice, bob, carol)
    alice.ok("group.role", thread=thread, user=bob.uid, role="admin")
    assert bob.refused("group.role", thread=thread, user=carol.uid, role="admin") == "forbidden"
    assert bob.refused("group.remove", thread=thread, user=alice.uid) == "forbidden"
    answer = alice.ok("group.role", thread=thread, user=bob.uid, role="owner")
    event = carol.event("member", seq=answer["seq"])
    assert (event["user"], event["role"], event["act"]) == (bob.uid, "owner", "role")
    roles = {m["uid"]: m["role"] for m in alice.ok("group.info", thread=thread)["members"]}
    assert roles == {alice.uid: "admin", bob.uid: "owner", carol.uid: "member"}
    assert bob.refused("group.role", thread=thread, user=carol.uid, role="king") == "bad_request"


def test_leaving(alice: Wire, bob: Wire) -> None:
    thread = group(alice, bob)
    assert alice.refused("group.leave", thread=thread) == "conflict"
    seq = bob.ok("group.leave", thread=thread)["seq"]
    event = alice.event("member", seq=seq)
    assert (event["act"], event["user"]) == ("leave", bob.uid)
    assert bob.refused("group.leave", thread=thread) == "not_member"


def test_a_deleted_group_is_gone_but_readable(alice: Wire, bob: Wire, carol: Wire) -> None:
    thread = group(alice, bob, carol)
    alice.ok("group.remove", thread=thread, user=carol.uid)
    assert bob.refused("group.delete", thread=thread) == "forbidden"
    seq = alice.ok("group.delete", thread=thread)["seq"]
    assert bob.event("thread", seq=seq)["deleted"] is True
    assert bob.refused("send", thread=thread, text="x") == "gone"
    assert bob.refused("group.info", thread=thread) == "gone"
    assert carol.refused("send", thread=thread, text="x") == "not_member"
    assert bob.ok("history", thread=thread)["events"][-1]["deleted"] is True
    assert thread in bob.ok("sync", cursors={thread: 1})["removed"]


def test_every_request_to_a_deleted_group_is_gone(alice: Wire, bob: Wire, carol: Wire) -> None:
    thread = group(alice, bob, carol)
    alice.say(thread)
    alice.ok("group.remove", thread=thread, user=carol.uid)
    assert carol.ok("read", thread=thread, seq=2)
    alice.ok("group.delete", thread=thread)
    for op, fields in (
        ("send", {"text": "x"}),
        ("edit", {"seq": 2, "text": "x"}),
        ("delete", {"seqs": [2], "for_": "all"}),
        ("delete", {"seqs": [2], "for_": "me"}),
        ("react", {"seq": 2, "emoji": "x", "on": True}),
        ("recv", {"seq": 2}),
        ("read", {"seq": 2}),
        ("typing", {"on": True}),
        ("thread.set", {"pinned": True}),
        ("group.info", {}),
        ("group.update", {"name": "x"}),
        ("group.add", {"users": [carol.uid]}),
        ("group.remove", {"user": bob.uid}),
        ("group.role", {"user": bob.uid, "role": "admin"}),
        ("group.leave", {}),
        ("group.delete", {}),
    ):
        assert alice.refused(op, thread=thread, **fields) == "gone", op
        assert carol.refused(op, thread=thread, **fields) == "not_member", op


def test_strangers_find_nothing(server: Server, alice: Wire, bob: Wire) -> None:
    thread = group(alice, bob)
    stranger = server.user()
    for op, fields in (
        ("send", {"text": "x"}),
        ("history", {}),
        ("group.info", {}),
        ("group.leave", {}),
        ("read", {"seq": 1}),
        ("typing", {"on": True}),
        ("thread.set", {"pinned": True}),
    ):
        assert stranger.refused(op, thread=thread, **fields) == "not_found", op
