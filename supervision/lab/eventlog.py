"""The events of a run as plain values: equal in equal runs, readable as text and as JSON.

Typed events may refer to living things (a `Ref` compares by identity). An `Entry` holds names,
numbers and words only. What it does not know it shows by its type: a message's content is nobody's
business, and an object's address differs from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from actors.runtime.exits import ExitReason
from actors.runtime.ref import Ref
from actors.runtime.reports import CrashReport
from actors.runtime.tracing import Event
from supervision.reports import DEPTH_MAX, in_words
from supervision.spec import ChildSpec

COMMON = frozenset(field.name for field in fields(Event))

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: when (virtual seconds, to the microsecond), what (the event's type), about which
    life of whom, and what else it says, in the order of its fields."""

    at_s: float
    kind: str
    name: str
    incarnation: int
    details: tuple[tuple[str, Plain], ...] = ()

    def text(self) -> str:
        """One line."""
        parts = [f"{self.at_s:12.6f}", f"{self.name}#{self.incarnation}", self.kind]
        return " ".join([*parts, *(f"{key}={value}" for key, value in self.details)])

    def to_json(self) -> dict[str, Plain]:
        """One flat object."""
        common: dict[str, Plain] = {"at_s": self.at_s, "kind": self.kind, "name": self.name}
        return {**common, "incarnation": self.incarnation, **dict(self.details)}


def entry_of(event: Event) -> Entry:
    """An event without anything that lives."""
    name = event.name or f"<{event.id}>"
    own = [field.name for field in fields(event) if field.name not in COMMON]
    details = tuple((key, plain(getattr(event, key))) for key in own)
    return Entry(round(event.at_s, 6), type(event).__name__, name, event.incarnation, details)


def plain(value: Any) -> Plain:
    """A value in words or numbers."""
    match value:
        case Enum():
            return str(value.value)
        case str() | bool() | int() | None:
            return value
        case float():
            return round(value, 6)
        case _ if isinstance(value, ExitReason):
            return in_words(value, DEPTH_MAX)
        case Ref():
            return f"{value.name}#{value.incarnation}" if value.name else f"<{value.id}>"
        case CrashReport():
            return plain(value.reason)
        case ChildSpec():
            return value.id
        case tuple() | list():
            return f"[{', '.join(str(plain(item)) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{key}: {plain(item)}' for key, item in value.items())}}}"
        case _ if is_dataclass(value) and not isinstance(value, type):
            told = (str(plain(getattr(value, field.name))) for field in fields(value))
            return f"{type(value).__name__}({', '.join(told)})"
        case _:
            return type(value).__name__
