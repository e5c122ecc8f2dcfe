"""The client side of the benchmarks: many WebSockets on one thread, as cheap as Python allows.

It runs in a process of its own, so that what is measured is the server. Frames are masked once and
sent again and again; answers are told apart by a few bytes. Commands come on stdin, one a line, and
each is answered by one line of JSON: `run SECONDS`, `quit`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

RECEIVE_BYTES = 65_536
IN_FLIGHT = 2
HEARTBEAT = b'{"op":"hb"}'
RUN = os.urandom(4).hex()
"""In the name of every user: a database may know those of another run."""
TEXT = "The wood regrows from its stumps, and nobody counts the rings." + "." * 40


class Peer:
    """One WebSocket: bytes in, payloads out."""

    __slots__ = ("buffer", "number", "on_payload", "sent_at", "sock", "token")

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self.number = number
        self.buffer = b""
        self.sent_at: dict[bytes, float] = {}
        self.token = ""
        self.on_payload: Callable[[Peer, bytes], None] = lambda _peer, _payload: None
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.sock.recv(RECEIVE_BYTES)
        assert head.startswith(b"HTTP/1.1 101"), head[:200]
        self.buffer = head.split(b"\r\n\r\n", 1)[1]

    def send(self, payload: bytes) -> None:
        self.sock.sendall(frame(payload))

    def request(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait, before the loop has begun."""
        self.send(json.dumps(fields).encode())
        while True:
            for payload in self.payloads():
                answer: dict[str, Any] = json.loads(payload)
                if answer.get("id") == fields["id"]:
                    return answer
            self.buffer += self.sock.recv(RECEIVE_BYTES)

    def payloads(self) -> Iterator[bytes]:
        """Every complete frame in the buffer."""
        buffer, at = self.buffer, 0
        while len(buffer) - at >= 2:
            size, begin = buffer[at + 1], at + 2
            if size == 126:
                size, begin = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, begin = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < begin + size:
                break
            at = begin + size
            yield buffer[begin:at]
        self.buffer = buffer[at:]


