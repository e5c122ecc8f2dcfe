"""Which operation is legal when: the life of one connection as two tables.

A connection is unauthenticated, then authenticated, then closing. `VERDICTS` says what to do with
an operation in each phase, `TRANSITIONS` what a happening makes of the phase. The verdict needs
only the operation's name, so it also covers frames that did not decode: before authentication a
malformed `send` is `unauthorized`, not `bad_request`.

Time is an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final

from gateway.wire.codes import ErrorCode

MALFORMED_MAX: Final = 20
"""The malformed frame that closes the connection (4001)."""
REFUSED_MAX: Final = 600
"""Rate-limited refusals a connection may collect before it is closed (4008)."""
WINDOW_S: Final = 60.0
"""The window both are counted in."""


class Phase(StrEnum):
    UNAUTHENTICATED = "unauthenticated"
    AUTHENTICATED = "authenticated"
    CLOSING = "closing"


class OpClass(Enum):
    """Operations that the phases treat alike."""

    ENTRY = "entry"
    """Makes a connection authenticated."""
    HEARTBEAT = "heartbeat"
    OTHER = "other"
    """Everything else, known to us or not."""


class Verdict(Enum):
    ADMIT = "admit"
    UNAUTHORIZED = "unauthorized"
    CONFLICT = "conflict"
    IGNORE = "ignore"
    """The connection is closing: neither act nor answer."""

    @property
    def error(self) -> ErrorCode | None:
        """The error that answers a refused operation."""
        return _ERRORS.get(self)


class Happening(Enum):
    AUTHENTICATED = "authenticated"
    """`register`, `login` or `auth` succeeded."""
    CLOSING = "closing"
    """Either side began to close."""


_ERRORS: Final = {
    Verdict.UNAUTHORIZED: ErrorCode.UNAUTHORIZED,
    Verdict.CONFLICT: ErrorCode.CONFLICT,
}

ENTRY_OPS: Final = frozenset({"register", "login", "auth"})

VERDICTS: Final[Mapping[Phase, Mapping[OpClass, Verdict]]] = {
    Phase.UNAUTHENTICATED: {
        OpClass.ENTRY: Verdict.ADMIT,
        OpClass.HEARTBEAT: Verdict.ADMIT,
        OpClass.OTHER: Verdict.UNAUTHORIZED,
    },
    Phase.AUTHENTICATED: {
        OpClass.ENTRY: Verdict.CONFLICT,
        OpClass.HEARTBEAT: Verdict.ADMIT,
        OpClass.OTHER: Verdict.ADMIT,
    },
    Phase.CLOSING: dict.fromkeys(OpClass, Verdict.IGNORE),
}

TRANSITIONS: Final[Mapping[tuple[Phase, Happening], Phase]] = {
    (Phase.UNAUTHENTICATED, Happening.AUTHENTICATED): Phase.AUTHENTICATED,
    (Phase.UNAUTHENTICATED, Happening.CLOSING): Phase.CLOSING,
    (Phase.AUTHENTICATED, Happening.CLOSING): Phase.CLOSING,
    (Phase.CLOSING, Happening.CLOSING): Phase.CLOSING,
}


class TransitionError(Exception):
    """Our own server tried to authenticate a connection twice, or one that is closing."""


def op_class(op: str) -> OpClass:
    if op == "hb":
        return OpClass.HEARTBEAT
    return OpClass.ENTRY if op in ENTRY_OPS else OpClass.OTHER


def verdict(phase: Phase, op: str) -> Verdict:
    """What to do with operation `op` (any text) in this phase."""
    return VERDICTS[phase][op_class(op)]


def advance(phase: Phase, happening: Happening) -> Phase:
    """The phase afterwards. Raises TransitionError for a pair that is not in the table."""
    try:
        return TRANSITIONS[phase, happening]
    except KeyError:
        raise TransitionError(f"{happening.value} while {phase.value}") from None


class SlidingCounter:
    """Tells when something has happened `trips_at` times within `window_s` seconds.

    Keeps at most `trips_at` times, so a flood costs no memory.
    """

    __slots__ = ("_times_s", "_trips_at", "_window_s")

    def __init__(self, trips_at: int, window_s: float = WINDOW_S) -> None:
        assert trips_at >= 1
        self._trips_at = trips_at
        self._window_s = window_s
        self._times_s: deque[float] = deque(maxlen=trips_at)

    def record(self, now_s: float) -> bool:
        """Count one more; True when this one is the `trips_at`th within the window."""
        self._times_s.append(now_s)
        return len(self._times_s) == self._trips_at and now_s - self._times_s[0] <= self._window_s


def malformed_counter() -> SlidingCounter:
    """Trips on the 20th malformed frame within 60 s: close 4001."""
    return SlidingCounter(MALFORMED_MAX)


def refusal_counter() -> SlidingCounter:
    """Trips on the 601st rate-limited refusal within 60 s: close 4008."""
    return SlidingCounter(REFUSED_MAX + 1)
