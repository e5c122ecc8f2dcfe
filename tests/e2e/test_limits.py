"""PROTOCOL.md §5: every limit, on servers that make it small."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.wire import PASSWORD, ROOT, Server, Wire, serving

SMALL = {
    "COPPICE_LIMIT_TEXT_CHARS": "10",
    "COPPICE_LIMIT_GROUP_MEMBERS": "3",
    "COPPICE_LIMIT_HISTORY_EVENTS": "4",
    "COPPICE_LIMIT_SYNC_THREADS": "2",
    "COPPICE_LIMIT_SYNC_EVENTS": "5",
    "COPPICE_LIMIT_PRESENCE_UIDS": "2",
    "COPPICE_LIMIT_PRESENCE_INTERVAL_MS": "60000",
    "COPPICE_LIMIT_SESSIONS": "2",
    "COPPICE_LIMIT_FRAME_BYTES": "2000",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("small"), **SMALL) as server:
        yield server


def test_limits_are_advertised(small: Server) -> None:
    limits = small.wire().hello["limits"]
    for name, value in SMALL.items():
        assert limits[name.removeprefix("COPPICE_LIMIT_").lower()] == int(value)


def test_text_is_counted_in_code_points(small: Server) -> None:
    alice, bob = small.user(), small.user()
    alice.say(bob, "🌲" * 10)
    assert alice.refused("send", to=bob.uid, text="x" * 11) == "too_large"
    thread = alice.say(bob, "short")["thread"]
    assert alice.refused("edit", thread=thread, seq=1, text="x" * 11) == "too_large"


def test_a_group_has_a_largest_size(small: Server) -> None:
    users = [small.user() for _ in range(4)]
    uids = [user.uid for user in users]
    assert users[0].refused("group.create", name="G", members=uids[1:]) == "limit"
    thread = users[0].ok("group.create", name="G", members=uids[1:3])["thread"]
    assert users[0].refused("group.add", thread=thread, users=uids[3:]) == "limit"


def test_pages_and_syncs_are_clamped(small: Server) -> None:
    alice = small.user()
    threads = []
    for _ in range(3):
        bob = small.user()
        threads += [alice.say(bob, "x")["thread"] for _ in range(6)]
    assert len(alice.ok("history", thread=threads[0], limit=100)["events"]) == 4
    synced = alice.ok("sync", cursors={})
    assert len(synced["threads"]) == 2
    assert sum(map(len, synced["events"].values())) == 5
    assert len(synced["more"]) == 3


def test_presence_has_a_size_and_an_interval(small: Server) -> None:
    alice = small.user()
    assert alice.refused("presence", uids=["u1", "u2", "u3"]) == "limit"  # which is no poll
    alice.ok("presence", uids=["u1"])
    early = alice.request("presence", uids=["u1"])
    assert early["code"] == "rate_limited"
    assert early["temporary"] is True
    assert early["retry_ms"] > 0


def test_sessions_a_user(small: Server) -> None:
    alice = small.user()
    small.device(alice)
    assert small.wire().refused("login", user=alice.user, **{"pass": PASSWORD}) == "limit"
    alice.ok("session.revoke", sid="others")
    small.device(alice)


def test_rates_count_per_user_and_heartbeats_are_free(special: Callable[..., Server]) -> None:
    server = special(
        COPPICE_LIMIT_SEND_BURST="3", COPPICE_LIMIT_SEND_PER_S="1",
        COPPICE_LIMIT_REQUEST_BURST="4", COPPICE_LIMIT_REQUEST_PER_S="1",
    )  # fmt: skip
    alice, bob = server.user(), server.user()
    phone = server.device(alice)
    for wire in (alice, phone, alice):
        wire.say(bob)
    refused = phone.request("send", to=bob.uid, text="x")
    assert (refused["code"], refused["temporary"]) == ("rate_limited", True)
    assert 0 < refused["retry_ms"] <= 1000
    bob.say(alice)
    for _ in range(4):
        alice.ok("session.list")
    assert alice.refused("session.list") == "rate_limited"
    for _ in range(50):
        alice.send({"op": "hb"})
    alice.quiet()


def test_what_cannot_be_done_counts_as_a_request(special: Callable[..., Server]) -> None:
    server = special(
        COPPICE_LIMIT_SEND_BURST="2", COPPICE_LIMIT_SEND_PER_S="1",
        COPPICE_LIMIT_REQUEST_BURST="2", COPPICE_LIMIT_REQUEST_PER_S="1",
    )  # fmt: skip
    alice = server.user()
    sends = [alice.begin("send", to=alice.uid) for _ in range(3)]
    codes = [alice.end(number)["code"] for number in sends]
    assert codes == ["bad_request", "bad_request", "rate_limited"]
    others = [alice.begin("nonsense") for _ in range(3)]
    codes = [alice.end(number)["code"] for number in others]
    assert codes == ["unknown_op", "unknown_op", "rate_limited"]


def test_who_never_stops_asking_is_closed(special: Callable[..., Server]) -> None:
    server = special(COPPICE_LIMIT_REQUEST_BURST="1", COPPICE_LIMIT_REQUEST_PER_S="1")
    alice = server.user()
    with suppress(ConnectionClosed):  # before we are done, unless the server is slow
        for _ in range(620):
            alice.send({"op": "user.get", "uids": []})
    assert alice.closed() == 4008
    assert alice.bye is not None
    assert alice.bye["retry_ms"] > 0
    assert [error["code"] for error in alice.errors] == ["rate_limited"] * 601


def test_early_polls_count_as_refused(special: Callable[..., Server]) -> None:
    server = special(COPPICE_LIMIT_PRESENCE_INTERVAL_MS="60000")
    alice = server.user()
    other = server.device(alice)
    for _ in range(602):
        alice.send({"op": "presence", "uids": []})
    assert alice.closed() == 4008
    other.ok("presence", uids=[])  # the interval is each connection's own


def test_failed_logins_lock_account_and_address(special: Callable[..., Server]) -> None:
    server = special(COPPICE_LIMIT_LOGIN_FAILURES_PER_MIN="3")
    alice = server.user()
    wire = server.wire()
    for _ in range(3):
        assert (
            wire.refused("login", user=alice.user, **{"pass": "wrong wrong"}) == "bad_credentials"
        )
    locked = wire.request("login", user=alice.user, **{"pass": PASSWORD})
    assert locked["code"] == "rate_limited"
    assert locked["retry_ms"] > 0
    assert (
        server.wire().refused("login", user="someone.else", **{"pass": PASSWORD}) == "rate_limited"
    )


def test_failures_lock_an_account_everywhere_and_an_address_for_everybody(
    special: Callable[..., Server],
) -> None:
    server = special(COPPICE_LIMIT_LOGIN_FAILURES_PER_MIN="2")
    alice, bob = server.user(), server.user()

    def login(user: str, password: str, address: str = "127.0.0.1") -> str:
        source = socket.create_connection(("127.0.0.1", server.port), source_address=(address, 0))
        wire = server.wire(sock=source)
        answer = wire.request("login", user=user, **{"pass": password})
        wire.close()
        return str(answer.get("code", "ok"))

    for user in (alice.user, "nobody.at.all"):
        assert login(user, "wrong wrong") == "bad_credentials"
    assert login(bob.user, PASSWORD) == "rate_limited"
    assert login(bob.user, PASSWORD, "127.0.0.2") == "ok"
    assert login(alice.user, "wrong wrong", "127.0.0.2") == "bad_credentials"
    assert login(alice.user, PASSWORD, "127.0.0.3") == "rate_limited"
    assert login("nobody.at.all", "wrong wrong", "127.0.0.3") == "bad_credentials"
    assert login("nobody.at.all", "wrong wrong", "127.0.0.4") == "rate_limited"


def test_sockets_have_a_limit_and_those_who_left_do_not_count(
    special: Callable[..., Server],
) -> None:
    server = special(COPPICE_LIMIT_SOCKETS="3")
    for _ in range(4):
        user = server.user()
        user.ok("bye")
        assert user.closed() == 1000
    kept: list[Wire] = []
    while (wire := Wire(server, hello=False)).receive()["op"] == "hello":
        kept.append(wire)
        assert len(kept) <= 3
    assert wire.closed() == 4013
    assert wire.bye is not None
    assert wire.bye["retry_ms"] > 0


def test_sockets_are_counted(special: Callable[..., Server]) -> None:
    server = special(COPPICE_LIMIT_SOCKETS_PER_ADDRESS="2")
    first, second = server.wire(), server.wire()
    third = Wire(server, hello=False)
    assert third.closed() == 4013
    assert third.bye is not None
    first.socket.close()
    deadline = time.monotonic() + 5
    while True:  # the server hears of the close a moment later
        again = Wire(server, hello=False)
        if again.receive()["op"] == "hello":
            break
        assert time.monotonic() < deadline
    second.close()


def test_a_slow_reader_gets_a_gap_and_slows_nobody(special: Callable[..., Server]) -> None:
    server = special(COPPICE_LIMIT_QUEUE_FRAMES="16", COPPICE_LIMIT_QUEUE_BYTES="65536")
    alice, bob = server.user(), server.user()
    phone = server.device(bob)
    text = "x" * 4000
    thread = alice.say(bob, text)["thread"]
    phone.event("msg", seq=1)
    phone.socket.recv_messages.pause()  # its reader thread stops; the kernel's buffers fill
    head = 1
    for _ in range(600):
        head = alice.say(thread, text)["seq"]
        bob.event("msg", seq=head)
    phone.socket.recv_messages.resume()
    gap = phone.event("gap", thread=thread)
    assert gap["head"] == head
    have = max([e["seq"] for e in phone.events if e["e"] == "msg"], default=1)
    assert gap["have"] >= 1
    seen = {e["seq"] for e in phone.events if e["e"] == "msg"}
    assert seen | set(range(gap["have"] + 1, gap["head"] + 1)) >= set(range(2, head + 1))
    page = phone.ok("history", thread=thread, after=gap["have"])
    assert page["events"][0]["seq"] == gap["have"] + 1
    assert have < head


@pytest.mark.parametrize(
    "setting",
    [
        {"COPPICE_LIMIT_GROUP_MEMBERS": "1025"},
        {"COPPICE_LIMIT_HISTORY_EVENTS": "101"},
        {"COPPICE_LIMIT_PRESENCE_UIDS": "501"},
        {"COPPICE_LIMIT_SEND_PER_S": "many"},
        {"COPPICE_PORT": "99999"},
        {"COPPICE_LAB": "yes"},
    ],
)
def test_a_bad_setting_ends_the_program_with_one_line(
    tmp_path: object, setting: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "serve", "--data", str(tmp_path)],
        cwd=ROOT, env=os.environ | setting, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert next(iter(setting)) in line


def test_json_depth_is_no_weapon(small: Server) -> None:
    alice = small.user()
    alice.send('{"op":' + "[" * 900 + "]" * 900 + "}")
    assert alice.receive()["code"] == "bad_request"
    alice.send(json.dumps({"op": "session.list", "id": 1}))
    assert alice.receive()["op"] == "ok"
