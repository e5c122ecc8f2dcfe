"""What supervisors report beside the runtime's own events. Each is about the supervisor; `child` is
the id under it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.runtime import ExitReason
from actors.runtime.tracing import Event


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
