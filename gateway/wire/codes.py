"""What can go wrong, as codes: errors that answer a request, and closes that end a connection.

Both say whose turn it is: an error whether the same request may succeed later, a close whether
and how to come back.
"""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """The `code` of an `err` frame. `temporary` codes may be retried with the same `cid`."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    BAD_CREDENTIALS = "bad_credentials"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 (a code, not a secret)
    TOTP_REQUIRED = "totp_required"
    FORBIDDEN = "forbidden"
    NOT_MEMBER = "not_member"
    BLOCKED = "blocked"
    NOT_FOUND = "not_found"
    UNKNOWN_OP = "unknown_op"
    CONFLICT = "conflict"
    NAME_TAKEN = "name_taken"
    GONE = "gone"
    TOO_LARGE = "too_large"
    LIMIT = "limit"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later. After `timeout` the outcome is unknown."""
        return self in _TEMPORARY


_TEMPORARY: Final = frozenset(
    {ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT}
)


class Reconnect(Enum):
    """What a client does after a close."""

    AS_WISHED = "as the user wishes"
    YES = "yes"
    BACK_OFF = "yes, back off"
    AFTER_RETRY = "after retry_ms"
    NO = "no"


class CloseCode(IntEnum):
    """A WebSocket close code with its meaning and the advice to the client."""

    NORMAL = 1000
    GOING_AWAY = 1001
    BROKEN_FRAME = 1002
    NOT_UTF8 = 1007
    FRAME_TOO_LARGE = 1009
    MALFORMED = 4001
    UNSUPPORTED_VERSION = 4002
    AUTH_TIMEOUT = 4003
    TOKEN_INVALID = 4004
    REVOKED = 4006
    REPLACED = 4007
    RATE_LIMITED = 4008
    SLOW_CONSUMER = 4009
    SILENT = 4010
    DRAIN = 4012
    TOO_MANY_SOCKETS = 4013
    BANNED = 4014

    @property
    def meaning(self) -> str:
        """One phrase for people; fits the `reason` of `bye` and of the close frame."""
        return _CLOSES[self][0]

    @property
    def reconnect(self) -> Reconnect:
        return _CLOSES[self][1]

    @property
    def says_bye(self) -> bool:
        """Whether a server sends `bye` before closing so."""
        return self not in (CloseCode.FRAME_TOO_LARGE, CloseCode.UNSUPPORTED_VERSION)


_CLOSES: Final[dict[CloseCode, tuple[str, Reconnect]]] = {
    CloseCode.NORMAL: ("clean", Reconnect.AS_WISHED),
    CloseCode.GOING_AWAY: ("clean", Reconnect.AS_WISHED),
    CloseCode.BROKEN_FRAME: ("broken frame", Reconnect.BACK_OFF),
    CloseCode.NOT_UTF8: ("text is not UTF-8", Reconnect.BACK_OFF),
    CloseCode.FRAME_TOO_LARGE: ("frame too large", Reconnect.YES),
    CloseCode.MALFORMED: ("malformed frames, repeated", Reconnect.BACK_OFF),
    CloseCode.UNSUPPORTED_VERSION: ("unsupported version", Reconnect.NO),
    CloseCode.AUTH_TIMEOUT: ("not authenticated in time", Reconnect.YES),
    CloseCode.TOKEN_INVALID: ("token invalid or expired", Reconnect.NO),
    CloseCode.REVOKED: ("session revoked, logged out", Reconnect.NO),
    CloseCode.REPLACED: ("replaced by a newer socket of this session", Reconnect.NO),
    CloseCode.RATE_LIMITED: ("rate limited", Reconnect.AFTER_RETRY),
    CloseCode.SLOW_CONSUMER: ("slow consumer", Reconnect.YES),
    CloseCode.SILENT: ("silent", Reconnect.YES),
    CloseCode.DRAIN: ("drain", Reconnect.AFTER_RETRY),
    CloseCode.TOO_MANY_SOCKETS: ("too many sockets", Reconnect.BACK_OFF),
    CloseCode.BANNED: ("banned or deleted", Reconnect.NO),
}


def reconnect_advice(code: int | None) -> Reconnect:
    """The advice for any close, also one without a code or with a code unknown to us."""
    try:
        return CloseCode(code if code is not None else 0).reconnect
    except ValueError:
        return Reconnect.BACK_OFF
