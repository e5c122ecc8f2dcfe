"""A thread that notices when the loop is stuck, and says in which code while it is.

**Problem.** One handler that computes for a second, or waits without `await`, holds up every actor
and socket. Nothing in the loop can tell, for it is what does not run.

**Rule.** The thread asks the loop to turn, a few times within `stall_s`. If it does not in that
time (`stalls` is the judge), the stack of its thread goes to the log at once: names of code, no
values. When it turns again, its duration goes there too, and an event (`LoopStalled`) to the
system. For the loop all this is one callback each time. A loop that waits in a debugger is not
stuck.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import trio

from actors.runtime import tasks
from actors.runtime.cell import Cell
from actors.runtime.exits import FRAMES_MAX
from actors.runtime.ref import Ref
from actors.runtime.stalls import LOOKS_PER_STALL, Patience
from actors.runtime.system import ActorSystem
from actors.runtime.tracing import LoopStalled

logger = logging.getLogger("actors")

STALL_S = 0.5
"""A hundred times what a slow slice takes: heartbeats and deadlines are about to suffer."""

DEBUGGERS = ("bdb", "pydevd", "_pydevd_bundle")
"""Modules whose code on the stack means that somebody looks at it, and the loop waits for him."""


@dataclass(frozen=True, slots=True)
class WatchdogStatistics:
    """Stalls that are over, and how long they were together."""

    stalls_total: int
    stalled_seconds_total: float


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where the loop was stuck: in whose code, if in an actor's."""

    actor: Ref | None
    stack: str


class Watchdog:
    """Made by `watch_loop`. What it counts belongs to the loop's thread."""

    def __init__(
        self,
        system: ActorSystem,
        stall_s: float,
        clock_s: Callable[[], float],
        cpu_s: Callable[[], float],
    ) -> None:
        assert stall_s > 0, "a stall takes some time"
        self.stall_s = stall_s
        self._system = system
        self._clock_s, self._cpu_s = clock_s, cpu_s
        self._look_s = stall_s / LOOKS_PER_STALL
        self._has_turned = threading.Event()
        self._turned_s = 0.0
        self._is_over = threading.Event()
        self._stalls, self._stalled_s = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def statistics(self) -> WatchdogStatistics:
        return WatchdogStatistics(self._stalls, self._stalled_s)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for that: it looks only, and soon."""
        self._is_over.set()
        self._has_turned.set()
        self._thread.join()

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        while True:
            self._has_turned.clear()
            patience = Patience(self.stall_s, self._clock_s(), self._cpu_s())
            if self._is_over.wait(self._look_s):
                return
            scene = self._judge(patience, None)
            if scene is None:
                patience.excuse()  # nobody had asked it to turn
            if not self._system.dispatcher.from_thread(self._turn):
                return  # the loop has ended
            self._await_turn(patience, scene)

    def _await_turn(self, patience: Patience, scene: _Scene | None) -> None:
        """Until the loop turns, or the watch is over."""
        while not self._has_turned.wait(self._look_s):
            if self._is_over.is_set():
                return
            scene = self._judge(patience, scene)
        stuck_s = patience.look(self._turned_s, self._cpu_s())
        if stuck_s and not self._is_over.is_set():
            logger.warning("the loop turns again, after %.3f s", stuck_s)
            self._system.dispatcher.from_thread(self._over, scene or _Scene(None, ""), stuck_s)

    def _judge(self, patience: Patience, scene: _Scene | None) -> _Scene | None:
        """Report the loop if it is stuck and that was not said before; where."""
        stuck_s = patience.look(self._clock_s(), self._cpu_s())
        if scene is not None or not stuck_s or self._has_turned.is_set():
            return scene
        scene = self._look_at_loop()
        if scene is None:
            patience.excuse()
        else:
            _report(scene, stuck_s)
        return scene

    def _look_at_loop(self) -> _Scene | None:
        """None if it waits in a debugger, or is gone."""
        dispatcher = self._system.dispatcher
        frame = sys._current_frames().get(dispatcher.thread)
        frames = [each for each, _line in traceback.walk_stack(frame)] if frame else []
        if not frames or any(_module(each).startswith(DEBUGGERS) for each in frames):
            return None
        cell = dispatcher.running or next(filter(None, map(_owner, frames)), None)
        innermost = traceback.format_stack(frame)[-FRAMES_MAX:]
        return _Scene(None if cell is None else cell.ref, "".join(innermost))

    # ------------------------------------------------------------------ in the loop

    def _turn(self) -> None:
        self._turned_s = self._clock_s()
        self._has_turned.set()

    def _over(self, scene: _Scene, stuck_s: float) -> None:
        self._stalls += 1
        self._stalled_s += stuck_s
        if scene.actor is not None:
            self._system.emit(LoopStalled, scene.actor, stuck_s, scene.stack)
        elif self._system.events.is_heard:
            origin = (trio.current_time(), 0, None, 1, "loop")
            self._system.events.emit(LoopStalled(*origin, stuck_s, scene.stack))


@contextmanager
def watch_loop(
    system: ActorSystem,
    stall_s: float = STALL_S,
    *,
    clock_s: Callable[[], float] = time.monotonic,
    cpu_s: Callable[[], float] = time.process_time,
) -> Iterator[Watchdog]:
    """Watch the loop of a system, from inside of it: a stall is noticed `stall_s` after its
    beginning, or up to a quarter later. Real time, whatever clock the loop has."""
    watchdog = Watchdog(system, stall_s, clock_s, cpu_s)
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


def _report(scene: _Scene, stuck_s: float) -> None:
    logger.error(
        "the loop has not turned for %.3f s; running %s, in\n%s",
        stuck_s, scene.actor or "no actor", scene.stack,
    )  # fmt: skip


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _owner(frame: FrameType) -> Cell | None:
    """Whose task this is, if it is the frame of an actor's."""
    return frame.f_locals["cell"] if frame.f_code is tasks._run.__code__ else None
