"""A handle on one incarnation of an actor: send, ask, watch, end.

`Ref` is pykka's `ActorRef` with OTP's additions. It may be used from any thread for sending and
asking; what returns something awaitable belongs to the loop. It outlives the actor, and then holds
only its id, its name and why it ended.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pykka
import trio
from pykka.messages import ProxySetAttr, _ActorStop

from actors.runtime.address import ActorId
from actors.runtime.errors import ActorDied, CallingSelf, WouldBlock
from actors.runtime.exits import NOPROC, Custom, ExitReason, Kill
from actors.runtime.futures import Future, Reply, in_loop
from actors.runtime.mailbox import Ask

if TYPE_CHECKING:
    from actors.runtime.actor import Actor
    from actors.runtime.cell import Cell

CALL_DEADLINE_S = 5.0
"""OTP's default for `gen_server:call`."""

ASKS_BLOCKING = "ask() blocks; inside the loop use ask(block=False) or `await call()`"
SETS_BLOCKING = (
    "setting an attribute through a proxy blocks; inside the loop give the actor a method that "
    "sets it, or `await ref.call(pykka.messages.ProxySetAttr(attr_path=('name',), value=...))`"
)
STOPS_BLOCKING = (
    "stop() blocks; inside the loop use stop(block=False), or stop_all(block=False), and await the "
    "futures"
)

ExitCallback: TypeAlias = "Callable[[Ref, ExitReason], None]"


@dataclass(frozen=True, slots=True)
class ActorStatistics:
    """`mailbox` messages waiting, `handled` since the start, `age_s` since then, the `state`
    (starting, running, stopping or dead), and `started_s` in loop time."""

    mailbox: int
    handled: int
    age_s: float
    state: str
    started_s: float = 0.0


class _Stopped:
    """pykka's `actor_stopped`, without an event per actor."""

    __slots__ = ("_ref",)

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    def is_set(self) -> bool:
        return not self._ref.is_alive()

    def wait(self, timeout: float | None = None) -> bool:
        """Block a thread outside the loop until the actor has ended; False if it did not in
        time."""
        if self.is_set():
            return True
        if in_loop():
            raise WouldBlock("actor_stopped.wait() blocks; inside the loop `await ref.wait_exit()`")
        ended = threading.Event()
        cell = self._ref._cell
        cell.dispatcher.from_thread(cell.add_exit_callback, lambda _ref, _reason: ended.set())
        return ended.wait(timeout) or self.is_set()


