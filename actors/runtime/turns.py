"""How a cell runs: its start, its messages, its end.

An actor whose `on_receive` is a plain function has no task: the dispatcher calls `turn`, which
handles some messages and returns. One whose `on_receive` is `async` has a task, `_live`, and a turn
only wakes it. Hooks may be either in both kinds; an async hook runs in a task of its own while
messages wait.

Whatever an actor's code raises ends that actor and nothing else. Only `KeyboardInterrupt` and
`SystemExit` go on to end the program.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import Any

import pykka
import trio
from outcome import Error, Outcome, Value

from actors.runtime.cell import (
    DEAD,
    INITIALISING,
    RUNNING,
    STARTING,
    STOPPING,
    Cell,
    Ending,
)
from actors.runtime.dispatch import SPECIAL, dispatch
from actors.runtime.dispatcher import TURN_MESSAGES_MAX
from actors.runtime.errors import Ignore, StartFailed, Stop
from actors.runtime.exits import NORMAL, SHUTDOWN, ExitReason
from actors.runtime.futures import Answer
from actors.runtime.mailbox import Ask
from actors.runtime.signals import Errand, StopRequest
from actors.runtime.tasks import LETS_THROUGH, TaskRef, awaiting, discard, start_owned
from actors.runtime.watch import Watch

logger = logging.getLogger("actors")

STOP_DEADLINE_S = 30.0
"""An async `on_stop` or `on_failure` may take this long, unless its supervisor kills it before."""


def turn(cell: Cell, messages_max: int) -> int:
    """Handle some messages; how many, at least 1. For the dispatcher."""
    cell.is_scheduled = False
    if cell.state is not RUNNING or not cell.is_plain:
        return _other_turn(cell, messages_max)
    mailbox = cell.mailbox
    receive = cell.actor.on_receive
    dispatcher = cell.dispatcher
    handled, counted, message = 0, 0, None
    dispatcher.running = cell
    try:
        while cell.ending is None:
            if handled == messages_max:
                dispatcher.schedule(cell)
                break
            if mailbox.control is not None:
                handled += 1
                cell.handled += handled - counted  # exact for whoever looks at it here
                counted = handled
                message = mailbox.next_control()
                _handle_control(cell, message)
                if not _is_watched(cell):
                    continue
                dispatcher.schedule(cell)
                break
            traffic = mailbox.traffic
            if not traffic:
                break
            message = traffic.popleft()
            handled += 1
            if type(message) in SPECIAL:
                _handle_special(cell, message)
            elif (result := receive(message)) is not None and type(result) is CoroutineType:
                _refuse_coroutine(result)
        else:
            _conclude(cell, cell.ending)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        _fail(cell, error, message)
    finally:
        dispatcher.running = None
        cell.handled += handled - counted
        # The deque lives only while something waits, so that the idle cost next to nothing.
        if mailbox.traffic is not None and not mailbox.traffic:
            mailbox.traffic = None
    return handled or 1


def _is_watched(cell: Cell) -> bool:
    return not cell.is_plain


def _watched_turn(cell: Cell, messages_max: int) -> int:
    """A turn of an actor without a task that is under watch (`watch`)."""
    handled, message = 0, None
    cell.dispatcher.running = cell
    try:
        while cell.ending is None and not cell.is_plain and handled < messages_max:
            watch = cell.more().watch
            taken = None if watch is None else watch.take()
            if taken is None:
                break
            message, is_control = taken
            handled += 1
            cell.handled += 1
            if is_control:
                _handle_control(cell, message)
            elif type(message) in SPECIAL:
                _handle_special(cell, message)
            else:
                _check_sync(cell.actor.on_receive(message))
        else:
            if cell.ending is None:
                cell.dispatcher.schedule(cell)
            else:
                _conclude(cell, cell.ending)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        _fail(cell, error, message)
    finally:
        cell.dispatcher.running = None
    return handled or 1


def _other_turn(cell: Cell, messages_max: int) -> int:
    if cell.state is STARTING:
        _begin(cell)
    elif cell.state is INITIALISING:
        _hear_stop(cell)
    elif cell.state is RUNNING and not cell.is_async:
        return _watched_turn(cell, messages_max)
    elif cell.state is RUNNING:
        parked = cell.extra.parked if cell.extra is not None else None
        if parked is not None:
            cell.more().parked = None
            trio.lowlevel.reschedule(parked)
    return 1


# ---------------------------------------------------------------------- the start


def _begin(cell: Cell) -> None:
    cell.state = INITIALISING
    result = _call_hook(cell, cell.actor.on_start)
    if isinstance(result, Value) and isinstance(result.value, CoroutineType):
        if (abrupt := _abrupt(cell)) is not None:
            discard(result.value)
            cell.terminate(abrupt)
        else:
            _spawn_hook(cell, "on_start", result.value, math.inf, lambda r: _begun(cell, r))
    else:
        _begun(cell, result)


def _begun(cell: Cell, result: Outcome[Any] | None) -> None:
    """`on_start` has ended; None if it was cancelled, by a request to stop."""
    if cell.state is DEAD:
        return
    ending = cell.ending
    if ending is None and type(result) is Value:
        _ready(cell)
        return
    match result:
        case None:
            cell.terminate(SHUTDOWN if ending is None else ending.reason)
        case Error(Ignore()):
            cell.terminate(NORMAL, is_ignored=True)
        case Error(StartFailed() | Stop() as error):
            cell.terminate(_abrupt(cell) or error.reason)  # no crash: `on_start` says why
        case Error(error):
            # pykka and OTP agree: nothing was started, so no hook cleans up after it.
            reason = cell.system.log_crash(cell, error)
            cell.terminate(_abrupt(cell) or reason)
            _let_through(error)
        case Value():
            assert ending is not None, "an actor that nothing ends is ready"
            _conclude(cell, ending)


def _ready(cell: Cell) -> None:
    cell.state = RUNNING
    if cell.is_async:
        task = TaskRef(f"{cell.ref}")
        start_owned(cell, task, lambda: _live(cell), lambda _: None, handles=True)
    cell.system.ready(cell)
    if not cell.mailbox.empty():
        cell.dispatcher.schedule(cell)


def _hear_stop(cell: Cell) -> None:
    """While `on_start` waits, everything else does too, except a request to stop."""
    requests = [item for item in cell.mailbox.control or () if isinstance(item, StopRequest)]
    cell.mailbox.drop_control(lambda item: isinstance(item, StopRequest))
    for request in requests:
        result = _call_hook(cell, partial(cell.actor.stop, request.reason))
        if isinstance(result, Error):
            _begun(cell, result)
        elif (abrupt := _abrupt(cell)) is not None:
            cell.terminate(abrupt)
        if cell.is_dead:
            return


# ---------------------------------------------------------------------- messages


def _handle_control(cell: Cell, item: Any) -> Any:
    """A control item; what `on_receive` returned for it, if it went there."""
    result = item.run(cell) if isinstance(item, Errand) else cell.actor.on_receive(item)
    if result is not None and isinstance(result, CoroutineType) and not cell.is_async:
        _refuse_coroutine(result)
    return result


def _handle_special(cell: Cell, message: Any) -> None:
    """An ask or one of pykka's messages, in a sync actor."""
    if type(message) is not Ask:
        _check_sync(dispatch(cell, message))
        return
    answer, content = message.answer, message.message
    cell.current = answer
    try:
        result = (
            dispatch(cell, content) if type(content) in SPECIAL else cell.actor.on_receive(content)
        )
        if type(result) is CoroutineType:
            _refuse_coroutine(result)
    except BaseException as error:
        if not _is_answer(cell, answer, error):
            raise
        _return_error(cell, answer, error)
    else:
        _answer(cell, answer, result, None)


