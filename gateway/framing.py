"""WebSocket frames as values: bytes to payloads and payloads to bytes, without a socket.

**Problem.** Nearly every frame of a client is one small masked text frame, and it must cost about a
microsecond; nearly every rule of RFC 6455 is about the others.

**Rule.** One read is parsed at once on a short path that knows complete, unfragmented, masked data
frames of up to 65,535 bytes. Any other frame (control, fragment, reserved bits, 64-bit length,
unmasked, not in its shortest form) goes byte by byte through wsproto, the protocol engine of
trio-websocket. Such a `_SlowPath` exists only from the first such frame to the end of its message,
so a quiet connection holds none. Header lengths are read here on both paths, which is how the short
path knows where it may go on.

Numbers in parentheses are sections of RFC 6455.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

PONGS_MAX: Final = 32
"""Pings of one read that are answered; of more the newest (5.5.3 asks for one)."""
UNMASK_AS_INTEGER_BYTES: Final = 600
"""Up to here one big integer is the quickest way to unmask, above it four strided translations:
1.1 µs against 1.6 for 120 bytes, 11 against 8 for 4,000."""

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_MASKED: Final = 0x80
_SHORT_HEADERS: Final = tuple(bytes((_TEXT, size)) for size in range(126))
_pack_medium: Final = struct.Struct("!BBH").pack
_pack_long: Final = struct.Struct("!BBQ").pack
_XOR: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))

Payload = str | bytes
"""A text frame as text, a binary frame as bytes."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ends. `is_clean`: the peer said so in a close frame; `is_fault`: the peer
    broke a rule, and `code` is what it shall be told."""

    code: int
    reason: str = ""
    is_clean: bool = False
    is_fault: bool = False


VANISHED: Final = Ending(int(CloseReason.ABNORMAL_CLOSURE))
"""The peer went away without a word."""
_NOT_UTF8: Final = Ending(
    int(CloseReason.INVALID_FRAME_PAYLOAD_DATA), "text is not UTF-8", is_fault=True
)


class FrameReader:
    """What one client has sent so far, of which only an incomplete frame is kept.

    After `ending` is set nothing more is parsed. `pongs` are owed to the peer; whoever writes them
    empties the list."""

    __slots__ = ("_bytes_max", "_needed", "_partial", "_slow", "ending", "pongs")

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` bounds frames and messages put together from fragments."""
        self._bytes_max = bytes_max
        self._partial: bytearray | None = None
        self._needed = 0
        self._slow: _SlowPath | None = None
        self.ending: Ending | None = None
        self.pongs: list[bytes] | None = None

    @property
    def missing_bytes(self) -> int:
        """How much the frame in progress still lacks, as far as known; 0 without one."""
        return self._needed - len(self._partial) if self._partial is not None else 0

    def feed(self, received: bytes) -> list[Payload]:
        """Take in what was read; every payload that it completes, in order."""
        data: bytes | bytearray = received
        if self._partial is not None:
            self._partial += received
            if len(self._partial) < self._needed:
                return []
            data, self._partial = self._partial, None
        payloads: list[Payload] = []
        at, end = 0, len(data)
        while at < end and self.ending is None:
            if self._slow is None:
                at, needed = self._feed_short(data, at, end, payloads)
                if needed == 0 and at < end:
                    self._slow = _SlowPath(self, self._bytes_max)
            else:
                at, needed = self._slow.feed(data, at, end, payloads)
                if self._slow.is_between_messages and needed == 0:
                    self._slow = None
            if needed:
                self._partial, self._needed = bytearray(data[at:]), needed
                break
        return payloads

    def _feed_short(
        self, data: bytes | bytearray, at: int, end: int, payloads: list[Payload]
    ) -> tuple[int, int]:
        """Parse frames of the usual kind; where it stopped, and how many bytes the frame there
        needs (0: it is of another kind, or there is none)."""
        while end - at >= 2:
            opcode, size = data[at], data[at + 1] - _MASKED
            if (opcode != _TEXT and opcode != _BINARY) or not 0 <= size <= 126:
                return at, 0
            begin = at + 6
            if size == 126:
                begin = at + 8
                if end < begin:
                    return at, 8
                size = data[at + 2] << 8 | data[at + 3]
                if size < 126:  # (5.2) not the shortest form
                    return at, 0
            if size > self._bytes_max:
                self.ending = too_large(self._bytes_max)
                return at, 0
            stop = begin + size
            if stop > end:
                return at, stop - at
            payload = unmask(bytes(data[begin:stop]), bytes(data[begin - 4 : begin]))
            at = stop
            if opcode == _TEXT:
                try:
                    payloads.append(payload.decode())
                except UnicodeDecodeError:
                    self.ending = _NOT_UTF8
                    return at, 0
            else:
                payloads.append(payload)
        return at, 2 if at < end else 0

    def owe_pong(self, payload: bytes) -> None:
        """A ping came in. Beyond PONGS_MAX the oldest is let go."""
        if self.pongs is None:
            self.pongs = []
        self.pongs.append(control_frame(Opcode.PONG, payload))
        del self.pongs[:-PONGS_MAX]


