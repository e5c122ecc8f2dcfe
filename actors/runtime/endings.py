"""How a cell ends by its own code: it stopped, or it failed. The last hook, and then the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import CoroutineType
from typing import Any

import pykka
import trio
from outcome import Error, Outcome, Value
from pykka.messages import _ActorStop

from actors.runtime.cell import DEAD, STOPPING, Cell, Ending
from actors.runtime.crashes import log_crash, log_resumed
from actors.runtime.directives import Directive, directive_for
from actors.runtime.errors import Stop
from actors.runtime.exits import ExitReason
from actors.runtime.hooks import abrupt_reason, call_hook, let_through, spawn_hook
from actors.runtime.mailbox import Ask
from actors.runtime.signals import StopRequest
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
    """A handler raised: `on_failure`, then the end, unless the actor is to go on. If it was to
    stop, `on_stop`."""
    if isinstance(error, Stop):
        cell.stop(error.reason)
        if cell.ending is not None:
            conclude(cell, cell.ending)
        return
    if isinstance(error, trio.Cancelled):
        error = RuntimeError("a cancellation that was not this actor's own escaped")
    if _is_resumed(cell, error, message):
        log_resumed(cell, error, message)
        _drop(cell, error, message)
        return
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


def _is_resumed(cell: Cell, error: BaseException, message: Any) -> bool:
    """Not if it has been killed, and not if what failed was its end."""
    content = message.message if type(message) is Ask else message
    return (
        directive_for(cell.on_error, error) is Directive.RESUME
        and abrupt_reason(cell) is None
        and not isinstance(content, StopRequest | _ActorStop)
    )


def _drop(cell: Cell, error: BaseException, message: Any) -> None:
    """Handle no more of this message, and go on. Its asker gets the error, unless he has an answer
    or the message was put aside."""
    if type(message) is Ask:
        answer, current = message.answer, cell.current
        cell.current = None
        deferred = cell.extra.deferred if cell.extra is not None else {}
        if current is answer or answer in deferred:
            deferred.pop(answer, None)
            answer.resolve(None, error)
    cell.dispatcher.schedule(cell)


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
