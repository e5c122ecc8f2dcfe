"""The composition root: settings to a running service. The only module that sees everything.

```
root            one_for_one
├─ storage      rest_for_one: journal (group commit over the stores)
├─ directory    one_for_one: accounts, contacts, presence
├─ channels     dynamic, transient, passivated when idle
├─ sessions     dynamic, transient: one per user with a device online here
└─ front        one_for_all: hub, main listener, ops listener
```
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from actors.chat.accounts import Accounts
from actors.chat.channel import Channel
from actors.chat.contacts import Contacts
from actors.chat.journal import Journal
from actors.chat.passwords import Passwords
from actors.chat.presence import Presence
from actors.chat.services import (
    ACCOUNTS,
    CONTACTS,
    JOURNAL,
    PRESENCE,
    ChatLimits,
    ChatTimes,
    Services,
)
from actors.chat.session import Session
from actors.runtime import Actor, ActorSystem, Ref, open_system, watch_loop
from gateway.config import Settings, http_url
from gateway.hub import Hub
from gateway.listeners import Listener
from gateway.metrics import Metrics
from gateway.ops import Ops
from gateway.ops_backend import Backend
from gateway.pages import load_pages
from gateway.proxies import network
from gateway.server import Server, ServerSettings
from gateway.stores import Stores, open_stores
from gateway.transport import WebSocketTransport
from gateway.wire import codec
from gateway.wire.codes import CloseCode
from persistence.records import ThreadId, UserId
from supervision import (
    Accepted,
    Backoff,
    ChildSpec,
    CoordinatedShutdown,
    DynamicSupervisor,
    Phase,
    PhaseEnded,
    Restart,
    Rule,
    SpawnerHandle,
    Strategy,
    Supervisor,
    SupervisorSpec,
)

logger = structlog.get_logger("app")

HUB = "hub"
CHANNELS, SESSIONS = "channels", "sessions"
CHANNELS_MAX = 200_000
"""Live channels on one node: at some 20 KB each, what a 4 GB process can hold."""

SESSIONS_LINGERING_MAX = 20_000
"""Sessions without a device that wait for one to come back, beside one for each socket: a thousand
users leaving every second for as long as a session waits."""

INTENSITY, PERIOD_S = 20, 10.0
"""Restarts a supervisor of the fixed part may spend before it gives up and its parent acts. A part
that fails at each start backs off (`FAST`) and stays about here; a storm of several goes beyond."""

ACCEPTED = tuple(
    Accepted(
        f"root.{part}", Rule.EQUAL_BUDGETS,
        "the end of the root closes every socket, and is for a storm in which many parts fail; for"
        " one part that gives up again and again, there are /ready and the log",
    )
    for part in ("storage", "directory", "front")
)  # fmt: skip
"""Where the tree breaks a rule of `supervision.lint` on purpose."""

CHILD_INTENSITY, CHILD_PERIOD_S, RETIRE_S = 10, 10.0, 5.0
"""A channel or session that crashes more often than this is retired alone, for a while."""

FAST = Backoff(min_s=0.005, max_s=1.0)
"""The first restart is immediate for a client; a persisting fault backs off to one a second."""

START_DEADLINE_S = 30.0
RESTART_RETRY_MS = 500
"""A socket that arrives while the front restarts comes back after this."""
OPS_SOCKETS_MAX = 64
"""Operators and scrapers at the same time."""

STOP_ACCEPTING, GOODBYE, STOP_TREE = "stop_accepting", "goodbye", "stop_tree"
PHASES = (
    Phase(STOP_ACCEPTING, 0.5),
    Phase(GOODBYE, 8.0),
    Phase(STOP_TREE, 8.0),
)
"""How the service ends. Goodbyes end by then even if some sockets do not: the process must exit
within ten seconds. Stopping the tree writes what channels have not written yet, for the stores are
below everybody and are closed last, on every way out."""


@dataclass(slots=True)
class App:
    """A running service: what tests and the command line hold of it."""

    settings: Settings
    system: ActorSystem
    stores: Stores
    root: Ref
    server: Server
    ops: Server | None
    shutdown: CoordinatedShutdown

    @property
    def url(self) -> str:
        return http_url(self.server.address)

    @property
    def ops_url(self) -> str | None:
        return None if self.ops is None else http_url(self.ops.address)


def make_shutdown() -> CoordinatedShutdown:
    """The phases of the service's end, nothing in them yet."""
    return CoordinatedShutdown(*PHASES, on_phase=log_phase)


