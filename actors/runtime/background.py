"""For programs that are not on trio: an actor system on a loop in a thread of its own.

Actors started while it is open, from any thread, live there (`Actor.start`), and their refs are
used as pykka's are: `tell`, `ask`, `proxy`, `stop` may block the thread that calls them, as long as
it is not the loop's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import outcome
import trio

from actors.runtime.errors import WouldBlock
from actors.runtime.futures import Future, in_loop
from actors.runtime.system import ActorSystem, open_system, set_default_system


@contextmanager
def background_system(node: str = "n1") -> Iterator[ActorSystem]:
    """A running system, the default of every thread without one of its own; one at a time.

    Leaving it stops every actor in order and waits for that. If the loop fails, what it failed with
    is raised then.
    """
    if in_loop():
        raise WouldBlock("this blocks the loop: inside it use `async with open_system()`")
    opened: Future[ActorSystem] = Future()
    is_over = trio.Event()

    async def live() -> None:
        async with open_system(node=node) as system:
            opened.set(system)
            await is_over.wait()

    ended: list[outcome.Outcome[None]] = []

    def run() -> None:
        ended.append(outcome.capture(trio.run, live))
        if isinstance(ended[0], outcome.Error):
            opened.resolve(None, ended[0].error)

    thread = threading.Thread(target=run, name="actors", daemon=True)
    thread.start()
    system = opened.get()
    set_default_system(system)
    try:
        yield system
    finally:
        set_default_system(None)
        system.dispatcher.from_thread(is_over.set)
        thread.join()
    ended[0].unwrap()
