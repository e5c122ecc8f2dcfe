"""What the ops port shows of the running system: health, tree, events, metrics; and the kill verb.

It hears every event once, to count crashes and restarts for the metrics and to log them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, Protocol

import structlog

from actors.runtime import KILL, ActorSystem, Custom, describe, event_to_json
from actors.runtime.exits import is_abnormal
from actors.runtime.tracing import DeadLetter, Event, Exited, Restarted
from gateway.metrics import Metrics
from supervision import Level, report_of
from supervision.tree import snapshot, to_json

logger = structlog.get_logger("ops")

ROOT = "root"
NEEDED = ("journal", "accounts", "contacts", "presence", "hub", "listener")
"""Without one of these a client cannot be served well: not ready."""

KILL_REASON = "kill"

OK = "ok"
"""A store that can be used."""

EVENTS_KEPT: Final = 500
"""Events for whoever looks only after something has happened: some minutes of trouble."""

LEVELS = {Level.DEBUG: logging.DEBUG, Level.INFO: logging.INFO, Level.WARNING: logging.WARNING}


class Health(Protocol):
    """What is asked of the stores."""

    async def check(self) -> None:
        """Ask each store how it is."""

    def health(self) -> Mapping[str, str]:
        """For each store by name `ok`, or what was wrong with it then."""


class Backend:
    """`gateway.ops.OpsBackend` on an actor system."""

    def __init__(self, system: ActorSystem, metrics: Metrics, stores: Health) -> None:
        self._system = system
        self._stores = stores
        self._metrics = metrics
        self._draining = False
        self._numbers = count(1)
        self._kept: deque[tuple[int, Event]] = deque(maxlen=EVENTS_KEPT)
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        system.events.subscribe(self._hear)
        metrics.watch("system", system.statistics)
        for name in ("journal", "presence", "hub", "listener", "channels", "sessions"):
            metrics.watch(name, partial(self._details, name))

    def _details(self, name: str) -> object:
        ref = self._system.whereis(name)
        details = None if ref is None else ref.details()
        if isinstance(details, Mapping):
            return {key: value for key, value in details.items() if not isinstance(value, str)}
        return details or {}

    def _hear(self, event: Event) -> None:
        number = next(self._numbers)
        self._kept.append((number, event))
        self._count(event)
        if self._listeners:
            fields = event_fields(event, number)
            for listener in tuple(self._listeners):
                listener(fields)

    def _count(self, event: Event) -> None:
        match event:
            case Exited() if is_abnormal(event.reason):
                self._metrics.crashes += 1
                logger.warning(
                    "actor_exited", actor=event.name or event.id, reason=describe(event.reason)
                )
            case Restarted():
                self._metrics.restarts += 1
            case DeadLetter():
                self._metrics.dead_letters += 1
            case _:
                self._log_report(event)

    def _log_report(self, event: Event) -> None:
        """What a supervisor has to say: failed starts, restarts, unclean ends, giving up. Progress
        is for /events: a log that begins with it hides what matters."""
        report = report_of(event)
        if report is not None and report.context != "progress":
            logger.log(
                LEVELS[report.level], "supervisor_report", supervisor=report.supervisor,
                context=report.context, child=report.offender, reason=report.reason,
            )  # fmt: skip

    async def drain(self) -> None:
        """The server is about to leave: not ready any more."""
        self._draining = True

    # ------------------------------------------------------------------ OpsBackend

    async def check(self) -> None:
        await self._stores.check()

    def live(self) -> bool:
        return self._system.whereis(ROOT) is not None

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        missing = [name for name in NEEDED if not self._system.is_ready(name)]
        stores = self._stores.health()
        if self._draining:
            state = "draining"
        elif missing:
            state = "missing"
        elif any(health != OK for health in stores.values()):
            state = "store unavailable"
        else:
            state = "serving"
        details = {"state": state, "missing": missing, "stores": stores}
        return state == "serving", details

    def tree(self) -> Mapping[str, Any]:
        root = self._system.whereis(ROOT)
        return {} if root is None else to_json(snapshot(self._system, root))

    def subscribe(self, listener: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def recent(self) -> Sequence[Mapping[str, Any]]:
        return [event_fields(event, number) for number, event in self._kept]

    def kill(self, actor: str | int, reason: str) -> bool:
        """End an actor: with `kill` beyond its control, with any other reason as a signal."""
        ref = self._system.find(actor)
        if ref is None:
            return False
        ref.exit(KILL if reason == KILL_REASON else Custom(reason))
        return True

    def metrics(self) -> bytes:
        return self._metrics.exposition()


def event_fields(event: Event, number: int) -> dict[str, Any]:
    """An event as JSON (docs/events.md), and which it is under `n`."""
    return {"n": number, **event_to_json(event)}
