"""PROTOCOL.md §4: the eight guarantees, over real sockets, kills and restarts included."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.wire import Frame, Server, Wire


def kill(server: Server, actor: str) -> None:
    request = urllib.request.Request(
        f"http://{server.ops}/lab/kill",
        data=f'{{"actor": "{actor}", "reason": "kill"}}'.encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 200


def restart(server: Server, data: Path) -> Server:
    """kill -9, then a new process on the same data."""
    server.stop(signal.SIGKILL)
    return Server(data)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    server = Server(tmp_path)
    alice, bob = server.user(), server.user()
    sent = [alice.say(bob, str(number), cid=f"c{number}") for number in range(20)]
    thread = sent[0]["thread"]
    alice.ok("edit", thread=thread, seq=1, text="edited")
    alice.ok("contact.add", uid=bob.uid, alias="B")
    group = alice.ok("group.create", name="G", members=[bob.uid], cid="g")["thread"]
    server = restart(server, tmp_path)
    try:
        again = server.wire()
        again.ok("auth", token=alice.token)
        again.uid = alice.uid
        events = again.ok("history", thread=thread)["events"]
        assert [event["seq"] for event in events] == list(range(1, 22))
        assert events[0]["text"] == "edited"
        for number, first in enumerate(sent):
            repeat = again.say(bob, str(number), cid=f"c{number}")
            assert (repeat["seq"], repeat["ts"], repeat["dup"]) == (first["seq"], first["ts"], True)
        assert again.ok("group.create", name="G", members=[bob.uid], cid="g")["thread"] == group
        assert again.ok("contact.list")["contacts"][0]["alias"] == "B"
        assert (
            server.wire().refused("login", user=alice.user, **{"pass": "wrong one"})
            == "bad_credentials"
        )
    finally:
        server.stop()


def test_every_member_sees_the_same_event_at_the_same_seq(server: Server) -> None:
    members = [server.user() for _ in range(4)]
    thread = members[0].ok("group.create", name="G", members=[m.uid for m in members[1:]])["thread"]
    ids = [
        (member, member.begin("send", thread=thread, text=f"{index}.{number}"))
        for number in range(10)
        for index, member in enumerate(members)
    ]
    acked = {member.end(number)["seq"] for member, number in ids}
    assert acked == set(range(2, 42))
    logs: list[list[Frame]] = [member.ok("history", thread=thread)["events"] for member in members]
    assert [event["seq"] for event in logs[0]] == list(range(1, 42))
    assert [event.get("n") for event in logs[0][1:]] == list(range(1, 41))
    strip = [[{k: v for k, v in event.items() if k != "cid"} for event in log] for log in logs]
    assert all(log == strip[0] for log in strip)
    times = [event["ts"] for event in logs[0]]
    assert times == sorted(times)


def test_a_removal_is_the_last_thing_read_however_busy_the_group(
    server: Server, alice: Wire, bob: Wire
) -> None:
    writer = server.device(alice)
    for _ in range(10):
        thread = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
        removing = alice.begin("group.remove", thread=thread, user=bob.uid)
        writing = [writer.begin("send", thread=thread, text=str(n)) for n in range(40)]
        reading = [bob.begin("sync", cursors={}) for _ in range(10)]
        removal = alice.end(removing)["seq"]
        for number in writing:
            writer.end(number)
        for number in reading:
            answer = bob.end(number)
            events = answer["events"].get(thread, [])
            shown = [row for row in answer["threads"] if row["thread"] == thread]
            assert all(event["seq"] <= removal for event in events)
            assert all(row["head"] <= removal for row in shown)
            assert all(row["last"]["seq"] < removal for row in shown if "last" in row)


def test_several_events_of_one_request_spare_the_connection_that_acted(
    server: Server, alice: Wire, bob: Wire
) -> None:
    own = server.device(alice)
    thread = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    alice.say(thread)
    alice.say(thread)
    people = [server.user() for _ in range(2)]
    added = alice.ok("group.add", thread=thread, users=[person.uid for person in people])
    deleted = alice.ok("delete", thread=thread, seqs=[3, 2, 3], for_="all")
    assert (added["seq"], deleted["seq"]) == (5, 7)
    assert not [event for event in alice.quiet() if event.get("thread") == thread]
    for wire in (own, bob):
        seen = [event for event in wire.quiet() if event.get("thread") == thread]
        assert [event["seq"] for event in seen if event["e"] != "head"] == [1, 2, 3, 4, 5, 6, 7]
    joined = [event["seq"] for event in people[1].quiet() if event["e"] in {"member", "del"}]
    assert joined == [5, 6, 7]


def test_what_names_several_things_is_done_whole_or_not_at_all(
    server: Server, alice: Wire, bob: Wire
) -> None:
    thread = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    alice.say(thread, "mine")
    bob.say(thread, "his")
    stranger = server.user()
    assert bob.refused("delete", thread=thread, seqs=[3, 2], for_="all") == "forbidden"
    assert bob.refused("delete", thread=thread, seqs=[3, 1], for_="all") == "bad_request"
    assert bob.refused("delete", thread=thread, seqs=[3, 99], for_="me") == "not_found"
    users = [stranger.uid, bob.uid]
    assert alice.refused("group.add", thread=thread, users=users) == "conflict"
    users = [stranger.uid, "u999999"]
    assert alice.refused("group.add", thread=thread, users=users) == "not_found"
    assert stranger.refused("history", thread=thread) == "not_found"
    page = bob.ok("history", thread=thread)
    assert page["head"] == 3
    assert [event.get("text") for event in page["events"]] == [None, "mine", "his"]


def test_a_repeat_is_answered_whatever_happened_since(tmp_path: Path) -> None:
    server = Server(tmp_path)
    alice, bob = server.user(), server.user()
    creation = {"name": "G", "members": [bob.uid], "cid": "c"}
    group = alice.ok("group.create", **creation)
    thread = group["thread"]
    sent = bob.say(thread, "text", cid="c")
    edit = {"thread": thread, "seq": sent["seq"], "text": "other", "cid": "e"}
    edited = bob.ok("edit", **edit)
    assert alice.say(thread, "text", cid="c")["seq"] == 4  # a name space for each author
    bob.ok("delete", thread=thread, seqs=[sent["seq"]], for_="all")
    alice.ok("group.remove", thread=thread, user=bob.uid)
    alice.ok("group.delete", thread=thread)
    server = restart(server, tmp_path)
    try:
        again, creator = server.wire(), server.wire()
        again.ok("auth", token=bob.token)
        creator.ok("auth", token=alice.token)
        repeat = again.say(thread, "text", cid="c")
        assert [repeat[k] for k in ("seq", "n", "ts", "dup")] == [
            *(sent[k] for k in ("seq", "n", "ts")), True,
        ]  # fmt: skip
        repeat = again.ok("edit", **edit)
        assert [repeat[k] for k in ("seq", "ts", "dup")] == [edited["seq"], edited["ts"], True]
        repeat = creator.ok("group.create", **creation)
        assert [repeat[k] for k in ("thread", "seq", "ts", "dup")] == [
            *(group[k] for k in ("thread", "seq", "ts")), True,
        ]  # fmt: skip
        assert again.refused("send", thread=thread, text="new", cid="c") == "conflict"
        assert again.refused("send", thread=thread, text="new", cid="new") == "not_member"
        assert creator.refused("send", thread=thread, text="new", cid="new") == "gone"
    finally:
        server.stop(signal.SIGKILL)


def test_acks_and_events_come_in_seq_order_on_each_device(server: Server) -> None:
    alice, bob = server.user(), server.user()
    thread = alice.say(bob)["thread"]
    bob.event("msg", seq=1)
    ids: dict[int, None] = {}
    for _ in range(30):
        ids[alice.begin("send", thread=thread, text="a")] = None
        bob.begin("send", thread=thread, text="b")
    order: list[int] = []
    while len(order) < 60:
        frame = alice.receive()
        if frame["op"] == "ok" or frame.get("e") == "msg":
            order.append(frame["seq"])
    assert order == list(range(2, 62))


def test_a_killed_channel_announces_its_head(server: Server, alice: Wire, bob: Wire) -> None:
    sent = alice.say(bob)
    kill(server, f"channel:{sent['thread']}")
    for wire in (alice, bob):
        head = wire.event("head", thread=sent["thread"])
        assert (head["seq"], head["n"]) == (1, 1)
    alice.say(bob, "after")
    assert bob.event("msg", text="after")["seq"] == 2


@pytest.mark.parametrize("actor", ["presence", "accounts", "contacts", "journal", "directory"])
def test_the_service_goes_on_without_a_part(
    server: Server, alice: Wire, bob: Wire, actor: str
) -> None:
    thread = alice.say(bob)["thread"]
    numbers = [alice.begin("send", thread=thread, text=str(n), cid=f"k{n}") for n in range(20)]
    kill(server, actor)
    assert [alice.end(number)["seq"] for number in numbers] == list(range(2, 22))
    alice.ok("session.list")
    alice.ok("contact.list")
    assert bob.event("msg", seq=21)


def test_a_killed_session_closes_no_socket(server: Server, alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    bob.event("msg", seq=1)
    kill(server, f"session:{bob.uid}")
    alice.say(thread, "while it restarts")
    while True:  # a live event, or a head that tells to fetch
        frame = bob.receive()
        if frame.get("e") == "msg" and frame["seq"] == 2:
            break
        if frame.get("e") == "head" and frame["seq"] == 2:
            break
    assert bob.ok("history", thread=thread, after=1)["events"][0]["text"] == "while it restarts"
    bob.say(thread, "still here")
    alice.event("msg", text="still here")


def test_a_reconnect_by_the_recipe_misses_nothing(server: Server, alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob, "1")["thread"]
    bob.event("msg", seq=1)
    bob.socket.socket.close()
    for number in range(2, 30):
        alice.say(thread, str(number))
    again = server.wire()
    again.ok("auth", token=bob.token)
    seen: list[int] = []
    cursors = {thread: 1}
    while True:
        page = again.ok("sync", cursors=cursors, limit=10)
        seen += [event["seq"] for event in page["events"].get(thread, [])]
        cursors[thread] = seen[-1]
        if not page["more"]:
            break
    assert seen == list(range(2, 30))


def test_one_hostile_client_changes_nothing_for_others(
    server: Server, alice: Wire, bob: Wire
) -> None:
    hostile = server.user()
    thread = alice.say(bob)["thread"]
    for _ in range(15):
        hostile.send("nonsense")
        hostile.send({"op": "history", "thread": thread})
        hostile.send({"op": "send", "thread": thread, "text": "x" * 60_000})
    for number in range(10):
        alice.say(thread, str(number))
    assert bob.event("msg", seq=11)
    assert not [event for event in hostile.quiet() if event.get("thread") == thread]


def test_unread_is_derived_and_survives(tmp_path: Path) -> None:
    server = Server(tmp_path)
    alice, bob = server.user(), server.user()
    thread = alice.say(bob)["thread"]
    bob.say(thread)
    alice.say(thread)
    bob.ok("read", thread=thread, seq=1)
    server = restart(server, tmp_path)
    try:
        for token, unread in ((alice.token, 0), (bob.token, 1)):
            wire = server.wire()
            wire.ok("auth", token=token)
            assert wire.ok("thread.list")["threads"][0]["unread"] == unread
    finally:
        server.stop()


def test_the_tree_and_health_can_be_read(server: Server) -> None:
    import json

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://{server.ops}{path}", timeout=5) as response:
            return str(response.read().decode())

    tree = json.loads(get("/tree"))
    assert tree["name"] == "root"
    names = {child["name"] for child in tree["children"]}
    assert names == {"storage", "directory", "channels", "sessions", "front"}
    assert {"id", "name", "kind", "class", "state", "restarts", "age_s", "mailbox", "handled",
            "children"} <= set(tree)  # fmt: skip
    assert json.loads(get("/ready"))["ready"] is True
    assert "coppice_requests_total" in get("/metrics")
    with urllib.request.urlopen(f"http://{server.address}/", timeout=5) as page:
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_what_is_deleted_for_me_stays_hidden_while_its_thread_wakes(tmp_path: Path) -> None:
    server = Server(tmp_path)
    alice, bob = server.user(), server.user()
    thread = alice.say(bob, "hide me")["thread"]
    bob.ok("delete", thread=thread, seqs=[1], for_="me")
    server = restart(server, tmp_path)
    try:
        again = server.wire()
        again.ok("auth", token=bob.token)
        again.send({"op": "read", "thread": thread, "seq": 1})  # starts the thread's channel
        (event,) = again.ok("history", thread=thread)["events"]
        assert "text" not in event
    finally:
        server.stop(signal.SIGKILL)
