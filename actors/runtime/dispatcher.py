"""The dispatcher: one trio task that gives actors their turns.

**Problem.** A switch between trio tasks costs some 10 µs, a handler often one. A task for each
actor would make the switch the price of every message; running until the queue is empty would
starve sockets and timers.

**Rule.** Actors with something to handle wait in one queue. Each gets a turn of a bounded number of
messages, then goes to the back. After a slice of bounded messages and time the dispatcher lets the
loop serve everybody else. With an empty queue it parks and costs nothing.

**A call into silence.** A task that calls a plain actor while nobody waits for a turn would wake
the dispatcher, sleep, and be woken: two switches around a microsecond of work. It gives the actor
its turn itself. The order of messages is the same, for there are no others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors.runtime.errors import NoSystem, WouldBlock
from actors.runtime.futures import in_loop
from actors.runtime.tasks import acting

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

T = TypeVar("T")

SLICE_MESSAGES_MAX = 512
"""Messages handled before the loop gets to its sockets: half a millisecond of small ones."""

SLICE_S = 0.002
"""The same bound in time, for handlers that take longer. Looked at every few messages."""

TURN_MESSAGES_MAX = 16
"""Messages an actor handles before others get their turn. After a slice that took twice its time
turns shrink, down to a single message, and grow again when handlers are fast: so slow ones cost the
sockets a few milliseconds, and fast ones never pay for a look at the clock."""


LOOKS_PER_TURN = 4
"""Looks at the clock for as many messages as a full turn has: four short turns share one, and with
shrunk turns, when handlers are slow, there is one for each."""


SERVED_MAX = 32
"""Turns that tasks give to actors they wait for (`serve`) before the loop gets to its sockets."""


class Dispatcher:
    """The run queue. Belongs to the thread that made it."""

    __slots__ = (
        "_context", "_served", "_serves_until_s", "_token", "_turn", "now", "parked", "queue",
        "running", "thread",
    )  # fmt: skip

    _turn: Callable[[Cell, int], int]
    _context: Context

    def __init__(self) -> None:
        self.queue: deque[Cell] = deque()
        self.running: Cell | None = None
        """Whose sync code is running now. It ends only after its handler."""
        self.thread = threading.get_ident()
        self.parked: trio.lowlevel.Task | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._served, self._serves_until_s = 0, 0.0
        # trio's own clock, taken once: current_time() looks it up at every call.
        self.now: Callable[[], float] = trio.lowlevel.current_clock().current_time

    def schedule(self, cell: Cell) -> None:
        """Give this actor a turn soon. In the loop's thread."""
        if not cell.is_scheduled:
            cell.is_scheduled = True
            self.queue.append(cell)
            if self.parked is not None:
                self.wake()

    def wake(self) -> None:
        """Unpark, if parked."""
        task, self.parked = self.parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    @property
    def is_parked(self) -> bool:
        return self.parked is not None

    async def run(self, turn: Callable[[Cell, int], int]) -> None:
        """Give turns, for ever. `turn` handles at most so many messages, and answers how many."""
        queue, now = self.queue, self.now
        self._turn, self._context = turn, trio.lowlevel.current_task().context
        turn_max = TURN_MESSAGES_MAX
        while True:
            if not queue:
                await trio.lowlevel.wait_task_rescheduled(self._park())
            handled, until_s, look_at = 0, now() + SLICE_S, turn_max // LOOKS_PER_TURN
            while queue:
                handled += turn(queue.popleft(), turn_max)
                if handled < look_at:
                    continue
                look_at = handled + turn_max // LOOKS_PER_TURN
                if handled >= SLICE_MESSAGES_MAX or now() >= until_s:
                    turn_max = _next_turn_max(turn_max, is_late=now() >= until_s + SLICE_S)
                    await trio.lowlevel.checkpoint()
                    break

    async def serve(self, cell: Cell) -> None:
        """Give this actor its turn here and now: for a task that would wait for it, while no other
        actor does. The loop gets to the others after some of these, or `SLICE_S`."""
        cell.is_scheduled = True
        self._context.run(self._turn, cell, TURN_MESSAGES_MAX)
        self._served += 1
        if self._served >= SERVED_MAX or self.now() >= self._serves_until_s:
            await trio.lowlevel.checkpoint()
            self._served, self._serves_until_s = 0, self.now() + SLICE_S
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def served(self) -> trio.lowlevel.Task | None:
        """Whose call the sync code of an actor that is running now serves, if it is a task's."""
        task = trio.lowlevel.current_task()
        return None if self.running is None or task.context is self._context else task

    def _park(self) -> Callable[[Any], trio.lowlevel.Abort]:
        self.parked = trio.lowlevel.current_task()

        def abort(_raise_cancel: Any) -> trio.lowlevel.Abort:
            self.parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        return abort

    def acting(self) -> Cell | None:
        """The actor whose code is running, in its handler or in a task of its own."""
        return self.running or acting.get()

    def is_foreign_thread(self) -> bool:
        return threading.get_ident() != self.thread

    def from_thread(self, function: Callable[..., Any], *args: Any) -> bool:
        """Call something in the loop, soon, in the order of the calls. False after its end."""
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            return False
        return True

    def run_from_thread(self, function: Callable[[], T]) -> T:
        """Call something in the loop from a thread, and wait for what it returns. Raises `NoSystem`
        after its end."""
        if in_loop():
            raise WouldBlock(
                "this waits for the loop of another thread: inside a loop use its own system, or "
                "trio.to_thread.run_sync"
            )
        try:
            return trio.from_thread.run_sync(function, trio_token=self._token)
        except trio.RunFinishedError:
            raise NoSystem("the actor system has ended") from None


def _next_turn_max(turn_max: int, *, is_late: bool) -> int:
    return max(turn_max // 4, 1) if is_late else min(turn_max * 2, TURN_MESSAGES_MAX)
