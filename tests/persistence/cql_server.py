"""A CQL v4 server that stores nothing: two hosts that count requests and answer as they are told.

Enough of the protocol for the real driver to connect, prepare, and send batches. What a real server
does with them is tested with a real one; this one fails at chosen moments.
"""

from __future__ import annotations

import struct
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

VARCHAR, BOOLEAN, UUID, INET, VARCHARS = (
    struct.pack(f">{'H' * len(codes)}", *codes) for codes in ([13], [4], [12], [16], [34, 13])
)
SCHEMA = uuid.UUID(int=1).bytes


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def rows(columns: Sequence[tuple[str, bytes]], *found: Sequence[bytes]) -> bytes:
    """The body of a RESULT frame."""
    body = struct.pack(">iii", 2, 1, len(columns)) + text("fake") + text("fake")
    body += b"".join(text(name) + kind for name, kind in columns) + struct.pack(">i", len(found))
    return body + b"".join(struct.pack(">i", len(cell)) + cell for row in found for cell in row)


def error(code: int, message: str, rest: bytes = b"") -> tuple[int, bytes]:
    return 0, struct.pack(">i", code) + text(message) + rest


WRITE_TIMEOUT = error(0x1100, "timed out", struct.pack(">Hii", 6, 1, 2) + text("CAS"))
UNAVAILABLE = error(0x1000, "unavailable", struct.pack(">Hii", 6, 2, 1))
OPTIONS = b"\0\2" + text("CQL_VERSION") + b"\0\1" + text("3.4.5") + text("COMPRESSION") + b"\0\0"
APPLIED = (8, rows([("[applied]", BOOLEAN)], [b"\1"]))


class FakeCluster:
    """`batches` and `executions` name the host of each one that arrived. Hosts answer them by
    `script`, in turn: a frame, None for no answer ever, or `DROP` to close the connection."""

    HOSTS = ("127.0.0.1", "127.0.0.2")
    DROP = (-1, b"")

    def __init__(self) -> None:
        self.port = 0
        self.batches: list[str] = []
        self.executions: list[str] = []
        self.script: deque[tuple[int, bytes] | None] = deque()

    def _hosts(self, *hosts: str) -> bytes:
        columns = [
            ("peer", INET), ("rpc_address", INET), ("host_id", UUID), ("schema_version", UUID),
            ("cluster_name", VARCHAR), ("data_center", VARCHAR), ("rack", VARCHAR),
            ("release_version", VARCHAR), ("partitioner", VARCHAR), ("tokens", VARCHARS),
        ]  # fmt: skip
        found = []
        for host in hosts:
            number = int(host[-1])
            address, token = bytes([127, 0, 0, number]), str(number).encode()
            tokens = struct.pack(">ii", 1, len(token)) + token
            found.append([
                address, address, uuid.UUID(int=number).bytes, SCHEMA, b"fake", b"datacenter1",
                b"rack1", b"5.0.0", b"org.apache.cassandra.dht.Murmur3Partitioner", tokens,
            ])  # fmt: skip
        return rows(columns, *found)

    def _query(self, host: str, query: str) -> tuple[int, bytes]:
        if "system.local" in query:
            return 8, self._hosts(host)
        if "system.peers_v2" in query:
            return error(0x2200, "no such table")
        if "system.peers" in query:
            return 8, self._hosts(*(other for other in self.HOSTS if other != host))
        return 8, rows([("nothing", VARCHAR)])

    def _prepared(self, query: str) -> bytes:
        marks = query.count("?")
        body = struct.pack(">i", 4) + text(query)
        body += struct.pack(">iii", 1, marks, 0) + text("fake") + text("fake")
        body += b"".join(text(f"c{number}") + VARCHAR for number in range(marks))
        return body + struct.pack(">ii", 4, 0)

    def _answer(self, host: str, opcode: int, body: bytes) -> tuple[int, bytes] | None:
        match opcode:
            case 1 | 11:
                return 2, b""
            case 5:
                return 6, OPTIONS
            case 7 | 9:
                query = body[4 : 4 + struct.unpack_from(">i", body)[0]].decode()
                return self._query(host, query) if opcode == 7 else (8, self._prepared(query))
            case 10 | 13:
                (self.executions if opcode == 10 else self.batches).append(host)
                return self.script.popleft() if self.script else APPLIED
        return error(0, f"opcode {opcode}")

    async def serve(self, host: str, stream: trio.SocketStream) -> None:
        received = bytearray()
        async with stream:
            with suppress(trio.BrokenResourceError):
                async for data in stream:
                    received += data
                    while len(received) >= 9:
                        _, _, number, opcode, size = struct.unpack_from(">BBhBi", received)
                        if len(received) < 9 + size:
                            break
                        body = bytes(received[9 : 9 + size])
                        del received[: 9 + size]
                        answer = self._answer(host, opcode, body)
                        if answer == self.DROP:
                            return
                        if answer is not None:
                            head = struct.pack(">BBhBi", 0x84, 0, number, answer[0], len(answer[1]))
                            await stream.send_all(head + answer[1])


@asynccontextmanager
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    cluster = FakeCluster()
    async with trio.open_nursery() as nursery:
        for host in cluster.HOSTS:
            listeners = await trio.open_tcp_listeners(cluster.port, host=host)
            cluster.port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(
                partial(trio.serve_listeners, partial(cluster.serve, host), listeners)
            )
        yield cluster
        nursery.cancel_scope.cancel()
