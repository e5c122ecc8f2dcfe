"""The hub: all connections of this process, and what concerns them together.

An actor, named `hub`, so that it can watch the others: it hears when a session, accounts, contacts
or presence dies and comes back, and has its connections attach or ask again. It also keeps time for
everybody: heartbeats end here, in a timestamp on the connection and a timing wheel of one-second
slots; only a user's first and last socket are told to the presence registry, and one lease for all
(DESIGN.md §9).
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from actors.chat.messages import (
    Detach,
    Lease,
    UserDown,
    UserUp,
    session_name,
)
from actors.runtime import Actor, Down, NameUp, Ref, Spawner
from actors.runtime.stalls import stood_still
from gateway.config import Settings
from gateway.connection import Connection, Transport
from gateway.metrics import Metrics
from gateway.rates import Rates
from gateway.requests import Target
from gateway.transport import Closed
from gateway.wire import codec, frames
from gateway.wire.codes import CloseCode
from gateway.wire.protocol import Phase
from persistence.records import UserId

logger = structlog.get_logger("gateway")

LEASE_S = 15.0
"""How often the presence registry hears that this gateway is alive, at most."""
LEASES_PER_SILENCE = 4
"""Renewals within the silence that ends a lease: some may be late."""
DRAIN_RETRY_MS = (500, 5000)
"""Clients are told to come back after a moment in this range, each another."""

CLEAN_CLOSES = frozenset({1000, 1001})
"""A peer that closes with one of these is offline at once (PROTOCOL.md §4.8)."""

_DIRECTORY = (Target.ACCOUNTS, Target.CONTACTS, Target.PRESENCE)


class _Second:
    """The clock's tick."""


class _User:
    """One user's sockets here, and until when their last unclean one still counts as online."""

    __slots__ = ("connections", "last_s", "lingers_until_s")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.last_s = 0.0
        self.lingers_until_s: float | None = None


