"""How a cell runs: its start and its messages; `endings` has its end.

An actor whose `on_receive` is a plain function has no task: the dispatcher calls `turn`, which
handles some messages and returns. One whose `on_receive` is `async` has a task, `_live`, and a turn
only wakes it. Hooks may be either in both kinds; an async hook runs in a task of its own while
messages wait.

Whatever an actor's code raises ends that actor and nothing else, unless its `on_error` has it go
on. Only `KeyboardInterrupt` and `SystemExit` go on to end the program.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from types import CoroutineType
from typing import Any

import trio
from outcome import Error, Outcome, Value

from actors.runtime.cell import DEAD, INITIALISING, RUNNING, STARTING, Cell
from actors.runtime.crashes import log_crash
from actors.runtime.dispatch import SPECIAL, dispatch
from actors.runtime.dispatcher import TURN_MESSAGES_MAX
from actors.runtime.endings import conclude, fail
from actors.runtime.errors import Ignore, StartFailed, Stop
from actors.runtime.exits import NORMAL, SHUTDOWN, handed_on
from actors.runtime.futures import Answer
from actors.runtime.hooks import abrupt_reason, call_hook, let_through, spawn_hook
from actors.runtime.mailbox import Ask
from actors.runtime.signals import Errand, StopRequest
from actors.runtime.tasks import TaskRef, discard, start_owned
from actors.runtime.watch import Watch

logger = logging.getLogger("actors")


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
            conclude(cell, cell.ending)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        fail(cell, error, message)
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
                conclude(cell, cell.ending)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        fail(cell, error, message)
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
    result = call_hook(cell, cell.actor.on_start)
    if isinstance(result, Value) and isinstance(result.value, CoroutineType):
        if (abrupt := abrupt_reason(cell)) is not None:
            discard(result.value)
            cell.terminate(abrupt)
        else:
            spawn_hook(cell, "on_start", result.value, math.inf, lambda r: _begun(cell, r))
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
            # No crash: `on_start` says why.
            cell.terminate(abrupt_reason(cell) or handed_on(error.reason))
        case Error(error):
            # pykka and OTP agree: nothing was started, so no hook cleans up after it.
            reason = log_crash(cell, error)
            cell.terminate(abrupt_reason(cell) or reason)
            let_through(error)
        case Value():
            assert ending is not None, "an actor that nothing ends is ready"
            conclude(cell, ending)


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
        result = call_hook(cell, partial(cell.actor.stop, request.reason))
        if isinstance(result, Error):
            _begun(cell, result)
        elif (abrupt := abrupt_reason(cell)) is not None:
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
            conclude(cell, cell.ending)
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
        fail(cell, error, message)
    except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
        if cell.state is DEAD:
            log_crash(cell, error)  # killed, and its cleaning up failed
        elif _is_answer(cell, answer, error):
            _return_error(cell, answer, error)
        else:
            fail(cell, error, message)
    else:
        _answer(cell, answer, result, None)
