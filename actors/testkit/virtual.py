"""Virtual time: a story in which waiting costs nothing, and which a seed decides.

The clock is trio's `MockClock` and jumps: whenever all tasks wait, it moves to the next moment
somebody waits for. It stands while a thread works for one of them (`trio.to_thread`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.runtime.determinism import seeded_scheduler

T = TypeVar("T")

STORY_S: Final = 3600.0
"""Of loop time. A story in which everybody waits for ever is there at once, and fails."""

THREADS_S: Final = 5.0
"""Real time for threads: after so long without a step of any task the clock jumps all the same, for
the thread may be waiting for that."""

LOOK_S: Final = 0.001
"""Real time between two looks of `settle` at threads that are still at work."""


class NotSettled(AssertionError):
    """Threads were at work for longer than `settle` waits."""


def run_virtual(
    main: Callable[..., Awaitable[T]],
    *args: Any,
    seed: int = 0,
    limit_s: float = STORY_S,
    clock: MockClock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """`trio.run` on virtual time, with the order of tasks decided by `seed`; what `main` returns.

    The clock begins at 0 and jumps, unless another is given. Raises what `main` does, with a note
    that names the seed, and `AssertionError` if that takes more than `limit_s` of loop time. It is
    a `run` for pytest-trio: `pytest.mark.trio(run=run_virtual)`.
    """

    async def limited() -> T:
        trio.lowlevel.add_instrument(_Threads(used))
        with trio.move_on_after(limit_s):
            return await main(*args)
        raise AssertionError(
            f"not over after {limit_s} s of loop time (limit_s): something never comes"
        )

    used = MockClock(autojump_threshold=0) if clock is None else clock
    try:
        with seeded_scheduler(seed):
            return trio.run(limited, clock=used, instruments=instruments)
    except Exception as error:
        error.add_note(f"in run_virtual, seed={seed}")
        raise


class _Threads(trio.abc.Instrument):
    """Holds the clock while a thread of trio's own limiter is at work."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._threads = trio.to_thread.current_default_thread_limiter()
        self._threshold_s = clock.autojump_threshold
        self._holds = False

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        is_at_work = self._threads.borrowed_tokens > 0
        if is_at_work == self._holds:
            return
        self._holds = is_at_work
        if is_at_work:
            self._threshold_s = self._clock.autojump_threshold
        held_s = max(self._threshold_s, THREADS_S)
        self._clock.autojump_threshold = held_s if is_at_work else self._threshold_s


async def settle() -> None:
    """Let everything happen that needs no time. The clock stands still meanwhile.

    Settled means that nobody in this loop can go on: no actor is runnable, so a message still in a
    mailbox is one its actor cannot take (it is suspended, or starting, or its async handler waits);
    every async actor, task and hook waits for a message, an answer, a moment to come, or the
    network. What other threads had sent before the call has been handled.

    Threads that tasks wait for (`trio.to_thread`, with trio's own limiter) are waited for, in real
    time; `NotSettled` if they take longer than some seconds. Threads of other makers are not.
    Actors that send to one another without end never settle. From several tasks at once: they go on
    together.
    """
    await wait_all_tasks_blocked()
    threads = trio.to_thread.current_default_thread_limiter()
    for _ in range(int(THREADS_S / LOOK_S)):
        if not threads.borrowed_tokens:
            return
        await wait_all_tasks_blocked(LOOK_S)
    if threads.borrowed_tokens:
        raise NotSettled(f"{threads.borrowed_tokens} threads do not end; await what they work on")


async def advance(seconds: float) -> None:
    """Let so much loop time pass, and then settle. What is due meanwhile happens at its time."""
    await trio.sleep(seconds)
    await settle()
