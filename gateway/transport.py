"""WebSocket frames over a stream that is ours: a short path for the usual, wsproto for the rest.

**Problem.** Every message passes here twice, and thousands of connections wait here for nothing.
trio-websocket pays for each frame with a dozen objects and two task switches, and for each idle
connection with a task, a memory channel and a receive buffer of its own.

**Answer.** One read is parsed at once: every complete, unfragmented, masked data frame in it is
unmasked and handed over as one batch. Whatever else arrives (control frames, fragments, reserved
bits, 64-bit lengths, unmasked frames) goes to wsproto, the protocol engine of trio-websocket, which
exists for a connection only while such a frame is in progress. Writing puts any number of payloads,
encoded once for all recipients, into one call of the kernel, without a task switch when it takes
them all.

FIGURES

RFC 6455 holds on both paths; the numbers in parentheses below are its sections.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import trio
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from gateway.sockets import RECEIVE_BYTES, SocketStream

FRAME_BYTES_MAX: Final = 65_536
CLOSE_DEADLINE_S: Final = 2.0
"""How long a polite close may take before the socket is closed anyway."""
LINGER_S: Final = 1.0
"""After a close for a fault: how long what is still arriving is read and dropped, so that the reset
of a socket closed with unread bytes does not overtake the close frame."""
PONGS_MAX: Final = 32
"""Pings of one read that are answered; of more, the newest (5.5.3 allows one)."""
UNMASK_AS_INTEGER_BYTES: Final = 600
"""Up to here one big integer is the fastest way to unmask, above it four strided translations."""

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_MASKED: Final = 0x80
_SHORT_HEADERS: Final = tuple(bytes((_TEXT, size)) for size in range(126))
_pack_medium: Final = struct.Struct("!BBH").pack
_pack_long: Final = struct.Struct("!BBQ").pack
_XOR: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))

Payload = str | bytes
"""A text frame as text, a binary frame as bytes."""


class Closed(Exception):  # noqa: N818 (says what is the case)
    """The connection ended.

    `code` and `reason` are the peer's; 1005 when it gave none, 1006 when it just went away. When this
    side ended it, they are this side's. `clean`: both close frames were exchanged.
    """

    def __init__(self, code: int, reason: str, clean: bool) -> None:
        self.code = code
        self.reason = reason
        self.clean = clean
        super().__init__(f"closed {'cleanly' if clean else 'uncleanly'}: {code} {reason}".rstrip())


class Traffic:
    """What went through the transports that share it, in frames of data and bytes of payload."""

    __slots__ = ("bytes_in", "bytes_out", "frames_in", "frames_out")

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why the connection ends; `is_fault`: the peer broke a rule and is told so."""

    code: int
    reason: str
    is_clean: bool = False
    is_fault: bool = False


_VANISHED: Final = _Ending(CloseReason.ABNORMAL_CLOSURE, "")
_UNMASKED_MIN: Final = 2
"""Bytes of the shortest header (without a mask)."""


class WebSocketTransport:
    """The server's end of an open WebSocket.

    One task calls `receive`. `send_nowait` and `send_all` may be called by any task, also while
    another one waits in `send_all` or `receive`; payloads go out whole and in the order of the calls.
    Once the connection is ending, what is sent is dropped: only `receive` tells of the end.
    """

    __slots__ = (
        "_close_sent", "_done", "_ending", "_frame_bytes_max", "_is_reading", "_lock", "_needed",
        "_nowait", "_partial", "_pending", "_slow", "_stream", "_traffic", "peer_address",
        "subprotocol",
    )  # fmt: skip

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        peer_address: str = "",
        subprotocol: str | None = None,
        received: bytes = b"",
        traffic: Traffic | None = None,
    ) -> None:
        """`received` is what came in behind the request head."""
        self._stream = stream
        self._nowait = stream if isinstance(stream, SocketStream) else None
        self._frame_bytes_max = frame_bytes_max
        self._traffic = traffic or Traffic()
        self._partial: bytearray | None = bytearray(received) if received else None
        self._needed = 0
        self._slow: _SlowPath | None = None
        self._pending: bytes | memoryview = b""
        self._lock: trio.Lock | None = None
        self._ending: _Ending | None = None
        self._done: trio.Event | None = None
        self._close_sent: tuple[int, str] | None = None
        self._is_reading = False
        self.peer_address = peer_address
        self.subprotocol = subprotocol

    # ------------------------------------------------------------------------------------ reading

    async def receive(self) -> list[Payload]:
        """Wait for data frames and return all that are complete, at least one, in order.

        Raises Closed when the connection has ended, after everything that came before. Cancelling
        loses nothing.
        """
        assert not self._is_reading, "one task receives"
        self._is_reading = True
        try:
            while self._ending is None:
                payloads = await self._read()
                if payloads and self._close_sent is None:
                    return payloads
        finally:
            self._is_reading = False
        raise await self._finish(LINGER_S)

    async def _read(self) -> list[Payload]:
        """The frames of one read; whatever ends the connection is left in `_ending`."""
        partial = self._partial
        if partial is None or self._needed:
            missing = self._needed - len(partial) if partial is not None else 0
            try:
                data = await self._stream.receive_some(max(RECEIVE_BYTES, missing))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self._end(_VANISHED)
                return []
            if partial is None:
                payloads = self._parse(data)
            else:
                partial += data
                if len(partial) < self._needed:
                    return []
                payloads = self._parse(partial)
        else:  # what came in behind the request head
            payloads = self._parse(partial)
        slow = self._slow
        if slow is not None:
            if slow.pongs:
                await self._write(b"".join(slow.pongs))
                slow.pongs.clear()
            if slow.is_between_messages:
                self._slow = None
        return payloads

    def _parse(self, data: bytes | bytearray) -> list[Payload]:
        """Every payload that is complete in `data`; the rest stays in `_partial`."""
        payloads: list[Payload] = []
        at, end, needed = 0, len(data), 0
        while at < end:
            if self._slow is not None:
                at = self._parse_slowly(data, at, payloads)
                if at < 0 or self._slow is not None:
                    break
                continue
            if end - at < _UNMASKED_MIN:
                needed = _UNMASKED_MIN
                break
            opcode, size = data[at], data[at + 1] - _MASKED
            if (opcode != _TEXT and opcode != _BINARY) or not 0 <= size <= 126:
                self._slow = _SlowPath(self._frame_bytes_max)
                continue
            begin = at + 6
            if size == 126:
                begin = at + 8
                if end < begin:
                    needed = 8
                    break
                size = data[at + 2] << 8 | data[at + 3]
                if size < 126:  # (5.2: the shortest form must be used; wsproto says so)
                    self._slow = _SlowPath(self._frame_bytes_max)
                    continue
                if size > self._frame_bytes_max:
                    self._end(_too_large(self._frame_bytes_max))
                    break
            stop = begin + size
            if stop > end:
                needed = stop - at
                break
            payload = unmask(data[begin:stop], bytes(data[begin - 4 : begin]))
            at = stop
            if opcode == _BINARY:
                payloads.append(payload)
                continue
            try:
                payloads.append(payload.decode())
            except UnicodeDecodeError:
                self._end(_NOT_UTF8)
                break
        self._keep(data, at, end, needed)
        return payloads