def log_phase(ended: PhaseEnded) -> None:
    level = logging.INFO if ended.went_well else logging.WARNING
    failed = {name: repr(error) for name, error in ended.failed.items()}
    logger.log(
        level, "shutdown_phase", phase=ended.phase, reason=ended.reason,
        took_s=round(ended.took_s, 3), failed=failed, late=ended.late,
    )  # fmt: skip


def wall_ms() -> int:
    """Milliseconds since the epoch. For `ts` fields only."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    rng: random.Random | None = None,
    clock_ms: Callable[[], int] = wall_ms,
    shutdown: CoordinatedShutdown | None = None,
) -> AsyncIterator[App]:
    """Everything started and listening. Leaving it ends the tree and closes the stores; to say
    goodbye to clients before that, run the `shutdown` (`make_shutdown` makes one).

    Raises `StoreError` if a store cannot be opened, or `OSError` if an address cannot be bound."""
    rng = rng or random.Random()
    metrics = Metrics()
    async with open_stores(settings, rng) as stores, open_system(rng, settings.node) as system:
        services = make_services(settings, stores, system, clock_ms)
        backend = Backend(system, metrics, stores)
        server = make_server(settings, system, metrics)
        ops: Server | None = None
        try:
            await server.bind()
            ops = await bind_ops(settings, backend)
            spec = tree(
                settings, services, metrics, [server] if ops is None else [server, ops], rng
            )
            root = await system.start(Supervisor, spec, name="root", timeout_s=START_DEADLINE_S)
            assert root is not None
            metrics.watch("healthy", stores.healthy)
            for name, engine in stores.engines.items():
                metrics.watch(name, engine.statistics)
            metrics.watch("server", server.statistics)
            shutdown = shutdown or make_shutdown()
            shutdown.add(STOP_ACCEPTING, "ops", backend.drain)
            shutdown.add(GOODBYE, HUB, partial(say_goodbye, system))
            shutdown.add(STOP_TREE, "root", partial(system.stop, root))
            with watching(settings, system, metrics):
                yield App(settings, system, stores, root, server, ops, shutdown)
                if root.is_alive():
                    await system.stop(root)
        finally:
            server.close()
            if ops is not None:
                ops.close()


async def say_goodbye(system: ActorSystem) -> None:
    """Tell every client that the service ends, and newcomers too, and wait until they are gone."""
    hub = system.whereis(HUB)
    if hub is not None:
        await hub_of(hub).drain()


@contextmanager
def watching(settings: Settings, system: ActorSystem, metrics: Metrics) -> Iterator[None]:
    """The loop under watch, unless settings say that it need not be."""
    if settings.stall_ms == 0:
        yield
        return
    with watch_loop(system, settings.stall_ms / 1000) as watchdog:
        metrics.watch("loop", watchdog.statistics)
        yield


async def bind_ops(settings: Settings, backend: Backend) -> Server | None:
    """The ops port. If nobody chose its address and that is taken, any free port will do: two
    servers on one machine must not need a flag."""
    if settings.ops is None:
        return None
    host, port = settings.ops
    ops = Ops(backend, lab=settings.lab, host=host)
    for candidate in (port, 0):
        settings_ = ServerSettings(host=host, port=candidate, sockets=1, undecided=OPS_SOCKETS_MAX)
        server = Server(settings_, None, ops.handle)
        try:
            await server.bind()
        except OSError:
            if candidate == 0 or not settings.ops_may_move:
                raise
        else:
            return server
    return None


def make_server(settings: Settings, system: ActorSystem, metrics: Metrics) -> Server:
    """The main port: WebSockets to the hub, everything else to the pages."""

    async def on_websocket(transport: WebSocketTransport) -> None:
        hub = system.whereis(HUB)
        if hub is None:  # between two incarnations of the front
            transport.try_send([codec.bye(CloseCode.DRAIN, retry_ms=RESTART_RETRY_MS)])
            await transport.close(CloseCode.DRAIN, CloseCode.DRAIN.meaning)
        else:
            await hub_of(hub).serve(transport)

    limits = settings.limits
    return Server(
        ServerSettings(
            host=settings.host,
            port=settings.port,
            frame_bytes=limits.frame_bytes,
            sockets=limits.sockets,
            sockets_per_address=limits.sockets_per_address,
            allowed_origins=settings.origins,
            proxies=tuple(map(network, settings.proxies)),
        ),
        on_websocket,
        load_pages().handle,
        metrics.traffic,
    )


def hub_of(ref: Ref) -> Hub:
    """The hub itself: sockets are handed to it as objects, which no message could carry."""
    hub = ref._actor
    assert isinstance(hub, Hub)
    return hub


def make_services(
    settings: Settings, stores: Stores, system: ActorSystem, clock_ms: Callable[[], int]
) -> Services:
    limits = settings.limits
    return Services(
        accounts=stores.directories.accounts,
        sessions=stores.directories.sessions,
        contacts=stores.directories.contacts,
        threads=stores.directories.threads,
        log=stores.log,
        channels=SpawnerHandle(system, CHANNELS),
        session_actors=SpawnerHandle(system, SESSIONS),
        wall_ms=clock_ms,
        limits=ChatLimits(
            group_members=limits.group_members,
            history_events=limits.history_events,
            sync_threads=limits.sync_threads,
            sync_events=limits.sync_events,
            sessions=limits.sessions,
            login_failures_per_min=limits.login_failures_per_min,
        ),
        times=ChatTimes(gateway_silence_s=settings.offline_ms / 1000),
    )


def tree(
    settings: Settings,
    services: Services,
    metrics: Metrics,
    servers: Sequence[Server],
    rng: random.Random,
) -> SupervisorSpec:
    """The whole tree, as in the module's picture."""
    passwords = Passwords(cheap=settings.argon2_cost == "test")
    directory = _fixed(
        Strategy.ONE_FOR_ONE,
        ChildSpec(ACCOUNTS, Accounts, (services, passwords), name=ACCOUNTS, backoff=FAST),
        ChildSpec(CONTACTS, Contacts, (services,), name=CONTACTS, backoff=FAST),
        ChildSpec(PRESENCE, Presence, (services,), name=PRESENCE, backoff=FAST),
    )
    storage = _fixed(
        Strategy.REST_FOR_ONE,
        ChildSpec(JOURNAL, Journal, (services.log, metrics.committed), name=JOURNAL, backoff=FAST),
    )
    hub = (settings, metrics, services.session_actors, services.wall_ms, rng)
    front = _fixed(
        Strategy.ONE_FOR_ALL,
        ChildSpec(HUB, Hub, hub, name=HUB, backoff=FAST),
        *(
            ChildSpec(name, Listener, (server,), name=name, backoff=FAST)
            for name, server in zip(("listener", "ops"), servers, strict=False)
        ),
    )

    def channel(name: str) -> ChildSpec:
        thread = ThreadId(name.removeprefix("channel:"))
        return _on_demand(name, Channel, thread, services)

    def session(name: str) -> ChildSpec:
        return _on_demand(name, Session, UserId(name.removeprefix("session:")), services)

    return _fixed(
        Strategy.ONE_FOR_ONE,
        _part("storage", storage),
        _part("directory", directory),
        _spawner(CHANNELS, channel, CHANNELS_MAX),
        _spawner(SESSIONS, session, settings.limits.sockets + SESSIONS_LINGERING_MAX),
        _part("front", front),
    )


def _fixed(strategy: Strategy, *children: ChildSpec) -> SupervisorSpec:
    return SupervisorSpec(strategy, INTENSITY, PERIOD_S, children=children)


def _part(name: str, spec: SupervisorSpec) -> ChildSpec:
    return ChildSpec(
        name, Supervisor, (spec,), name=name, kind="supervisor", shutdown_s=None, backoff=FAST
    )


def _spawner(name: str, factory: Callable[[str], ChildSpec], max_children: int) -> ChildSpec:
    windows = {"intensity": CHILD_INTENSITY, "period_s": CHILD_PERIOD_S, "retire_s": RETIRE_S}
    return ChildSpec(
        name, DynamicSupervisor, (factory,), {"max_children": max_children} | windows,
        name=name, kind="supervisor", shutdown_s=None, backoff=FAST,
    )  # fmt: skip


def _on_demand(name: str, actor: type[Actor], *args: object) -> ChildSpec:
    return ChildSpec(name, actor, args, name=name, restart=Restart.TRANSIENT, backoff=FAST)
