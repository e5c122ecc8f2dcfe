"""Virtual time: a story in which waiting costs nothing, and which a seed decides.

The clock is trio's `MockClock` and jumps: whenever all tasks wait, it moves to the next moment
somebody waits for. It does not see what threads do, so a story with threads sets no deadlines for
them.
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

LOOK_S: Final = 0.001
"""Real time between two looks at threads that are still at work."""

LOOKS_MAX: Final = 5_000
"""At least five seconds of real time: a test that needs more of a thread awaits it."""


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
    for _ in range(LOOKS_MAX):
        if not threads.borrowed_tokens:
            return
        await wait_all_tasks_blocked(LOOK_S)
    raise NotSettled(f"{threads.borrowed_tokens} threads do not end; await what they work on")


async def advance(seconds: float) -> None:
    """Let so much loop time pass, and then settle. What is due meanwhile happens at its time."""
    await trio.sleep(seconds)
    await settle()
