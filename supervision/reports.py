"""What supervisors report, in words: OTP's four parts, as long as somebody wants to read.

A report says which supervisor, in which context, about which child, and why. A reason may be
nested (a leaf that failed to start fails all supervisors above it) and carries foreign text, so
its words have a depth and a length.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.runtime.directives import Directive
from actors.runtime.exits import Crash, ExitReason, Shutdown, describe
from actors.runtime.tracing import ChildRetired, Escalated, Event, RestartScheduled
from supervision.events import (
    ChildReady,
    FailedToStart,
    Level,
    StartAttemptFailed,
    UncleanShutdown,
    UncleanShutdowns,
)

DEPTH_MAX = 8
"""Supervisors above one another in a reason; trees are not deeper."""

CHARS_MAX = 1_000
"""Of a reason: what a log line can carry."""

MORE = "…"


@dataclass(frozen=True, slots=True)
class Report:
    """`context` is OTP's: start_error, child_terminated, shutdown_error, shutdown, progress.
    `offender` is the child concerned, or how many."""

    supervisor: str
    context: str
    offender: str
    reason: str
    level: Level = Level.WARNING

    def text(self, *, is_single_line: bool = False) -> str:
        """All of it, on one line or one part on each."""
        parts = [
            ("supervisor", self.supervisor), ("context", self.context),
            ("offender", self.offender), ("reason", self.reason),
        ]  # fmt: skip
        told = [f"{name}: {_one_line(words) if is_single_line else words}" for name, words in parts]
        return ", ".join(told) if is_single_line else "\n    ".join(told)


def report_of(
    event: Event, *, depth_max: int = DEPTH_MAX, chars_max: int = CHARS_MAX
) -> Report | None:
    """The report of an event; None if it is none of a supervisor."""
    who = event.name or str(event.id)

    def words(reason: ExitReason) -> str:
        return shortened(in_words(reason, depth_max), chars_max)

    match event:
        case StartAttemptFailed():
            return Report(who, "start_error", event.child, words(event.reason))
        case RestartScheduled():
            return Report(who, "child_terminated", event.child, words(event.reason))
        case ChildRetired():
            why = f"failed too often, retired for {event.retire_s:g} s"
            return Report(who, "child_terminated", event.child, why)
        case UncleanShutdown():
            return Report(who, "shutdown_error", event.child, words(event.reason))
        case UncleanShutdowns():
            count = f"{event.children} children"
            return Report(who, "shutdown_error", count, words(event.reason))
        case Escalated(reason=Crash(directive=Directive.ESCALATE)):
            return Report(who, "shutdown", event.child, f"escalated: {words(event.reason)}")
        case Escalated():
            why = f"reached_max_restart_intensity: {words(event.reason)}"
            return Report(who, "shutdown", event.child, why)
        case ChildReady():
            return Report(who, "progress", event.child, "started", event.level)
        case _:
            return None


def in_words(reason: ExitReason, depth_max: int) -> str:
    """A reason with those nested in it, down to a depth."""
    match reason:
        case Shutdown(FailedToStart(child, inner)):
            deeper = in_words(inner, depth_max - 1) if depth_max > 0 else MORE
            return f"{child} failed to start: {deeper}"
        case _:
            return describe(reason)


def shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - len(MORE)] + MORE


def _one_line(text: str) -> str:
    return " ".join(text.split())
