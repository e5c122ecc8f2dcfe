"""HTTP/1.1 over a stream of ours: requests to a handler, its responses back, kept alive between.

h11 parses and frames; here are the deadlines and bounds that it leaves to us, and the moment a
request asks for a WebSocket, which ends the exchange and hands over what has been read beyond it.
Both listeners, the main one and that for operations, speak through this module.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeVar

import h11
import structlog
import trio

HEAD_BYTES_MAX: Final = 16 * 1024
"""A request line and its headers; browsers with many cookies stay below it."""
HEAD_S: Final = 10.0
"""A head must be complete this long after the connection or the previous response. It is also how
long an unused connection is kept."""
BODY_BYTES_MAX: Final = 64 * 1024
BODY_S: Final = 10.0
RESPONSE_S: Final = 30.0
"""How long one piece of a response may take to be written to a slow peer."""
REQUESTS_MAX: Final = 1_000
"""Requests on one connection; then it is closed, so that none lives forever."""
LINGER_S: Final = 1.0
"""After refusing a request that is still arriving: how long it is read and dropped."""

_RECEIVE_BYTES: Final = 4_096
_ABSOLUTE: Final = re.compile(r"^https?://[^/?]*", re.IGNORECASE)

logger = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` and `query` as sent, still escaped; header names in lower case, repeated
    headers joined by commas."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    http_version: str = "1.1"


@dataclass(frozen=True, slots=True)
class Response:
    """A response. Its length is stated unless `chunks` gives a body piece by piece."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    chunks: AsyncGenerator[bytes, None] | None = None


Handler = Callable[[Request], Awaitable[Response]]

_Accepted = TypeVar("_Accepted")
Upgrader = Callable[[Request], _Accepted | Response | None]
"""Decides about a request that may ask for a WebSocket: accept it, refuse it, or (None) leave it to
the handler."""


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def text_response(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """A short plain answer for people."""
    kind = ("content-type", "text/plain; charset=utf-8")
    return Response(status, f"{text}\n".encode(), (kind, *headers))


def wants_websocket(request: Request) -> bool:
    """Whether this is an opening handshake, valid or not."""
    return "websocket" in tokens(request, "upgrade") and "upgrade" in tokens(request, "connection")


def tokens(request: Request, header: str) -> tuple[str, ...]:
    """The comma-separated values of a header, in lower case."""
    values = request.headers.get(header, "").lower().split(",")
    return tuple(value.strip() for value in values if value.strip())


async def serve_requests(
    stream: trio.abc.Stream, handler: Handler, upgrader: Upgrader[_Accepted] | None = None
) -> tuple[_Accepted, bytes] | None:
    """Answer requests until the peer leaves, breaks a rule, or is accepted by `upgrader`.

    Then what it returned comes back, with the bytes received beyond the head; the caller answers.
    A handler that raises is answered 500. A peer that is lost or too slow is no error."""
    exchange = _Exchange(stream)
    try:
        for number in range(1, REQUESTS_MAX + 1):
            request = await exchange.head()
            if request is None:
                return None
            verdict = upgrader(request) if upgrader is not None else None
            if verdict is not None and not isinstance(verdict, Response):
                return verdict, exchange.read_ahead()
            request = replace(request, body=await exchange.body())
            response = verdict or await _handle(handler, request)
            await exchange.respond(request, response, is_last=number == REQUESTS_MAX)
            if not exchange.next():
                return None
    except h11.RemoteProtocolError as error:
        await exchange.refuse(error.error_status_hint, "not a request this server understands")
    except _Refused as refused:
        await exchange.refuse(refused.status, refused.text)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        return None
    return None


async def _handle(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except Exception:
        logger.exception("request_failed", method=request.method, path=request.path)
        return text_response(500, "the server failed to answer; its log says why")


class _Exchange:
    """One connection's requests and responses, in turn."""

    __slots__ = ("_connection", "_stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)

    async def head(self) -> Request | None:
        """The next request without its body; None when none comes in time."""
        with trio.move_on_after(HEAD_S):
            event = await self._event()
            return _request(event) if isinstance(event, h11.Request) else None
        return None

    def read_ahead(self) -> bytes:
        """What has been read beyond the head."""
        return self._connection.trailing_data[0]

    async def body(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        with trio.fail_after(BODY_S):
            while True:
                if self._connection.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                event = await self._event()
                if not isinstance(event, h11.Data):
                    return b"".join(pieces)
                pieces.append(bytes(event.data))
                size += len(event.data)
                if size > BODY_BYTES_MAX:
                    raise _Refused(413, f"a body may have {BODY_BYTES_MAX} bytes")

    async def _event(self) -> object:
        while True:
            event = self._connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self._stream.receive_some(_RECEIVE_BYTES)
            self._connection.receive_data(bytes(data))

    async def respond(self, request: Request, response: Response, *, is_last: bool) -> None:
        headers = [("date", formatdate(usegmt=True)), *response.headers]
        if response.chunks is None and response.status != HTTPStatus.NOT_MODIFIED:
            headers.append(("content-length", str(len(response.body))))
        if is_last:
            headers.append(("connection", "close"))
        await self._send(
            h11.Response(
                status_code=response.status,
                headers=headers,
                reason=HTTPStatus(response.status).phrase.encode(),
            )
        )
        if request.method != "HEAD":
            if response.chunks is not None:
                async with aclosing(response.chunks) as chunks:
                    async for chunk in chunks:
                        await self._send(h11.Data(data=chunk))
            elif response.body:
                await self._send(h11.Data(data=response.body))
        await self._send(h11.EndOfMessage())

    async def refuse(self, status: int, text: str) -> None:
        """Answer what cannot be read any further, and read away what is still arriving."""
        if self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        try:
            request = Request("GET", "")
            await self.respond(request, text_response(status, text), is_last=True)
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            with trio.move_on_after(LINGER_S):
                while await self._stream.receive_some(_RECEIVE_BYTES):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass

    async def _send(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            with trio.fail_after(RESPONSE_S):
                await self._stream.send_all(data)

    def next(self) -> bool:
        """Get ready for another request; False when the connection is to be closed."""
        if self._connection.our_state is not h11.DONE:
            return False
        if self._connection.their_state is not h11.DONE:
            return False
        self._connection.start_next_cycle()
        return True


def _request(event: h11.Request) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = event.target.decode("latin-1")
    if not target.startswith("/"):  # "*", or the absolute form that proxies use
        target = _ABSOLUTE.sub("", target) or "/"
    path, _, query = target.partition("?")
    return Request(
        event.method.decode("ascii"), path, query, headers, b"", event.http_version.decode("ascii")
    )
