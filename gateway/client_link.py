"""One connection of a client: requests out, replies matched, events handed over, life proved.

A link lives from the opening handshake to the end of its socket and never comes back; `client`
opens the next one. Replies take effect in the order of frames: the `on_reply` of a request runs
inside the reader, before the next frame is looked at, so an answer and the events around it
cannot be mistaken in order by a slow task.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from gateway.client_state import backoff_s
from gateway.wire import SUBPROTOCOL_JSON
from gateway.wire.limits import HB_MS

Reply = dict[str, Any]
OnReply = Callable[[Reply | None], None]
"""Called once per request, in the reader: with the `ok`, or with None when there will be none."""

REPLY_S: Final = 10.0
"""Without an answer for this long, a request's outcome is unknown."""
CONNECT_S: Final = 10.0
"""For TCP, TLS, upgrade and `hello` together."""
MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest frame taken from a server: a `sync` page of long messages is some megabytes."""
RECEIVE_BYTES: Final = 64 * 1024
MESSAGE_QUEUE: Final = 64
OUTBOX_FRAMES: Final = 64
"""Frames waiting for the socket; above that, requests wait before they are sent."""
PENDING_MAX: Final = 4_096
"""Requests in flight on one connection."""
SILENT_BEATS: Final = 4
"""A server that says nothing for this many heartbeats is taken for gone."""
HANG_UP_S: Final = 2.0
"""How long a polite close may take."""


class ClientError(Exception):
    """Anything that goes wrong between a client and its server."""


class RequestError(ClientError):
    """The server refused: `code` as in the protocol, `temporary` when trying again may help."""

    def __init__(self, op: str, frame: Mapping[str, Any]) -> None:
        self.op = op
        self.code = str(frame.get("code", "internal"))
        self.msg = str(frame.get("msg", ""))
        self.temporary = bool(frame.get("temporary", False))
        self.retry_ms = int(frame.get("retry_ms") or 0)
        super().__init__(f"{op}: {self.code}: {self.msg}")


class OutcomeUnknown(ClientError):
    """No answer came: the request may or may not have been done."""


class Disconnected(OutcomeUnknown):
    """The connection ended before the answer."""


class TimedOut(OutcomeUnknown):
    """The deadline passed before the answer."""


class ConnectFailed(ClientError):
    """No connection could be opened; `code` is the close code when the server gave one."""

    def __init__(self, msg: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(msg)


class Closed(ClientError):
    """The client is closed and will not come back by itself; `code` is the close code, if any."""

    def __init__(self, code: int | None, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"closed ({code}): {reason}")


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """How a connection ended; `code` is None when it just broke."""

    code: int | None
    reason: str = ""
    retry_ms: int = 0


@dataclass(slots=True)
class _Pending:
    op: str
    on_reply: OnReply | None
    done: trio.Event
    outcome: Reply | ClientError | None = None


class Link:
    """An open connection. `hello` is the server's first frame."""

    def __init__(
        self, socket: WebSocketConnection, hello: Reply, nursery: trio.Nursery, rng: random.Random
    ) -> None:
        self.hello = hello
        self.nursery = nursery
        self.authenticated = trio.Event()
        self._socket = socket
        self._rng = rng
        self._bye: Reply = {}
        self._pending: dict[int, _Pending] = {}
        self._next_id = 1
        self.ended = False
        self._outbox, self._outgoing = trio.open_memory_channel[str](OUTBOX_FRAMES)
        self._gone = trio.Event()
        self._heard_s = trio.current_time()

    def __repr__(self) -> str:
        state = "ended" if self.ended else "open"
        return f"<Link {state}, {len(self._pending)} pending>"

    async def request(
        self,
        op: str,
        fields: Mapping[str, Any],
        timeout_s: float,
        on_reply: OnReply | None = None,
    ) -> Reply:
        """The `ok` to one request. Raises RequestError, Disconnected or TimedOut.

        Cancelling or timing out does not take the request back: `on_reply` still sees the answer.
        """
        if self.ended or len(self._pending) >= PENDING_MAX:
            if on_reply is not None:
                on_reply(None)
            raise Disconnected(op) if self.ended else ClientError("too many requests in flight")
        id_, self._next_id = self._next_id, self._next_id + 1
        pending = self._pending[id_] = _Pending(op, on_reply, trio.Event())
        with trio.move_on_after(timeout_s):
            await self.tell(op, {"id": id_, **fields})
            await pending.done.wait()
        outcome = pending.outcome
        if outcome is None:
            raise TimedOut(f"{op}: no answer within {timeout_s:g} s")
        if isinstance(outcome, ClientError):
            raise outcome
        return outcome

    async def ask(self, op: str, **fields: Any) -> Reply:
        """A request on this very link, repeated while the server says "later"."""
        attempt = 0
        while True:
            try:
                return await self.request(op, fields, REPLY_S)
            except RequestError as error:
                if not error.temporary:
                    raise
                await trio.sleep(max(error.retry_ms / 1000, backoff_s(attempt, self._rng)))
                attempt += 1

    async def tell(self, op: str, fields: Mapping[str, Any]) -> None:
        """Send a frame and expect nothing. Raises Disconnected."""
        frame = msgspec.json.encode({"op": op, **fields}).decode()
        try:
            await self._outbox.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(op) from None

    async def write(self) -> None:
        """Put frames on the socket, in a task of its own.

        A sender may be cancelled at any time, and a half-written frame would spoil the stream.
        """
        async with self._outgoing:
            try:
                async for frame in self._outgoing:
                    await self._socket.send_message(frame)
            except (ConnectionClosed, LocalProtocolError):
                return

    async def read(self, on_event: Callable[[Reply], None]) -> LinkEnd:
        """Handle every frame until the connection ends. Requests left open fail."""
        try:
            while True:
                try:
                    message = await self._socket.get_message()
                except ConnectionClosed as closed:
                    return self._end_of(closed)
                self._heard_s = trio.current_time()
                try:
                    frame = msgspec.json.decode(message)
                except (msgspec.DecodeError, UnicodeError):
                    return LinkEnd(None, "the server sent something else than JSON")
                if isinstance(frame, dict):
                    self._handle(frame, on_event)
        finally:
            self.ended = True
            self._gone.set()
            for pending in list(self._pending.values()):
                self._settle(pending, Disconnected(pending.op))
            self._pending.clear()

    def _handle(self, frame: Reply, on_event: Callable[[Reply], None]) -> None:
        op = frame.pop("op", None)
        if op == "ev":
            on_event(frame)
        elif op in ("ok", "err"):
            pending = self._pending.pop(frame.get("id", 0), None)
            if pending is not None:
                self._settle(pending, frame if op == "ok" else RequestError(pending.op, frame))
        elif op == "bye":
            self._bye = frame

    def _settle(self, pending: _Pending, outcome: Reply | ClientError) -> None:
        pending.outcome = outcome
        if pending.on_reply is not None:
            pending.on_reply(outcome if isinstance(outcome, dict) else None)
        pending.done.set()

    def _end_of(self, closed: ConnectionClosed) -> LinkEnd:
        """The close frame, or the `bye` before it when the close frame itself was lost."""
        code = closed.reason.code if closed.reason else None
        reason = (closed.reason.reason if closed.reason else None) or ""
        if code in (None, 1005, 1006):
            code = self._bye.get("code")
        return LinkEnd(
            code, reason or self._bye.get("reason", ""), int(self._bye.get("retry_ms") or 0)
        )

    async def beat(self) -> None:
        """Send heartbeats with jitter; hang up when the server has been silent for too long."""
        beat_s = int(self.hello.get("hb_ms") or HB_MS) / 1000
        while True:
            await trio.sleep(beat_s * self._rng.uniform(0.75, 1.0))
            if trio.current_time() - self._heard_s > beat_s * SILENT_BEATS:
                self.drop()
                return
            try:
                with trio.move_on_after(beat_s):
                    await self.tell("hb", {})
            except Disconnected:
                return

    def drop(self) -> None:
        """End the connection without ceremony."""
        self.nursery.cancel_scope.cancel()

    async def hang_up(self) -> None:
        """Say `bye`, so that the server counts us offline at once, and wait a moment for its
        close. What was told before is still sent."""
        if not self.authenticated.is_set():
            return
        with trio.move_on_after(HANG_UP_S):
            try:
                await self.tell("bye", {})
            except Disconnected:
                return
            await self._gone.wait()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `parse` takes ws, wss, http and https URLs; the path defaults to /ws."""

    host: str
    port: int
    resource: str
    tls: bool

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Address:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a server")
        tls = parts.scheme in ("wss", "https")
        path = parts.path if parts.path not in ("", "/") else "/ws"
        resource = f"{path}?{parts.query}" if parts.query else path
        return cls(parts.hostname, parts.port or (443 if tls else 80), resource, tls)


OpenStream = Callable[[Address], Awaitable[trio.abc.Stream]]
"""Opens the byte stream to a server. Raises OSError when there is none."""


@asynccontextmanager
async def open_link(
    address: Address, rng: random.Random, open_stream: OpenStream
) -> AsyncIterator[Link]:
    """Connect and read `hello`. The socket is gone when the block ends, and `Link.drop` ends it.

    Raises ConnectFailed for whatever keeps a connection from opening.
    """
    try:
        with trio.fail_after(CONNECT_S):
            stream = await open_stream(address)
    except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
        raise ConnectFailed(f"{address.authority}: {error}") from error
    refusal: BaseException | None = None
    code: int | None = None
    try:
        async with trio.open_nursery() as nursery:
            link = await _handshake(nursery, stream, address, rng)
            nursery.start_soon(link.write)
            nursery.start_soon(link.beat)
            yield link
            nursery.cancel_scope.cancel()
    except* (HandshakeError, ConnectFailed) as group:
        refusal = group.exceptions[0]
        code = getattr(refusal, "code", None)
    finally:
        await trio.aclose_forcefully(stream)
    if refusal is not None:
        raise ConnectFailed(f"{address.authority}: {refusal}", code) from refusal


async def open_tcp(address: Address, ssl_context: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """The ordinary way to a server: TCP, with TLS for wss."""
    if not address.tls:
        return await trio.open_tcp_stream(address.host, address.port)
    context = ssl_context or ssl.create_default_context()
    stream = await trio.open_ssl_over_tcp_stream(
        address.host, address.port, ssl_context=context, https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def _handshake(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    address: Address,
    rng: random.Random,
) -> Link:
    try:
        with trio.fail_after(CONNECT_S):
            socket = await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any stream will do
                address.authority,
                address.resource,
                subprotocols=[SUBPROTOCOL_JSON],
                message_queue_size=MESSAGE_QUEUE,
                max_message_size=MESSAGE_BYTES_MAX,
                receive_buffer_size=RECEIVE_BYTES,
            )
            hello = msgspec.json.decode(await socket.get_message())
    except ConnectionClosed as error:
        code = error.reason.code if error.reason else None
        raise ConnectFailed(f"closed before hello ({code})", code) from error
    except (trio.TooSlowError, msgspec.DecodeError) as error:
        raise ConnectFailed(f"no hello: {error!r}") from error
    if not isinstance(hello, dict) or hello.get("op") != "hello":
        raise ConnectFailed("the first frame is not hello")
    return Link(socket, hello, nursery, rng)
