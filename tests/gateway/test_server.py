"""The main listener over real sockets, with a foreign WebSocket client for company."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway import server as server_module
from gateway.exchange import Request, Response, serve_requests
from gateway.proxies import network
from gateway.server import Server, ServerSettings
from gateway.sockets import SocketStream, host_of, listen, raise_open_files
from gateway.transport import Closed, WebSocketTransport
from tests.gateway.websocket_peer import HEAD, Peer, close, frame

JSON = Subprotocol("chat.v1.json")


async def echo(transport: WebSocketTransport) -> None:
    """Send every payload back until the peer leaves."""
    try:
        while True:
            for payload in await transport.receive():
                text = payload if isinstance(payload, str) else payload.hex()
                await transport.send_all([text.encode()])
    except Closed:
        pass


async def page(request: Request) -> Response:
    if request.path == "/crash":
        raise RuntimeError("a bug")
    body = f"{request.method} {request.path} {len(request.body)}".encode()
    return Response(200, body, (("content-type", "text/plain"),))


@asynccontextmanager
async def serving(
    on_websocket: Callable[[WebSocketTransport], Any] = echo, **settings: Any
) -> AsyncIterator[Server]:
    server = Server(ServerSettings(port=0, **settings), on_websocket, page)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def dial(server: Server) -> Peer:
    sock = socket.create_connection(server.address)
    return Peer(SocketStream(sock))


async def shake(server: Server, more: bytes = b"") -> Peer:
    """A peer with its handshake done."""
    peer = await dial(server)
    await peer.send(HEAD + more + b"\r\n")
    assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
    return peer


async def http(server: Server, data: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    peer = await dial(server)
    await peer.send(data)
    answer = b""
    while more := await peer.stream.receive_some(65_536):
        answer += more
    await peer.stream.aclose()
    return answer


async def in_thread(server: Server, talk: Callable[[ClientConnection], Any], **options: Any) -> Any:
    """`talk` with a `websockets` client, in a thread of its own."""

    def run() -> Any:
        host, port = server.address
        options.setdefault("compression", None)
        with connect(f"ws://{host}:{port}/ws", proxy=None, **options) as client:
            return talk(client)

    return await trio.to_thread.run_sync(run)


# ------------------------------------------------------------------------------ WebSockets


async def test_a_foreign_client_talks_fragments_pings_and_closes() -> None:
    def talk(client: ClientConnection) -> None:
        assert client.subprotocol == JSON
        client.send("grüße")
        assert client.recv() == "grüße"
        client.send(["one ", "two ", "three"])
        assert client.recv() == "one two three"
        client.send("x" * 65_536)
        assert client.recv() == "x" * 65_536
        client.send([b"\x01", b"\x02"])
        assert client.recv() == "0102"
        assert client.ping(b"data").wait(5)
        client.close(1000, "done")
        assert client.close_code == 1000

    async with serving() as server:
        await in_thread(server, talk, subprotocols=[JSON])


async def test_compression_is_declined() -> None:
    async with serving() as server:
        extensions = await in_thread(
            server, lambda client: client.protocol.extensions, compression="deflate"
        )
    assert extensions == []


@pytest.mark.parametrize(
    ("send", "code"), [("x" * 65_537, 1009), (["x" * 40_000] * 2, 1009), ("x" * 3_000_000, 1009)]
)
async def test_a_foreign_client_sees_why_it_was_closed(send: Any, code: int) -> None:
    def talk(client: ClientConnection) -> int | None:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 (either call may notice)
            client.send(send)
            client.recv()
        return closed.value.rcvd.code if closed.value.rcvd else None

    async with serving() as server:
        assert await in_thread(server, talk) == code


async def test_without_an_offer_json_is_spoken_and_not_announced() -> None:
    seen = []

    async def look(transport: WebSocketTransport) -> None:
        seen.append((transport.subprotocol, transport.peer_address))

    async with serving(look) as server:
        peer = await shake(server)
        assert await peer.next_close() == (1000, "")
        await peer.stream.aclose()
    assert seen == [("chat.v1.json", "127.0.0.1")]


async def test_the_known_version_among_the_offered_is_chosen() -> None:
    async with serving() as server:
        offers = [Subprotocol("chat.v9"), JSON]
        assert await in_thread(server, lambda c: c.subprotocol, subprotocols=offers) == JSON


@pytest.mark.parametrize("offer", ["chat.v9", "chat.v1.msgpack"])
async def test_an_offer_without_a_known_version_is_closed_4002(offer: str) -> None:
    def talk(client: ClientConnection) -> int | None:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        return closed.value.rcvd.code if closed.value.rcvd else None

    async with serving() as server:
        assert await in_thread(server, talk, subprotocols=[Subprotocol(offer)]) == 4002


@pytest.mark.parametrize(
    ("origin", "allowed", "is_welcome"),
    [
        (None, (), True),
        ("http://127.0.0.1:{port}", (), True),
        ("https://127.0.0.1:{port}", (), True),
        ("http://127.0.0.1", (), False),
        ("http://evil.example", (), False),
        ("null", (), False),
        ("http://[", (), False),
        ("https://app.example", ("https://app.example",), True),
        ("https://APP.example", ("https://app.example/",), True),
        ("http://app.example", ("https://app.example",), False),
        ("http://evil.example", ("*",), True),
    ],
)
async def test_pages_of_other_sites_stay_outside(
    origin: str | None, allowed: tuple[str, ...], is_welcome: bool
) -> None:
    async with serving(allowed_origins=allowed) as server:
        headers = {"Origin": origin.format(port=server.address[1])} if origin else {}
        if is_welcome:
            await in_thread(server, lambda c: None, additional_headers=headers)
            return
        with pytest.raises(InvalidStatus) as refused:
            await in_thread(server, lambda c: None, additional_headers=headers)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 8"), b"426"),
        ((b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="), b"400"),
        ((b"dGhlIHNhbXBsZSBub25jZQ==", b"not base64!"), b"400"),
        ((b"GET", b"PUT"), b"400"),
        ((b"Connection: Upgrade", b"Connection: close"), b"426"),
        ((b"Upgrade: websocket", b"Sec-WebSocket-Protocol: a b"), b"426"),
        ((b"Host: 127.0.0.1", b"Sec-WebSocket-Protocol: a b\r\nHost: x"), b"400"),
    ],
)
async def test_a_bad_handshake_is_refused_in_http(
    change: tuple[bytes, bytes], status: bytes
) -> None:
    async with serving() as server:
        answer = await http(server, HEAD.replace(*change) + b"\r\nGET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"200 OK" in answer or b"connection: close" in answer.lower()


async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    async with serving() as server:
        peer = await dial(server)
        await peer.send(HEAD + b"\r\n" + frame(b"eager") + close())
        assert b"101" in await peer.head()
        assert await peer.next() == (1, b"eager")
        assert await peer.next_close() == (1000, "")
        await peer.stream.aclose()


async def test_a_crashing_callback_closes_1011_and_harms_nobody_else() -> None:
    async def fragile(transport: WebSocketTransport) -> None:
        for payload in await transport.receive():
            if payload == "crash":
                raise RuntimeError("a bug")
            await transport.send_all([b"fine"])

    async with serving(fragile) as server:
        victim, other = await shake(server), await shake(server)
        await victim.send(frame(b"crash"))
        assert (await victim.next_close())[0] == 1011
        await other.send(frame(b"hello"))
        assert await other.next() == (1, b"fine")
        for peer in (victim, other):
            await peer.stream.aclose()


# ------------------------------------------------------------------------------ limits


async def test_above_the_limits_of_sockets_clients_are_told_4013_without_hello() -> None:
    async with serving(sockets=2) as server:
        first, second = await shake(server), await shake(server)
        for _ in range(2):
            third = await shake(server)
            opcode, bye = await third.next()
            assert opcode == 1
            assert b'"op":"bye"' in bye
            assert b"4013" in bye
            assert (await third.next_close())[0] == 4013
            await third.send(close(4013))
            assert await third.ends()
            await third.stream.aclose()
        await first.send(close())
        assert await first.next_close() == (1000, "")
        assert await first.ends()
        fourth = await shake(server)
        await fourth.send(frame(b"in"))
        assert await fourth.next() == (1, b"in")
        assert server.statistics().refused == 2
        for peer in (first, second, fourth):
            await peer.stream.aclose()


async def test_one_address_cannot_take_every_socket() -> None:
    async with serving(sockets_per_address=1) as server:
        first, second = await shake(server), await shake(server)
        await second.next()
        assert (await second.next_close())[0] == 4013
        for peer in (first, second):
            await peer.stream.aclose()


async def test_clients_of_a_proxy_are_of_the_addresses_that_it_names() -> None:
    proxies = (network("127.0.0.0/8"),)
    async with serving(sockets_per_address=1, proxies=proxies) as server:
        clients = (b"192.0.2.1", b"192.0.2.2", b"192.0.2.1")
        peers = [await shake(server, b"X-Forwarded-For: %b\r\n" % client) for client in clients]
        await peers[2].next()
        assert (await peers[2].next_close())[0] == 4013
        assert (server.statistics().websockets, server.statistics().addresses) == (2, 2)
        for peer in peers:
            await peer.stream.aclose()


async def test_a_crowd_beyond_politeness_is_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REFUSALS_MAX", 1)
    async with serving(sockets=1) as server:
        first, second = await shake(server), await shake(server)
        await second.next()
        third = await dial(server)
        await third.send(HEAD + b"\r\n")
        head = await third.head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5" in head.lower()
        for peer in (first, second, third):
            await peer.stream.aclose()


async def test_a_head_too_large_is_431_and_one_never_finished_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, ours, page)
        await theirs.send_all(b"GET / HTTP/1.1\r\nx: " + b"x" * 17_000)
        assert (await theirs.receive_some(4096)).startswith(b"HTTP/1.1 431 ")
        await theirs.aclose()
    ours, theirs = trio.testing.memory_stream_pair()
    started = trio.current_time()
    await theirs.send_all(b"GET / HTTP/1.1\r\n")
    assert await serve_requests(ours, page) is None
    assert trio.current_time() - started == 10.0


async def test_the_oldest_undecided_connection_makes_room() -> None:
    async with serving(undecided=2) as server:
        lazy = []
        for count in (1, 2):
            lazy.append(await dial(server))
            while server.statistics().undecided < count:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert b"200 OK" in await http(server, b"GET / HTTP/1.0\r\n\r\n")
        assert await lazy[0].ends()
        for peer in lazy:
            await peer.stream.aclose()


class Exhausted(socket.socket):
    """A listener in a process that is out of files, for its first three accepts."""

    failures = 3

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_accepting_pauses_when_files_run_out_and_goes_on_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "ACCEPT_PAUSE_S", 0.001)
    server = Server(ServerSettings(), echo, page)
    [bound] = await listen("127.0.0.1", 0)
    with Exhausted(fileno=bound.detach()) as exhausted:
        exhausted.setblocking(False)
        server._listeners = [exhausted]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.accept, nursery)
            peer = await dial(server)
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            assert b"200 OK" in await peer.head()
            assert server.statistics().pauses == 3
            await peer.stream.aclose()
            nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------ HTTP


async def test_pages_share_the_port_and_connections_are_kept() -> None:
    async with serving() as server:
        answer = await http(
            server,
            b"GET /a?q=1 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"HEAD /c HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET http://x/d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert b"GET /a 0" in answer
    assert b"POST /b 3" in answer
    assert b"HEAD" not in answer
    assert b"GET /d 0" in answer


async def test_a_crashing_handler_is_500_and_the_connection_lives_on() -> None:
    async with serving() as server:
        answer = await http(server, b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"a bug" not in answer
    assert b"200 OK" in answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, b"413"),
    ],
)
async def test_what_is_no_acceptable_request_is_refused(data: bytes, status: bytes) -> None:
    async with serving() as server:
        answer = await http(server, data)
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_other_upgrades_are_ignored() -> None:
    async with serving() as server:
        answer = await http(
            server,
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
            b"GET / HTTP/1.0\r\n\r\n",
        )
    assert answer.count(b"200 OK") == 2


# ------------------------------------------------------------------------------ life


async def test_the_accept_loop_may_end_and_begin_again_around_open_connections() -> None:
    server = Server(ServerSettings(port=0), echo, page)
    await server.bind()
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as loop:
            loop.start_soon(server.accept, connections)
            peer = await shake(server)
            loop.cancel_scope.cancel()
        late = await dial(server)
        connections.start_soon(server.accept, connections)
        await late.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in await late.head()
        await peer.send(frame(b"still here"))
        assert await peer.next() == (1, b"still here")
        connections.cancel_scope.cancel()
    server.close()
    for each in (peer, late):
        await each.stream.aclose()


async def test_drain_waits_for_goodbyes_and_cuts_off_the_rest() -> None:
    draining = trio.Event()

    async def polite(transport: WebSocketTransport) -> None:
        if "stubborn" in await transport.receive():
            await trio.sleep_forever()
        await draining.wait()
        await transport.close(4012, "drain")

    server = Server(ServerSettings(port=0), polite, page)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        address = server.address
        peer, stubborn, idle = await shake(server), await shake(server), await dial(server)
        await peer.send(frame(b"hi"))
        await stubborn.send(frame(b"stubborn"))
        while server.statistics().websockets < 2:
            await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.start_soon(server.drain, 0.1)
        await trio.testing.wait_all_tasks_blocked(0.001)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address)
        draining.set()
        assert await peer.next_close() == (4012, "drain")
        await peer.send(close(4012))
        assert await peer.ends()
        assert await stubborn.ends()
        assert await idle.ends()
        nursery.cancel_scope.cancel()
    for each in (peer, stubborn, idle):
        await each.stream.aclose()


async def test_an_address_in_use_is_an_os_error() -> None:
    async with serving() as server:
        other = Server(ServerSettings(port=server.address[1]), echo, page)
        with pytest.raises(OSError, match="in use"):
            await other.bind()


async def test_port_zero_is_one_port_for_every_address_of_a_host() -> None:
    listeners = await listen("localhost", 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


def test_hosts_of_addresses() -> None:
    assert host_of(("::ffff:10.0.0.1", 1, 0, 0)) == "10.0.0.1"
    assert host_of(("2001:db8::1", 1, 0, 0)) == "2001:db8::1"
    assert host_of("") == ""


def test_the_limit_of_open_files_is_never_lowered() -> None:
    now = raise_open_files(1)
    assert raise_open_files(2) == now
