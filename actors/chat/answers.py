"""What a request may be answered with: done, or refused with a code (PROTOCOL.md §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Why a request was refused (PROTOCOL.md §6)."""

    BAD_REQUEST = "bad_request"
    BAD_CREDENTIALS = "bad_credentials"
    TOKEN_INVALID = "token_invalid"  # noqa: S105  (a code, not a secret)
    FORBIDDEN = "forbidden"
    NOT_MEMBER = "not_member"
    BLOCKED = "blocked"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    NAME_TAKEN = "name_taken"
    GONE = "gone"
    TOO_LARGE = "too_large"
    LIMIT = "limit"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out; `fields` go into the `ok`, `msgspec.Raw` (JSON already) too."""

    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was not carried out. `msg` is for people and names the offending field."""

    code: Code
    msg: str
    retry_ms: int = 0


Result = Done | Refused
