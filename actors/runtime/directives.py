"""What shall follow when an actor's code raises, by the class of the exception: Akka's decider.

The runtime carries out `RESUME` itself, since only it knows the message. The others end the actor,
and stand in the `Crash` it ends with, for its supervisor. Without a directive a failure is what it
is in OTP: an abnormal end.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Directive(StrEnum):
    RESUME = "resume"
    """Drop the message that failed, answer its asker with the error, go on with the next. The state
    stays as the handler left it."""
    RESTART = "restart"
    """End abnormally, as without a directive: its restart type decides."""
    STOP = "stop"
    """End, and stay down whatever the restart type."""
    ESCALATE = "escalate"
    """End, and have the supervisor give up."""


OnError = Mapping[type[Exception], Directive]


def directive_for(on_error: OnError | None, error: BaseException) -> Directive | None:
    """That of the nearest of its classes, in the order of its MRO; None if none of them has one.
    An exception group is of its own class, whatever is in it."""
    if not on_error or not isinstance(error, Exception):
        return None
    return next((on_error[cls] for cls in type(error).__mro__ if cls in on_error), None)
