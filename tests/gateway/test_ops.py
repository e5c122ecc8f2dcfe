"""The operators' listener, over its handler and over a socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import trio

from gateway.exchange import Request, Response
from gateway.ops import READERS_MAX, EventBuffer, Ops, events_missed, is_address
from gateway.server import Server, ServerSettings
from gateway.sockets import SocketStream

LOCAL = {"host": "127.0.0.1:8081"}


class Backend:
    """A system that is what the test says."""

    def __init__(self) -> None:
        self.is_live = self.is_ready = True
        self.killed: list[tuple[str | int, str]] = []
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self.kept: list[Mapping[str, Any]] = []
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1

    def live(self) -> bool:
        return self.is_live

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        return self.is_ready, {"store": "ok"}

    def tree(self) -> Mapping[str, Any]:
        return {"id": 1, "name": "root", "children": []}

    def subscribe(self, listener: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def recent(self) -> Sequence[Mapping[str, Any]]:
        return self.kept

    def kill(self, actor: str | int, reason: str) -> bool:
        self.killed.append((actor, reason))
        return actor != "nobody"

    def metrics(self) -> bytes:
        return b"coppice_up 1\n"


async def ask(
    ops: Ops, path: str, method: str = "GET", body: object = None, **headers: str
) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path, _, query = path.partition("?")
    return await ops.handle(Request(method, path, query, {**LOCAL, **named}, data))


@pytest.mark.parametrize(
    ("path", "checks"), [("/ready", 1), ("/metrics", 1), ("/live", 0), ("/tree", 0)]
)
async def test_stores_are_looked_at_before_what_tells_of_them(path: str, checks: int) -> None:
    backend = Backend()
    await ask(Ops(backend), path)
    assert backend.checks == checks


async def test_health_metrics_and_tree() -> None:
    backend = Backend()
    ops = Ops(backend)
    assert (await ask(ops, "/live")).status == 200
    assert json.loads((await ask(ops, "/ready")).body) == {"ready": True, "store": "ok"}
    backend.is_live = backend.is_ready = False
    assert (await ask(ops, "/live")).status == 503
    assert (await ask(ops, "/ready")).status == 503
    metrics = await ask(ops, "/metrics")
    assert metrics.body == b"coppice_up 1\n"
    assert dict(metrics.headers)["content-type"].startswith("text/plain; version=0.0.4")
    assert json.loads((await ask(ops, "/tree")).body)["name"] == "root"
    assert b"/ready" in (await ask(ops, "/")).body


async def test_other_paths_and_methods() -> None:
    ops = Ops(Backend())
    assert (await ask(ops, "/nowhere")).status == 404
    assert (await ask(ops, "/tree", "POST")).status == 405
    assert (await ask(ops, "/events", "HEAD")).chunks is None


@pytest.mark.parametrize(
    ("host", "is_loopback", "is_any_address"),
    [
        ("127.0.0.1", True, True),
        ("127.9.9.9:8081", True, True),
        ("localhost:80", True, True),
        ("LOCALHOST", True, True),
        ("[::1]:8081", True, True),
        ("10.0.0.1", False, True),
        ("[2001:db8::1]:1", False, True),
        ("evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1:80:evil", False, False),
        ("", False, False),
        ("[::1", True, True),
    ],
)
async def test_a_host_header_must_be_an_address(
    host: str, is_loopback: bool, is_any_address: bool
) -> None:
    assert is_address(host, loopback=True) is is_loopback
    assert is_address(host, loopback=False) is is_any_address
    status = (await ask(Ops(Backend()), "/live", host=host)).status
    assert status == (200 if is_loopback else 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8081"}, 200),
        ({"origin": "http://127.0.0.1:8080"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_sites_cannot_post(headers: dict[str, str], status: int) -> None:
    backend = Backend()
    ops = Ops(backend, lab=True)
    response = await ask(ops, "/lab/kill", "POST", {"actor": "journal"}, **headers)
    assert response.status == status
    assert bool(backend.killed) is (status == 200)


@pytest.mark.parametrize(
    ("listening_on", "asked_for", "status"),
    [
        ("coppice.internal", "coppice.internal:8081", 200),
        ("coppice.internal", "COPPICE.internal", 200),
        ("coppice.internal", "10.0.0.1:8081", 200),
        ("coppice.internal", "evil.example:8081", 403),
        ("coppice.internal", "coppice.internal:8081:evil", 403),
        ("0.0.0.0", "10.0.0.1", 200),
        ("0.0.0.0", "coppice.internal", 403),
        ("localhost", "10.0.0.1", 403),
        ("::1", "[::1]:8081", 200),
        ("::1", "10.0.0.1", 403),
        ("::", "10.0.0.1", 200),
    ],
)
async def test_the_name_that_is_listened_on_is_answered_too(
    listening_on: str, asked_for: str, status: int
) -> None:
    ops = Ops(Backend(), host=listening_on)
    assert (await ask(ops, "/live", host=asked_for)).status == status


async def test_the_lab_kills_by_name_or_id() -> None:
    backend = Backend()
    ops = Ops(backend, lab=True)
    assert (await ask(ops, "/lab/kill", "POST", {"actor": "a", "reason": "why"})).status == 200
    assert (await ask(ops, "/lab/kill", "POST", {"actor": 7})).status == 200
    assert backend.killed == [("a", "why"), (7, "kill")]
    missing = await ask(ops, "/lab/kill", "POST", {"actor": "nobody"})
    assert (missing.status, b"nobody" in missing.body) == (404, True)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"actor":true}', b'{"actor":"a","reason":1}', b"\xff"]
)
async def test_a_kill_that_names_nothing_is_400(body: bytes) -> None:
    backend = Backend()
    assert (await ask(Ops(backend, lab=True), "/lab/kill", "POST", body)).status == 400
    assert not backend.killed


async def test_a_closed_lab_and_verbs_it_does_not_have_are_404() -> None:
    closed = await ask(Ops(Backend()), "/lab/kill", "POST", {"actor": "a"})
    assert (closed.status, b"--lab" in closed.body) == (404, True)
    ops = Ops(Backend(), lab=True)
    for method, path in (("POST", "/lab/fault"), ("DELETE", "/lab/fault"), ("GET", "/lab/points")):
        other = await ask(ops, path, method, {})
        assert (other.status, b"/lab/kill" in other.body) == (404, True)
    assert (await ask(ops, "/lab/kill")).status == 405


async def test_a_slow_reader_of_events_loses_the_oldest_and_is_told() -> None:
    buffer = EventBuffer(2)
    for number in range(5):
        buffer.put({"n": number})
    await buffer.wait()
    assert buffer.take() == (
        b'data: {"event":"dropped","count":3}\n\nid: 3\ndata: {"n":3}\n\nid: 4\ndata: {"n":4}\n\n'
    )
    assert buffer.take() == b""


async def test_events_beat_while_it_is_quiet(autojump_clock: trio.testing.MockClock) -> None:
    backend = Backend()
    response = await ask(Ops(backend), "/events")
    assert response.chunks is not None
    assert b"retry" in await anext(response.chunks)
    assert await anext(response.chunks) == b": alive\n\n"
    backend.listeners[0]({"event": "started"})
    assert await anext(response.chunks) == b'data: {"event":"started"}\n\n'
    await response.chunks.aclose()
    assert not backend.listeners


KEPT = [{"n": number} for number in (3, 4, 5)]


@pytest.mark.parametrize(
    ("last_event_id", "recent", "missed"),
    [
        ("", 0, []),
        ("", 2, [4, 5]),
        ("", 99, [3, 4, 5]),
        ("4", 0, [5]),
        ("5", 99, []),
        ("1", 0, [3, 4, 5]),
        ("6", 0, [3, 4, 5]),  # of the server's life before
        ("nonsense", 1, [5]),
    ],
)
def test_a_reader_of_events_hears_what_it_missed(
    last_event_id: str, recent: int, missed: list[int]
) -> None:
    assert [event["n"] for event in events_missed(KEPT, last_event_id, recent)] == missed
    assert not events_missed([], last_event_id, recent)


async def test_events_begin_with_the_recent_ones_when_asked() -> None:
    backend = Backend()
    backend.kept = [{"n": 7, "event": "Exited"}, {"n": 8, "event": "Started"}]
    for query, headers in (("?recent=1", {}), ("", {"last_event_id": "7"})):
        response = await ask(Ops(backend), f"/events{query}", **headers)
        assert response.chunks is not None
        assert b"recent" in await anext(response.chunks)
        assert await anext(response.chunks) == b'id: 8\ndata: {"n":8,"event":"Started"}\n\n'
        await response.chunks.aclose()
    for query in ("?recent=-1", "?recent=", "?recent=x", "?since=1"):
        assert (await ask(Ops(backend), f"/events{query}")).status == 400


async def test_events_are_streamed_until_the_reader_leaves() -> None:
    backend = Backend()
    server = Server(ServerSettings(port=0, sockets=1), None, Ops(backend).handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        stream = SocketStream(socket.create_connection(server.address))
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"retry" not in received:
            received += await stream.receive_some()
        assert b"text/event-stream" in received
        backend.listeners[0]({"event": "exited", "name": "journal"})
        while b"journal" not in received:
            received += await stream.receive_some()
        stream.close()
        while backend.listeners:
            for listener in backend.listeners:
                listener({"event": "started"})
            await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()


async def test_readers_of_events_are_limited() -> None:
    ops = Ops(Backend())
    streams = [(await ask(ops, "/events")).chunks for _ in range(READERS_MAX)]
    for stream in streams:
        assert stream is not None
        await anext(stream)
    assert (await ask(ops, "/events")).status == 503
    for stream in streams:
        assert stream is not None
        await stream.aclose()
    assert (await ask(ops, "/events")).status == 200


async def test_a_websocket_handshake_finds_nothing_here() -> None:
    server = Server(ServerSettings(port=0, sockets=1), None, Ops(Backend()).handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        stream = SocketStream(socket.create_connection(server.address))
        await stream.send_all(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 404 ")
        stream.close()
        nursery.cancel_scope.cancel()
