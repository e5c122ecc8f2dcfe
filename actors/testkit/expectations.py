"""What a test wants of a value, whether it is that, and words for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final

from actors.runtime.reports import shorten

WITHIN_S: Final = 3.0
"""Loop time to wait for what a test expects. With virtual time waiting costs nothing; without, it
is long for a machine and short for whoever waits for a failure."""

VALUE_CHARACTERS_MAX: Final = 200


class _Anything:
    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = _Anything()
"""Wanted when any value will do."""


def matches(wanted: Any, value: object) -> bool:
    """A type (or a union of types) wants its instances, a function those for which it is true,
    anything else what is equal to it."""
    if wanted is ANYTHING:
        return True
    if isinstance(wanted, type | UnionType):
        return isinstance(value, wanted)
    if callable(wanted):
        return bool(wanted(value))
    return bool(wanted == value)


def _in_words(wanted: Any) -> str:
    if isinstance(wanted, type):
        return wanted.__name__
    if wanted is ANYTHING or isinstance(wanted, UnionType):
        return str(wanted)
    if callable(wanted):
        return f"what {getattr(wanted, '__name__', repr(wanted))} accepts"
    return shown(wanted)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value to be wanted, and attributes of it that are wanted themselves."""

    what: Any
    fields: Mapping[str, Any]

    def accepts(self, value: object) -> bool:
        """Raises `AttributeError` if the value is wanted but has no such attribute."""
        return matches(self.what, value) and all(
            matches(wanted, getattr(value, name)) for name, wanted in self.fields.items()
        )

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={_in_words(wanted)}" for name, wanted in self.fields.items())
        return f"{_in_words(self.what)}({fields})" if fields else _in_words(self.what)


def shown(value: object) -> str:
    """A value with its type, cut to a length."""
    return f"{type(value).__name__} {shorten(repr(value), VALUE_CHARACTERS_MAX)}"
