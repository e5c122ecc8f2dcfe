"""A WebSocket client made of bytes, for tests that must break the rules."""

from __future__ import annotations

import os
import struct

import trio

from gateway.framing import unmask

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    long_form: int = 0,
) -> bytes:
    """One frame. `long_form`: 2 or 8 for a length field that is longer than necessary."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if long_form == 8 or size > 65_535:
        header = struct.pack("!BBQ", first, mask_bit | 127, size)
    elif long_form == 2 or size > 125:
        header = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        header = bytes((first, mask_bit | size))
    if not masked:
        return header + payload
    mask = os.urandom(4)
    return header + mask + unmask(payload, mask)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


class Peer:
    """The client's end of a stream: reads what the server writes, frame by frame."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._data = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            more = await self.stream.receive_some(65_536)
            if not more:
                raise EOFError
            self._data += more
        result, self._data = self._data[:size], self._data[size:]
        return result

    async def next(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; EOFError at the end of the stream."""
        first, size = await self._exactly(2)
        assert first & 0xF0 == 0x80
        assert not size & 0x80
        if size == 126:
            (size,) = struct.unpack("!H", await self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._exactly(8))
        return first & 0x0F, await self._exactly(size)

    async def next_close(self) -> tuple[int | None, str]:
        """The code and reason of the next frame, which must be a close."""
        opcode, payload = await self.next()
        assert opcode == CLOSE, (opcode, payload)
        if not payload:
            return None, ""
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    async def ends(self) -> bool:
        """Whether the stream ends here."""
        try:
            return not self._data and not await self.stream.receive_some(1)
        except trio.BrokenResourceError:
            return True

    async def head(self) -> bytes:
        """What comes before the next blank line."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._exactly(1)
        return head
