"""Events as JSON, in a form that other programs may rely on: docs/events.md is its schema.

An event is an object: the version of the stream under `v`, its class's name under `event`, and its
fields under their own names. Reasons are in words. Of a crash report everything but the view goes
in: what an actor held, or was sent, is never part of it.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from actors.runtime.exits import (
    Crash,
    Custom,
    Killed,
    NoProcess,
    Normal,
    Shutdown,
    describe,
)
from actors.runtime.reports import CrashReport
from actors.runtime.tracing import Event

EVENTS_VERSION = 1
"""Grows when an event or a field goes away, gets another name, type or meaning. What is new does
not make it grow: readers pass over events and fields that they do not know."""

LEFT_OUT = {CrashReport: frozenset({"view"})}
"""Fields that show what an actor holds."""


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as values that `json.dumps` takes."""
    return {"v": EVENTS_VERSION, "event": type(event).__name__, **_fields(event)}


def _fields(value: Any) -> dict[str, Any]:
    left_out = LEFT_OUT.get(type(value), frozenset())
    names = (field.name for field in dataclasses.fields(value))
    return {name: _json(getattr(value, name)) for name in names if name not in left_out}


def _json(value: object) -> Any:
    match value:
        case Normal() | Shutdown() | Killed() | NoProcess() | Crash() | Custom():
            return describe(value)
        case CrashReport():
            return _fields(value)
        case Enum():
            return value.value
        case tuple():
            return [_json(item) for item in value]
        case None | str() | int() | float():
            return value
        case _:
            raise TypeError(f"an event has no field of type {type(value).__name__}")
