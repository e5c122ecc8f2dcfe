"""The actor system: one loop, one dispatcher, names, links, timers.

The dispatcher is one trio task with a run queue of actors that have something to handle. It gives
each a turn, and lets the loop look at its sockets after a bounded number of messages. When nothing
is to do it parks, and costs nothing.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import pykka
import trio

from actors.runtime.actor import Actor
from actors.runtime.address import ActorId
from actors.runtime.errors import AlreadyStarted, DeadlineExceeded, StartFailed
from actors.runtime.exits import KILL, NOPROC, SHUTDOWN, Custom, ExitReason
from actors.runtime.links import LinkTable, MonitorRef
from actors.runtime.mailbox import Ask
from actors.runtime.ref import Ref
from actors.runtime.registry import Registry
from actors.runtime.signals import Down
from actors.runtime.timers import Timers
from actors.runtime.tracing import DeadLetter, Event, EventStream, Exited, Started

logger = logging.getLogger("actors")

SLICE_MESSAGES_MAX = 512
"""Messages handled before the loop gets to its sockets: about a millisecond."""

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 5.0

_system: ContextVar[ActorSystem] = ContextVar("actor_system")


class Spawner(Protocol):
    """Starts actors on demand."""

    def ensure(self, name: str) -> Ref | None:
        """The actor of this name, started if need be. None while it may not start now (it waits
        out a backoff, is retired, or there are too many). Never blocks."""


@dataclass(frozen=True, slots=True)
class SystemStatistics:
    """`actors` alive, `named` of them, actors `runnable` now, `timers` set, links and `monitors`;
    since the start: `dead_letters`, `late_replies`."""

    actors: int
    named: int
    runnable: int
    timers: int
    monitors: int
    dead_letters: int
    late_replies: int


class ActorSystem:
    """Made by `open_system`. Belongs to one loop; only sending is allowed from other threads."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random, node: str) -> None:
        self.nursery = nursery
        self.rng = rng
        self.node = node
        self.links = LinkTable()
        self.timers = Timers()
        self.events = EventStream()
        self.running: Actor | None = None
        self.late_replies = 0
        self.dead_letters = 0
        self._registry = Registry()
        self._refs: dict[int, Ref] = {}
        self._ids = count(1)
        self._queue: deque[Actor] = deque()
        self._parked: trio.lowlevel.Task | None = None
        self._thread = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._starting: dict[int, Callable[[ExitReason | None], None]] = {}
        self.names: Mapping[str, Ref] = self._registry.names

    # ------------------------------------------------------------------ starting

    def spawn(
        self,
        actor: type[Actor],
        *args: Any,
        name: str | None = None,
        link_to: Ref | None = None,
        monitor_by: Ref | None = None,
        supervisor: Ref | None = None,
        **kwargs: Any,
    ) -> Ref:
        """Make an actor and give it its name at once; its `on_start` runs in its first turn.

        `link_to` and `monitor_by` take effect before it can end. Raises `AlreadyStarted` if the name
        is taken, and whatever the constructor raises.
        """
        if name is not None and name in self._registry.names:
            raise AlreadyStarted(self._registry.names[name])
        made = actor(*args, **kwargs)
        incarnation = 1 if name is None else self._registry.next_incarnation(name)
        ref = Ref(made, ActorId(next(self._ids)), name, incarnation)
        self._refs[ref.id] = ref
        if name is not None:
            self._registry.bind(name, ref)
        if supervisor is not None:
            made._actor_own["supervisor"] = supervisor
        if link_to is not None:
            self.links.link(ref.id, link_to.id)
        if monitor_by is not None:
            self.links.monitor(monitor_by.id, ref.id)
        made.bind(self, ref)
        if actor.pykka_registry:
            pykka.ActorRegistry.register(ref)
        return ref

    async def start(
        self, actor: type[Actor], *args: Any, timeout_s: float = START_DEADLINE_S, **options: Any
    ) -> Ref | None:
        """Spawn and wait until the actor is ready. None if it is not needed (`Ignore`).

        Raises `StartFailed`; nothing is left behind then.
        """
        ref = self.spawn(actor, *args, **options)
        ended = trio.Event()
        outcome: list[ExitReason | None] = []

        def started(reason: ExitReason | None) -> None:
            outcome.append(reason)
            ended.set()

        self._starting[ref.id] = started
        with trio.move_on_after(timeout_s):
            await ended.wait()
        if not outcome:
            ref.exit(KILL)
            raise StartFailed(Custom("timeout"))
        if outcome[0] is None:
            return ref
        if outcome[0] == Custom("ignore"):
            return None
        raise StartFailed(outcome[0])

    def when_started(self, ref: Ref, callback: Callable[[ExitReason | None], None]) -> None:
        """Call back once, when a spawned actor is ready (None) or ended before (its reason;
        `Custom("ignore")` if it was not needed)."""
        self._starting[ref.id] = callback

    # ------------------------------------------------------------------ names, links

    def whereis(self, name: str) -> Ref | None:
        return self._registry.names.get(name)

    def watch_name(self, name: str, watcher: Ref) -> None:
        """Send `watcher` a `NameUp` when an actor of this name is ready; at once if one is."""
        self._registry.watch(name, watcher)

    def unwatch_name(self, name: str, watcher: Ref) -> None:
        self._registry.unwatch(name, watcher)

    def is_ready(self, name: str) -> bool:
        return self._registry.is_ready(name)

    async def wait_name(self, name: str, timeout_s: float) -> Ref:
        """The actor of this name, once it is ready; for code that is no actor."""
        with trio.move_on_after(timeout_s):
            while not self._registry.is_ready(name):
                await self._name_ready(name)
            return self._registry.names[name]
        raise DeadlineExceeded(f"{name} was not ready within {timeout_s} s")

    async def _name_ready(self, name: str) -> None:
        up = trio.Event()
        cancel = self.events.subscribe(
            lambda event: up.set() if isinstance(event, Started) and event.name == name else None
        )
        try:
            if not self._registry.is_ready(name):
                await up.wait()
        finally:
            cancel()

    def monitor(self, watcher: Ref, watched: Ref) -> MonitorRef:
        monitor = self.links.monitor(watcher.id, watched.id)
        if not watched.is_alive():
            self.links.demonitor(monitor)
            reason = watched.exit_reason or NOPROC
            watcher.deliver_control(Down(monitor, watched, watched.name, reason))
        return monitor

    def actors(self) -> Iterator[Ref]:
        """Every living actor."""
        return iter(list(self._refs.values()))

    def find(self, name_or_id: str | int) -> Ref | None:
        """A living actor by name or id."""
        if isinstance(name_or_id, str):
            found = self.whereis(name_or_id)
            if found is not None or not name_or_id.isdigit():
                return found
            name_or_id = int(name_or_id)
        return self._refs.get(name_or_id)

    # ------------------------------------------------------------------ dispatching

    def schedule(self, actor: Actor) -> None:
        """Give this actor a turn soon."""
        if not actor._actor_scheduled:
            actor._actor_scheduled = True
            self._queue.append(actor)
            if self._parked is not None:
                trio.lowlevel.reschedule(self._parked)
                self._parked = None

    async def dispatch(self) -> None:
        """The dispatcher, for ever."""
        queue = self._queue
        while True:
            handled = 0
            while queue:
                handled += queue.popleft().turn()
                if handled >= SLICE_MESSAGES_MAX:
                    handled = 0
                    await trio.lowlevel.checkpoint()
            if not queue:
                await self._park()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def is_foreign_thread(self) -> bool:
        return threading.get_ident() != self._thread

    def from_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call something in the loop, soon. After the loop's end it is a dead letter."""
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            self.dead_letters += 1

    # ------------------------------------------------------------------ what actors report

    def ready(self, actor: Actor) -> None:
        ref = actor.ref
        started = self._starting.pop(ref.id, None)
        if self.events.is_heard:
            self.events.emit(Started(*self._origin(ref)))
        if ref.name is not None:
            self._registry.ready(ref.name)
        if started is not None:
            started(None)

    def release(self, actor: Actor, *, forget: bool) -> None:
        """The dead actor's name is free from here on."""
        ref = actor.ref
        self._refs.pop(ref.id, None)
        if ref.name is not None:
            self._registry.release(ref.name, ref, forget=forget)
        if actor.pykka_registry:
            pykka.ActorRegistry.unregister(ref)

    def exited(self, actor: Actor, reason: ExitReason, *, ignored: bool) -> None:
        """Tell everyone who asked."""
        ref = actor.ref
        started = self._starting.pop(ref.id, None)
        if self.events.is_heard:
            self.events.emit(Exited(*self._origin(ref), reason))
        owed = self.links.exited(ref.id)
        for monitor in owed.monitors:
            watcher = self._refs.get(monitor.watcher)
            if watcher is not None:
                watcher.deliver_control(Down(monitor, ref, ref.name, reason))
        for other in owed.linked:
            linked = self._refs.get(other)
            if linked is not None:
                linked.exit(reason, ref)
        if started is not None:
            started(Custom("ignore") if ignored else reason)

    def dead_letter(self, ref: Ref, message: Any) -> None:
        self.dead_letters += 1
        if self.events.is_heard:
            content = message.message if type(message) is Ask else message
            self.events.emit(DeadLetter(*self._origin(ref), type(content).__name__))

    def emit(self, kind: type[Event], ref: Ref, *fields: Any) -> None:
        """Emit an event about an actor, if anybody listens."""
        if self.events.is_heard:
            self.events.emit(kind(*self._origin(ref), *fields))

    def _origin(self, ref: Ref) -> tuple[float, int, str | None, int, str]:
        return (trio.current_time(), ref.id, ref.name, ref.incarnation, ref.actor_class.__name__)

    def log_crash(self, actor: Actor, error: BaseException) -> None:
        """One log record for each crash. Tracebacks name code, never message contents."""
        logger.error("%s crashed", actor, exc_info=error)

    def contain(self, function: Callable[..., Any], *args: Any) -> None:
        """Call somebody's callback; its failure is logged and hurts nobody."""
        try:
            function(*args)
        except Exception:
            logger.exception("a callback failed")

    def spawn_task(
        self, work: Callable[..., Awaitable[None]], *args: Any, name: str = "task"
    ) -> None:
        """Run a task beside the actors; if it fails, that is logged and nothing else ends."""

        async def contained() -> None:
            try:
                await work(*args)
            except trio.Cancelled:
                raise
            except Exception:
                logger.exception("the task %s failed", name)

        self.nursery.start_soon(contained, name=name)

    # ------------------------------------------------------------------ stopping

    async def stop(self, ref: Ref, timeout_s: float = STOP_DEADLINE_S) -> ExitReason | None:
        """Shut one actor down: ask, wait, kill."""
        for reason in (SHUTDOWN, KILL):
            ref.exit(reason, ref._actor._actor_supervisor)
            with trio.move_on_after(timeout_s):
                return await ref.wait_exit()
        return None

    def statistics(self) -> SystemStatistics:
        return SystemStatistics(
            actors=len(self._refs), named=len(self.names), runnable=len(self._queue),
            timers=len(self.timers), monitors=len(self.links), dead_letters=self.dead_letters,
            late_replies=self.late_replies,
        )  # fmt: skip


def current_system() -> ActorSystem:
    """The system of the running code."""
    return _system.get()


@asynccontextmanager
async def open_system(
    rng: random.Random | None = None, node: str = "n1"
) -> AsyncIterator[ActorSystem]:
    """A running system. On leaving, every actor still alive is ended (links first told)."""
    async with trio.open_nursery() as nursery:
        system = ActorSystem(nursery, rng or random.Random(), node)
        token = _system.set(system)
        nursery.start_soon(system.dispatch)
        nursery.start_soon(system.timers.run)
        try:
            yield system
        finally:
            for ref in system.actors():
                ref.exit(KILL)
            _system.reset(token)
            nursery.cancel_scope.cancel()
