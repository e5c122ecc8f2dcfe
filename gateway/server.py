"""The main listener: one port for pages and WebSockets, within limits, restartable and drained.

A fresh connection is *undecided* while HTTP is spoken on it; an opening handshake at `/ws` makes it
a WebSocket and hands it to `on_websocket`, everything else is `on_http`'s. The parts live apart, so
that what crashes takes little along: listening sockets belong to `Server` and survive the accept
loop; connections run in a nursery given by the caller and survive it too.

Being full is answered, never felt by others: beyond the limits of sockets a client is told 4013,
beyond that politeness 503; when too many connections are undecided, the one that has waited longest
is dropped; when the process is out of files, accepting pauses.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from gateway.exchange import (
    Handler,
    Request,
    Response,
    serve_requests,
    text_response,
    wants_websocket,
)
from gateway.framing import Ending
from gateway.handshake import Accepted, shake_hands
from gateway.proxies import Network, client_address
from gateway.sockets import SocketStream, accepted, listen, raise_open_files
from gateway.transport import Traffic, WebSocketTransport
from gateway.wire import SUBPROTOCOL_JSON, codec
from gateway.wire.codes import CloseCode

WEBSOCKET_PATH: Final = "/ws"
SUBPROTOCOLS: Final = (SUBPROTOCOL_JSON,)
ACCEPTS_PER_TURN: Final = 64
"""Connections accepted before the others get their turn again."""
ACCEPT_PAUSE_S: Final = 0.1
"""How long accepting pauses when the process or the machine is out of files or memory."""
UNDECIDED_MAX: Final = 4_096
"""Enough for a crowd that comes back at once: each is decided within a millisecond."""
REFUSALS_MAX: Final = 256
"""Clients told 4013 at the same time; beyond it they get 503."""
FILES_RESERVED: Final = 512
"""Open files that are not connections: stores, listeners, logs, and room for undecided ones."""
RETRY_MS: Final = 5_000
"""When a client that found no room may try again."""
INTERNAL_ERROR: Final = 1011

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen and how much to take. `undecided`: connections on which HTTP is spoken;
    above it the oldest goes, most likely one kept alive. `allowed_origins`: pages of other sites
    that may connect, `*` for all. `proxies`: peers whose word on whom they speak for is taken."""

    host: str = "127.0.0.1"
    port: int = 8080
    undecided: int = UNDECIDED_MAX
    frame_bytes: int = 65_536
    sockets: int = 20_000
    sockets_per_address: int = 5_000
    allowed_origins: Collection[str] = ()
    proxies: Sequence[Network] = ()


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Now: open `websockets`, of `addresses`, and `undecided` connections. Since the start:
    connections `accepted`, pauses for want of files, sockets `refused` for the limits."""

    websockets: int
    addresses: int
    undecided: int
    accepted: int
    pauses: int
    refused: int


class Server:
    """See the module. Bound once, accepting as often as needed, drained once."""

    def __init__(
        self,
        settings: ServerSettings,
        on_websocket: Callable[[WebSocketTransport], Awaitable[None]] | None,
        on_http: Handler,
        traffic: Traffic | None = None,
    ) -> None:
        """`on_websocket` owns its transport until it returns; then, at the latest, it is closed.
        What it raises is logged and ends that connection alone (1011). None: HTTP only."""
        self.settings = settings
        self.traffic = traffic or Traffic()
        self._on_websocket = on_websocket
        self._on_http = on_http
        self._listeners: Sequence[socket.socket] = ()
        self._sockets_max = settings.sockets
        self._open: set[WebSocketTransport] = set()
        self._of_address: Counter[str] = Counter()
        self._undecided: dict[trio.CancelScope, None] = {}
        self._is_draining = False
        self._accepting: trio.CancelScope | None = None
        self._vacant: trio.Event | None = None
        self._accepted = self._pauses = self._refused = self._refusing = 0

    # ------------------------------------------------------------------------------------- address

    async def bind(self) -> None:
        """Take the address; clients may connect from now on and wait to be accepted. Raises OSError
        when it cannot be had."""
        assert not self._listeners, "bound once"
        wanted = self.settings.sockets + self.settings.undecided + FILES_RESERVED
        files = raise_open_files(wanted)
        self._sockets_max = max(1, min(self.settings.sockets, files - FILES_RESERVED))
        if self._sockets_max < self.settings.sockets:
            logger.warning("few_open_files", files=files, sockets=self._sockets_max)
        self._listeners = await listen(self.settings.host, self.settings.port)

    @property
    def address(self) -> tuple[str, int]:
        """The first address that is listened on."""
        host, port = self._listeners[0].getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Give the address back. Connections stay."""
        for listener in self._listeners:
            if listener.fileno() >= 0:
                trio.lowlevel.notify_closing(listener)
                listener.close()

    # ----------------------------------------------------------------------------------- accepting

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind and serve until drained or cancelled, in a nursery of its own."""
        await self.bind()
        try:
            async with trio.open_nursery() as connections:
                task_status.started()
                await self.accept(connections)
        finally:
            self.close()

    async def accept(self, connections: trio.Nursery) -> None:
        """Accept until drained or cancelled; each connection is a task of `connections`. May be
        called again after it was cancelled."""
        with trio.CancelScope() as self._accepting:
            if self._is_draining:
                return
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(self._accept_from, listener, connections)

    async def _accept_from(self, listener: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _EXHAUSTED:
                        await self._pause(error)
                    break  # anything else was the fault of a connection that is gone
                self._accepted += 1
                connections.start_soon(self._serve, sock, address, name="connection")

    async def _pause(self, error: OSError) -> None:
        """Out of files: those waiting stay in the kernel's queue, and idle ones make room."""
        if self._pauses % 100 == 0:
            logger.error("accept_paused", error=str(error), websockets=len(self._open))
        self._pauses += 1
        self._drop_oldest()
        await trio.sleep(ACCEPT_PAUSE_S)

    # --------------------------------------------------------------------------------- connections

    async def _serve(self, sock: socket.socket, address: object) -> None:
        """One connection from accept to close; raises only when it is cancelled."""
        try:
            stream = accepted(sock, address)
        except OSError:  # gone already
            sock.close()
            return
        try:
            transport = await self._decide(stream)
            if transport is not None:
                await self._attend(transport)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception:
            logger.exception("connection_failed", peer=stream.peer_address)
        finally:
            stream.close()

    async def _decide(self, stream: SocketStream) -> WebSocketTransport | None:
        """Speak HTTP until the peer leaves or has become a WebSocket."""
        address = stream.peer_address

        def judge(request: Request) -> Accepted | Response | None:
            nonlocal address
            forwarded_for = request.headers.get("x-forwarded-for", "")
            address = client_address(stream.peer_address, forwarded_for, self.settings.proxies)
            return self._judge(request)

        with trio.CancelScope() as scope:
            self._undecided[scope] = None
            if len(self._undecided) > self.settings.undecided:
                self._drop_oldest()
            try:
                upgraded = await serve_requests(stream, self._on_http, judge)
                if upgraded is None:
                    return None
                handshake, received = upgraded
                if stream.send_nowait(handshake.head) < len(handshake.head):
                    return None  # it does not even take the answer to its handshake
                return WebSocketTransport(
                    stream,
                    frame_bytes_max=self.settings.frame_bytes,
                    peer_address=address,
                    subprotocol=handshake.subprotocol,
                    received=received,
                    traffic=self.traffic,
                    farewell=farewell,
                )
            finally:
                self._undecided.pop(scope, None)
        return None

    def _judge(self, request: Request) -> Accepted | Response | None:
        if request.path != WEBSOCKET_PATH or self._on_websocket is None:
            return None
        if not wants_websocket(request):
            upgrade = ("upgrade", "websocket")
            return text_response(426, "this address is for WebSockets", upgrade)
        if self._is_draining or self._refusing >= REFUSALS_MAX:
            retry = ("retry-after", str(RETRY_MS // 1000))
            return text_response(503, "no room now; try again later", retry)
        return shake_hands(request, SUBPROTOCOLS, self.settings.allowed_origins)

    async def _attend(self, transport: WebSocketTransport) -> None:
        """A WebSocket's life, within the limits."""
        assert self._on_websocket is not None
        address = transport.peer_address
        if transport.subprotocol is None:
            await self._refuse(transport, CloseCode.UNSUPPORTED_VERSION)
            return
        if (
            len(self._open) >= self._sockets_max
            or self._of_address[address] >= self.settings.sockets_per_address
        ):
            await self._refuse(transport, CloseCode.TOO_MANY_SOCKETS)
            return
        self._open.add(transport)
        self._of_address[address] += 1
        try:
            await self._on_websocket(transport)
            await transport.close()
        except Exception:
            logger.exception("websocket_failed", peer=address)
            await transport.close(INTERNAL_ERROR, "internal error")
        finally:
            self._leave(transport)

    def _leave(self, transport: WebSocketTransport) -> None:
        self._open.discard(transport)
        self._of_address[transport.peer_address] -= 1
        if self._of_address[transport.peer_address] == 0:
            del self._of_address[transport.peer_address]
        if not self._open and self._vacant is not None:
            self._vacant.set()

    async def _refuse(self, transport: WebSocketTransport, code: CloseCode) -> None:
        self._refused += 1
        self._refusing += 1
        try:
            if code.says_bye:
                transport.try_send([codec.bye(code, retry_ms=RETRY_MS)])
            await transport.close(code, code.meaning)
        finally:
            self._refusing -= 1

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._undecided), None)
        if oldest is not None:
            del self._undecided[oldest]
            oldest.cancel()

    # ------------------------------------------------------------------------------------ draining

    async def drain(self, deadline_s: float) -> None:
        """Stop accepting and wait until every WebSocket is gone, whose owners say goodbye to their
        clients meanwhile. After `deadline_s` the rest is cut off, as are connections of HTTP."""
        self._is_draining = True
        if self._accepting is not None:
            self._accepting.cancel()
        self.close()
        if self._open:
            self._vacant = trio.Event()
            with trio.move_on_after(deadline_s):
                await self._vacant.wait()
        for transport in tuple(self._open):
            transport.abort()
        for scope in tuple(self._undecided):
            scope.cancel()

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(
            websockets=len(self._open),
            addresses=len(self._of_address),
            undecided=len(self._undecided),
            accepted=self._accepted,
            pauses=self._pauses,
            refused=self._refused,
        )


def farewell(fault: Ending) -> list[bytes]:
    """What a peer that broke a rule of WebSockets is told before the close (PROTOCOL.md §6)."""
    code = CloseCode(fault.code)
    return [codec.bye(code, fault.reason)] if code.says_bye else []