class Ref(pykka.ActorRef[Any]):
    """One incarnation. Compares and hashes by identity."""

    __slots__ = ("_cell", "actor_class", "id", "incarnation", "name")

    def __init__(
        self,
        cell: Cell,
        actor_class: type[Actor],
        id_: ActorId,
        name: str | None,
        incarnation: int,
    ) -> None:
        # pykka's __init__ would make a weak reference and copy five attributes.
        self._cell = cell
        self.actor_class = actor_class
        self.id = id_
        self.name = name
        self.incarnation = incarnation

    @property
    def _actor(self) -> Any:
        """The actor itself, None once it is dead. For the runtime, supervisors and tests."""
        return self._cell.actor

    @property
    def _actor_weakref(self) -> Callable[[], Any]:  # type: ignore[override]  # pykka's proxies call it
        return lambda: self._cell.actor

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # made on demand: few ever need one
        urn: str = self.__dict__.setdefault("_urn", uuid.uuid4().urn)
        return urn

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]  # pykka stores it, we compute it
        return self._cell.mailbox

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]  # pykka stores it, we compute it
        return _Stopped(self)

    def __repr__(self) -> str:
        if self.actor_class.pykka_names:
            return f"<ActorRef for {self}>"
        return f"<Ref {self} {self._cell.state.value}>"

    def __str__(self) -> str:
        if self.actor_class.pykka_names:
            return f"{self.actor_class.__name__} ({self.actor_urn})"
        label = f"{self.name}#{self.incarnation}" if self.name else str(self.id)
        return f"{self.actor_class.__name__} {label}"

    def is_alive(self) -> bool:
        """Whether it has not ended; by pykka's rule (`stopped_before_hooks`), whether it has not
        begun to. One that is about to end still lives, and what it is sent now may never be
        handled: only an answer proves otherwise. `exit_reason` tells the end by either rule."""
        cell = self._cell
        if self.actor_class.stopped_before_hooks:
            return cell.state.value not in ("stopping", "dead")
        return not cell.is_dead

    # ------------------------------------------------------------------ sending

    def tell(self, message: Any) -> None:
        """Send. Raises `ActorDied` (pykka's `ActorDeadError`) to the dead, `MailboxFull` if the
        receiver refuses; from another thread only what is known already, which is an end."""
        if not self._cell.accept(message):
            raise self._cell.refusal()

    def cast(self, message: Any) -> bool:
        """Send and never raise: False if the receiver is dead or refuses (a dead letter). From
        another thread True unless it is dead already."""
        return self._cell.accept(message)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """pykka's ask. Inside the loop use `block=False` and await the future, or `call`. A dead or
        refusing receiver fails the future, with `ActorDied` or `MailboxFull`."""
        if block and in_loop():
            raise WouldBlock(SETS_BLOCKING if type(message) is ProxySetAttr else ASKS_BLOCKING)
        future: Future[Any] = Future()
        self._cell.accept(Ask(message, future))
        return future.get(timeout=timeout) if block else future

    async def call(self, message: Any, *, timeout_s: float = CALL_DEADLINE_S) -> Any:
        """Ask and wait for the answer.

        Raises `ActorDied` with `NOPROC` or the server's exit reason, `CallTimeout` when the
        deadline passes, `CallingSelf` (all of them `CallError`), `MailboxFull`, or whatever
        exception the server answered with. Cancelled or timed out, whether the server acts is
        unknown.
        """
        cell = self._cell
        if cell.is_handling_here():
            raise CallingSelf(Custom("calling_self"))
        if cell.is_dead:
            raise ActorDied(NOPROC)
        reply = Reply()
        dispatcher = cell.dispatcher
        if dispatcher.is_parked and timeout_s > 0 and cell.is_waiting_for_a_message:
            cell.mailbox.put(Ask(message, reply))
            try:
                await dispatcher.serve(cell)
            except BaseException:
                reply.give_up()
                raise
        else:
            cell.accept(Ask(message, reply))
        return await reply.wait(cell.system.deadlines, timeout_s)

    def deliver_control(self, message: Any) -> None:
        """The runtime's own way in: before traffic, never refused."""
        self._cell.accept_control(message)

    # ------------------------------------------------------------------ ending

    def exit(self, reason: ExitReason | Kill, sender: Ref | None = None) -> None:
        """Send an exit signal (OTP's `exit/2`) from `sender`, or from the actor whose code this is.

        `KILL` cannot be trapped. `NORMAL` ends only an actor that sends it to itself.
        """
        if sender is None:
            dispatcher = self._cell.dispatcher
            acting = None if dispatcher.is_foreign_thread() else dispatcher.acting()
            sender = None if acting is None else acting.ref
        self._cell.signal(reason, sender)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """pykka's stop: behind the messages already queued. The answer comes when the actor has
        ended: True, or False if it was dead before."""
        if block and in_loop():
            raise WouldBlock(STOPS_BLOCKING)
        future: Future[Any] = self.ask(_ActorStop(), block=False)
        answer: Future[bool] = Future()

        def done() -> None:
            answer.resolve(future.error is None, None)

        future.on_done(done)
        return answer.get(timeout=timeout) if block else answer

    async def wait_exit(self) -> ExitReason:
        """Wait until the actor has ended; why it did."""
        ended = trio.Event()
        cancel = self.on_exit(lambda _ref, _reason: ended.set())
        try:
            await ended.wait()
        finally:
            cancel()
        return cast("ExitReason", self._cell.exit_reason)

    async def wait_unwound(self) -> None:
        """Wait until the actor has ended and no code of its tasks runs any more: what it held
        outside of the system is free then. May take for ever, see `unwinding`."""
        await self.wait_exit()
        await self._cell.system.unwinding.wait(self)

    def on_exit(self, callback: ExitCallback) -> Callable[[], None]:
        """Call back once, when the actor has ended and its name is free; at once if it has. Call
        the result to forget it."""
        return self._cell.add_exit_callback(callback)

    # ------------------------------------------------------------------ looking

    @property
    def exit_reason(self) -> ExitReason | None:
        """Why the actor ended; None while it lives."""
        return self._cell.exit_reason

    @property
    def is_unwinding(self) -> bool:
        """Dead, but code of its tasks still runs: for a moment, or because it cannot be killed."""
        return self._cell.is_unwinding

    def statistics(self) -> ActorStatistics:
        return self._cell.statistics()

    def details(self) -> Any:
        """The actor's own `statistics()`, if it has any."""
        own = getattr(self._cell.actor, "statistics", None)
        return None if own is None else own()
