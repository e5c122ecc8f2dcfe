"""A small server that speaks the protocol from memory, for testing clients against.

It keeps logs, users and cids in dictionaries, and does what a test tells it: `server.on["send"]`
is a queue of handlers that stand in for the ordinary one, once each; links can be cut, closed
with a code, silenced. Peers are memory streams, so the mock clock sees everything.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, ClassVar, cast

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from gateway.client_link import Address
from gateway.wire.limits import Limits

Frame = dict[str, Any]
Handler = Callable[["FakeLink", Frame], "Frame | None"]


class Refusal(Exception):
    """Raised by a handler: the error to answer."""

    def __init__(self, code: str, temporary: bool = False, retry_ms: int = 0) -> None:
        super().__init__(code)
        self.fields = {"code": code, "msg": code, "temporary": temporary, "retry_ms": retry_ms}


class Cut(Exception):
    """Raised by a handler: the connection breaks instead of an answer."""


class FakeLink:
    """One client's connection, seen from the server."""

    def __init__(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.socket = socket
        self.stream = stream
        self.uid: str | None = None
        self.silent = False

    async def send(self, frame: Frame) -> None:
        try:
            await self.socket.send_message(json.dumps(frame))
        except ConnectionClosed:
            return

    async def push(self, **event: Any) -> None:
        await self.send({"op": "ev", **event})

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def close(self, code: int, reason: str = "", retry_ms: int | None = None) -> None:
        if retry_ms is not None:
            await self.send({"op": "bye", "code": code, "reason": reason, "retry_ms": retry_ms})
        await self.socket.aclose(code, reason)


class FakeServer:
    """See the module. `requests` holds every frame received, heartbeats included."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.on: defaultdict[str, deque[Handler]] = defaultdict(deque)
        self.logs: defaultdict[str, list[Frame]] = defaultdict(list)
        self.first_seq: dict[str, int] = {}
        self.cids: dict[str, Frame] = {}
        self.removed: list[str] = []
        self.links: list[FakeLink] = []
        self.opened = 0
        self.requests: list[Frame] = []
        self.sync_page = 100
        self.refusing = False
        self.connected = trio.Event()

    # ------------------------------------------------------------------------------- for tests

    @property
    def link(self) -> FakeLink:
        return self.links[-1]

    def asked(self, op: str) -> list[Frame]:
        return [frame for frame in self.requests if frame["op"] == op]

    def write(self, thread: str, **fields: Any) -> Frame:
        """Append an event to a log without telling anybody."""
        log = self.logs[thread]
        event = {
            "e": "msg",
            "thread": thread,
            "seq": len(log) + 1,
            "n": len(log) + 1,
            "from": "u2",
            "ts": 1000 + len(log),
            **fields,
        }
        log.append(event)
        return event

    async def post(self, thread: str, **fields: Any) -> Frame:
        """Write an event and push it to every link."""
        event = self.write(thread, **fields)
        for link in list(self.links):
            if link.uid is not None and not link.silent:
                await link.push(**event)
        return event

    async def open_stream(self, address: Address) -> trio.abc.Stream:
        """The way in; hand it to `connect`."""
        if self.refusing:
            raise ConnectionRefusedError("nobody is listening")
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.serve, ours)
        return theirs

    # ------------------------------------------------------------------------------ connections

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, cast("trio.SocketStream", stream))
            socket = await request.accept(subprotocol="chat.v1.json")
            link = FakeLink(socket, stream)
            self.links.append(link)
            self.opened += 1
            await link.send(
                {
                    "op": "hello",
                    "v": 1,
                    "hb_ms": 4000,
                    "offline_ms": 60000,
                    "auth_ms": 10000,
                    "node": "n1",
                    "now": 0,
                    "limits": Limits().advertised(),
                }
            )
            try:
                while True:
                    await self.answer(link, json.loads(await socket.get_message()))
            except ConnectionClosed:
                pass
            except Cut:
                await link.cut()
            self.links.remove(link)
            # The reader task ends with the stream; a close under way still needs it.

    async def answer(self, link: FakeLink, frame: Frame) -> None:
        self.requests.append(frame)
        op = frame["op"]
        if link.silent:
            return
        ordinary: Handler = getattr(self, "do_" + op.replace(".", "_"), FakeServer.do_nothing)
        handler = self.on[op].popleft() if self.on[op] else ordinary
        try:
            reply = handler(link, frame)
        except Refusal as refusal:
            await link.send({"op": "err", "id": frame.get("id"), **refusal.fields})
            return
        if reply is not None and "id" in frame:
            await link.send({"op": "ok", "id": frame["id"], **reply})
        elif op == "hb":
            await link.send({"op": "hb", "now": 0})
        elif op == "bye":
            self.nursery.start_soon(link.close, 1000)

    # ------------------------------------------------------------------------------- operations

    @staticmethod
    def do_nothing(link: FakeLink, frame: Frame) -> Frame:
        return {}

    def do_hb(self, link: FakeLink, frame: Frame) -> None:
        return None

    def do_login(self, link: FakeLink, frame: Frame) -> Frame:
        link.uid = "u1"
        return {"uid": "u1", "sid": "s1", "token": "t1", "exp": 9}

    do_register = do_login

    def do_auth(self, link: FakeLink, frame: Frame) -> Frame:
        if frame["token"] != "t1":
            raise Refusal("token_invalid")
        link.uid = "u1"
        return {"uid": "u1", "sid": "s1", "exp": 9}

    def do_send(self, link: FakeLink, frame: Frame) -> Frame:
        cid = frame["cid"]
        if cid in self.cids:
            return {**self.cids[cid], "dup": True}
        thread = frame.get("thread") or "d:u1:u2"
        event = self.write(thread, **{"from": "u1", "text": frame["text"], "cid": cid})
        self.cids[cid] = {"thread": thread, **{k: event[k] for k in ("seq", "n", "ts")}}
        return self.cids[cid]

    def do_react(self, link: FakeLink, frame: Frame) -> Frame:
        event = self.write(
            frame["thread"], e="react", target=frame["seq"], emoji=frame["emoji"], on=frame["on"]
        )
        return {"seq": event["seq"]}

    def do_history(self, link: FakeLink, frame: Frame) -> Frame:
        log, limit = self.readable(frame["thread"]), frame.get("limit", 100)
        found = [event for event in log if event["seq"] > frame.get("after", 0)]
        if "before" in frame:
            found = [event for event in log if event["seq"] < frame["before"]]
        page = found[:limit] if "after" in frame else found[-limit:]
        head = len(self.logs[frame["thread"]])
        return {"events": page, "head": head, "more": len(found) > len(page)}

    def readable(self, thread: str) -> list[Frame]:
        return self.logs[thread][self.first_seq.get(thread, 1) - 1 :]

    def do_sync(self, link: FakeLink, frame: Frame) -> Frame:
        events: dict[str, list[Frame]] = {}
        more, reset, left = [], [], min(self.sync_page, frame.get("limit", 100))
        for thread in self.logs:
            cursor = frame["cursors"].get(thread, 0)
            log = self.readable(thread)
            if cursor > len(self.logs[thread]):
                reset.append(thread)
                events[thread] = log[-3:]
                continue
            found = [event for event in log if event["seq"] > cursor]
            if found[:left]:
                events[thread] = found[:left]
            if len(found) > left:
                more.append(thread)
            left -= len(found[:left])
        threads = [self.info(thread) for thread in events]
        return {
            "threads": threads,
            "events": events,
            "more": more,
            "removed": self.removed,
            "reset": reset,
        }

    # ------------------------------------------------------------------------- people and groups

    people: ClassVar[list[Frame]] = [
        {"uid": "u2", "user": "bob", "name": "Bob", "about": "", "avatar": ""},
        {"uid": "u3", "user": "carol", "name": "Carol\x1b[31m", "about": "", "avatar": ""},
    ]

    def do_user_get(self, link: FakeLink, frame: Frame) -> Frame:
        return {"users": [user for user in self.people if user["uid"] in frame["uids"]]}

    def do_user_search(self, link: FakeLink, frame: Frame) -> Frame:
        return {"users": [user for user in self.people if user["user"].startswith(frame["q"])]}

    def do_contact_list(self, link: FakeLink, frame: Frame) -> Frame:
        return {"contacts": [{**self.people[0], "alias": "Bobby", "blocked": False}], "v": 1}

    def do_contact_add(self, link: FakeLink, frame: Frame) -> Frame:
        [user] = [user for user in self.people if user["user"] == frame["user"]]
        return {"contact": user}

    def do_group_create(self, link: FakeLink, frame: Frame) -> Frame:
        event = self.write("g1", e="thread", by="u1", name=frame["name"])
        return {"thread": "g1", "seq": event["seq"], "ts": event["ts"]}

    def do_group_info(self, link: FakeLink, frame: Frame) -> Frame:
        members = [{"uid": uid, "role": "member", "join_seq": 1} for uid in ("u1", "u2", "u3")]
        return {"info": {"thread": frame["thread"], "name": "Family"}, "members": members}

    def do_presence(self, link: FakeLink, frame: Frame) -> Frame:
        return {"st": {uid: {"on": True} for uid in frame["uids"]}, "v": 1, "next_ms": 10000}

    def info(self, thread: str) -> Frame:
        return {"thread": thread, "kind": "group", "name": thread, "head": len(self.logs[thread])}

    def do_thread_list(self, link: FakeLink, frame: Frame) -> Frame:
        listed = [thread for thread in self.logs if thread not in self.removed]
        return {"threads": [self.info(thread) for thread in listed]}