def _is_answer(cell: Cell, answer: Answer | None, error: BaseException) -> bool:
    """Whether what a handler raised is only the asker's affair (pykka's rule)."""
    return (
        answer is not None
        and cell.current is answer
        and isinstance(error, Exception)
        and not isinstance(error, Stop)
        and not cell.actor.crash_on_ask_error
    )


def _answer(cell: Cell, answer: Answer | None, value: Any, error: BaseException | None) -> None:
    """Answer, unless the handler kept that right for later or has ended its own actor: then the
    asker gets the exit reason, from the end."""
    if cell.ending is not None and not cell.ending.hooks:
        return
    if answer is not None and cell.current is answer:
        cell.current = None
        if not answer.resolve(value, error):
            cell.system.late_replies += 1


def _return_error(cell: Cell, answer: Answer | None, error: BaseException) -> None:
    logger.info("Exception returned from %s to caller:", cell.ref, exc_info=error)
    _answer(cell, answer, None, error)


def _check_sync(result: Any) -> Any:
    if isinstance(result, CoroutineType):
        _refuse_coroutine(result)
    return result


def _refuse_coroutine(coroutine: Any) -> None:
    coroutine.close()
    raise TypeError("an actor with a plain on_receive has no task: make on_receive async")


# ---------------------------------------------------------------------- async actors


async def _live(cell: Cell) -> None:
    """The task of an actor with an async `on_receive`."""
    mailbox = cell.mailbox
    handled = 0
    while cell.state is RUNNING:
        if cell.ending is not None:
            _conclude(cell, cell.ending)
            return
        if mailbox.control is not None:
            await _handle_async(cell, mailbox.next_control(), is_control=True)
            if cell.extra is not None and cell.extra.watch is not None:
                await _live_watched(cell, cell.extra.watch)
        elif mailbox.traffic is not None:
            message = mailbox.traffic.popleft()
            if not mailbox.traffic:
                mailbox.traffic = None
            await _handle_async(cell, message, is_control=False)
        else:
            await _park(cell)
            handled = 0
            continue
        handled += 1
        if handled == TURN_MESSAGES_MAX:
            handled = 0
            await trio.lowlevel.checkpoint()


