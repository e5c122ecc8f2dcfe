"""The process of an isolated actor: an interpreter with a system and one actor of its parent's.

It ends with the actor, at SIGTERM in order (through `on_stop`), and with its parent at once. The
last must hold for an actor that is stuck, too, so the kernel sees to it: the standard input is a
pipe that only the parent can close, and its end is the signal SIGKILL (`F_SETSIG`, Linux).
PR_SET_PDEATHSIG would not do. It follows the thread that started the process, which for trio is a
worker that ends when it has been idle. Elsewhere the end of the socket is noticed by the loop.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from logging.handlers import QueueHandler
from multiprocessing import process, spawn
from typing import Any

import trio
from pykka.messages import ProxyGetAttr

from actors.runtime.errors import ActorDied
from actors.runtime.exits import SHUTDOWN, ExitReason, crash
from actors.runtime.isolated_frames import (
    WINDOW,
    Begin,
    CrashTold,
    Logged,
    Look,
    Message,
    Ready,
    Room,
    Unpacker,
    answer,
    dump,
    ended,
    load,
    pack,
)
from actors.runtime.mailbox import Ask
from actors.runtime.ref import Ref
from actors.runtime.reports import StatusView
from actors.runtime.system import IGNORED, open_system
from actors.runtime.tracing import Crashed, Event, Resumed

logger = logging.getLogger("actors")

RECEIVE_BYTES = 64 * 1024

HANDLED = ProxyGetAttr(attr_path=("is_dead",))
"""A message that the runtime answers in its turn, without the actor: those before it are done."""


class Link:
    """The socket to the parent. It is read by the loop alone, and written by any thread at once:
    what the actor has said is out before it gets stuck. The parent always reads."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)
        self._unpacker = Unpacker()
        self._lock = threading.Lock()

    def send(self, frame: object) -> None:
        with self._lock:
            self._socket.sendall(pack(frame))

    def first(self) -> Begin:
        """The first frame, before there is a loop."""
        while True:
            for frame in self._unpacker.feed(self._receive()):
                assert isinstance(frame, Begin), "a process is told first what to be"
                return frame

    async def frames(self) -> AsyncIterator[Any]:
        """Those after the first."""
        data = b""
        while True:
            for frame in self._unpacker.feed(data):
                yield frame
            await trio.lowlevel.wait_readable(self._socket)
            data = self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            os._exit(1)  # the parent has gone
        return data


class Slot:
    """An answer that goes to the parent. If the actor ends first, that is the answer, and comes
    from there."""

    def __init__(self, link: Link, id_: int, ref: Ref) -> None:
        self._link, self._id, self._ref = link, id_, ref

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        if not (isinstance(error, ActorDied) and self._ref.exit_reason is not None):
            self._link.send(answer(self._id, value, error))
        return True


class Handled:
    """The answer to `HANDLED`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def resolve(self, _value: Any, _error: BaseException | None) -> bool:
        self._link.send(Room())
        return True


class Forward(QueueHandler):
    """Log records to the parent, whose handlers and levels decide."""

    def __init__(self, link: Link) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # `enqueue` is ours
        self._link = link

    def enqueue(self, record: logging.LogRecord) -> None:
        self._link.send(Logged(dump(record)))


def main(fd: int) -> None:
    """The life of the process; `fd` is its end of the socket pair."""
    end_with_parent()
    link = Link(fd)
    begin = link.first()
    logging.root.handlers[:] = [Forward(link)]
    logging.root.setLevel(begin.log_level)
    try:
        # As for multiprocessing: the paths of the parent, and its main module, which must not start
        # processes itself when it is imported.
        vars(process.current_process())["_inheriting"] = True
        spawn.prepare(begin.preparation)
        del vars(process.current_process())["_inheriting"]
        actor, args, kwargs, on_error = load(begin.actor)
    except Exception as error:  # noqa: BLE001  (foreign code; the parent is told)
        link.send(ended(crash(error)))
        return
    options = {"name": begin.name, "on_error": on_error, **kwargs}
    link.send(trio.run(_live, link, begin, actor, args, options))


def end_with_parent() -> None:
    """Have this process killed when its standard input ends, and read nothing from it."""
    life = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([life], [], [], 0)[0]:
            os._exit(1)  # it ended before that


async def _live(
    link: Link, begin: Begin, actor: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> object:
    """The life of the actor; the frame that tells its end. Actors that it started end before."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_system(node=begin.node) as system:
            system.events.subscribe(lambda event: _tell_crash(link, event))
            try:
                ref = system.spawn(actor, *args, **options)
            except Exception as error:  # noqa: BLE001  (a constructor may raise anything)
                return ended(crash(error))
            ref._cell.mailbox.limit = max(ref._cell.mailbox.limit, 2 * WINDOW)  # the parent refuses
            outcome: list[ExitReason | None] = []

            def started(reason: ExitReason | None) -> None:
                outcome.append(reason)
                if reason is None:
                    link.send(Ready())

            system.when_started(ref, started)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_receive, link, ref, nursery)
                nursery.start_soon(_stop_when_told, signals, ref)
                reason = await ref.wait_exit()
                nursery.cancel_scope.cancel()
    return ended(reason, is_ignored=outcome == [IGNORED])


async def _stop_when_told(signals: AsyncIterator[int], ref: Ref) -> None:
    async for _ in signals:
        ref._cell.request_stop(SHUTDOWN)


async def _receive(link: Link, ref: Ref, nursery: trio.Nursery) -> None:
    async for frame in link.frames():
        if isinstance(frame, Look):
            nursery.start_soon(_look, link, ref, frame)
        else:
            _deliver(link, ref, frame)


def _deliver(link: Link, ref: Ref, frame: Message) -> None:
    try:
        message = load(frame.body)
    except Exception as error:
        if frame.id is None:
            logger.exception("%s was sent a message that cannot be read here", ref)
        else:
            link.send(answer(frame.id, None, error))
    else:
        ref._cell.accept(message if frame.id is None else Ask(message, Slot(link, frame.id, ref)))
    if frame.is_marked:
        ref._cell.accept(Ask(HANDLED, Handled(link)))


async def _look(link: Link, ref: Ref, frame: Look) -> None:
    try:
        verb, args = load(frame.body)
        value = await verb(ref, *args)
    except Exception as error:  # noqa: BLE001  (handed to whoever looks)
        link.send(answer(frame.id, None, error))
    else:
        link.send(answer(frame.id, value, None))


def _tell_crash(link: Link, event: Event) -> None:
    if isinstance(event, Crashed | Resumed):
        report = event.report
        try:
            body = dump(report)
        except Exception:  # noqa: BLE001  (what `format_status` shows may be anything)
            body = dump(replace(report, view=StatusView()))
        link.send(CrashTold(body, is_resumed=isinstance(event, Resumed)))
