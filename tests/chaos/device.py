"""A device that follows PROTOCOL.md to the letter and keeps a record of what it was shown.

It is on purpose not our client library: a fault there must not hide one of the server. It applies
`seq == last + 1`, drops what it has, asks `history` on a jump, a `gap` or a `head` beyond what it
has, repeats an unanswered request with the same `cid`, and comes back by the recipe: back off,
`auth`, `sync` until nothing is left.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.chaos.ledger import Ledger, Sent

Frame = dict[str, Any]

ANSWER_S = 20.0
"""Nothing may stay unanswered for longer, whatever was killed. A server has promised an answer."""
HANDSHAKE_S = 5.0
HEARTBEAT_S = 4.0
BACK_OFF_S = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Shorter than the protocol's, for many restarts in a short test."""
_connections = itertools.count(1)


class Refused(Exception):
    """An `err` answer."""

    def __init__(self, answer: Frame) -> None:
        super().__init__(f"{answer['code']}: {answer['msg']}")
        self.temporary = bool(answer.get("temporary"))
        self.retry_ms = int(answer.get("retry_ms") or 0)


class Gone(Exception):
    """The socket closed before the answer: the outcome is unknown."""


class Device:
    """One device of one user. `run()` keeps it connected; the other calls wait until it is.

    `applied` maps threads to the durable events in the order they took effect here. `notes` counts
    what the wire did: events that came `live`, `jumps` and `fetches`; `closes` lists the close code
    of every socket lost. On one connection an event is pushed at most once and in order, which is
    more than guarantee 3 asks."""

    def __init__(
        self, name: str, address: Callable[[], str], token: str, ledger: Ledger, rng: random.Random
    ) -> None:
        self.name = name
        self.uid = self.sid = ""
        self.applied: defaultdict[str, list[Frame]] = defaultdict(list)
        self.notes: Counter[str] = Counter()
        self.closes: list[int] = []
        self.online = trio.Event()
        self.connection = 0
        self._address, self._token, self._ledger, self._rng = address, token, ledger, rng
        self._socket: WebSocketConnection | None = None
        self._ids = itertools.count(1)
        self._orders = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[Frame]]] = {}
        self._on_ok: dict[int, Frame] = {}
        self._heads: defaultdict[str, int] = defaultdict(int)
        self._fetching: set[str] = set()
        self._pushed: defaultdict[str, int] = defaultdict(int)
        self._moved = trio.Event()
        self._nursery: trio.Nursery | None = None

    # ------------------------------------------------------------------ connection

    async def run(self) -> None:
        """Connect, resume, stay; come back whenever the socket is lost. Ends by cancellation."""
        for attempt in itertools.count():
            try:
                async with dial(self._address()) as socket:
                    await self._live(socket)
            except* (HandshakeError, OSError, ConnectionClosed, Gone, trio.TooSlowError):
                self.notes["lost connections"] += 1
            self.online = trio.Event() if self.online.is_set() else self.online
            limit_s = BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]
            await trio.sleep(limit_s * (0.5 + self._rng.random() / 2))

    async def _live(self, socket: WebSocketConnection) -> None:
        self._socket, self.connection = socket, next(_connections)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._frames, frames = trio.open_memory_channel[str](math.inf)
                nursery.start_soon(self._write, socket, frames)
                nursery.start_soon(self._read, socket, nursery.cancel_scope)
                try:
                    await self._resume()
                except Gone:
                    nursery.cancel_scope.cancel()
        finally:
            self._socket = self._nursery = None
            self._fetching.clear()
            self._pushed.clear()
            for answered, _ in self._waiting.values():
                answered.set()
            self._waiting.clear()
            self._on_ok.clear()

    async def _resume(self) -> None:
        answer = await self.persist("auth", token=self._token)
        self.uid, self.sid = answer["uid"], answer["sid"]
        more = True
        while more:
            cursors = {thread: self.last(thread) for thread in list(self.applied)}
            page = await self.persist("sync", cursors=cursors)
            for events in page["events"].values():
                for event in events:
                    self._apply(event, live=False)
            for thread in page["threads"]:
                self._beyond(thread["thread"], thread["head"])
            more = bool(page["more"])
        self.online.set()

    async def _read(self, socket: WebSocketConnection, scope: trio.CancelScope) -> None:
        try:
            while True:
                self._hear(json.loads(await socket.get_message()))
        except ConnectionClosed as closed:
            self.closes.append(1006 if closed.reason is None else closed.reason.code)
            scope.cancel()

    # -------------------------------------------------------------------- requests

    async def request(self, op: str, **fields: Any) -> Frame:
        """One try. Raises `Refused`, or `Gone` if the socket closed: the outcome is unknown."""
        number, answered, answer = self.begin(op, **fields)
        return await self.end(number, answered, answer)

    def begin(self, op: str, **fields: Any) -> tuple[int, trio.Event, list[Frame]]:
        """Number a request and hand it to the socket, in the order of the calls."""
        if self._socket is None or self._nursery is None:
            raise Gone
        number = next(self._ids)
        answered: trio.Event = trio.Event()
        answer: list[Frame] = []
        self._waiting[number] = answered, answer
        if op == "send":
            self._on_ok[number] = {"e": "msg", "text": fields["text"]}
        elif op == "edit":
            self._on_ok[number] = {key: fields[key] for key in ("thread", "text")}
            self._on_ok[number] |= {"e": "edit", "target": fields["seq"]}
        frame = json.dumps({"op": op, "id": number} | fields)
        self._frames.send_nowait(frame)
        return number, answered, answer

    async def _write(
        self, socket: WebSocketConnection, frames: trio.MemoryReceiveChannel[str]
    ) -> None:
        try:
            while True:
                with trio.move_on_after(HEARTBEAT_S) as quiet:
                    await socket.send_message(await frames.receive())
                if quiet.cancelled_caught:
                    await socket.send_message('{"op":"hb"}')
        except ConnectionClosed:
            pass  # whoever reads will see it

    async def end(self, number: int, answered: trio.Event, answer: list[Frame]) -> Frame:
        """Wait for the answer to what `begin` sent."""
        with trio.move_on_after(ANSWER_S) as deadline:
            await answered.wait()
        if deadline.cancelled_caught:
            self._ledger.broken.append(f"{self.name}: request {number} unanswered")
            raise Gone
        if not answer:
            raise Gone
        if answer[0]["op"] == "err":
            raise Refused(answer[0])
        return answer[0]

    async def persist(self, op: str, **fields: Any) -> Frame:
        """Ask until answered on this socket; errors that are temporary are waited out."""
        while True:
            try:
                return await self.request(op, **fields)
            except Refused as refused:
                if not refused.temporary:
                    raise
                self.notes[f"{op} put off"] += 1
                await trio.sleep(max(refused.retry_ms, 20) / 1000)

    async def post(self, sent: Sent) -> None:
        """A `send` or an `edit` to its end, across lost sockets, always with the same cid."""
        fields = {"thread": sent.thread, "text": sent.text, "cid": sent.cid}
        op = "send" if sent.target is None else "edit"
        if sent.target is not None:
            fields |= {"seq": sent.target}  # type: ignore[dict-item]
        while True:
            await self.online.wait()
            if sent.tries == 1:
                sent.connection, sent.order = self.connection, next(self._orders)
            try:
                answer = await self.request(op, **fields)
            except Gone:
                sent.tries += 1
                await trio.lowlevel.checkpoint()
            except Refused as refused:
                if not refused.temporary:
                    self._ledger.broken.append(f"{self.name}: {sent.cid} refused: {refused}")
                    return
                sent.tries += 1
                self.notes[f"{op} put off"] += 1
                await trio.sleep(max(refused.retry_ms, 20) / 1000)
            else:
                self._ledger.acknowledge(sent, answer["seq"], answer["ts"])
                return

    # ---------------------------------------------------------------------- events

    def last(self, thread: str) -> int:
        """The seq up to which this device has everything."""
        events = self.applied.get(thread)
        return events[-1]["seq"] if events else 0

    async def has(self, thread: str, seq: int) -> None:
        """Wait until this device, by itself, has a thread up to `seq`."""
        while self.last(thread) < seq:
            await self._moved.wait()

    def _hear(self, frame: Frame) -> None:
        match frame["op"]:
            case "ok" | "err" if "id" in frame:
                self._answered(frame)
            case "ev":
                self._event(frame)
            case "bye":
                self.notes[f"bye {frame['code']}"] += 1
            case "err":
                self._ledger.broken.append(f"{self.name}: {frame}")

    def _answered(self, frame: Frame) -> None:
        """An `ok` to a post is the delivery of its event on this connection."""
        event = self._on_ok.pop(frame["id"], None)
        if event is not None and frame["op"] == "ok":
            event |= {key: frame[key] for key in ("thread", "seq", "ts", "n") if key in frame}
            event["from"] = self.uid
            self._apply(event, live=not frame.get("dup"))
        waiting = self._waiting.pop(frame["id"], None)
        if waiting is not None:
            waiting[1].append(frame)
            waiting[0].set()

    def _event(self, frame: Frame) -> None:
        kind = frame["e"]
        if kind == "head":
            self.notes["head"] += 1
            self._beyond(frame["thread"], frame["seq"])
        elif kind == "gap":
            self.notes["gap"] += 1
            self._beyond(frame["thread"], frame["head"])
        elif "seq" in frame:
            del frame["op"]
            self._apply(frame, live=True)

    def _apply(self, event: Frame, *, live: bool) -> None:
        thread, seq = event["thread"], event["seq"]
        last = self.last(thread)
        if live:
            self.notes["live"] += 1
            if seq <= self._pushed[thread]:
                self._ledger.broken.append(f"{self.name}: {thread} {seq} pushed again or too late")
            self._pushed[thread] = seq
        if seq == last + 1:
            self.applied[thread].append(event)
            self._moved.set()
            self._moved = trio.Event()
        elif seq > last:
            self.notes["jump"] += live
            self._beyond(thread, seq)

    def _beyond(self, thread: str, head: int) -> None:
        """The thread is at least at `head`: fetch what is missing, once at a time."""
        self._heads[thread] = max(self._heads[thread], head)
        if self.last(thread) < head and thread not in self._fetching and self._nursery is not None:
            self._fetching.add(thread)
            self._nursery.start_soon(self._fetch, thread)

    async def _fetch(self, thread: str) -> None:
        try:
            while self.last(thread) < self._heads[thread]:
                self.notes["fetch"] += 1
                page = await self.persist("history", thread=thread, after=self.last(thread))
                self._heads[thread] = max(self._heads[thread], page["head"])
                for event in page["events"]:
                    self._apply(event, live=False)
        except Gone:
            pass
        finally:
            self._fetching.discard(thread)


@asynccontextmanager
async def dial(address: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket to host:port, on a stream that is closed whatever happens."""
    host, _, port = address.rpartition(":")
    async with (
        await trio.open_tcp_stream(host, int(port)) as stream,
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(HANDSHAKE_S):  # of a server that dies meanwhile nothing is heard
            socket = await wrap_client_stream(nursery, stream, address, "/ws")
        try:
            yield socket
        finally:
            nursery.cancel_scope.cancel()


async def read_log(device: Device, thread: str) -> list[Mapping[str, Any]]:
    """A thread's whole log as the server answers it now."""
    log: list[Mapping[str, Any]] = []
    while True:
        page = await device.persist("history", thread=thread, after=len(log))
        log += page["events"]
        if not page["more"]:
            return log


async def enter(address: str, op: str, user: str) -> str:
    """Register or log in over a socket of its own; the token."""
    async with dial(address) as socket:
        await socket.get_message()
        request = {"op": op, "id": 1, "user": user, "pass": "correct horse"}
        await socket.send_message(json.dumps(request))
        answer = json.loads(await socket.get_message())
        assert answer["op"] == "ok", answer
        return str(answer["token"])
