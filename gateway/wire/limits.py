"""The numbers a server holds its clients to, advertised in `hello`.

Each is a setting; three have ceilings that no setting may pass, because the cost of one request
grows with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

HB_MS: Final = 4_000
"""How often a client sends `hb`, by default."""
OFFLINE_MS: Final = 60_000
"""Silence after which a socket, and with its last socket a user, counts as offline."""
AUTH_MS: Final = 10_000
"""How long a fresh socket may stay unauthenticated."""

USER_CHARS_MIN: Final = 3
USER_CHARS_MAX: Final = 32
PASS_CHARS_MIN: Final = 8
PASS_CHARS_MAX: Final = 256
USER_GET_MAX: Final = 100
"""uids in one `user.get`."""
PAGE_MAX: Final = 200
"""Threads in one `thread.list`, members in one `group.info`."""
REACTIONS_MAX: Final = 20
"""Distinct emoji on one message."""
TYPING_MS: Final = 6_000
"""How long a `typing` is shown when it is not renewed."""
WAITING_REPLIES_MAX: Final = 32
"""Above this many unsent replies no further request is read."""
UNDRAINED_S: Final = 30.0
"""A socket that has not drained for this long is closed as a slow consumer."""

CEILINGS: Final[Mapping[str, int]] = {
    "group_members": 1024,
    "history_events": 100,
    "presence_uids": 500,
}
_FLOORS: Final[Mapping[str, int]] = {"presence_interval_ms": 0}
_FLOOR: Final = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force. Names are those of `hello.limits`; rates count per user.

    Raises ValueError, naming every field at fault, for a number outside floor and ceiling.
    """

    frame_bytes: int = 65_536
    text_chars: int = 4_096
    group_members: int = 256
    history_events: int = 100
    sync_threads: int = 500
    sync_events: int = 2_000
    presence_uids: int = 500
    presence_interval_ms: int = 5_000
    sessions: int = 10
    send_burst: int = 60
    send_per_s: int = 10
    request_burst: int = 100
    request_per_s: int = 20
    login_failures_per_min: int = 5
    queue_frames: int = 256
    queue_bytes: int = 1_048_576
    sockets: int = 20_000
    sockets_per_address: int = 5_000

    def __post_init__(self) -> None:
        found = problems(asdict(self))
        if found:
            raise ValueError("; ".join(found))

    def advertised(self) -> dict[str, int]:
        """The object that `hello` carries as `limits`."""
        return asdict(self)


LIMIT_NAMES: Final[tuple[str, ...]] = tuple(field.name for field in fields(Limits))
"""Every limit, in the order it is advertised."""


def problems(values: Mapping[str, int]) -> tuple[str, ...]:
    """Everything wrong with these settings, one sentence each; unknown names are wrong too."""
    found: list[str] = []
    for name, value in values.items():
        floor, ceiling = _FLOORS.get(name, _FLOOR), CEILINGS.get(name)
        if name not in LIMIT_NAMES:
            found.append(f"{name}: no such limit")
        elif isinstance(value, bool) or not isinstance(value, int):
            found.append(f"{name}: {value!r} is not a whole number")
        elif value < floor:
            found.append(f"{name}: {value} is below {floor}")
        elif ceiling is not None and value > ceiling:
            found.append(f"{name}: {value} is above the ceiling {ceiling}")
    return tuple(found)
