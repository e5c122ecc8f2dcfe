"""The actor system: one loop, one dispatcher, names, links, timers.

Everything an actor needs from others is found here. The system itself decides little: it hands out
ids, keeps the tables, and carries an end to those who asked to hear of it. Ends can set off further
ends; they are carried out one after the other, never nested, so a chain of any length is safe.
"""

from __future__ import annotations

import logging
import random
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
from actors.runtime.cell import Cell
from actors.runtime.directives import OnError
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.errors import AlreadyStarted, DeadlineExceeded, NoSystem, StartFailed
from actors.runtime.exits import KILL, NOPROC, SHUTDOWN, Custom, ExitReason, crash
from actors.runtime.links import LinkTable, MonitorRef
from actors.runtime.mailbox import Ask
from actors.runtime.names import Names, NameUp
from actors.runtime.ref import Ref
from actors.runtime.signals import Down
from actors.runtime.tasks import acting
from actors.runtime.timers import Timers
from actors.runtime.tracing import (
    DeadLetter,
    Event,
    EventStream,
    Exited,
    Listener,
    Started,
    TaskFailed,
)
from actors.runtime.turns import turn
from actors.runtime.unwinding import Unwinding

logger = logging.getLogger("actors")

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 5.0
"""How long an actor that was asked to stop may take before it is killed."""

IGNORED = Custom("ignore")
"""What `when_started` hears of an actor that was not needed."""

_system: ContextVar[ActorSystem] = ContextVar("actor_system")
_default: ActorSystem | None = None


class Spawner(Protocol):
    """Starts actors on demand."""

    def ensure(self, name: str) -> Ref | None:
        """The actor of this name, started if need be. None while it may not start now (it waits
        out a backoff, is retired, or there are too many). Never blocks."""


@dataclass(frozen=True, slots=True)
class SystemStatistics:
    """`actors` alive, `named` of them, actors `runnable` now, `timers` set, links and `monitors`,
    `zombies` (dead, but their code does not end);
    since the start: `dead_letters`, `late_replies`, and failures that were `resumed`."""

    actors: int
    named: int
    runnable: int
    timers: int
    monitors: int
    dead_letters: int
    late_replies: int
    resumed: int = 0
    zombies: int = 0


