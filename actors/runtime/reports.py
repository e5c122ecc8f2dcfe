"""What is told of an actor from outside: a view of its status, and the report of its crash. Values.

Both show what an actor holds, and an actor here holds people's messages. So everything goes through
the actor's `format_status` first, which by default leaves only the names of types (OTP's
`format_status/1`, with the other default). `viewing` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actors.runtime.exits import ExitReason

if TYPE_CHECKING:
    from actors.runtime.watch import Seen

REPORT_CHARACTERS_MAX = 2_000
"""A rendered report is one log record that somebody reads."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """What `format_status` may change: the actor's `state`; the last system events, if they were
    kept (`log`); in a crash report also the `message` that was handled, and the `reason`."""

    state: Any = None
    message: Any = None
    reason: ExitReason | None = None
    log: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class CrashReport:
    """Who crashed and in whose company (proc_lib(3)). `client` is who waited for the answer,
    `neighbours` are those linked to it that trap no exits, `view` what the actor lets be seen."""

    actor: str
    reason: ExitReason
    initial_call: str
    ancestors: tuple[str, ...] = ()
    client: str | None = None
    neighbours: tuple[str, ...] = ()
    label: str | None = None
    mailbox: int = 0
    view: StatusView = StatusView()

    def render(
        self, characters_max: int = REPORT_CHARACTERS_MAX, *, happened: str = "crashed"
    ) -> str:
        """One line, cut to a length."""
        parts = [f"{self.actor} {happened}"]
        if self.label is not None:
            parts.append(f"label {self.label}")
        if self.view.message is not None:
            parts.append(f"handling {self.view.message}")
        if self.client is not None:
            parts.append(f"for {self.client}")
        if self.ancestors:
            parts.append(f"below {' < '.join(self.ancestors)}")
        if self.neighbours:
            parts.append(f"linked to {', '.join(self.neighbours)}")
        if self.mailbox:
            parts.append(f"{self.mailbox} messages waiting")
        return shorten("; ".join(parts), characters_max)


def redacted(view: StatusView) -> StatusView:
    """The default view: the names of types, and of attributes."""
    state = view.state
    if isinstance(state, Mapping):
        state = {str(key): type(value).__name__ for key, value in state.items()}
    elif state is not None:
        state = type(state).__name__
    message = None if view.message is None else type(view.message).__name__
    log = tuple(replace(seen, message=type(seen.message).__name__) for seen in view.log)
    return replace(view, state=state, message=message, log=log)


def shorten(text: str, characters_max: int) -> str:
    """At most so many characters, the last of them an ellipsis if some are missing."""
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"
