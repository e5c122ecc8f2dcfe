"""The operators' listener: health, metrics, the supervision tree and its events, and the lab.

It listens on loopback unless told otherwise and has no accounts, so it must not be a way in for web
pages that the operator happens to look at: requests are answered only under an address or the name
it was told to listen on (any other name may be anybody's, which is what DNS rebinding plays on),
and only from pages of its own. It knows the running system through `OpsBackend` alone.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, Protocol

import trio

from gateway.exchange import Request, Response, text_response
from gateway.handshake import is_welcome
from gateway.metrics import CONTENT_TYPE

EVENTS_MAX: Final = 1_000
"""Events kept for a slow reader of /events; of more, the oldest are dropped and counted."""
READERS_MAX: Final = 16
"""Readers of /events at the same time."""
BEAT_S: Final = 15.0
"""A quiet /events says this often that it is alive, and finds out whether its reader is."""
REASON_CHARS_MAX: Final = 200
CHECKED: Final = ("/ready", "/metrics")

Event = Mapping[str, Any]


class OpsBackend(Protocol):
    """What the listener asks of the running system. Calls are quick, but for `check`."""

    async def check(self) -> None:
        """Look at what takes time to look at, so that `ready` and `metrics` tell the truth."""

    def live(self) -> bool:
        """Whether the process works at all; if not, restart it."""

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether clients should be sent here, and what that was judged by."""

    def tree(self) -> Mapping[str, Any]:
        """A snapshot of the supervision tree."""

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Have `listener` called with each event from now on, until the returned function is."""

    def recent(self) -> Sequence[Event]:
        """The last events, oldest first, as many as are kept. Their `n` counts without a gap."""

    def kill(self, actor: str | int, reason: str) -> bool:
        """Kill the actor of this name or id; False when there is none."""

    def metrics(self) -> bytes:
        """Everything in Prometheus' text format."""


class Ops:
    """The handler of the ops listener. `lab` opens the verbs that break things."""

    def __init__(self, backend: OpsBackend, *, lab: bool = False, host: str = "127.0.0.1") -> None:
        """`host`: what the listener listens on, an address or a name."""
        self._backend = backend
        self._lab = lab
        self._host = host
        self._loopback = is_address(f"[{host}]" if ":" in host else host, loopback=True)
        self._readers = 0
        self._pages: dict[str, Callable[[], Response]] = {
            "/": self._index,
            "/live": self._live,
            "/ready": self._ready,
            "/metrics": lambda: Response(
                200, backend.metrics(), (("content-type", CONTENT_TYPE), _NO_STORE)
            ),
            "/tree": lambda: _json(200, backend.tree()),
        }

    async def handle(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.path.startswith("/lab/"):
            return self._lab_verb(request)
        page = self._pages.get(request.path)
        if page is None and request.path != "/events":
            return text_response(404, "there is nothing here; / lists what there is")
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "this can be read only", ("allow", "GET, HEAD"))
        if request.path in CHECKED:
            await self._backend.check()
        return self._events(request) if page is None else page()

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host")
        if host is not None and not self._is_ours(host):
            which = "a loopback address or localhost" if self._loopback else "an address"
            return text_response(403, f"host: this port answers under {which} only")
        site = request.headers.get("sec-fetch-site", "none")
        is_foreign = site not in ("none", "same-origin") or not is_welcome(request)
        if is_foreign and request.method not in ("GET", "HEAD"):
            return text_response(403, "origin: pages of other sites may not do this")
        return None

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.strip().lower().partition(":")
        if name == self._host.lower() and (port.isdecimal() or not port):
            return True
        return is_address(host, loopback=self._loopback)

    # --------------------------------------------------------------------------------- reading

    def _index(self) -> Response:
        paths = [path for path in self._pages if path != "/"]
        return text_response(200, "\n".join([*paths, "/events"]))

    def _live(self) -> Response:
        is_live = self._backend.live()
        return text_response(200 if is_live else 503, "live" if is_live else "not live", _NO_STORE)

    def _ready(self) -> Response:
        is_ready, details = self._backend.ready()
        return _json(200 if is_ready else 503, {"ready": is_ready, **details})

    def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(200, b"", (_STREAM, _NO_STORE))
        query = _RECENT.fullmatch(request.query)
        if query is None:
            return text_response(400, "query: recent=NUMBER is expected, or none")
        if self._readers >= READERS_MAX:
            return text_response(503, f"{READERS_MAX} readers listen already")
        last = request.headers.get("last-event-id", "")
        return Response(200, b"", (_STREAM, _NO_STORE), self._stream(last, int(query[1] or 0)))

    async def _stream(self, last_event_id: str, recent: int) -> AsyncGenerator[bytes, None]:
        """Events as server-sent events, one JSON object each, until the reader is gone."""
        buffer = EventBuffer(EVENTS_MAX)
        for event in events_missed(self._backend.recent(), last_event_id, recent):
            buffer.put(event)
        self._readers += 1
        unsubscribe = self._backend.subscribe(buffer.put)
        try:
            yield b": events from now on; ?recent=100 begins with the last ones\nretry: 1000\n\n"
            while True:
                with trio.move_on_after(BEAT_S):
                    await buffer.wait()
                yield buffer.take() or b": alive\n\n"
        finally:
            unsubscribe()
            self._readers -= 1

    # ------------------------------------------------------------------------------------- lab

    def _lab_verb(self, request: Request) -> Response:
        if not self._lab:
            return text_response(404, "the lab is closed: start the server with --lab")
        if request.path != "/lab/kill":
            return text_response(404, "the lab of this server has one verb: POST /lab/kill")
        if request.method != "POST":
            return text_response(405, "POST an object with actor and reason", ("allow", "POST"))
        try:
            asked = json.loads(request.body)
        except ValueError:
            return text_response(400, "body: not JSON")
        if not isinstance(asked, dict):
            return text_response(400, "body: an object with actor and reason is expected")
        actor, reason = asked.get("actor"), asked.get("reason", "kill")
        if isinstance(actor, bool) or not isinstance(actor, str | int):
            return text_response(400, "actor: a name or an id is expected")
        if not isinstance(reason, str) or len(reason) > REASON_CHARS_MAX:
            return text_response(400, f"reason: text of up to {REASON_CHARS_MAX} characters")
        if not self._backend.kill(actor, reason):
            return text_response(404, f"actor: there is none called {actor!r}")
        return _json(200, {"killed": actor, "reason": reason})


