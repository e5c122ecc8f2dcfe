"""How an actor is named: an id of its own, a name that outlives it, and which life of it this
is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

ActorId = NewType("ActorId", int)
"""Unique within a system, never reused."""


@dataclass(frozen=True, slots=True)
class Address:
    """`incarnation` counts the lives under one name, from 1; unnamed actors have only one."""

    id: ActorId
    name: str | None
    incarnation: int

    def __str__(self) -> str:
        return f"{self.name}#{self.incarnation}" if self.name else f"<{self.id}>"
