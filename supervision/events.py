"""What supervisors report beside the runtime's own events. Each is about the supervisor; `child` is
the id under it. `reports` puts them into words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from actors.runtime.exits import ExitReason
from actors.runtime.tracing import Event


@dataclass(frozen=True, slots=True)
class FailedToStart:
    """In `Shutdown(…)`: why a supervisor could not start."""

    child: str
    reason: ExitReason


class Level(StrEnum):
    """How much a report matters to whoever reads logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class ChildReady(Event):
    """A child of a fixed supervisor is ready (OTP's progress report). At `INFO` if it was started
    or restarted by itself, at `DEBUG` if somebody asked for it, who got an answer."""

    child: str
    level: Level


@dataclass(frozen=True, slots=True)
class StartAttemptFailed(Event):
    """A child could not be started (OTP's `start_error`)."""

    child: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class UncleanShutdown(Event):
    """A child that was told to end did so with another reason (OTP's `shutdown_error`)."""

    child: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class UncleanShutdowns(Event):
    """As many `children` of a dynamic supervisor that ended did so with this other reason: one
    report for each reason, however many there are."""

    children: int
    reason: ExitReason


class Passivation(StrEnum):
    """Why an entity is passivated."""

    ASKED = "asked"
    IDLE = "idle"
    MAKES_ROOM = "makes_room"
    """For others: it was the least recently used."""


@dataclass(frozen=True, slots=True)
class Passivated(Event):
    """This entity was asked to end; it comes back when something is sent to it."""

    why: Passivation
