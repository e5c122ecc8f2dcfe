"""What asking, sending and starting may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from actors.runtime.exits import NORMAL, ExitReason, describe

if TYPE_CHECKING:
    from actors.runtime.ref import Ref


class ActorError(Exception):
    """Base of the runtime's errors."""


class CallError(ActorError):
    """A call was not answered: the server ended (its exit reason), or was not there (`NOPROC`)."""

    def __init__(self, reason: ExitReason, text: str | None = None) -> None:
        super().__init__(text or describe(reason))
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self))


class ActorDied(CallError, pykka.ActorDeadError):
    """The actor is dead: the reason it ended for, or `NOPROC` if it was dead before. Also pykka's
    `ActorDeadError`, so that code written for pykka catches it."""


class CallTimeout(CallError):
    """No answer within the deadline; whether the server acted is unknown. A late answer is dropped
    and counted."""


class CallingSelf(CallError):
    """An actor called itself, which could never be answered."""


class DeadlineExceeded(ActorError, TimeoutError):
    """Something awaited did not happen in time."""


class MailboxFull(ActorError):
    """The receiver's mailbox is at its limit and refuses."""


class StashFull(ActorError):
    """The actor has put aside as many messages as it may."""


class AlreadyStarted(ActorError):
    """The name is taken by a living actor."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(f"{ref.name} is already started")
        self.ref = ref


class StartFailed(ActorError):
    """The actor ended before it was ready. Raised by its `on_start`, it is the reason it ends
    with."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(describe(reason))
        self.reason = reason


class Stop(Exception):  # OTP's `exit(Reason)`: not an error
    """Raised by a handler: the actor stops for this reason, as by `Actor.stop`, at once and without
    a crash report. Whoever waits for the answer gets the reason."""

    def __init__(self, reason: ExitReason = NORMAL) -> None:
        super().__init__(describe(reason))
        self.reason = reason


class Ignore(Exception):  # OTP's `ignore`: not an error
    """Raised by `on_start`: this actor is not needed now. Its start answers None."""


class CallbackFailed(ActorError):
    """A function run in an actor from outside raised; the actor is as it was."""


class RemoteError(ActorError):
    """What code in another process raised, in words: the exception itself could not be sent."""


class WouldBlock(ActorError):
    """A blocking call was made inside the loop, where it could never return."""


class NoSystem(ActorError, LookupError):
    """There is no running actor system here."""