class Hub(Actor):
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        sessions: Spawner,
        wall_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.metrics = metrics
        self.wall_ms = wall_ms
        self.awaiting: set[Connection] = set()
        """Connections with unanswered requests."""
        self._sessions = sessions
        self._rng = rng
        self._connections: set[Connection] = set()
        self._users: dict[UserId, _User] = {}
        self._unattached: dict[Connection, bool] = {}
        self._of_session: dict[Ref, set[Connection]] = {}
        self._monitors: dict[Any, Target | Ref] = {}
        self._directory: dict[Target, Ref | None] = {}
        self._wheel: dict[int, list[Connection]] = {}
        self._slot = 0
        self._slot_s = 1.0
        self._dirty: list[Connection] = []
        self._wake_flusher = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._silence_s = settings.offline_ms / 1000
        self._lease_s = min(LEASE_S, self._silence_s / LEASES_PER_SILENCE)
        self._lease_at_s = -math.inf
        self._looked_at_s = 0.0
        self._patient_until_s = -math.inf
        self._draining = False
        self._emptied = trio.Event()
        self._rates = Rates(settings.limits)

    # ------------------------------------------------------------------ life

    def on_start(self) -> None:
        shortest_ms = min(self.settings.auth_ms, self.settings.offline_ms)
        self._slot_s = min(1.0, shortest_ms / 4000)
        self._looked_at_s = trio.current_time()
        self._slot = self._slot_of(self._looked_at_s)
        self.send_every(self._slot_s, _Second())
        for target in _DIRECTORY:
            self._find(target)
        self.run_task(self._work, on_done=lambda result: result.unwrap())

    async def _work(self) -> None:
        """The nursery of all writing tasks, and the one that flushes for everybody."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                await self._wake_flusher.wait()
                self._wake_flusher = trio.Event()
                dirty, self._dirty = self._dirty, []
                for connection in dirty:
                    connection.dirty = False
                    connection.flush()

    def start_task(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a connection's task until it ends or the hub does."""
        if self._nursery is not None:
            self._nursery.start_soon(work)

    def flush_soon(self, connection: Connection) -> None:
        """Have the connection's outbox written before the loop waits again."""
        if not connection.dirty:
            connection.dirty = True
            self._dirty.append(connection)
            self._wake_flusher.set()

    def on_receive(self, message: Any) -> None:
        match message:
            case _Second():
                self._second()
            case Down():
                self._down(message)
            case NameUp(name):
                self._up(name)

    # ------------------------------------------------------------------ connections

    async def serve(self, transport: Transport) -> None:
        """One socket from its first frame to its last. The listener calls this for each."""
        connection = Connection(self, transport)
        self._connections.add(connection)
        self._put(connection, connection.opened_at_s + self.settings.auth_ms / 1000)
        self.metrics.connections += 1
        if self._draining:
            connection.close(CloseCode.DRAIN, "drain", self._retry_ms())
        try:
            await connection.run()
        except trio.Cancelled:
            raise
        except Closed as closed:
            connection.clean = connection.clean or closed.code in CLEAN_CLOSES
        except Exception:
            logger.exception("connection_failed", connection=repr(connection))
            transport.abort()
        finally:
            self._gone(connection)

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()
        self.awaiting.discard(connection)
        self._unattached.pop(connection, None)
        if connection.session is not None:
            self._of_session.get(connection.session, set()).discard(connection)
            connection.session.cast(Detach(connection.number))
        self.offline(connection)

    def hello(self) -> bytes:
        settings = self.settings
        return codec.hello(
            hb_ms=settings.hb_ms, offline_ms=settings.offline_ms, auth_ms=settings.auth_ms,
            node=settings.node, now=self.wall_ms(), limits=settings.limits.advertised(),
        )  # fmt: skip

    def decode(self, payload: bytes | str) -> frames.Request:
        self.metrics.frames_in += 1
        if not isinstance(payload, str):
            raise codec.Malformed("a binary frame on the JSON protocol")
        return codec.decode_request(payload)

    # ------------------------------------------------------------------ online, offline

    def online(self, connection: Connection) -> None:
        """A socket is authenticated: its user is online."""
        user = self._users.get(connection.uid)
        if user is None:
            user = self._users[connection.uid] = _User()
            self._tell_presence(UserUp(self.settings.node, connection.uid))
        user.connections.add(connection)
        user.lingers_until_s = None
        connection.quota = self._rates.enter(connection.uid, trio.current_time())
        self._put(connection, connection.last_frame_s + self.settings.offline_ms / 1000)

    def offline(self, connection: Connection) -> None:
        """A socket is gone. A clean close counts at once; an unclean one by the silence rule."""
        user = self._users.get(connection.uid)
        if user is None or connection not in user.connections:
            return
        user.connections.discard(connection)
        self._rates.leave(connection.uid, trio.current_time())
        user.last_s = max(user.last_s, connection.last_frame_s)
        if not connection.clean:
            until_s = connection.last_frame_s + self.settings.offline_ms / 1000
            user.lingers_until_s = max(user.lingers_until_s or 0.0, until_s)
        if not user.connections:
            self._maybe_down(connection.uid, user)

    def _maybe_down(self, uid: UserId, user: _User) -> None:
        now_s = trio.current_time()
        if user.lingers_until_s is not None and user.lingers_until_s > now_s:
            return
        del self._users[uid]
        last_ms = self.wall_ms() - round((now_s - user.last_s) * 1000)
        self._tell_presence(UserDown(self.settings.node, uid, last_ms))

    def _tell_presence(self, message: object) -> None:
        ref = self._directory.get(Target.PRESENCE)
        if ref is not None:
            ref.cast(message)

    # ------------------------------------------------------------------ time

    def _slot_of(self, at_s: float) -> int:
        return int(at_s / self._slot_s)

    def _put(self, connection: Connection, at_s: float) -> None:
        """Look at this connection again at `at_s`, or up to one slot later."""
        slot = connection.look_slot = self._slot_of(at_s) + 1
        self._wheel.setdefault(slot, []).append(connection)

    def _second(self) -> None:
        now_s = trio.current_time()
        if stood_still(now_s - self._looked_at_s, self._slot_s, self._silence_s):
            self._patient_until_s = now_s + self._slot_s
        self._looked_at_s = now_s
        current = self._slot_of(now_s)
        while self._slot < current:
            self._slot += 1
            for connection in self._wheel.pop(self._slot, ()):
                if connection.look_slot == self._slot:  # otherwise it was put elsewhere since
                    self._look_at(connection, now_s)
        for connection in list(self.awaiting):
            connection.expire(now_s)
        for uid, user in list(self._users.items()):
            if not user.connections:
                self._maybe_down(uid, user)
        for connection in list(self._unattached):
            self._try_attach(connection)
        self._rates.sweep(now_s)
        self._renew_lease(now_s)

    def _renew_lease(self, now_s: float) -> None:
        """A lease renewed late (the process stood still) may have ended: it names its users."""
        age_s = now_s - self._lease_at_s
        if age_s >= self._lease_s:
            self._lease_at_s = now_s
            users = tuple(self._users) if age_s >= self._silence_s / 2 else None
            self._tell_presence(Lease(self.settings.node, users))

    def _look_at(self, connection: Connection, now_s: float) -> None:
        """The silence rule and the authentication deadline."""
        if connection not in self._connections or connection.phase is Phase.CLOSING:
            return
        if connection.phase is Phase.UNAUTHENTICATED:
            due_s = connection.opened_at_s + self.settings.auth_ms / 1000
            code = CloseCode.AUTH_TIMEOUT
        else:
            due_s = connection.last_frame_s + self.settings.offline_ms / 1000
            code = CloseCode.SILENT
        due_s = max(due_s, self._patient_until_s)
        if due_s > now_s:
            self._put(connection, due_s)
        else:
            connection.close(code, code.meaning)

    # ------------------------------------------------------------------ the actors behind

    def actor(self, target: Target) -> Ref | None:
        return self._directory.get(target)

    def _find(self, target: Target) -> None:
        """Use the actor of this name, or wait until it is there."""
        ref = self.system.whereis(target.value)
        self._directory[target] = ref
        if ref is None:
            self.system.watch_name(target.value, self.ref)
            return
        self._monitors[self.monitor(ref)] = target
        if target is Target.PRESENCE:
            ref.cast(Lease(self.settings.node, tuple(self._users)))
        for connection in list(self.awaiting):
            connection.resubmit(target)

    def _down(self, down: Down) -> None:
        what = self._monitors.pop(down.monitor, None)
        if isinstance(what, Target):
            self._directory[what] = None
            self._find(what)
        elif what is not None:
            self._session_down(what)

    def _up(self, name: str) -> None:
        for target in _DIRECTORY:
            if target.value == name and self._directory.get(target) is None:
                self._find(target)
                return
        for connection in [c for c in self._unattached if session_name(c.uid) == name]:
            self._try_attach(connection)

    def attach(self, connection: Connection, *, fresh: bool) -> None:
        """Attach a device to its user's session, now or as soon as there is one."""
        self._unattached[connection] = fresh
        self._try_attach(connection)

    def _try_attach(self, connection: Connection) -> None:
        name = session_name(connection.uid)
        ref = self._sessions.ensure(name)
        if ref is None:
            self.system.watch_name(name, self.ref)
            return
        fresh = self._unattached.pop(connection)
        if ref not in self._of_session:
            self._of_session[ref] = set()
            self._monitors[self.monitor(ref)] = ref
        self._of_session[ref].add(connection)
        connection.session = ref
        ref.cast(connection.attachment(fresh=fresh))
        connection.resubmit(Target.SESSION)

    def _session_down(self, ref: Ref) -> None:
        """A session died: its devices attach to the next incarnation. No socket closes for it."""
        now_ms = self.wall_ms()
        for connection in self._of_session.pop(ref, ()):
            connection.session = None
            connection.lost_at_ms = now_ms
            self.attach(connection, fresh=False)

    # ------------------------------------------------------------------ draining

    async def drain(self) -> None:
        """Say `bye` 4012 to everybody, also to whoever comes yet, and wait until they are gone."""
        self._draining = True
        for connection in list(self._connections):
            connection.close(CloseCode.DRAIN, "drain", self._retry_ms())
        while self._connections:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def _retry_ms(self) -> int:
        return self._rng.randint(*DRAIN_RETRY_MS)

    def statistics(self) -> dict[str, int]:
        """Live state for the tree and for metrics."""
        return {
            "connections": len(self._connections),
            "users": len(self._users),
            "awaiting": len(self.awaiting),
            "unattached": len(self._unattached),
        }
