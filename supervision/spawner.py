"""Asking a dynamic supervisor for a child, whether or not that supervisor is up just now.

A `SpawnerHandle` finds the present incarnation by name. While there is none, what it is asked for
is *owed*: kept here, outside the supervisor because it must outlive it, and started by the next
incarnation. So None always means *not now*, never *never*.
"""

from __future__ import annotations

from typing import Protocol, cast
from weakref import WeakKeyDictionary

from actors.runtime import ActorSystem, Ref

OWED_MAX = 100_000
"""Names that may be owed by one supervisor. More are not started until somebody asks again."""

_owed: WeakKeyDictionary[ActorSystem, dict[str, dict[str, None]]] = WeakKeyDictionary()
"""By system and supervisor, the names in the order they were asked for."""


class Ensures(Protocol):
    """The part of a `DynamicSupervisor` that is called directly."""

    def ensure(self, name: str) -> Ref | None: ...


def owe(system: ActorSystem, supervisor: str, name: str) -> None:
    """The next incarnation of this supervisor must start this child."""
    names = _owed.setdefault(system, {}).setdefault(supervisor, {})
    if len(names) < OWED_MAX:
        names[name] = None


def take_owed(system: ActorSystem, supervisor: str) -> dict[str, None]:
    """What a new incarnation must start; it is no longer owed then."""
    return _owed.get(system, {}).pop(supervisor, {})


class SpawnerHandle:
    """A `Spawner`. Cheap to make, valid for as long as the system."""

    __slots__ = ("_supervisor", "_system")

    def __init__(self, system: ActorSystem, supervisor: str) -> None:
        self._system = system
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return f"<SpawnerHandle {self._supervisor}>"

    def ensure(self, name: str) -> Ref | None:
        """The living actor of this name, started if need be. None while it may not start; it will
        be started as soon as it may, so watching the name is enough."""
        system = self._system
        found = system.names.get(name)
        if found is not None:
            return found
        supervisor = system.names.get(self._supervisor)
        if supervisor is None or not system.is_ready(self._supervisor):
            owe(system, self._supervisor, name)
            return None
        return cast("Ensures", supervisor._actor).ensure(name)
