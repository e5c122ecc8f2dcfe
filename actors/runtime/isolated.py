"""An actor in an operating-system process of its own, which can really be killed.

**Problem.** `KILL` ends code that comes to an `await`. A loop that never does, or C code that
hangs, cannot be stopped by anything in its own process, and holds up everybody there.

**Rule.** `Isolated(Inner, *args)` is an actor that stands for one of class `Inner` in a fresh
interpreter. It is started, linked, supervised and stopped like any other, and sent to and asked
through its ref; its end by `KILL` is SIGKILL for the process. Its `on_start` is Inner's; a crash of
Inner is its own end with the same reason, and its `on_error` is carried out there; a process that
dies without a word gives `Custom(ProcessEnded)`. Asked to stop, it has the process run `on_stop`
(SIGTERM). The process does not outlive this one.

Messages and answers are copied, in order, and must be picklable. Its mailbox has Inner's bound and
policy; at most `WINDOW` messages are ahead of it, in the process. What Inner logs is logged here.
A script that starts one needs `if __name__ == "__main__"`, as with multiprocessing; POSIX only.

A process takes some tenths of a second to start and 30 MB, a call 0.3 ms of processor time on both
sides. For what computes for long or cannot be trusted to return, not for what waits.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing import spawn
from pathlib import Path
from typing import Any, ClassVar

import trio
from outcome import Outcome

from actors.runtime.actor import Actor
from actors.runtime.errors import ActorDied, Ignore
from actors.runtime.exits import NOPROC, Custom, ExitReason, Normal, crash, is_abnormal
from actors.runtime.futures import Reply, ReplySlot
from actors.runtime.isolated_frames import (
    ROOM,
    WINDOW,
    Answer,
    Begin,
    CrashTold,
    Ended,
    Logged,
    Look,
    Message,
    Ready,
    Room,
    Unpacker,
    dump,
    load,
    pack,
)
from actors.runtime.ref import CALL_DEADLINE_S, Ref
from actors.runtime.signals import Exit
from actors.runtime.tracing import Crashed, Resumed
from actors.runtime.watch import hold_traffic, release_traffic

logger = logging.getLogger("actors")

EXIT_S = 2.0
"""For the process to end after it said that its actor has (threads of foreign code may hang), and
for its last words after it has ended."""

REAP_S = 5.0
"""For a killed process to be gone: only one in the middle of a broken disk's work takes longer."""