class ActorSystem:
    """Made by `open_system`. Belongs to one loop; only sending is allowed from other threads."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random, node: str) -> None:
        self.nursery = nursery
        self.rng = rng
        self.node = node
        self.dispatcher = Dispatcher()
        self.links = LinkTable()
        self.timers = Timers()
        self.deadlines = Timers()
        """Those of calls: many, and nearly all cancelled, so they have a heap of their own."""
        self.events = EventStream()
        self.unwinding = Unwinding(self)
        self.late_replies = 0
        self.dead_letters = 0
        self.resumed = 0
        self._names = Names()
        self._cells: dict[int, Cell] = {}
        self._ids = count(1)
        self._starting: dict[int, Callable[[ExitReason | None], None]] = {}
        self._signals: deque[tuple[Cell, ExitReason, Ref]] = deque()
        self._is_signalling = False
        self._listed: set[int] = set()
        self.is_closed = False
        self.names: Mapping[str, Ref] = self._names.names

    # ------------------------------------------------------------------ starting

    def spawn(
        self,
        actor: type[Actor],
        *args: Any,
        name: str | None = None,
        link_to: Ref | None = None,
        monitor_by: Ref | None = None,
        supervisor: Ref | None = None,
        on_error: OnError | None = None,
        **kwargs: Any,
    ) -> Ref:
        """Make an actor and give it its name at once; its `on_start` runs in its first turn.

        `link_to` and `monitor_by` take effect before it can end; a dead `link_to` ends it with
        `NOPROC`. `on_error` says what follows when its code raises. Raises `AlreadyStarted` if the
        name is taken, `NoSystem` once the system has ended, and whatever the constructor raises;
        nothing is left behind then.
        """
        if self.is_closed:
            raise NoSystem("the actor system has ended")
        self._check_free(name)
        incarnation = 1 if name is None else self._names.next_incarnation(name)
        cell = Cell(self, actor, ActorId(next(self._ids)), name, incarnation, supervisor, on_error)
        self._construct(cell, actor, args, kwargs)
        ref = cell.ref
        self._cells[ref.id] = cell
        if name is not None:
            self._names.bind(name, ref)
        if actor.pykka_registry:
            self._listed.add(ref.id)
            pykka.ActorRegistry.register(ref)
        if monitor_by is not None:
            self.monitor(monitor_by, ref)
        if link_to is not None:
            cell.actor.link(link_to)
        self.dispatcher.schedule(cell)
        return ref

    def _check_free(self, name: str | None) -> None:
        if name is not None and name in self._names.names:
            raise AlreadyStarted(self._names.names[name])

    def _construct(
        self, cell: Cell, actor: type[Actor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Make the object. Its cell is there before `__init__`, which may use `ref`, `system`."""
        try:
            made = actor.__new__(actor, *args, **kwargs)
            made._actor_cell = cell
            cell.actor = made
            made.__init__(*args, **kwargs)  # type: ignore[misc]  # its class is known exactly
            self._check_free(cell.ref.name)  # the constructor may have started one
        except BaseException as error:
            cell.bury(crash(error))
            self.links.exited(cell.ref.id)
            raise

    async def start(
        self,
        actor: type[Actor],
        *args: Any,
        timeout_s: float = START_DEADLINE_S,
        link_to: Ref | None = None,
        **options: Any,
    ) -> Ref | None:
        """Spawn and wait until the actor is ready. None if it is not needed (`Ignore`).

        Raises `StartFailed`. Then, and when cancelled, nothing is left behind: a `link_to` that
        traps exits finds no `Exit` in its mailbox.
        """
        ref = self.spawn(actor, *args, link_to=link_to, **options)
        ended = trio.Event()
        outcome: list[ExitReason | None] = []

        def started(reason: ExitReason | None) -> None:
            outcome.append(reason)
            ended.set()

        self._starting[ref.id] = started
        try:
            with trio.move_on_after(timeout_s):
                await ended.wait()
        finally:
            if not outcome:
                self._starting.pop(ref.id, None)
                if link_to is not None:
                    self.links.unlink(ref.id, link_to.id)
                ref.exit(KILL)
        if not outcome:
            raise StartFailed(Custom("timeout"))
        if outcome[0] is None:
            return ref
        if outcome[0] is IGNORED:
            return None
        raise StartFailed(outcome[0])

    def when_started(self, ref: Ref, callback: Callable[[ExitReason | None], None]) -> None:
        """Call back once, when a spawned actor is ready (None) or ended before (its reason;
        `Custom("ignore")` if it was not needed). At once, if that has happened already."""
        if ref.exit_reason is not None:
            callback(ref.exit_reason)
        elif ref._cell.has_started:
            callback(None)
        else:
            self._starting[ref.id] = callback

    # ------------------------------------------------------------------ names, links

    def whereis(self, name: str) -> Ref | None:
        """The living actor of this name, ready or still starting: messages to it wait until it is.
        See `is_ready`, `watch_name`."""
        return self._names.names.get(name)

    def watch_name(self, name: str, watcher: Ref) -> None:
        """Send `watcher` a `NameUp` when an actor of this name is ready; at once if one is."""
        if watcher.is_alive():
            ref = self._names.watch(name, watcher)
            if ref is not None:
                watcher.deliver_control(NameUp(name, ref))

    def unwatch_name(self, name: str, watcher: Ref) -> None:
        """Watch no more. A `NameUp` may be in the watcher's mailbox already."""
        self._names.unwatch(name, watcher)

    def is_ready(self, name: str) -> bool:
        """Whether an actor of this name lives and is past its `on_start`."""
        return self._names.is_ready(name)

    async def wait_name(self, name: str, timeout_s: float) -> Ref:
        """The actor of this name, once it is ready; for code that is no actor. Raises
        `DeadlineExceeded`."""
        with trio.move_on_after(timeout_s):
            while True:
                up = trio.Event()
                told: Callable[[Ref], None] = lambda _ref, up=up: up.set()  # type: ignore[misc]  # noqa: E731
                ref = self._names.watch(name, told)
                if ref is not None:
                    return ref
                try:
                    await up.wait()
                finally:
                    self._names.unwatch(name, told)
        raise DeadlineExceeded(f"{name} was not ready within {timeout_s} s")

    def monitor(self, watcher: Ref, watched: Ref) -> MonitorRef:
        """`watcher` hears `Down` when `watched` ends; at once, with `NOPROC`, if it is dead."""
        monitor = self.links.monitor(watcher.id, watched.id)
        if not watcher.is_alive():
            self.links.demonitor(monitor)
        elif watched.exit_reason is not None:
            self.links.demonitor(monitor)
            watcher.deliver_control(Down(monitor, watched, watched.name, NOPROC))
        return monitor

    def unlink(self, cell: Cell, ref: Ref) -> None:
        """Undo a link, and drop its signal if that is on its way (OTP's X1)."""
        self.links.unlink(cell.ref.id, ref.id)
        for signal in [s for s in self._signals if s[0] is cell and s[2] is ref]:
            self._signals.remove(signal)

    def actors(self) -> Iterator[Ref]:
        """Every living actor."""
        return iter([cell.ref for cell in self._cells.values()])

    def zombies(self) -> Iterator[Ref]:
        """Dead actors whose code does not end though it was cancelled, the oldest first."""
        return iter(tuple(self.unwinding.zombies.values()))

    def find(self, name_or_id: str | int) -> Ref | None:
        """A living actor by name or id."""
        if isinstance(name_or_id, str):
            found = self.whereis(name_or_id)
            if found is not None or not name_or_id.isdigit():
                return found
            name_or_id = int(name_or_id)
        cell = self._cells.get(name_or_id)
        return None if cell is None else cell.ref

    # ------------------------------------------------------------------ what actors report

    def ready(self, cell: Cell) -> None:
        """`on_start` has succeeded."""
        ref = cell.ref
        started = self._starting.pop(ref.id, None)
        if self.events.is_heard:
            self.events.emit(Started(*self._origin(ref)))
        if ref.name is not None:
            for watcher in self._names.ready(ref.name):
                if isinstance(watcher, Ref):
                    watcher.deliver_control(NameUp(ref.name, ref))
                else:
                    watcher(ref)
        if started is not None:
            self.contain(started, None)

    def release(self, cell: Cell) -> None:
        """The dead actor's name is free from here on."""
        if self._cells.pop(cell.ref.id, None) is not None:
            self._names.release(cell.ref)
            self.unlist(cell.ref)

    def unlist(self, ref: Ref) -> None:
        """Take an actor out of pykka's registry, if it is there."""
        if ref.id in self._listed:
            self._listed.remove(ref.id)
            pykka.ActorRegistry.unregister(ref)
            logger.debug("Stopped %s", ref)

    def exited(self, cell: Cell, reason: ExitReason, *, is_ignored: bool) -> None:
        """Tell everyone who asked. Signals go out in the order of the ends that caused them."""
        ref = cell.ref
        started = self._starting.pop(ref.id, None)
        if self.events.is_heard:
            self.events.emit(Exited(*self._origin(ref), reason))
        owed = self.links.exited(ref.id)
        for monitor in owed.monitors:
            watcher = self._cells.get(monitor.watcher)
            if watcher is not None:
                watcher.accept_control(Down(monitor, ref, ref.name, reason))
        for other in owed.linked:
            linked = self._cells.get(other)
            if linked is None:
                continue
            # Whoever waits for a start hears why it failed from that; no stray message follows.
            # Children that were started meanwhile wait for nothing, and end with it.
            is_told = started is not None and linked.supervisor is not ref
            if not (is_told and linked.actor.trap_exit):
                self._signals.append((linked, reason, ref))
        if started is not None:
            self.contain(started, IGNORED if is_ignored else reason)
        self._send_signals()

    def _send_signals(self) -> None:
        if self._is_signalling:
            return
        self._is_signalling = True
        try:
            while self._signals:
                linked, reason, sender = self._signals.popleft()
                linked.signal(reason, sender)
        finally:
            self._is_signalling = False

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

    def contain(self, function: Callable[..., Any], *args: Any) -> None:
        """Call somebody's callback; its failure is logged and hurts nobody."""
        try:
            function(*args)
        except Exception:
            logger.exception("a callback failed")

    def spawn_task(
        self, work: Callable[..., Awaitable[None]], *args: Any, name: str = "task"
    ) -> None:
        """Run a task beside the actors. If it fails that is logged, an event (`TaskFailed`), and
        nothing else ends."""

        async def contained() -> None:
            acting.set(None)
            try:
                await work(*args)
            except trio.Cancelled:
                raise
            except Exception as error:
                logger.exception("the task %s failed", name)
                if self.events.is_heard:
                    origin = (trio.current_time(), 0, name, 1, "task")
                    self.events.emit(TaskFailed(*origin, crash(error)))

        self.nursery.start_soon(contained, name=name)

    # ------------------------------------------------------------------ stopping

    async def stop(self, ref: Ref, timeout_s: float = STOP_DEADLINE_S) -> ExitReason | None:
        """Shut one actor down: ask it to stop (through `on_stop`, before waiting traffic), wait,
        kill. Why it ended. For code that is no actor; an actor stops itself with `self.stop`."""
        ref._cell.request_stop(SHUTDOWN)
        with trio.move_on_after(timeout_s):
            return await ref.wait_exit()
        ref.exit(KILL)
        return ref.exit_reason

    async def close(self, timeout_s: float = STOP_DEADLINE_S) -> None:
        """Stop every actor that has no supervisor, youngest first; supervisors stop their own. What
        has not ended by the deadline is killed."""
        tops = [cell for cell in self._cells.values() if cell.supervisor is None]
        for cell in reversed(tops):
            cell.request_stop(SHUTDOWN)
        with trio.move_on_after(timeout_s):
            for cell in tops:
                if not cell.is_dead:  # most are: they end together, and each wait costs a round
                    await cell.ref.wait_exit()
        self.kill_all()

    def kill_all(self) -> None:
        """End everything at once; nothing starts any more."""
        self.is_closed = True
        for ref in self.actors():
            ref.exit(KILL)

    def statistics(self) -> SystemStatistics:
        return SystemStatistics(
            actors=len(self._cells), named=len(self.names),
            runnable=len(self.dispatcher.queue), timers=len(self.timers),
            monitors=len(self.links), dead_letters=self.dead_letters,
            late_replies=self.late_replies, resumed=self.resumed,
            zombies=len(self.unwinding.zombies),
        )  # fmt: skip


