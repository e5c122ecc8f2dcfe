"""PROTOCOL.md §1 and §6: frames, ids, error codes, close codes."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.wire import PASSWORD, ROOT, Server, Wire
from tests.gateway.websocket_peer import HEAD, frame


def test_hello_comes_first_and_says_everything(server: Server) -> None:
    hello = server.wire().hello
    assert {"op", "v", "hb_ms", "offline_ms", "auth_ms", "node", "now", "limits"} <= set(hello)
    assert (hello["op"], hello["v"]) == ("hello", 1)
    assert set(hello["limits"]) == {
        "frame_bytes", "text_chars", "group_members", "history_events", "sync_threads",
        "sync_events", "presence_uids", "presence_interval_ms", "sessions", "send_burst",
        "send_per_s", "request_burst", "request_per_s", "login_failures_per_min", "queue_frames",
        "queue_bytes", "sockets", "sockets_per_address",
    }  # fmt: skip


def test_the_subprotocol_is_negotiated(server: Server) -> None:
    wire = server.wire(subprotocols=["chat.v9.json", "chat.v1.json"])
    assert wire.socket.subprotocol == "chat.v1.json"
    unknown = Wire(server, hello=False, subprotocols=["chat.v9.json"])
    assert unknown.closed() == 4002
    assert unknown.bye is None


def test_ids_are_echoed_unchanged(alice: Wire) -> None:
    for number in (0, -7, 2**40, "text", "", "ü"):
        alice.send({"op": "session.list", "id": number})
        while "id" not in (answer := alice.receive()):
            pass
        assert answer["id"] == number
        assert type(answer["id"]) is type(number)


def test_without_an_id_there_is_no_ok_but_there_are_errors(alice: Wire, bob: Wire) -> None:
    alice.send({"op": "send", "to": bob.uid, "text": "no id"})
    alice.send({"op": "send", "to": "u999999", "text": "no id"})
    assert alice.error()["code"] == "not_found"
    bob.event("msg", text="no id")
    alice.send({"op": "hb"})
    assert alice.receive()["op"] == "hb"


def test_a_heartbeat_is_answered_before_login_too(server: Server) -> None:
    wire = server.wire()
    wire.send({"op": "hb"})
    answer = wire.receive()
    assert answer["op"] == "hb"
    assert abs(answer["now"] - time.time() * 1000) < 60_000


def test_before_login_everything_else_is_unauthorized(server: Server) -> None:
    wire = server.wire()
    for op in ("send", "presence", "nonsense", "bye"):
        assert wire.refused(op) == "unauthorized"


def test_before_login_pipelined_requests_are_unauthorized_too(server: Server) -> None:
    wire = server.wire()
    first = wire.begin("login", user="nobody.at.all", **{"pass": PASSWORD})
    rest = [wire.begin(op) for op in ("thread.list", "nonsense", "send")]
    assert wire.end(first)["code"] == "bad_credentials"
    assert [wire.end(number)["code"] for number in rest] == ["unauthorized"] * 3


def test_what_is_pipelined_behind_a_login_is_judged_after_it(server: Server, alice: Wire) -> None:
    wire = server.wire()
    first = wire.begin("auth", token=alice.token)
    rest = [wire.begin(op) for op in ("session.list", "nonsense", "send", "auth")]
    assert wire.end(first)["op"] == "ok"
    assert wire.end(rest[0])["op"] == "ok"
    codes = [wire.end(number)["code"] for number in rest[1:]]
    assert codes == ["unknown_op", "bad_request", "conflict"]


def test_after_login_logging_in_is_a_conflict(alice: Wire) -> None:
    assert alice.refused("auth", token=alice.token) == "conflict"
    assert alice.refused("login", user=alice.user, **{"pass": PASSWORD}) == "conflict"
    assert alice.refused("register", user="another.one", **{"pass": PASSWORD}) == "conflict"


def test_unknown_fields_are_ignored_and_bad_ones_named(alice: Wire, bob: Wire) -> None:
    alice.ok("send", to=bob.uid, text="x", colour="green")
    answer = alice.request("send", to=bob.uid, text=7)
    assert answer["code"] == "bad_request"
    assert "text" in answer["msg"]
    missing = alice.request("history")
    assert missing["code"] == "bad_request"
    assert "thread" in missing["msg"]


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800"])
def test_nul_and_lone_surrogates_are_refused(alice: Wire, bob: Wire, escape: str) -> None:
    alice.send(f'{{"op":"send","id":"n","to":"{bob.uid}","text":"a{escape}b"}}')
    answer = alice.receive()
    assert (answer["code"], answer["id"]) == ("bad_request", "n")
    assert "text" in answer["msg"]


@pytest.mark.parametrize(
    "frame",
    ["nonsense", "", "[]", "7", "{}", '{"op":7}', '{"op":"hb"} {"op":"hb"}', '{"op":"hb","id":[]}',
     '{"op":"hb","id":true}', '{"op":"hb","id":1.0}', b'{"op":"hb"}'],
)  # fmt: skip
def test_a_malformed_frame_is_a_bad_request(alice: Wire, frame: str | bytes) -> None:
    alice.send(frame)
    assert alice.receive()["code"] == "bad_request"
    alice.ok("session.list")


def test_the_twentieth_malformed_frame_closes(alice: Wire) -> None:
    for _ in range(19):
        alice.send("nonsense")
    alice.ok("session.list")
    alice.send(b"{}")
    assert alice.closed() == 4001
    assert alice.bye is not None
    assert (alice.bye["op"], alice.bye["code"]) == ("bye", 4001)


def test_a_frame_too_large_closes(alice: Wire) -> None:
    limit = alice.hello["limits"]["frame_bytes"]
    largest = json.dumps({"op": "session.list", "id": 7, "filler": ""})
    largest = largest.replace('""', f'"{"x" * (limit - len(largest))}"')
    assert len(largest) == limit
    alice.send(largest)
    assert alice.receive()["id"] == 7
    alice.send(largest + " ")
    assert alice.closed() == 1009
    assert alice.bye is None


@pytest.mark.parametrize(
    ("broken", "code"),
    [(frame(b"x", rsv=4), 1002), (frame(b"x", masked=False), 1002), (frame(b"\xff"), 1007)],
    ids=["reserved bit", "unmasked", "not UTF-8"],
)
def test_a_broken_rule_of_websockets_is_announced(alice: Wire, broken: bytes, code: int) -> None:
    alice.socket.socket.sendall(broken)
    assert alice.closed() == code
    assert alice.bye is not None
    assert alice.bye["code"] == code
    assert alice.bye["reason"]


def test_a_fragmented_frame_is_one_frame(alice: Wire) -> None:
    alice.socket.send(iter(['{"op":"ses', 'sion.list","i', 'd":"f"}']))
    assert alice.receive()["id"] == "f"


def test_bye_closes_cleanly(alice: Wire) -> None:
    alice.ok("bye")
    assert alice.closed() == 1000
    assert alice.bye is not None
    assert alice.bye["code"] == 1000


def test_every_close_is_announced(server: Server, alice: Wire, bob: Wire) -> None:
    phone, tablet = server.device(alice), server.device(alice)
    server.wire().ok("auth", token=phone.token)
    alice.ok("session.revoke", sid=tablet.sid)
    bob.ok("logout")
    for wire, code in ((phone, 4007), (tablet, 4006), (bob, 4006)):
        assert wire.closed() == code
        assert wire.bye is not None
        assert set(wire.bye) == {"op", "code", "reason", "retry_ms"}
        assert wire.bye["code"] == code


def test_pings_are_answered_but_prove_no_life(special: Callable[..., Server]) -> None:
    server = special(COPPICE_OFFLINE_MS="400", COPPICE_HB_MS="100")
    alice = server.user()
    assert alice.socket.ping().wait(5)
    with contextlib.suppress(ConnectionClosed):
        for _ in range(500):
            alice.socket.ping()
            time.sleep(0.01)
    assert alice.closed() == 4010
    assert alice.bye is not None
    assert alice.bye["code"] == 4010


def test_who_does_not_log_in_is_closed(special: Callable[..., Server]) -> None:
    server = special(COPPICE_AUTH_MS="300")
    wire = server.wire()
    wire.send({"op": "hb"})
    assert wire.closed() == 4003
    server.user().ok("session.list")


def test_a_drain_says_when_to_come_back(special: Callable[..., Server]) -> None:
    server = special()
    wires = [server.user() for _ in range(3)]
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    for wire in wires:
        assert wire.closed() == 4012
        assert wire.bye is not None
        assert wire.bye["retry_ms"] > 0
    assert server.process.wait(10) == 0
    assert time.monotonic() - began < 10


def test_who_comes_during_a_drain_is_told_nothing_else(special: Callable[..., Server]) -> None:
    server = special()
    user = server.user()
    with socket.create_connection(("127.0.0.1", server.port)) as hanging:
        hanging.sendall(HEAD + b"\r\n")
        assert hanging.recv(12) == b"HTTP/1.1 101"
        server.process.send_signal(signal.SIGTERM)
        assert user.closed() == 4012
        late = Wire(server, hello=False)
        said: list[str] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                said.append(late.receive()["op"])
        assert said == ["bye"]
        assert late.closed() == 4012


@pytest.mark.usefixtures("embedded_log")
def test_a_second_process_on_the_same_data_is_refused(tmp_path: Path) -> None:
    first = Server(tmp_path)
    try:
        second = subprocess.run(
            [sys.executable, "run.py", "serve", "--port", "0", "--data", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert second.returncode == 2
        assert str(tmp_path) in second.stderr
        assert second.stdout == ""
    finally:
        assert first.stop() == 0


def test_a_closed_socket_does_not_answer(alice: Wire) -> None:
    alice.ok("bye")
    alice.closed()
    with pytest.raises(ConnectionClosed):
        alice.send({"op": "hb"})
