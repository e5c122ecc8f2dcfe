"""A child that does as its script says, incarnation by incarnation (OTP's supervisor_1.erl).

A `Script` is made by the test and given to the child's spec, so all incarnations share it: the
n-th start lives the n-th `Life`. `Scripted` may be subclassed for children that do more.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import trio

from actors.runtime import NORMAL, SHUTDOWN, Actor, ExitReason, Ignore


class ScriptedCrash(Exception):
    """What a scripted child crashes with."""


@dataclass(frozen=True, slots=True)
class Life:
    """One incarnation.

    Its start takes `start_s`, waits for the event `opened`, and then raises `raises`: any exception
    fails it, `Ignore` and `StartFailed` as they do in `on_start`. It crashes at message `crash_at`,
    counted from 1. With a `stop_s` it traps exits and takes so long to stop; told to shut down, it
    ends for `stop_reason` if there is one. Infinite times are for ever: a start that hangs, a child
    that refuses to stop.
    """

    start_s: float = 0.0
    opened: trio.Event | None = None
    raises: Exception | None = None
    crash_at: int | None = None
    stop_s: float | None = None
    stop_reason: ExitReason | None = None

    def __post_init__(self) -> None:
        if self.crash_at is not None and self.crash_at < 1:
            raise ValueError(f"crash_at: messages are counted from 1, not {self.crash_at}")
        if self.stop_reason is not None and self.stop_s is None:
            raise ValueError("stop_reason: only a child with a stop_s is asked to stop")


READY = Life()
"""It starts at once and is well."""
FAILS = Life(raises=ScriptedCrash("told to fail"))
IGNORES = Life(raises=Ignore())
HANGS = Life(start_s=math.inf)


class Script:
    """The lives of one child. Starts that nothing was planned for live `usual`."""

    def __init__(self, *lives: Life, usual: Life = READY) -> None:
        self._planned = deque(lives)
        self.usual = usual
        self.starts = 0
        """So many have begun."""
        self.received: list[Any] = []
        """By all incarnations, in order."""

    def plan(self, *lives: Life) -> None:
        """These next, after those planned already."""
        self._planned.extend(lives)

    def begin(self) -> Life:
        """What the start that begins now lives."""
        self.starts += 1
        return self._planned.popleft() if self._planned else self.usual


class Scripted(Actor):
    """Lives its script: `ChildSpec("store", Scripted, (script,), name="store")`.

    Sent an exception it crashes with that, sent an exit reason it stops for that; any other message
    is the answer to itself.
    """

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.life = script.usual
        self._handled = 0

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        life = self.life = self.script.begin()
        if life.stop_s is not None:
            self.trap_exit = True  # type: ignore[misc]  # of the class elsewhere, here of a life
        if life.start_s:
            await trio.sleep(life.start_s)
        if life.opened is not None:
            await life.opened.wait()
        if life.raises is not None:
            raise life.raises.with_traceback(None)

    def on_receive(self, message: Any) -> Any:
        self.script.received.append(message)
        self._handled += 1
        if self._handled == self.life.crash_at:
            raise ScriptedCrash(f"told to crash at message {self._handled}")
        if isinstance(message, Exception):
            raise message
        if isinstance(message, ExitReason):
            self.stop(message)
        return message

    def stop(self, reason: ExitReason = NORMAL) -> None:
        if self.life.stop_s == math.inf:
            return
        own = self.life.stop_reason
        super().stop(reason if own is None or reason != SHUTDOWN else own)

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        if self.life.stop_s:
            await trio.sleep(self.life.stop_s)
