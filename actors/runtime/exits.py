"""Why an actor ended, as data.

OTP's vocabulary: an actor that ends with `Normal` or `Shutdown` ended as intended; everything else
is abnormal and makes supervisors act. Reasons travel to monitors and links, into events and logs, so
they hold text, never a live traceback: an exception's frames would keep the dead actor's memory
alive (and show what was in it).
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Normal:
    """The actor was done."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The actor was told to end, by its supervisor or the system."""

    detail: object = None


@dataclass(frozen=True, slots=True)
class Killed:
    """The actor was ended by `KILL`, without a chance to say anything."""


@dataclass(frozen=True, slots=True)
class NoProcess:
    """There was no such actor."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A handler raised. `traceback` is text; the exception itself is not kept."""

    error: str
    message: str
    traceback: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Custom:
    """Any other reason somebody gave."""

    value: object


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal, not a reason: ends any actor, also one that traps exits. The reason is `Killed`."""


NORMAL = Normal()
SHUTDOWN = Shutdown()
KILLED = Killed()
NOPROC = NoProcess()
KILL = Kill()

ExitReason = Normal | Shutdown | Killed | NoProcess | Crash | Custom


def crash(error: BaseException) -> Crash:
    """The reason for an exception, detached from it."""
    text = "".join(traceback.format_exception(error))
    return Crash(type(error).__qualname__, str(error), text)


def is_abnormal(reason: ExitReason) -> bool:
    """Whether a transient child would be restarted: all but normal and shutdown (supervisor(3))."""
    return not isinstance(reason, (Normal, Shutdown))


def describe(reason: ExitReason) -> str:
    """A few words for logs and JSON."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown(None):
            return "shutdown"
        case Shutdown(detail):
            return f"shutdown: {detail}"
        case Killed():
            return "killed"
        case NoProcess():
            return "noproc"
        case Crash(error, message):
            return f"{error}: {message}" if message else error
        case Custom(value):
            return str(value)
