"""Why an actor ended, as data.

OTP's vocabulary: an actor that ends with `Normal` or `Shutdown` ended as intended; everything
else is abnormal and makes supervisors act. Reasons travel to monitors and links, into events and
logs, so they hold text, never a live traceback: an exception's frames would keep the dead actor's
memory alive (and show what was in it).
"""

from __future__ import annotations

import linecache
import traceback
from dataclasses import dataclass, field, replace
from itertools import islice

from actors.runtime.directives import Directive

FRAMES_MAX = 50
"""Of a deeper stack Python's own printing folds what repeats."""


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
    """A handler raised. `traceback` is text; the exception itself is not kept. `directive` is what
    its supervisor shall do about it (`directives`); it holds for the actor that raised alone."""

    error: str
    message: str
    traceback: str = field(default="", repr=False, compare=False)
    directive: Directive | None = field(default=None, repr=False, compare=False)


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


def crash(error: BaseException, directive: Directive | None = None) -> Crash:
    """The reason for an exception, detached from it. Never raises, whatever the exception does."""
    message = _text(error)
    try:
        text = _traceback(error, message)
    except Exception:  # noqa: BLE001  (formatting runs the exception's own code)
        text = "(the traceback could not be formatted)"
    return Crash(type(error).__qualname__, message, text, directive)


def directive_of(reason: ExitReason) -> Directive | None:
    """What a supervisor shall do about a child that ended so."""
    return reason.directive if isinstance(reason, Crash) else None


def handed_on(reason: ExitReason) -> ExitReason:
    """The reason of an end that somebody else's end caused, or that somebody gave: no directive
    goes with it."""
    if isinstance(reason, Crash) and reason.directive is not None:
        return replace(reason, directive=None)
    return reason


def _traceback(error: BaseException, message: str) -> str:
    """As Python prints it, but in the plain case without its marks under the lines. To place them
    it compiles each line, which takes longer than all the rest of a restart."""
    frames = list(islice(traceback.walk_tb(error.__traceback__), FRAMES_MAX + 1))
    if len(frames) > FRAMES_MAX or not _is_plain(error):
        return "".join(traceback.format_exception(error))
    lines = ["Traceback (most recent call last):"] if frames else []
    for frame, number in frames:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}')
        source = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        if source:
            lines.append(f"    {source}")
    lines.append(f"{type(error).__qualname__}: {message}")
    return "\n".join(lines) + "\n"


def _is_plain(error: BaseException) -> bool:
    """Whether it is one exception, with nothing more to tell than its message."""
    return (
        error.__cause__ is None
        and (error.__context__ is None or error.__suppress_context__)
        and not hasattr(error, "__notes__")
        and not isinstance(error, BaseExceptionGroup | SyntaxError)
    )


def _text(value: object) -> str:
    """`str(value)`, which is foreign code: a broken one must not end more than its own actor."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (any failure of foreign code gives the same answer)
        return f"<unprintable {type(value).__qualname__}>"


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
            return f"shutdown: {_text(detail)}"
        case Killed():
            return "killed"
        case NoProcess():
            return "noproc"
        case Crash(error, message):
            return f"{error}: {message}" if message else error
        case Custom(value):
            return _text(value)