def frame(payload: bytes) -> bytes:
    """A masked text frame; the mask is zero, which is a mask like any other."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class Load:
    """All peers, and what was counted since the last report."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.selector = selectors.DefaultSelector()
        self.acks = self.deliveries = self.refused = 0
        self.latencies: list[float] = []
        self.active = False

    def add(self, peer: Peer) -> None:
        peer.sock.setblocking(False)
        self.peers.append(peer)
        self.selector.register(peer.sock, selectors.EVENT_READ, peer)

    def run(self, seconds: float, kick: Callable[[Peer], None]) -> dict[str, Any]:
        """Keep everyone busy for a while, then let what is in flight land."""
        self.acks = self.deliveries = self.refused = 0
        self.latencies.clear()
        self.active = True
        began = time.perf_counter()
        for peer in self.peers:
            kick(peer)
        self._turn_until(lambda: time.perf_counter() - began >= seconds)
        took = time.perf_counter() - began
        acks, deliveries = self.acks, self.deliveries
        self.active = False
        deadline = time.perf_counter() + 5
        self._turn_until(
            lambda: not any(p.sent_at for p in self.peers) or time.perf_counter() > deadline
        )
        ordered = sorted(self.latencies)
        return {
            "seconds": took,
            "acks": acks,
            "deliveries": deliveries,
            "refused": self.refused,
            "p50_ms": round(1000 * ordered[len(ordered) // 2], 3) if ordered else None,
            "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 3) if ordered else None,
        }

    def _turn_until(self, done: Callable[[], bool]) -> None:
        while not done():
            for key, _ in self.selector.select(0.05):
                peer: Peer = key.data
                data = peer.sock.recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionError("the server closed a connection")
                peer.buffer += data
                for payload in peer.payloads():
                    peer.on_payload(peer, payload)

    def landed(self, peer: Peer, token: bytes) -> None:
        at = peer.sent_at.pop(token, None)
        if at is not None:
            self.acks += 1
            self.latencies.append(time.perf_counter() - at)


def echo(load: Load, address: tuple[str, int], users: int, _group: int) -> Callable[[Peer], None]:
    """Every peer keeps `IN_FLIGHT` frames travelling to a server that sends them back."""
    numbers = count()

    def send(peer: Peer) -> None:
        token = b"%012d" % next(numbers)
        peer.sent_at[token] = time.perf_counter()
        peer.send(b'{"op":"send","cid":"' + token + b'","text":"' + TEXT.encode() + b'"}')

    def on_payload(peer: Peer, payload: bytes) -> None:
        load.landed(peer, payload[20:32])
        if load.active:
            send(peer)

    for number in range(users):
        peer = Peer(address, number)
        peer.on_payload = on_payload
        load.add(peer)

    def kick(peer: Peer) -> None:
        for _ in range(IN_FLIGHT):
            send(peer)

    return kick


def register(address: tuple[str, int], number: int, prefix: str) -> tuple[Peer, str]:
    """A fresh account on a fresh socket, past the `hello`."""
    peer = Peer(address, number)
    fields = {"op": "register", "id": 1, "user": f"{prefix}{RUN}.{number}", "pass": "benchmark"}
    answer = peer.request(fields)
    assert answer["op"] == "ok", answer
    return peer, answer["uid"]


def founded(peer: Peer, uids: list[str]) -> str:
    """The thread of a new group."""
    fields = {"op": "group.create", "id": 2, "name": "benchmark", "members": uids}
    answer = peer.request(fields)
    assert answer["op"] == "ok", answer
    thread: str = answer["thread"]
    return thread


def relay(load: Load, address: tuple[str, int], users: int, group: int) -> Callable[[Peer], None]:
    """Users in groups, or pairs; each keeps `IN_FLIGHT` durable messages to its own unanswered."""
    numbers = count()
    registered = [register(address, number, "relay") for number in range(users)]
    where = b"to" if group == 2 else b"thread"
    if group == 2:
        places = {peer.number: registered[peer.number ^ 1][1] for peer, _ in registered}
    else:
        places = {}
        for start in range(0, users, group):
            members = registered[start : start + group]
            thread = founded(members[0][0], [uid for _, uid in members])
            places |= {peer.number: thread for peer, _ in members}

    def send(peer: Peer) -> None:
        token = b"%012d" % next(numbers)
        peer.sent_at[token] = time.perf_counter()
        peer.send(
            b'{"op":"send","id":"%s","%s":"%s","cid":"c%s","text":"%s"}'
            % (token, where, places[peer.number].encode(), token, TEXT.encode())
        )

    def on_payload(peer: Peer, payload: bytes) -> None:
        if payload.startswith(b'{"op":"ok","id":"'):
            load.landed(peer, payload[17:29])
            if load.active:
                send(peer)
        elif payload.startswith(b'{"op":"ev","e":"msg"'):
            load.deliveries += 1
        elif payload.startswith(b'{"op":"err"'):
            refused = json.loads(payload)
            if not refused["temporary"]:
                raise RuntimeError(payload.decode())
            load.refused += 1
            peer.sent_at.pop(refused["id"].encode(), None)
            if load.active:
                send(peer)

    for peer, _ in registered:
        peer.on_payload = on_payload
        load.add(peer)

    def kick(peer: Peer) -> None:
        for _ in range(IN_FLIGHT):
            send(peer)

    return kick


def idle(load: Load, address: tuple[str, int], users: int, _group: int) -> Callable[[Peer], None]:
    """Authenticated connections that do nothing but, when told to run, send heartbeats."""

    def send(peer: Peer) -> None:
        peer.sent_at[HEARTBEAT] = time.perf_counter()
        peer.send(HEARTBEAT)

    def on_payload(peer: Peer, payload: bytes) -> None:
        if payload.startswith(HEARTBEAT[:-1]):
            load.landed(peer, HEARTBEAT)
            if load.active:
                send(peer)

    for number in range(users):
        peer, _ = register(address, number, "idle")
        peer.on_payload = on_payload
        load.add(peer)
    return send


KINDS = {"echo": echo, "relay": relay, "idle": idle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("users", type=int)
    parser.add_argument("group", type=int, nargs="?", default=2, help="users in a thread")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    load = Load()
    kick = KINDS[options.kind](load, (host, int(port)), options.users, options.group)
    print(json.dumps({"ready": len(load.peers)}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] != "run":
            break
        print(json.dumps(load.run(float(words[1]), kick)), flush=True)


if __name__ == "__main__":
    main()
