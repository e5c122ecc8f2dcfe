"""Answers: what an asker waits for, and the slot a server fills.

Two kinds. `Reply` is what `await ref.call()` waits on: a few machine words, one task parked on
it, the loop's thread only. `Future` is pykka's: any number of waiters, on trio or in threads
outside the loop; inside the loop a blocking `get` of an answer that is not there raises
`WouldBlock` instead of deadlocking. Both are set once; a second or late answer is dropped and
counted by the system.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import pykka
import trio

from actors.runtime.errors import CallTimeout, WouldBlock
from actors.runtime.exits import Custom

if TYPE_CHECKING:
    from actors.runtime.cell import Cell
    from actors.runtime.timers import Timers

T = TypeVar("T")


class Answer(Protocol):
    """Where an answer goes."""

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        """Give the answer; False if it is too late: there was one, or nobody waits any more."""


class Reply:
    """The answer to one `call`. Only its caller waits, once.

    Its deadline is a timer of the system and the reply itself the timer: a cancel scope for each
    call would cost more than the call.
    """

    __slots__ = ("_error", "_is_done", "_task", "_value", "has_timed_out")

    period_s = None

    def __init__(self) -> None:
        self.has_timed_out = False
        self._is_done = False
        self._task: trio.lowlevel.Task | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    @property
    def waiter(self) -> trio.lowlevel.Task | None:
        """The task of its caller, while that waits."""
        return self._task

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        if self._is_done:
            return False
        self._is_done, self._value, self._error = True, value, error
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)
        return True

    @property
    def is_active(self) -> bool:
        return not self._is_done

    def fire(self) -> None:
        """The deadline has come."""
        self.has_timed_out = True
        self.resolve(None, CallTimeout(Custom("timeout")))

    def give_up(self) -> None:
        """Nobody will wait: an answer from here on is late."""
        self._is_done = True

    async def wait(self, deadlines: Timers, timeout_s: float) -> Any:
        """The answer. Raises `CallTimeout`; then, or when cancelled, a later answer is late."""
        if not self._is_done and timeout_s <= 0:
            self.fire()
            await trio.lowlevel.checkpoint()
        elif not self._is_done:
            deadlines.watch(timeout_s, self)
            self._task = trio.lowlevel.current_task()
            try:
                await trio.lowlevel.wait_task_rescheduled(self._abort)
            finally:
                self._is_done = True
                if not self.has_timed_out:
                    deadlines.cancelled()
        if self._error is not None:
            raise self._error
        return self._value

    def _abort(self, _raise_cancel: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Future(pykka.Future[T]):
    """One answer, for anybody who wants to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._is_done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._callbacks: list[Callable[[], None]] | None = None
        self._lock = threading.Lock()
        self._parents: tuple[Future[Any], ...] = ()

    # ------------------------------------------------------------------ made of others
    #
    # pykka's hook takes the answers of a future's parents by a blocking `get`. On trio they are
    # awaited first, so that it finds them there.

    def filter(self, func: Any) -> Any:
        return self._child(pykka.Future.filter(cast("Any", self), func))

    def join(self, *futures: Any) -> Any:
        return self._child(super().join(*futures), *futures)

    def map(self, func: Any) -> Any:
        return self._child(super().map(func))

    def reduce(self, func: Any, *args: Any) -> Any:
        return self._child(pykka.Future.reduce(cast("Any", self), func, *args))

    def _child(self, child: Any, *others: Any) -> Any:
        child._parents = (self, *others)
        return child

    # ------------------------------------------------------------------ setting

    def set(self, value: Any = None) -> None:
        if not self.resolve(value, None):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        kind, error, _traceback = exc_info or sys.exc_info()
        assert kind is not None, "there is no exception to set"
        if not self.resolve(None, kind() if error is None else error):
            raise queue.Full

    def set_get_hook(self, func: Any) -> None:
        """pykka's: `func` makes the value when it is asked for. Raises `queue.Full` if there is
        one."""
        with self._lock:
            if self._is_done:
                raise queue.Full
            super().set_get_hook(func)

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        """Set the answer; False if there was one."""
        with self._lock:
            if self._is_done or self._get_hook is not None:
                return False
            self._value, self._error, self._is_done = value, error, True
            if error is not None:
                self._traceback = error.__traceback__
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()
        return True

    # ------------------------------------------------------------------ getting

    @property
    def error(self) -> BaseException | None:
        """What the answer raises, if it is there and does."""
        return self._error

    def get(self, *, timeout: float | None = None) -> T:
        """The answer, blocking a thread outside the loop until it is there."""
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._is_done:
            if in_loop():
                raise WouldBlock(
                    "a blocking get() inside the loop would wait for ever: await the future instead"
                )
            ready = threading.Event()
            self.on_done(ready.set)
            if not ready.wait(timeout):
                raise pykka.Timeout(f"{timeout} seconds")
        return self._result()

    async def wait(self) -> T:
        """The answer. Cancelling the wait leaves the future as it is."""
        if self._get_hook is not None and not self._parents:
            return await trio.to_thread.run_sync(self.get, abandon_on_cancel=True)
        await self._settle()
        return self.get()

    async def _settle(self) -> None:
        """Wait until `get` need not."""
        for parent in self._parents:
            await parent._settle()
        if self._parents:
            return
        if self._get_hook is not None:
            with suppress(Exception):
                await trio.to_thread.run_sync(self.get, abandon_on_cancel=True)
        elif not self._is_done:
            ready = trio.Event()
            token = trio.lowlevel.current_trio_token()
            thread = threading.get_ident()

            def wake() -> None:
                if threading.get_ident() == thread:
                    ready.set()
                else:
                    token.run_sync_soon(ready.set)

            self.on_done(wake)
            await ready.wait()

    def __await__(self) -> Generator[Any, Any, T]:
        # On another event loop there is only pykka's way, which blocks.
        return self.wait().__await__() if in_loop() else super().__await__()

    __iter__ = __await__

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call back once the answer is there, perhaps at once, in whichever thread sets it."""
        with self._lock:
            if not self._is_done:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback()

    def _result(self) -> T:
        if self._error is not None:
            # Every `get` begins from the frames of the failure, not from those of the last `get`.
            raise self._error.with_traceback(self._traceback)
        result: T = self._value
        return result


class ReplySlot:
    """The right to answer one ask, once, from any thread. If the actor ends first, the asker gets
    its exit reason."""

    __slots__ = ("_answer", "_cell")

    def __init__(self, answer: Answer, cell: Cell) -> None:
        self._answer = answer
        self._cell = cell

    def set(self, value: Any = None) -> None:
        """Answer. If nobody waits any more, or there was an answer, it is dropped and counted."""
        self._resolve(value, None)

    def fail(self, error: BaseException) -> None:
        """Answer with an exception; the asker raises it."""
        self._resolve(None, error)

    def _resolve(self, value: Any, error: BaseException | None) -> None:
        dispatcher = self._cell.dispatcher
        if dispatcher.is_foreign_thread():
            dispatcher.from_thread(self._resolve, value, error)
            return
        deferred = self._cell.extra.deferred if self._cell.extra is not None else None
        if deferred is not None:
            deferred.pop(self._answer, None)
        if not self._answer.resolve(value, error):
            self._cell.system.late_replies += 1


def in_loop() -> bool:
    """Whether the running code is a trio task's."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