class _SlowPath:
    """Frames for which wsproto is asked, and the message being put together from fragments."""

    __slots__ = (
        "_bytes_max",
        "_is_in_message",
        "_left",
        "_pieces",
        "_protocol",
        "_reader",
        "_size",
    )

    def __init__(self, reader: FrameReader, bytes_max: int) -> None:
        self._reader = reader
        self._bytes_max = bytes_max
        self._protocol = FrameProtocol(client=False, extensions=[])
        self._is_in_message = False
        self._left = 0
        """Bytes of the current frame still to come."""
        self._size = 0
        self._pieces: list[str | bytes] = []

    @property
    def is_between_messages(self) -> bool:
        return self._left == 0 and not self._is_in_message

    def feed(
        self, data: bytes | bytearray, at: int, end: int, payloads: list[Payload]
    ) -> tuple[int, int]:
        """Take in (the rest of) one frame; where it stopped, and the bytes needed there."""
        if self._left == 0:
            header, size = _lengths(data, at, end)
            if header > end - at:
                return at, header
            opcode = data[at] & 0x0F
            if opcode < Opcode.CLOSE:
                self._size += size
                self._is_in_message = not data[at] & 0x80
                if self._size > self._bytes_max:
                    self._reader.ending = too_large(self._bytes_max)
                    return at, 0
            self._left = header + size
        stop = min(end, at + self._left)
        self._left -= stop - at
        self._protocol.receive_bytes(bytes(data[at:stop]))
        try:
            for frame in self._protocol.received_frames():
                self._take(frame, payloads)
        except ParseFailed as failure:
            self._reader.ending = Ending(int(failure.code), str(failure), is_fault=True)
        return stop, 0

    def _take(self, frame: Frame, payloads: list[Payload]) -> None:
        payload = frame.payload
        if frame.opcode is Opcode.PING:
            assert isinstance(payload, bytes)
            self._reader.owe_pong(payload)
        elif frame.opcode is Opcode.CLOSE:
            assert isinstance(payload, tuple)
            self._reader.ending = Ending(int(payload[0]), payload[1], is_clean=True)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            assert isinstance(payload, str | bytes)
            self._pieces.append(payload)
            if frame.message_finished:
                whole: Payload = (
                    "".join(piece for piece in self._pieces if isinstance(piece, str))
                    if frame.opcode is Opcode.TEXT
                    else b"".join(piece for piece in self._pieces if isinstance(piece, bytes))
                )
                payloads.append(whole)
                self._pieces.clear()
                self._size = 0


def _lengths(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """Bytes of the header and of the payload of the frame at `at` (5.2). The header may be longer
    than what is there; the payload's size is meaningful once it is not."""
    if end - at < 2:
        return 2, 0
    mask = 4 if data[at + 1] & _MASKED else 0
    size = data[at + 1] & 0x7F
    extra = {126: 2, 127: 8}.get(size, 0)
    if extra:
        size = int.from_bytes(data[at + 2 : at + 2 + extra], "big")
    return 2 + extra + mask, size


def too_large(bytes_max: int) -> Ending:
    return Ending(
        int(CloseReason.MESSAGE_TOO_BIG), f"a frame may have {bytes_max} bytes", is_fault=True
    )


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Apply a mask of four bytes (5.3); twice is the identity."""
    size = len(payload)
    if size <= UNMASK_AS_INTEGER_BYTES:
        key = (mask * ((size >> 2) + 1))[:size]
        value = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
        return value.to_bytes(size, "little")
    result = bytearray(payload)
    for offset, key_byte in enumerate(mask):
        result[offset::4] = result[offset::4].translate(_XOR[key_byte])
    return bytes(result)


def encode_text(payloads: Iterable[bytes]) -> bytes:
    """Payloads, each already UTF-8, as unmasked text frames, one after the other."""
    parts: list[bytes] = []
    for payload in payloads:
        size = len(payload)
        if size < 126:
            parts.append(_SHORT_HEADERS[size])
        elif size < 65_536:
            parts.append(_pack_medium(_TEXT, 126, size))
        else:
            parts.append(_pack_long(_TEXT, 127, size))
        parts.append(payload)
    return b"".join(parts)


def control_frame(opcode: Opcode, payload: bytes = b"") -> bytes:
    assert len(payload) <= 125
    return bytes((0x80 | opcode, len(payload))) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame. 1005 becomes one without a code (7.1.5); a long reason is cut between
    characters."""
    if code == CloseReason.NO_STATUS_RCVD:
        return control_frame(Opcode.CLOSE)
    text = reason.encode()[:123].decode("utf-8", "ignore").encode()
    return control_frame(Opcode.CLOSE, struct.pack("!H", code) + text)
