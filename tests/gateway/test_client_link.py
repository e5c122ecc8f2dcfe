"""A link over real sockets: plain, encrypted, refused; and what an address may look like."""

from __future__ import annotations

import ssl
from functools import partial
from typing import cast

import pytest
import trio
import trustme

from gateway.client import ConnectFailed, connect
from gateway.client_link import Address, open_tcp
from tests.gateway.client_stories import take
from tests.gateway.fake_server import FakeServer

SOON_S = 10.0


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


async def test_a_client_speaks_over_tcp(server: FakeServer) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server.nursery.start_soon(trio.serve_listeners, server.serve, [listener])
    port = listener.socket.getsockname()[1]
    with trio.fail_after(SOON_S):
        async with connect(f"http://127.0.0.1:{port}") as client:
            await client.login("alice", "correct horse")
            await client.send("hi", to="u2")
            assert [event["text"] for event in await take(client, 1)] == ["hi"]


async def test_a_client_speaks_over_tls(server: FakeServer) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    [listener] = await trio.open_ssl_over_tcp_listeners(0, ours, host="127.0.0.1")
    server.nursery.start_soon(trio.serve_listeners, server.serve, [listener])
    tcp = cast("trio.SocketListener", listener.transport_listener)
    port = tcp.socket.getsockname()[1]
    with trio.fail_after(SOON_S):
        async with connect(
            f"wss://127.0.0.1:{port}/ws", open_stream=partial(open_tcp, ssl_context=theirs)
        ) as client:
            await client.login("alice", "correct horse")
            await client.send("hi", to="u2")


async def test_a_server_that_is_no_websocket_server_is_a_failed_connection(
    nursery: trio.Nursery,
) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, refuse, [listener])
    port = listener.socket.getsockname()[1]
    with trio.fail_after(SOON_S), pytest.raises(ConnectFailed):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


async def test_nobody_listening_is_a_failed_connection() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(SOON_S), pytest.raises(ConnectFailed):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1/ws", Address("h", 1, "/ws", False)),
        ("h:1", Address("h", 1, "/ws", False)),
        ("https://h", Address("h", 443, "/ws", True)),
        ("wss://h/chat?x=1", Address("h", 443, "/chat?x=1", True)),
        ("http://[::1]:8080/", Address("::1", 8080, "/ws", False)),
    ],
)
def test_addresses(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected
