"""Answers: pykka's future on trio, and the slot a server fills.

A `Future` may be awaited on trio, or waited for by a thread outside the loop; inside the loop a
blocking `get` of an answer that is not there yet raises `WouldBlock` instead of deadlocking. It is
set once; a second or late answer is dropped and counted by the system.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
import trio

from actors.runtime.errors import WouldBlock

if TYPE_CHECKING:
    from actors.runtime.system import ActorSystem

T = TypeVar("T")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Future(pykka.Future[T]):
    """One answer. Created inside a system it knows its loop; elsewhere it is a plain thread future."""

    def __init__(self, system: ActorSystem | None = None) -> None:
        super().__init__()
        self._system = system
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] | None = None
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ setting

    def set(self, value: Any = None) -> None:
        if not self.resolve(value, None):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        error = (exc_info or sys.exc_info())[1]
        assert error is not None
        if not self.resolve(None, error):
            raise queue.Full

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        """Set the answer; False if there was one."""
        with self._lock:
            if self._done or self._get_hook is not None:
                return False
            self._value, self._error, self._done = value, error, True
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()
        return True

    # ------------------------------------------------------------------ getting

    def get(self, *, timeout: float | None = None) -> T:
        """The answer, blocking a thread outside the loop until it is there."""
        try:
            return super().get(timeout=timeout)
        except NotImplementedError:
            pass
        if not self._done:
            if _in_loop():
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
        if self._get_hook is not None:
            return await trio.to_thread.run_sync(self.get, abandon_on_cancel=True)
        if not self._done:
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
        return self._result()

    def __await__(self) -> Generator[Any, Any, T]:
        return self.wait().__await__()

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call back once the answer is there, perhaps at once, in whichever thread sets it."""
        with self._lock:
            if not self._done:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback()

    def _result(self) -> T:
        if self._error is not None:
            raise self._error
        result: T = self._value
        return result


class ReplySlot:
    """The right to answer one ask, once."""

    __slots__ = ("_future", "_system")

    def __init__(self, future: Future[Any], system: ActorSystem) -> None:
        self._future = future
        self._system = system

    def set(self, value: Any = None) -> None:
        if not self._future.resolve(value, None):
            self._system.late_replies += 1

    def fail(self, error: BaseException) -> None:
        if not self._future.resolve(None, error):
            self._system.late_replies += 1


def _in_loop() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
