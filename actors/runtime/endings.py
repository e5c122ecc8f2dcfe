"""How a cell ends by its own code: it stopped, or it failed. The last hook, and then the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import pykka
import trio
from outcome import Error, Outcome, Value

from actors.runtime.cell import DEAD, STOPPING, Cell, Ending
from actors.runtime.crashes import log_crash
from actors.runtime.errors import Stop
from actors.runtime.exits import ExitReason
from actors.runtime.hooks import abrupt_reason, call_hook, let_through, spawn_hook
from actors.runtime.tasks import LETS_THROUGH, discard

logger = logging.getLogger("actors")

STOP_DEADLINE_S = 30.0
"""An async `on_stop` or `on_failure` may take this long, unless its supervisor kills it before."""


def conclude(cell: Cell, ending: Ending) -> None:
    """The running code has returned, and an end was asked for."""
    if ending.hooks:
        _last(cell, ending.reason, "on_stop", cell.actor.on_stop)
    else:
        cell.terminate(ending.reason)


def fail(cell: Cell, error: BaseException, message: Any) -> None:
    """A handler raised: `on_failure`, then the end. If it was to stop, `on_stop`."""
    if isinstance(error, Stop):
        cell.stop(error.reason)
        if cell.ending is not None:
            conclude(cell, cell.ending)
        return
    if isinstance(error, trio.Cancelled):
        error = RuntimeError("a cancellation that was not this actor's own escaped")
    reason = log_crash(cell, error, message)
    if isinstance(error, LETS_THROUGH):
        cell.terminate(reason)
        raise error
    actor = cell.actor
    if (abrupt := abrupt_reason(cell)) is not None:
        cell.terminate(abrupt)  # killed before it raised
        return
    if actor.stop_all_on_base_exception and not isinstance(error, Exception):
        logger.debug("%r in %s. Stopping all actors.", error, cell.ref)
        _last(cell, reason, "on_stop", actor.on_stop)
        pykka.ActorRegistry.stop_all(block=False)
        return
    arguments = (type(error), error, error.__traceback__)
    _last(cell, reason, "on_failure", lambda: actor.on_failure(*arguments))


def _last(cell: Cell, reason: ExitReason, label: str, hook: Callable[[], Any]) -> None:
    """Run the last hook, then end."""
    cell.state = STOPPING
    cell.ending = None
    if cell.actor.stopped_before_hooks:
        cell.system.unlist(cell.ref)
    result = call_hook(cell, hook)
    if isinstance(result, Value) and isinstance(result.value, CoroutineType):
        if abrupt_reason(cell) is None:
            deadline_s = trio.current_time() + STOP_DEADLINE_S
            done = lambda r: _gone(cell, reason, r)  # noqa: E731  (shorter than its name)
            spawn_hook(cell, label, result.value, deadline_s, done)
            return
        discard(result.value)
    _gone(cell, reason, result)


def _gone(cell: Cell, reason: ExitReason, result: Outcome[Any] | None) -> None:
    if cell.state is DEAD:
        return
    error: BaseException | None = None
    if result is None:
        error = TimeoutError(f"the last hook took longer than {STOP_DEADLINE_S} s")
    elif isinstance(result, Error):
        error = result.error
    if error is not None:
        reason = log_crash(cell, error)
    cell.terminate(abrupt_reason(cell) or reason)
    if error is not None:
        let_through(error)
