"""Entities for the stories: rooms of a town, whose lives and messages are written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.runtime import Actor, ExitReason
from supervision import ChildSpec, Entities, OnError, Supervisor, SupervisorSpec
from tests.supervision.actors import SOON, Stage


@dataclass
class Town:
    """What the rooms do and did: messages by room, lives by room."""

    heard: dict[str, list[Any]] = field(default_factory=dict)
    lives: dict[str, int] = field(default_factory=dict)
    start: Callable[[str], Any] | None = None
    start_s: float = 0.0
    stop_s: float = 0.0

    def topics(self, id_: str) -> list[Any]:
        return self.heard.get(id_, [])


class Room(Actor):
    """Notes what it hears; `"crash"` crashes it, an exit reason ends it, others are answered."""

    mailbox_max = 20

    def __init__(self, town: Town, id_: str) -> None:
        super().__init__()
        self.town, self.id = town, id_

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await trio.sleep(self.town.start_s)
        if self.town.start is not None:
            await self.town.start(self.id)
        self.town.lives[self.id] = self.town.lives.get(self.id, 0) + 1

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("told to crash")
        if isinstance(message, ExitReason):
            self.stop(message)
            return None
        self.town.heard.setdefault(self.id, []).append(message)
        return self.town.lives[self.id]

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await trio.sleep(self.town.stop_s)


class Thoughtful(Room):
    """Each message takes it a second, in a task of its own."""

    async def on_receive(self, message: Any) -> Any:
        await trio.sleep(1.0)
        return super().on_receive(message)


def rooms(
    town: Town, actor: type[Room] = Room, *, on_error: OnError | None = None, **options: Any
) -> Entities:
    def room(id_: str) -> ChildSpec:
        return ChildSpec(id_, actor, (town, id_), backoff=SOON, on_error=on_error or {})

    return Entities("rooms", {"room": room}, **options)


async def open_town(
    stage: Stage, actor: type[Room] = Room, **options: Any
) -> tuple[Entities, Town]:
    town = Town()
    entities = rooms(town, actor, **options)
    await stage.system.start(Supervisor, SupervisorSpec(children=(entities.child_spec(),)))
    return entities, town
