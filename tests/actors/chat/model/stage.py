"""The real thing on a small stage: session, channel, journal and contacts actors under supervisors,
on memory stores that fail when told to, with phones instead of a gateway.

Time is the mock clock. Whoever waits for something lets it jump from deadline to deadline
(`Stage.settle`), so a restart's backoff or a passivation takes no real time.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.chat.channel import Channel
from actors.chat.contacts import Contacts
from actors.chat.journal import Journal
from actors.chat.messages import Attach, channel_name, session_name
from actors.chat.services import CONTACTS, JOURNAL, ChatLimits, Services
from actors.chat.session import Session
from actors.runtime import KILL, Actor, ActorSystem, Down, NameUp, Ref, open_system
from persistence.errors import OutcomeUnknown, StoreUnavailable
from persistence.faulty import faulty
from persistence.memory import MemoryStores
from persistence.records import Account, LoginSession, SessionId, Span, ThreadId, UserId
from supervision import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Restart,
    SpawnerHandle,
    Strategy,
    Supervisor,
    SupervisorSpec,
)
from tests.actors.chat.model.phone import Phone, Socket, Ticket
from tests.actors.chat.model.reference import GROUP_MEMBERS_MAX

CHANNELS, SESSIONS = "channels", "sessions"
FAST = Backoff(min_s=0.005, max_s=1.0)
EPOCH_MS, FOREVER_MS = 1_767_225_600_000, 4_000_000_000_000
ANSWER_S = 30.0
"""Mock seconds within which everything must be answered, whatever went wrong."""
ROUNDS_MAX = 10_000
"""Jumps of the clock while waiting; more is a loop that will not end."""
CALM_S = 5.0
"""After this long every member online has heard of everything (PROTOCOL.md §4.6)."""
CRASHES_MAX, CRASHES_PERIOD_S = 5, 10.0
"""Ends caused in this period: with more, a supervisor would rightly retire a child for a while."""

READS = (
    "log.find", "log.read", "log.related", "log.summaries", "threads.load", "threads.memberships",
    "threads.reserve", "accounts.by_ids", "accounts.by_name", "contacts.relations",
)  # fmt: skip


class Fault(Enum):
    """What goes wrong once, at a store's call: the call's points, whether before or after it was
    carried out, and what happens."""

    REFUSED = (("log.append",), "before", "unavailable")
    VANISHED = (("log.append",), "before", "unknown")
    LOST_ANSWER = (("log.append",), "after", "unknown")
    CHANNEL_DIES_BEFORE = (("log.append",), "before", "kill channel")
    CHANNEL_DIES_AFTER = (("log.append",), "after", "kill channel")
    JOURNAL_DIES_BEFORE = (("log.append",), "before", "kill journal")
    JOURNAL_DIES_AFTER = (("log.append",), "after", "kill journal")
    SESSION_DIES_BEFORE = (("log.append",), "before", "kill session")
    SESSION_DIES_AFTER = (("log.append",), "after", "kill session")
    SOCKET_LOST_BEFORE = (("log.append",), "before", "cut")
    SOCKET_LOST_AFTER = (("log.append",), "after", "cut")
    CLAIM_REFUSED = (("log.claim",), "before", "unavailable")
    CLAIM_LOST = (("log.claim",), "after", "unknown")
    PROJECTION_REFUSED = (("threads.project",), "before", "unavailable")
    PROJECTION_LOST = (("threads.project",), "after", "unknown")
    READ_REFUSED = (READS, "before", "unavailable")

    def __init__(self, points: tuple[str, ...], when: str, effect: str) -> None:
        self.points = points
        self.when = when
        self.effect = effect


class Front(Actor):
    """The gateway's part: sockets attach to their user's session, and again when it has died."""

    def __init__(self, sessions: SpawnerHandle, wall_ms: Callable[[], int]) -> None:
        super().__init__()
        self._sessions = sessions
        self._wall_ms = wall_ms
        self._waiting: dict[Socket, bool] = {}
        self._attached: dict[Ref, list[Socket]] = {}

    def attach(self, socket: Socket, *, is_fresh: bool = False) -> None:
        self._waiting[socket] = is_fresh
        self._try(socket)

    def _try(self, socket: Socket) -> None:
        name = session_name(socket.uid)
        ref = self._sessions.ensure(name)
        if ref is None:
            self.system.watch_name(name, self.ref)
            return
        is_fresh = self._waiting.pop(socket)
        if socket.is_gone:
            return
        if ref not in self._attached:
            self._attached[ref] = []
            self.monitor(ref)
        self._attached[ref].append(socket)
        socket.session = ref
        ref.cast(Attach(socket, fresh_login=is_fresh, since_ms=socket.lost_at_ms))
        socket.resubmit()

    def on_receive(self, message: Any) -> None:
        match message:
            case Down(ref=ref):
                for socket in self._attached.pop(ref, ()):
                    socket.session = None
                    socket.lost_at_ms = self._wall_ms()
                    self.attach(socket)
            case NameUp(name):
                for socket in [s for s in self._waiting if session_name(s.uid) == name]:
                    self._try(socket)


@dataclass
class Troubles:
    """Faults that wait for their moment; `met` are those that came."""

    kill: Callable[[str], None]
    cut: Callable[[], None] = lambda: None
    waiting: list[Fault] = field(default_factory=list)
    met: list[Fault] = field(default_factory=list)
    channels: Callable[[], Iterable[str]] = tuple
    session: str = ""
    held: dict[str, trio.Event] = field(default_factory=dict)
    """Calls of these points wait for their event before they are carried out."""
    held_after: dict[str, trio.Event] = field(default_factory=dict)
    """Their answers wait for it."""

    async def before(self, point: str) -> None:
        if point in self.held:
            await self.held[point].wait()
        await self._meet(point, "before")

    async def after(self, point: str) -> None:
        if point in self.held_after:
            await self.held_after[point].wait()
        await self._meet(point, "after")

    async def _meet(self, point: str, when: str) -> None:
        for fault in self.waiting:
            if point in fault.points and when == fault.when:
                self.waiting.remove(fault)
                self.met.append(fault)
                self._strike(fault, point)
                await trio.lowlevel.checkpoint()
                return

    def _strike(self, fault: Fault, point: str) -> None:
        match fault.effect:
            case "unavailable":
                raise StoreUnavailable(point)
            case "unknown":
                raise OutcomeUnknown(point)
            case "kill channel":
                for name in self.channels():
                    self.kill(name)
            case "kill session":
                self.kill(self.session)
            case "kill journal":
                self.kill(JOURNAL)
            case "cut":
                self.cut()


class Stage:
    """See the module. All methods belong to the loop."""

    def __init__(
        self, clock: MockClock, system: ActorSystem, stores: MemoryStores, troubles: Troubles
    ) -> None:
        self.clock = clock
        self.system = system
        self.stores = stores
        self.troubles = troubles
        self.phones: list[Phone] = []
        self.skew_ms = 0
        self.front: Front
        self._crashes: list[float] = []
        troubles.kill = self.kill

    def wall_ms(self) -> int:
        """The wall clock, which may be set back and forth."""
        return EPOCH_MS + round(trio.current_time() * 1000) + self.skew_ms

    # ------------------------------------------------------------------ people

    async def register(self, user: str, phones: int) -> UserId:
        """A user with so many phones, not connected yet."""
        account = await self.stores.accounts.create(Account(UserId(""), user, user, "", 0))
        for index in range(phones):
            login = LoginSession(SessionId(""), account.uid, "", b"", 0, 0, FOREVER_MS)
            stored = await self.stores.sessions.add(login, phones)
            self.phones.append(Phone(f"{user}'s {index}", account.uid, stored.sid))
        return account.uid

    def connect(self, phone: Phone) -> None:
        self.front.attach(phone.connect())

    # ------------------------------------------------------------------ harm

    def kill(self, name: str) -> None:
        """An end without a chance to say anything, if there is such an actor."""
        ref = self.system.whereis(name)
        if ref is not None:
            self._crashes.append(trio.current_time())
            ref.exit(KILL)

    async def spare(self) -> None:
        """Let old crashes be forgotten before there are new ones."""
        if sum(trio.current_time() - at < CRASHES_PERIOD_S for at in self._crashes) >= CRASHES_MAX:
            await self.advance(CRASHES_PERIOD_S)

    def arm(self, faults: Sequence[Fault], thread: str, phone: Phone) -> None:
        """Faults for the requests that follow, to this thread (to any, if it has no id yet). What
        concerns a device concerns this phone."""
        channels = [channel_name(ThreadId(thread))] if thread else None
        self.troubles.channels = lambda: channels or self.live_channels()
        self.troubles.session = session_name(phone.uid)
        self.troubles.cut = phone.disconnect
        self.troubles.waiting, self.troubles.met = list(faults), []

    def disarm(self) -> list[Fault]:
        """No more faults; those that came."""
        self.troubles.waiting = []
        return self.troubles.met

    def live_channels(self) -> list[str]:
        return [name for name in self.system.names if name.startswith("channel:")]

    # ------------------------------------------------------------------ time

    async def settle(self, tickets: Iterable[Ticket] = ()) -> bool:
        """Let everything happen that can happen now; then, until these are answered and nothing of
        theirs is under way any more, jump to what is waited for. False if they never are."""
        await wait_all_tasks_blocked()
        tickets = list(tickets)
        until_s = trio.current_time() + ANSWER_S
        for _ in range(ROUNDS_MAX):
            if all(ticket.is_over for ticket in tickets) and (not tickets or self._is_quiet()):
                return True
            if trio.current_time() > until_s:
                return False
            await self._jump(until_s + 1)
        raise AssertionError("the system runs in circles")

    async def advance(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        until_s = trio.current_time() + seconds
        await wait_all_tasks_blocked()
        for _ in range(ROUNDS_MAX):
            if trio.current_time() >= until_s:
                return
            await self._jump(until_s)
        raise AssertionError("the system runs in circles")

    async def _jump(self, until_s: float) -> None:
        left_s = until_s - trio.current_time()
        next_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
        self.clock.jump(max(0.0, min(next_s, left_s)) + 1e-9)
        await wait_all_tasks_blocked()

    def _is_quiet(self) -> bool:
        """No session waits for a channel, no channel for the journal."""
        for name, ref in self.system.names.items():
            details = ref.details()
            if name.startswith("session:") and details["waiting"]:
                return False
            if name.startswith("channel:") and (details["waiting"] or details["in_flight"]):
                return False
        return True

    # ------------------------------------------------------------------ looking

    async def log(self, thread: str) -> list[dict[str, Any]]:
        """A thread's events in the store, whatever its actors say."""
        events = await self.stores.log.read(ThreadId(thread), Span(), 1_000_000)
        return [msgspec.json.decode(event.body) for event in events]

    async def threads(self) -> set[str]:
        """The threads that have events."""
        found: set[str] = set()
        for uid in {phone.uid for phone in self.phones}:
            rows = await self.stores.threads.memberships(uid)
            spans = {row.meta.thread: Span() for row in rows}
            summaries = await self.stores.log.summaries(spans, {})
            found |= {thread for thread, summary in summaries.items() if summary.head.seq}
        return found

    async def members(self, thread: str) -> dict[str, tuple[str, int, int | None]]:
        """Role, join and leave of everybody who is or was in a thread, as the tables have it."""
        loaded = await self.stores.threads.load(ThreadId(thread))
        assert loaded is not None
        return {
            m.uid: (m.role.value, m.join_seq, m.left_seq) for m in loaded[1] if not m.is_promised
        }


