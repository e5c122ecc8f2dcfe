"""One WebSocket: requests in, answers and events out, between a transport and the actors.

A connection is a **Device** to its user's session actor. It numbers requests, passes each to the
actor that answers it (`requests`), and remembers it until the answer, so that when that actor dies
the request is passed on again, or answered honestly. Requests are handled in order: those that only
append to a thread go on side by side, every other waits for the ones before it (`requests.Order`).

Only the reader is a task of its own. Writing is done by the hub's flusher for all connections, and
by a task for as long as a socket does not take what it is given.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio

from actors.chat.answers import Code, Done, Refused, Result
from actors.chat.channel_state import with_cid
from actors.chat.messages import (
    Attach,
    LoggedIn,
    Published,
)
from gateway.outbox import Outbox
from gateway.requests import ROUTES, Context, Order, Route, Target
from gateway.wire import codec, frames
from gateway.wire.codes import CloseCode, ErrorCode
from gateway.wire.limits import UNDRAINED_S, WAITING_REPLIES_MAX
from gateway.wire.protocol import (
    Happening,
    Phase,
    Verdict,
    advance,
    malformed_counter,
    refusal_counter,
    verdict,
)
from persistence.records import SessionId, UserId

if TYPE_CHECKING:
    from gateway.hub import Hub
    from gateway.rates import Quota

logger = structlog.get_logger("gateway")

WRITE_BYTES_MAX = 65_536
"""About what one write takes from the outbox: large enough to coalesce, small enough to share."""

CLOSE_DEADLINE_S = 3.0
"""How long a closing socket may take to drain and to answer the close."""

REQUEST_DEADLINE_S = 10.0
"""A request not answered by then is answered `timeout` (its outcome is unknown)."""

_numbers = count(1)


class Transport(Protocol):
    """What a connection needs of its WebSocket (`gateway.transport`)."""

    @property
    def peer_address(self) -> str: ...

    async def receive(self) -> list[bytes | str]: ...

    def try_send(self, payloads: Iterable[bytes]) -> bool: ...

    async def drain(self) -> None: ...

    async def close(self, code: int, reason: str, deadline_s: float) -> None: ...

    def abort(self) -> None: ...


@dataclass(slots=True)
class Pending:
    """A request not yet answered. `message` is None until it could be built and sent."""

    frame: frames.Frame
    route: Route
    begun_s: float
    message: Any = None
    sent: bool = False


class Connection:
    """See the module. Implements `actors.chat.messages.Device`."""

    __slots__ = (
        "_backlog", "_closing", "_drained", "_ended", "_hub", "_login", "_malformed",
        "_next_request", "_polled_at", "_refused", "_room", "_writing", "clean", "dirty",
        "last_frame_s", "look_slot", "lost_at_ms", "number", "opened_at_s", "outbox", "pending",
        "phase", "quota", "session", "sid", "transport", "uid",
    )  # fmt: skip

    def __init__(self, hub: Hub, transport: Transport) -> None:
        limits = hub.settings.limits
        self.number = next(_numbers)
        self.transport = transport
        self.phase = Phase.UNAUTHENTICATED
        self.uid = UserId("")
        self.sid = SessionId("")
        self.session: Any = None
        self.quota: Quota | None = None
        self.outbox = Outbox(limits.queue_frames, limits.queue_bytes)
        self.pending: dict[int, Pending] = {}
        self.opened_at_s = self.last_frame_s = trio.current_time()
        self.lost_at_ms: int | None = None
        self.clean = False
        self.dirty = False
        """In the flusher's list."""
        self.look_slot = 0
        """Where in the hub's timing wheel it stands."""
        self._hub = hub
        self._backlog: deque[frames.Frame | codec.WireError] = deque()
        self._next_request = 1
        self._login: tuple[int, Done] | None = None
        self._closing: tuple[int, str] | None = None
        self._writing = False
        self._drained: trio.Event | None = None
        self._ended: trio.Event | None = None
        self._room: trio.Event | None = None
        self._malformed: Any = None
        self._refused: Any = None
        self._polled_at = -math.inf

    def __repr__(self) -> str:
        who = self.uid or "nobody"
        return f"<Connection {self.number} {who} {self.phase.value}, {len(self.pending)} pending>"

    # ------------------------------------------------------------------ reading

    async def run(self) -> None:
        """Read until the socket closes. Raises nothing but `Cancelled`."""
        if self.phase is not Phase.CLOSING:  # a server that drains says goodbye alone
            self._reply(self._hub.hello())
        while self.phase is not Phase.CLOSING:
            payloads = await self.transport.receive()
            self.last_frame_s = trio.current_time()
            for payload in payloads:
                self._take(payload)
            self._advance()
            await self._until_room()
        if self._ended is not None:
            await self._ended.wait()  # what is queued, `bye` and the close frame go first

    async def _until_room(self) -> None:
        while self._is_crowded() and self.phase is not Phase.CLOSING:
            self._room = trio.Event()
            await self._room.wait()

    def _is_crowded(self) -> bool:
        """Too much is unanswered or unread: no further request is read."""
        waiting = len(self._backlog) + len(self.pending)
        return waiting > WAITING_REPLIES_MAX or self.outbox.replies > WAITING_REPLIES_MAX

    def make_room(self) -> None:
        if self._room is not None and not self._is_crowded():
            self._room.set()
            self._room = None

    def _take(self, payload: bytes | str) -> None:
        """One frame: a request into the backlog, or what is wrong with it."""
        if self.phase is Phase.CLOSING:
            return
        try:
            frame = self._hub.decode(payload)
        except codec.Malformed as error:
            self._hub.metrics.malformed_frames += 1
            self._error(error.id, ErrorCode.BAD_REQUEST, error.msg)
            if self._malformed is None:
                self._malformed = malformed_counter()
            if self._malformed.record(self.last_frame_s):
                self.close(CloseCode.MALFORMED, CloseCode.MALFORMED.meaning)
        except codec.WireError as error:
            self._backlog.append(error)
        else:
            if type(frame) is frames.Heartbeat:
                self._reply(codec.heartbeat(self._hub.wall_ms()))
            else:
                self._backlog.append(frame)

    # ------------------------------------------------------------------ handling, in order

    def _advance(self) -> None:
        """Handle what may be handled now, in order."""
        backlog = self._backlog
        while backlog and self.phase is not Phase.CLOSING:
            frame = backlog[0]
            if isinstance(frame, codec.WireError):
                if self._is_held():  # a login, say: what is wrong depends on its outcome
                    break
                backlog.popleft()
                self._fault(frame)
                continue
            route = ROUTES.get(type(frame))
            is_post = route is not None and route.order is Order.BESIDE
            if self._is_held() if is_post else self.pending:
                break
            backlog.popleft()
            if type(frame) is frames.Bye:
                self._bye(frame)
            elif route is not None:
                self._handle(frame, route)
        self.make_room()

    def _is_held(self) -> bool:
        """Whether something is unanswered that everything waits for."""
        return any(pending.route.order is Order.ALONE for pending in self.pending.values())

    def _bye(self, frame: frames.Bye) -> None:
        if self.phase is Phase.UNAUTHENTICATED:
            self._error(frame.id, ErrorCode.UNAUTHORIZED, "op: bye before login")
            return
        if frame.id is not None:
            self._reply(codec.ok(frame.id, {}))
        self.close(CloseCode.NORMAL, "bye")

    def _fault(self, error: codec.WireError) -> None:
        """A frame that asks for nothing we can do; it counts as the request it means to be."""
        if self._is_admitted(error.op, error.id, is_send=error.op == "send"):
            self._error(error.id, error.code, error.msg)

    def _handle(self, frame: frames.Frame, route: Route) -> None:
        tag = str(frame.__struct_config__.tag)
        if not self._is_admitted(tag, frame.id, is_send=route.is_send):
            return
        number = self._next_request
        self._next_request += 1
        awaited = frame.id is not None or not isinstance(
            frame, (frames.Recv, frames.Read, frames.Typing)
        )
        request = number if awaited else 0
        context = Context(
            self, self.uid, request, self.transport.peer_address, self._hub.settings.limits
        )
        message = route.build(frame, context)
        if isinstance(message, Refused):
            self._refuse(frame.id, message)
            return
        if type(frame) is frames.Presence and not self._is_poll_due(frame.id):
            return
        pending = Pending(frame, route, trio.current_time(), message)
        if awaited:
            self.pending[number] = pending
            self._hub.awaiting.add(self)
        self._pass(pending)

    def _is_admitted(self, op: str, id_: frames.RequestId | None, *, is_send: bool) -> bool:
        """Whether the phase and the user's rate permit a request; if not, it is answered."""
        decision = verdict(self.phase, op)
        if decision is not Verdict.ADMIT:
            if decision.error is not None:
                self._error(id_, decision.error, f"op: {op[:64]} is not possible now")
            return False
        if self.quota is None:
            return True
        bucket = self.quota.sends if is_send else self.quota.requests
        return self._is_timely(id_, bucket.take(self.last_frame_s))

    def _is_poll_due(self, id_: frames.RequestId | None) -> bool:
        """Presence polls keep their distance on each connection."""
        now_s = self.last_frame_s
        interval_s = self._hub.settings.limits.presence_interval_ms / 1000
        early_s = self._polled_at + interval_s - now_s
        if early_s <= 0:
            self._polled_at = now_s
        return self._is_timely(id_, math.ceil(early_s * 1000) if early_s > 0 else 0)

    def _is_timely(self, id_: frames.RequestId | None, retry_ms: int) -> bool:
        """Whether nothing is to be waited for; if so, it is said, and too often ends it."""
        if not retry_ms:
            return True
        self._hub.metrics.rate_limited += 1
        self._error(id_, ErrorCode.RATE_LIMITED, "too many requests", retry_ms)
        if self._refused is None:
            self._refused = refusal_counter()
        if self._refused.record(self.last_frame_s):
            self.close(CloseCode.RATE_LIMITED, CloseCode.RATE_LIMITED.meaning, retry_ms=60_000)
        return False

    def _pass(self, pending: Pending) -> None:
        """Give a request to its actor; if that is down, it waits for the next incarnation."""
        ref = self.session if pending.route.target is Target.SESSION else self._hub.actor(
            pending.route.target
        )  # fmt: skip
        pending.sent = ref is not None and ref.cast(pending.message)

    def resubmit(self, target: Target) -> None:
        """The actor is up again: pass on what it has not answered. What must not be done twice is
        answered `timeout`, for nobody knows whether it was done."""
        for number, pending in list(self.pending.items()):
            if pending.route.target is target:
                if pending.sent and not pending.route.is_repeatable:
                    unknown = Refused(Code.TIMEOUT, "the server lost the request", retry_ms=1000)
                    self.answer(number, unknown)
                else:
                    self._pass(pending)

    def expire(self, now_s: float) -> None:
        """Answer what has waited too long."""
        for number, pending in list(self.pending.items()):
            if pending.begun_s + REQUEST_DEADLINE_S <= now_s:
                code = Code.TIMEOUT if pending.sent else Code.UNAVAILABLE
                self.answer(number, Refused(code, "no answer in time", retry_ms=1000))

    # ------------------------------------------------------------------ Device: what actors call

    def attached(self) -> None:
        if self._login is not None:
            (number, done), self._login = self._login, None
            self._complete(number, done)

    def answer(self, request: int, result: Result) -> bool:
        if request == 0 and isinstance(result, Refused):
            self._refuse(None, result)
            return True
        pending = self.pending.get(request)
        if pending is None:
            return False
        if isinstance(result, Done) and "login" in result.fields:
            self._log_in(request, result)
        else:
            self._complete(request, result)
        return True

    def _complete(self, request: int, result: Result) -> None:
        pending = self.pending.pop(request, None)
        if pending is None:
            return
        if not self.pending:
            self._hub.awaiting.discard(self)
        id_ = pending.frame.id
        if isinstance(result, Refused):
            self._refuse(id_, result)
            if result.code is Code.TOKEN_INVALID:
                self.close(CloseCode.TOKEN_INVALID, CloseCode.TOKEN_INVALID.meaning)
        elif id_ is not None:
            self._reply(codec.ok(id_, result.fields))
        outcome = "ok" if isinstance(result, Done) else result.code.value
        metrics = self._hub.metrics
        metrics.requests += 1
        metrics.answered(str(pending.frame.__struct_config__.tag), outcome)
        metrics.request_seconds.observe(trio.current_time() - pending.begun_s)
        self._advance()

    def deliver(self, event: Published) -> None:
        frame = event.frame
        if event.cid is not None and event.author == self.uid:
            frame = event.author_frame
            if frame is None:
                frame = event.author_frame = codec.event(with_cid(event.body, event.cid))
        elif frame is None:
            frame = event.frame = codec.event(event.body)
        self._hub.metrics.deliveries += 1
        if not self.outbox.durable(event.thread, event.seq, frame):
            self._hub.metrics.gap_events += 1
        self._hub.flush_soon(self)

    def show(self, key: tuple[str, ...], body: bytes) -> None:
        self.outbox.state(key, codec.event(body))
        self._hub.flush_soon(self)

    def hint(self, body: bytes) -> None:
        if self.outbox.lossy(codec.event(body)):
            self._hub.flush_soon(self)

    def close(self, code: int, reason: str, retry_ms: int = 0) -> None:
        """Close after what is queued; `bye` goes first wherever it still can."""
        if self.phase is Phase.CLOSING:
            return
        if CloseCode(code).says_bye:
            self._reply(codec.bye(CloseCode(code), reason, retry_ms))
        self.clean = code in (CloseCode.NORMAL, CloseCode.REVOKED)
        self._begin_close(code, reason)

    def _begin_close(self, code: int, reason: str) -> None:
        """Nothing more is read, and the user is no longer online by this socket, however long the
        peer takes to say goodbye."""
        self.phase = advance(self.phase, Happening.CLOSING)
        self._closing = (code, reason)
        self._ended = trio.Event()
        self._hub.metrics.closed(code)
        self._hub.offline(self)
        if self._room is not None:
            self._room.set()
        self._hub.start_task(self._close)

    # ------------------------------------------------------------------ logging in

    def _log_in(self, request: int, done: Done) -> None:
        """Credentials are good: attach to the user's session; the `ok` follows the attachment."""
        login: LoggedIn = done.fields["login"]
        if self.phase is not Phase.UNAUTHENTICATED:
            return
        self.phase = advance(self.phase, Happening.AUTHENTICATED)
        self.uid, self.sid = login.uid, login.sid
        fields = {key: value for key, value in done.fields.items() if key != "login"}
        self._login = (request, Done(fields))
        self._hub.online(self)
        self._hub.attach(self, fresh=login.fresh)

    def attachment(self, *, fresh: bool) -> Attach:
        return Attach(self, fresh_login=fresh, since_ms=self.lost_at_ms)

    # ------------------------------------------------------------------ writing

    def _reply(self, frame: bytes) -> None:
        self.outbox.reply(frame)
        self._hub.flush_soon(self)

    def _refuse(self, id_: int | str | None, refused: Refused) -> None:
        self._error(id_, ErrorCode(refused.code.value), refused.msg, refused.retry_ms)

    def _error(self, id_: int | str | None, code: ErrorCode, msg: str, retry_ms: int = 0) -> None:
        self._hub.metrics.error(code)
        self._reply(codec.error(id_, code, msg, retry_ms=retry_ms))

    def flush(self) -> None:
        """Write what is queued without waiting; leave the rest to a task."""
        if self._writing:
            return
        try:
            while self.outbox:
                if not self.transport.try_send(self.outbox.take(WRITE_BYTES_MAX)):
                    self._writing = True
                    self._hub.start_task(self._drain)
                    return
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.transport.abort()
        self.make_room()

    async def _drain(self) -> None:
        """The socket does not take more: wait for it, for a while."""
        try:
            while True:
                with trio.move_on_after(UNDRAINED_S) as scope:
                    await self.transport.drain()
                if scope.cancelled_caught:
                    self._hub.metrics.slow_consumers += 1
                    self._give_up()
                    return
                self.make_room()
                if not self.outbox:
                    return
                if self.transport.try_send(self.outbox.take(WRITE_BYTES_MAX)):
                    continue
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.transport.abort()
        finally:
            self._writing = False
            if self._drained is not None:
                self._drained.set()
            self.make_room()

    def _give_up(self) -> None:
        """A slow consumer: 4009, which it may never read."""
        if self.phase is not Phase.CLOSING:
            self._begin_close(CloseCode.SLOW_CONSUMER, CloseCode.SLOW_CONSUMER.meaning)

    async def _close(self) -> None:
        assert self._closing is not None
        assert self._ended is not None
        code, reason = self._closing
        self.flush()
        if self._writing:  # what is queued goes first, as far as the socket takes it
            self._drained = trio.Event()
            with trio.move_on_after(CLOSE_DEADLINE_S):
                await self._drained.wait()
        try:
            await self.transport.close(code, reason, CLOSE_DEADLINE_S)
        finally:
            self._ended.set()
