"""Specs from plain mappings, as a configuration file or a data base gives them.

Like OTP's maps (supervisor(3)): what is left out has its default, and keys that are unknown are
ignored, so that a newer configuration still starts an older program. Everything else that is wrong
is told at once, each with its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from actors.runtime.directives import Directive
from supervision.spec import (
    AutoShutdown,
    BrutalKill,
    ByKind,
    ChildSpec,
    InvalidSpec,
    Problem,
    Restart,
    Strategy,
    SupervisorSpec,
    child_problems,
    validate,
)

CHOICES: Mapping[str, tuple[type[Enum], ...]] = {
    "strategy": (Strategy,),
    "auto_shutdown": (AutoShutdown,),
    "restart": (Restart,),
    "shutdown_s": (BrutalKill, ByKind),
    "start_s": (ByKind,),
    "directive": (Directive,),
}
"""Fields that a word may fill, and the values of `on_error`."""

NEEDED = ("id", "actor")

SpecT = TypeVar("SpecT", ChildSpec, SupervisorSpec)


def read_child(
    given: object,
    path: str = "supervisor",
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
) -> ChildSpec:
    """A valid child spec: the one given, or made from a mapping. Raises `InvalidSpec`."""
    missing = list(_missing(given, path))
    if missing:
        raise InvalidSpec(missing)
    child = _child(given)
    found = child_problems(child, f"{path}.{child.id}", auto_shutdown)
    if found:
        raise InvalidSpec(found)
    return child


def read_supervisor(given: object, path: str = "supervisor") -> SupervisorSpec:
    """A valid spec: the one given, or made from a mapping whose children may be mappings too.
    Raises `InvalidSpec`."""
    if isinstance(given, Mapping):
        children = given.get("children", ())
        if not isinstance(children, list | tuple):
            raise InvalidSpec([Problem(f"{path}.children", "are not in a list")])
        missing = [problem for child in children for problem in _missing(child, path)]
        if missing:
            raise InvalidSpec(missing)
        made = tuple(_child(child) for child in children)
        given = _filled(SupervisorSpec, {**given, "children": made})
    if not isinstance(given, SupervisorSpec):
        raise InvalidSpec([Problem(path, f"{given!r} is no supervisor spec")])
    found = validate(given, path)
    if found:
        raise InvalidSpec(found)
    return given


def _missing(given: object, path: str) -> Iterator[Problem]:
    """Why no child spec can be made of it at all."""
    if isinstance(given, ChildSpec):
        return
    if not isinstance(given, Mapping):
        yield Problem(path, f"{given!r} is no child spec")
        return
    for key in NEEDED:
        if key not in given:
            yield Problem(f"{path}.{given.get('id', '')}".rstrip("."), f"the {key} is missing")


def _child(given: Any) -> ChildSpec:
    return given if isinstance(given, ChildSpec) else _filled(ChildSpec, given)


def _filled(kind: type[SpecT], given: Mapping[str, Any]) -> SpecT:
    """A spec from the keys it knows. A word that is none of its field's stays as it is, for
    validation to find."""
    known = {field.name for field in fields(kind)}
    values = {key: _value(key, value) for key, value in given.items() if key in known}
    return kind(**values)


def _value(key: str, value: Any) -> Any:
    if key == "args" and isinstance(value, list):
        return tuple(value)
    if key == "on_error" and isinstance(value, Mapping):
        return {error: _value("directive", word) for error, word in value.items()}
    for choice in CHOICES.get(key, ()):
        for member in choice:
            if member.value == value:
                return member
    return value