def current_system() -> ActorSystem:
    """The system of the running code, otherwise that of the process (`background`). Raises
    `NoSystem`."""
    system = _system.get(None) or _default
    if system is None:
        raise NoSystem("no actor system is open here: use `async with open_system()`")
    return system


def set_default_system(system: ActorSystem | None) -> None:
    """The system of code that runs in none; None for no such thing."""
    global _default  # noqa: PLW0603  (a default of the process is global by its meaning)
    assert system is None or _default is None, "a process has one default"
    _default = system


@asynccontextmanager
async def open_system(
    rng: random.Random | None = None, node: str = "n1", tracer: Listener | None = None
) -> AsyncIterator[ActorSystem]:
    """A running system. `tracer` hears every event from the first one on.

    Leaving it stops every actor in order (`ActorSystem.close`); leaving it by an exception or a
    cancellation kills them. An exception of the body comes out as it is, in no group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        system = ActorSystem(nursery, rng or random.Random(), node)
        if tracer is not None:
            system.events.subscribe(tracer)
        token = _system.set(system)
        nursery.start_soon(system.dispatcher.run, turn, name="dispatcher")
        nursery.start_soon(system.timers.run, name="timers")
        nursery.start_soon(system.deadlines.run, name="deadlines")
        try:
            yield system
            await system.close()
        except Exception as error:  # noqa: BLE001  (raised again, outside of the nursery's group)
            failure = error
        finally:
            system.kill_all()
            _system.reset(token)
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
