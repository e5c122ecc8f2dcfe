"""A handle on one incarnation of an actor: send, ask, watch, end.

`Ref` is pykka's `ActorRef` with OTP's additions. It may be used from any thread for sending and
asking; what returns something awaitable belongs to the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka
import trio
from pykka.messages import _ActorStop

from actors.runtime.address import ActorId
from actors.runtime.errors import CallError, CallingSelf, CallTimeout, WouldBlock
from actors.runtime.exits import NOPROC, Custom, ExitReason, Kill
from actors.runtime.futures import Future, _in_loop
from actors.runtime.mailbox import Ask

if TYPE_CHECKING:
    from actors.runtime.actor import Actor

CALL_DEADLINE_S = 5.0
"""OTP's default for `gen_server:call`."""

A = TypeVar("A", bound="Actor")


@dataclass(frozen=True, slots=True)
class ActorStatistics:
    """`mailbox` messages waiting, `handled` since the start, `age_s` since then, and the `state`:
    starting, running, stopping or dead."""

    mailbox: int
    handled: int
    age_s: float
    state: str


class _Stopped:
    """pykka's `actor_stopped`, without an event per actor."""

    __slots__ = ("_actor",)

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def is_set(self) -> bool:
        return self._actor.is_dead

    def set(self) -> None:
        self._actor.stop()


class Ref(pykka.ActorRef[Any]):
    """One incarnation. Compares and hashes by identity."""

    __slots__ = ("_actor", "actor_class", "id", "incarnation", "name")

    def __init__(self, actor: Actor, id_: ActorId, name: str | None, incarnation: int) -> None:
        self._actor = actor
        self.actor_class = type(actor)
        self.id = id_
        self.name = name
        self.incarnation = incarnation

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # computed: most actors never need one
        return f"urn:coppice:{self._actor.system.node}:{self.id}"

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        return self._actor.mailbox

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]
        return _Stopped(self._actor)

    def __repr__(self) -> str:
        return f"<Ref {self}>"

    def __str__(self) -> str:
        label = f"{self.name}#{self.incarnation}" if self.name else str(self.id)
        return f"{self.actor_class.__name__} {label}"

    def is_alive(self) -> bool:
        return not self._actor.is_dead

    # ------------------------------------------------------------------ sending

    def tell(self, message: Any) -> None:
        """Send. Raises `ActorDeadError` to the dead, `MailboxFull` if the receiver refuses."""
        if not self.is_alive():
            self._actor.system.dead_letter(self, message)
            raise pykka.ActorDeadError(f"{self} not found")
        self._actor.accept(message)

    def cast(self, message: Any) -> bool:
        """Send and never raise: False if the receiver is dead or refuses (a dead letter)."""
        return self._actor.accept_quietly(message)

    def ask(  # type: ignore[override]  # one signature for all of pykka's overloads
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """pykka's ask. Inside the loop use `block=False` and await the future, or `call`."""
        if block and _in_loop():
            raise WouldBlock("ask() blocks; inside the loop use ask(block=False) or `await call()`")
        future: Future[Any] = Future(self._actor.system)
        if not self.is_alive():
            future.resolve(None, pykka.ActorDeadError(f"{self} not found"))
        else:
            self._actor.accept(Ask(message, future))
        return future.get(timeout=timeout) if block else future

    async def call(self, message: Any, *, timeout_s: float = CALL_DEADLINE_S) -> Any:
        """Ask and wait for the answer.

        Raises `CallError` with `NOPROC` or the server's exit reason, `CallTimeout` when the deadline
        passes, `CallingSelf`, or whatever exception the server answered with.
        """
        if self._actor.system.running is self._actor or self._actor.is_own_task():
            raise CallingSelf(Custom("calling_self"))
        if not self.is_alive():
            raise CallError(NOPROC)
        future: Future[Any] = Future(self._actor.system)
        self._actor.accept(Ask(message, future))
        with trio.move_on_after(timeout_s):
            return await future.wait()
        raise CallTimeout(Custom("timeout"))

    def deliver_control(self, message: Any) -> None:
        """The runtime's own way in: before traffic, never refused."""
        self._actor.accept_control(message)

    # ------------------------------------------------------------------ ending

    def exit(self, reason: ExitReason | Kill, sender: Ref | None = None) -> None:
        """Send an exit signal (OTP's `exit/2`); `KILL` cannot be trapped."""
        self._actor.signal(reason, sender)

    def stop(  # type: ignore[override]
        self, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """pykka's stop: behind the messages already queued."""
        if block and _in_loop():
            raise WouldBlock("stop() blocks; inside the loop use stop(block=False)")
        future: Future[Any] = self.ask(_ActorStop(), block=False)
        answer: Future[bool] = Future(self._actor.system)

        def done() -> None:
            answer.resolve(future._error is None, None)

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
        return cast("ExitReason", self._actor.exit_reason)

    def on_exit(self, callback: Callable[[Ref, ExitReason], None]) -> Callable[[], None]:
        """Call back once, when the actor has ended and its name is free; at once if it has."""
        return self._actor.add_exit_callback(callback)

    # ------------------------------------------------------------------ looking

    @property
    def exit_reason(self) -> ExitReason | None:
        return self._actor.exit_reason

    def statistics(self) -> ActorStatistics:
        return self._actor.runtime_statistics()

    def details(self) -> Any:
        """The actor's own `statistics()`, if it has any."""
        own = getattr(self._actor, "statistics", None)
        return None if own is None else own()