@asynccontextmanager
async def open_stage(clock: MockClock) -> AsyncIterator[Stage]:
    """A running service without users."""
    stores = MemoryStores()
    troubles = Troubles(kill=lambda name: None)
    async with open_system(random.Random(7)) as system:
        stage = Stage(clock, system, stores, troubles)

        def port(store: Any, name: str) -> Any:
            return faulty(store, name, troubles.before, troubles.after)

        services = Services(
            accounts=port(stores.accounts, "accounts"),
            sessions=port(stores.sessions, "sessions"),
            contacts=port(stores.contacts, "contacts"),
            threads=port(stores.threads, "threads"),
            log=port(stores.log, "log"),
            channels=SpawnerHandle(system, CHANNELS),
            session_actors=SpawnerHandle(system, SESSIONS),
            wall_ms=stage.wall_ms,
            limits=replace(ChatLimits(), group_members=GROUP_MEMBERS_MAX),
        )
        await system.start(Supervisor, _tree(services), name="root")
        front = system.spawn(Front, SpawnerHandle(system, SESSIONS), stage.wall_ms, name="front")
        stage.front = front._actor
        yield stage


def _tree(services: Services) -> SupervisorSpec:
    """The service's tree without accounts, presence and front, with its own limits."""

    def channel(name: str) -> ChildSpec:
        thread = ThreadId(name.removeprefix("channel:"))
        return ChildSpec(name, Channel, (thread, services), name=name,
                         restart=Restart.TRANSIENT, backoff=FAST)  # fmt: skip

    def session(name: str) -> ChildSpec:
        uid = UserId(name.removeprefix("session:"))
        return ChildSpec(name, Session, (uid, services), name=name,
                         restart=Restart.TRANSIENT, backoff=FAST)  # fmt: skip

    def spawner(name: str, factory: Callable[[str], ChildSpec]) -> ChildSpec:
        windows = {"max_children": 1000, "intensity": 10, "period_s": 10.0, "retire_s": 5.0}
        return ChildSpec(name, DynamicSupervisor, (factory,), windows, name=name,
                         kind="supervisor", backoff=FAST)  # fmt: skip

    return SupervisorSpec(
        Strategy.ONE_FOR_ONE, 20, 10.0,
        children=(
            ChildSpec(JOURNAL, Journal, (services.log,), name=JOURNAL, backoff=FAST),
            ChildSpec(CONTACTS, Contacts, (services,), name=CONTACTS, backoff=FAST),
            spawner(CHANNELS, channel),
            spawner(SESSIONS, session),
        ),
    )  # fmt: skip