async def _live_watched(cell: Cell, watch: Watch) -> None:
    """The same while it is under watch (`watch`)."""
    handled = 0
    while cell.state is RUNNING and cell.ending is None and cell.more().watch is watch:
        taken = watch.take()
        if taken is None:
            await _park(cell)
            continue
        message, is_control = taken
        await _handle_async(cell, message, is_control=is_control)
        handled += 1
        if handled % TURN_MESSAGES_MAX == 0:
            await trio.lowlevel.checkpoint()


async def _park(cell: Cell) -> None:
    extra = cell.more()
    extra.parked = trio.lowlevel.current_task()

    def abort(_raise_cancel: Any) -> trio.lowlevel.Abort:
        extra.parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)


async def _handle_async(cell: Cell, message: Any, *, is_control: bool) -> None:
    """One message in full: the handler, its answer, or the crash."""
    cell.handled += 1
    answer = None
    try:
        if is_control:
            result = _handle_control(cell, message)
        elif type(message) is Ask:
            answer = cell.current = message.answer
            result = dispatch(cell, message.message)
        else:
            result = dispatch(cell, message)
        if isinstance(result, CoroutineType):
            result = await result
    except trio.Cancelled as error:
        if trio.current_effective_deadline() == -math.inf:
            raise
        _fail(cell, error, message)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        if cell.state is DEAD:
            cell.system.log_crash(cell, error)  # killed, and its cleaning up failed
        elif _is_answer(cell, answer, error):
            _return_error(cell, answer, error)
        else:
            _fail(cell, error, message)
    else:
        _answer(cell, answer, result, None)


# ---------------------------------------------------------------------- the end


def _conclude(cell: Cell, ending: Ending) -> None:
    """The running code has returned, and an end was asked for."""
    if ending.hooks:
        _last(cell, ending.reason, "on_stop", cell.actor.on_stop)
    else:
        cell.terminate(ending.reason)


def _fail(cell: Cell, error: BaseException, message: Any) -> None:
    """A handler raised: `on_failure`, then the end. If it was to stop, `on_stop`."""
    if isinstance(error, Stop):
        cell.stop(error.reason)
        if cell.ending is not None:
            _conclude(cell, cell.ending)
        return
    if isinstance(error, trio.Cancelled):
        error = RuntimeError("a cancellation that was not this actor's own escaped")
    reason = cell.system.log_crash(cell, error, message)
    if isinstance(error, LETS_THROUGH):
        cell.terminate(reason)
        raise error
    actor = cell.actor
    if (abrupt := _abrupt(cell)) is not None:
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
    result = _call_hook(cell, hook)
    if isinstance(result, Value) and isinstance(result.value, CoroutineType):
        if _abrupt(cell) is None:
            deadline_s = trio.current_time() + STOP_DEADLINE_S
            done = lambda r: _gone(cell, reason, r)  # noqa: E731  (shorter than its name)
            _spawn_hook(cell, label, result.value, deadline_s, done)
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
        reason = cell.system.log_crash(cell, error)
    cell.terminate(_abrupt(cell) or reason)
    if error is not None:
        _let_through(error)


def _abrupt(cell: Cell) -> ExitReason | None:
    """The reason of an end without hooks that was asked for meanwhile."""
    return None if cell.ending is None or cell.ending.hooks else cell.ending.reason


def _call_hook(cell: Cell, hook: Callable[[], Any]) -> Outcome[Any]:
    """Call the sync part of a hook as code of this actor."""
    dispatcher = cell.dispatcher
    before, dispatcher.running = dispatcher.running, cell
    try:
        return Value(hook())
    except BaseException as error:  # noqa: BLE001  (handed on)
        return Error(error)
    finally:
        dispatcher.running = before


def _spawn_hook(
    cell: Cell,
    label: str,
    coroutine: Any,
    deadline_s: float,
    done: Callable[[Outcome[Any] | None], None],
) -> None:
    """Run an async hook in a task that ends with the actor."""
    task = TaskRef(f"{cell.ref} {label}", deadline_s)
    extra = cell.more()
    extra.hook = task

    def ended(result: Outcome[Any] | None) -> None:
        extra.hook = None
        if result is None:
            discard(coroutine)
        if cell.state is DEAD and isinstance(result, Error):
            cell.system.log_crash(cell, result.error)
        done(result)

    start_owned(cell, task, awaiting(coroutine), ended, handles=True)


def _let_through(error: BaseException) -> None:
    if isinstance(error, LETS_THROUGH):
        raise error
