"""Actors that do as they are told, for stories about the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from actors.runtime import Actor, ActorSystem, Ref


class Puppet(Actor):
    """Runs the functions it is sent, on itself; keeps everything else. Crashes on an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        if callable(message) and not isinstance(message, Ref):
            return message(self)
        self.got.append(message)
        return message


class Trapper(Puppet):
    trap_exit: ClassVar[bool] = True


class AsyncPuppet(Actor):
    """The same with a task: the functions may be async."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    async def on_receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        if callable(message) and not isinstance(message, Ref):
            result = message(self)
            return await result if hasattr(result, "__await__") else result
        self.got.append(message)
        return message


async def puppet(system: ActorSystem, actor: type[Actor] = Puppet, **options: Any) -> Any:
    """A started actor: the object itself; its `ref` leads to the handle."""
    ref = await system.start(actor, **options)
    assert ref is not None
    return ref._actor


async def do(actor: Any, act: Callable[[Any], Any]) -> Any:
    """Run something as this actor, in its own turn; what it returned."""
    return await actor.ref.call(act)