def events_missed(kept: Sequence[Event], last_event_id: str, recent: int) -> Sequence[Event]:
    """What a reader of /events hears first: after a reconnect what came since the event it names
    (all that is kept if that is of another life of the server), otherwise the `recent` last."""
    if not last_event_id.isdecimal():
        return kept[max(0, len(kept) - recent) :]
    last = int(last_event_id)
    if kept and last > kept[-1]["n"]:
        return kept
    return [event for event in kept if event["n"] > last]


class EventBuffer:
    """Events between a system that does not wait and a reader that may be slow."""

    def __init__(self, events_max: int) -> None:
        self._events: deque[Event] = deque(maxlen=events_max)
        self._dropped = 0
        self._filled = trio.Event()

    def put(self, event: Event) -> None:
        """Keep an event; the oldest makes room."""
        if len(self._events) == self._events.maxlen:
            self._dropped += 1
        self._events.append(event)
        self._filled.set()

    async def wait(self) -> None:
        """Return when there is something to take. Cancelling loses nothing."""
        await self._filled.wait()

    def take(self) -> bytes:
        """Everything kept, as server-sent events; what was dropped is said first."""
        parts: list[bytes] = []
        if self._dropped:
            parts.append(_data({"event": "dropped", "count": self._dropped}))
            self._dropped = 0
        while self._events:
            parts.append(_data(self._events.popleft()))
        self._filled = trio.Event()
        return b"".join(parts)


def is_address(host: str, *, loopback: bool) -> bool:
    """Whether a Host header is an address (if `loopback`, of this machine alone) or localhost."""
    name = host.strip().lower()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = name.partition(":")
    if port and not port.isdecimal():
        return False
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not loopback


_NO_STORE: Final = ("cache-control", "no-store")
_STREAM: Final = ("content-type", "text/event-stream")
_RECENT: Final = re.compile(r"(?:recent=([0-9]{1,6}))?")


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _data(event: Event) -> bytes:
    number = b"id: %d\n" % event["n"] if "n" in event else b""
    return number + b"data: " + _encode(dict(event)) + b"\n\n"


def _json(status: int, value: Mapping[str, Any]) -> Response:
    headers = (("content-type", "application/json"), _NO_STORE)
    return Response(status, _encode(dict(value)) + b"\n", headers)
