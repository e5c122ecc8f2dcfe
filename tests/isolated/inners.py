"""Actors that the stories isolate. Their processes import this module, too."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any, ClassVar

import trio

from actors.runtime import Actor, Ignore, Isolated, open_system

log = logging.getLogger("inner")


class Worker(Actor):
    """Keeps what it is told, answers with all of it, and may be made to misbehave."""

    def __init__(self, greeting: str = "hello") -> None:
        super().__init__()
        self.got: list[Any] = [greeting]

    def on_start(self) -> None:
        log.info("%s, %s", self.got[0], self.name)

    def on_receive(self, message: Any) -> Any:
        match message:
            case "spin":
                while True:
                    pass
            case "break":
                raise ValueError("broken")
            case "look up":
                raise KeyError("nothing there")
            case "fork":
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                return pid
            case "lambda":
                return lambda: None
            case "pid":
                return os.getpid()
        self.got.append(message)
        return list(self.got)

    def on_stop(self) -> None:
        log.warning("%s stops", self.name)


class Unwilling(Actor):
    """Does not start, for the reason it is given."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def on_start(self) -> None:
        if self.reason == "not needed":
            raise Ignore
        raise RuntimeError(self.reason)


class Small(Worker):
    """Has room for few."""

    mailbox_max: ClassVar[int] = 5


class Stubborn(Worker):
    """Does not stop."""

    def on_stop(self) -> None:
        self.on_receive("spin")


async def parent() -> None:
    """A program with an isolated child that is stuck; it says which process, and waits."""
    async with open_system() as system:
        ref = await system.start(Isolated, Worker)
        assert ref is not None
        print(await ref.call("pid"), flush=True)
        ref.cast("spin")
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(parent)