_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from actors.runtime.isolated_child import main
main(int(sys.argv[2]))
"""
_ROOT = str(Path(__file__).parent.parent.parent)


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """In `Custom(…)`: the process ended without saying why. `status` is its exit status, negative
    for a signal."""

    pid: int
    status: int

    def __str__(self) -> str:
        if self.status >= 0:
            return f"process {self.pid} ended with status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:  # a real-time signal
            name = f"signal {-self.status}"
        return f"process {self.pid} was killed by {name}"


@dataclass(frozen=True, slots=True)
class IsolatedStatistics:
    """The process, messages in it that are not known to be handled, and answers awaited from it."""

    pid: int | None
    in_flight: int
    unanswered: int


class Isolated(Actor):
    """See the module. In a `ChildSpec`: `actor=Isolated, args=(Inner, …)`."""

    trap_exit: ClassVar[bool] = True  # so that it can end its process in order

    def __init__(self, actor: type[Actor], /, *args: Any, **kwargs: Any) -> None:
        """Raises what pickling the class or an argument raises."""
        super().__init__()
        self._inner = dump((actor, args, kwargs, self._actor_cell.on_error))
        self._actor_cell.mailbox.limit = actor.mailbox_max
        vars(self)["overflow"] = actor.overflow
        self._process: trio.Process | None = None
        self._outgoing: deque[bytes] = deque()
        self._has_outgoing = trio.Event()
        self._sent, self._in_flight = 0, 0
        self._asked = 0
        self._unanswered: dict[int, ReplySlot] = {}
        self._has_begun, self._is_over = trio.Event(), trio.Event()
        self._is_ignored = False
        self._reason: ExitReason | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def statistics(self) -> IsolatedStatistics:
        return IsolatedStatistics(self.pid, self._in_flight, len(self._unanswered))

    def get_state(self) -> IsolatedStatistics:
        """What is here. `inside` gets at Inner's own state."""
        return self.statistics()

    def set_state(self, state: Any) -> None:
        raise NotImplementedError("what is here cannot be replaced; see `inside`")

    # ------------------------------------------------------------------ hooks

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        self.run_task(self._attend, on_done=self._ended, label=f"{self.ref} process")
        await self._has_begun.wait()
        if self._is_ignored:
            raise Ignore
        if self._reason is not None:
            self._actor_cell.end(self._reason)

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Exit):
            if not isinstance(message.reason, Normal):
                self.stop(message.reason)
            return
        slot = None if self._actor_cell.current is None else self.defer_reply()
        try:
            body = dump(message)
        except Exception as error:  # noqa: BLE001  (the sender's mistake is not this actor's end)
            self._refuse(message, slot, error)
            return
        self._sent += 1
        self._in_flight += 1
        if self._in_flight >= WINDOW:
            hold_traffic(self._actor_cell)
        id_ = None if slot is None else self._await_answer(slot)
        self._send(Message(body, id_, is_marked=self._sent % ROOM == 0))

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        if self._process is None or self._is_over.is_set():
            return
        self._process.terminate()
        await self._is_over.wait()
        if self._reason is not None and is_abnormal(self._reason):
            self._actor_cell.end(self._reason)  # as if `on_stop` had failed here

    # ------------------------------------------------------------------ to the process

    def _refuse(self, message: Any, slot: ReplySlot | None, error: Exception) -> None:
        if slot is not None:
            slot.fail(error)
            return
        kinds = type(message).__name__, type(error).__name__
        logger.error("%s cannot be sent a %s: %s", self.ref, *kinds)
        self.system.dead_letter(self.ref, message)

    def _await_answer(self, slot: ReplySlot) -> int:
        self._asked += 1
        self._unanswered[self._asked] = slot
        return self._asked

    def _look(self, verb: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Reply:
        body, reply = dump((verb, args)), Reply()
        self._actor_cell.more().deferred[reply] = None  # answered by the end, if by nothing else
        self._send(Look(body, self._await_answer(ReplySlot(reply, self._actor_cell))))
        return reply

    def _send(self, frame: object) -> None:
        """In order, and never waiting: the window bounds what is not out yet."""
        self._outgoing.append(pack(frame))
        self._has_outgoing.set()

    # ------------------------------------------------------------------ the process

    async def _attend(self) -> None:
        """The life of the process, in a task that ends with this actor."""
        try:
            await self._live()
        except Exception as error:  # noqa: BLE001  (it could not be started, or talks nonsense)
            self._reason = self._reason or crash(error)
        finally:
            self._is_over.set()
            self._has_begun.set()

    async def _live(self) -> None:
        ours, theirs = socket.socketpair()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            with theirs:
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-c", _PROGRAM, _ROOT, str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # the terminal's Ctrl-C is for this process
                )
            self._process = process
            try:
                self._outgoing.appendleft(pack(self._begin()))  # somebody may look at it already
                self._has_outgoing.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, stream)
                    nursery.start_soon(_leave_soon_after, process, nursery.cancel_scope)
                    await self._read(stream)
                    nursery.cancel_scope.cancel()
                with trio.move_on_after(EXIT_S):
                    await process.wait()
            finally:
                await _reap(process)
        self._reason = self._reason or Custom(ProcessEnded(process.pid, process.returncode or 0))

    def _begin(self) -> Begin:
        preparation = spawn.get_preparation_data(str(self.ref))
        del preparation["authkey"]  # a secret, of no use to it
        level = logging.getLogger().getEffectiveLevel()
        return Begin(preparation, level, self._inner, self.name, self.system.node)

    async def _write(self, stream: trio.SocketStream) -> None:
        try:
            while True:
                await self._has_outgoing.wait()
                self._has_outgoing = trio.Event()
                data = b"".join(self._outgoing)
                self._outgoing.clear()
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # whoever reads hears of the end

    async def _read(self, stream: trio.SocketStream) -> None:
        unpacker = Unpacker()
        try:
            async for data in stream:
                for frame in unpacker.feed(data):
                    self._hear(frame)
        except trio.BrokenResourceError:
            pass  # it ended without reading everything

    def _hear(self, frame: object) -> None:
        match frame:
            case Answer(id_, body, is_error):
                _answer(self._unanswered.pop(id_), body, is_error=is_error)
            case Room():
                self._in_flight -= ROOM
                release_traffic(self._actor_cell)
            case Logged(body):
                self.system.contain(_log, body)
            case CrashTold(body, is_resumed):
                self.system.contain(self._tell_crash, body, is_resumed)
            case Ready():
                self._has_begun.set()
            case Ended(body, is_ignored):
                self._reason, self._is_ignored = load(body), is_ignored
            case _:
                raise TypeError(f"the process sent a {type(frame).__name__}")

    def _tell_crash(self, body: bytes, is_resumed: bool) -> None:
        self.system.resumed += is_resumed
        self.system.emit(Resumed if is_resumed else Crashed, self.ref, load(body))

    def _ended(self, _outcome: Outcome[None]) -> None:
        assert self._reason is not None, "a process that is over has a reason"
        self._actor_cell.end(self._reason)  # it is this actor's own, with what `on_error` says


def _answer(slot: ReplySlot, body: bytes, *, is_error: bool) -> None:
    try:
        value = load(body)
    except Exception as error:  # noqa: BLE001  (a class that there is only in the other process)
        slot.fail(error)
    else:
        (slot.fail if is_error else slot.set)(value)


def _log(body: bytes) -> None:
    record = load(body)
    log = logging.getLogger(record.name)
    if log.isEnabledFor(record.levelno):
        log.handle(record)


async def _leave_soon_after(process: trio.Process, scope: trio.CancelScope) -> None:
    """What it wrote is read to the end, which a process that it forked may keep from coming."""
    await process.wait()
    scope.deadline = trio.current_time() + EXIT_S


async def _reap(process: trio.Process) -> None:
    """Kill it, if it has not ended, and see it gone."""
    process.kill()
    with trio.CancelScope(deadline=trio.current_time() + REAP_S, shield=True):
        await process.wait()
        if process.stdin is not None:
            await process.stdin.aclose()


async def inside(
    ref: Ref,
    verb: Callable[..., Awaitable[Any]],
    *args: Any,
    timeout_s: float = CALL_DEADLINE_S,
) -> Any:
    """Have a verb of `inspection` look at the actor inside: `await inside(ref, get_state)`. Verb,
    arguments and answer are pickled. It does not wait behind messages, and raises what it raises
    there, `ActorDied`, or `CallTimeout` (of an actor that is stuck)."""
    actor = ref._actor
    if actor is None:
        raise ActorDied(NOPROC)
    if not isinstance(actor, Isolated):
        raise TypeError(f"{ref} is not isolated")
    reply = actor._look(verb, args)
    return await reply.wait(ref._cell.system.deadlines, timeout_s)
