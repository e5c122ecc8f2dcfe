"""What is told of an actor from outside: its status, and the report of its crash.

Both show what an actor holds, and an actor here holds people's messages. So everything goes through
the actor's `format_status` first, which by default leaves only the names of types (OTP's
`format_status/1`, with the other default). A hook that fails shows nothing and hurts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actors.runtime.exits import ExitReason
from actors.runtime.futures import Answer, Reply
from actors.runtime.mailbox import Ask
from actors.runtime.tasks import acting
from actors.runtime.watch import Observed, Seen

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

NEIGHBOURS_MAX = 20
"""Neighbours named in a report: links are few, except round a hub."""

ANCESTORS_MAX = 50
"""Supervisors above an actor that are looked at: deeper trees than this are a mistake."""

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

    def render(self, characters_max: int = REPORT_CHARACTERS_MAX) -> str:
        """One line, cut to a length."""
        parts = [f"{self.actor} crashed"]
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


def formatted(cell: Cell, view: StatusView) -> StatusView:
    """The view as the actor's `format_status` has it."""
    try:
        result = cell.actor.format_status(view)
        if not isinstance(result, StatusView):
            raise TypeError(f"format_status answered {type(result).__name__}")
    except Exception as error:  # noqa: BLE001  (foreign code, whose failure must show nothing)
        failed = f"format_status failed: {type(error).__name__}"
        message = None if view.message is None else failed
        return StatusView(state=failed, message=message, reason=view.reason)
    return result


def crash_report(cell: Cell, message: Any, reason: ExitReason) -> CrashReport:
    """The report of a crash that is about to end the actor, or came after its end. `message` is
    what was handled."""
    ref, actor = cell.ref, cell.actor
    if actor is None:
        return CrashReport(str(ref), reason, initial_call(cell), ancestors(cell))
    content = message.message if type(message) is Ask else message
    view = formatted(cell, StatusView(state_of(cell), content, reason, kept_log(cell)))
    return CrashReport(
        str(ref), reason if view.reason is None else view.reason, initial_call(cell),
        ancestors(cell), _client(cell), _neighbours(cell), label_of(cell), len(cell.mailbox), view,
    )  # fmt: skip


def label_of(cell: Cell) -> str | None:
    return None if cell.extra is None else cell.extra.label


def initial_call(cell: Cell) -> str:
    """What the actor began as."""
    return f"{cell.ref.actor_class.__module__}.{cell.ref.actor_class.__qualname__}"


def ancestors(cell: Cell) -> tuple[str, ...]:
    """Its supervisors, the nearest first."""
    names: list[str] = []
    supervisor = cell.supervisor
    while supervisor is not None and len(names) < ANCESTORS_MAX:
        names.append(str(supervisor))
        supervisor = supervisor._cell.supervisor
    return tuple(names)


def state_of(cell: Cell) -> Any:
    """The actor's `get_state`, None if that fails."""
    try:
        return cell.actor.get_state()
    except Exception:  # noqa: BLE001  (foreign code; a report is made all the same)
        return None


def kept_log(cell: Cell) -> tuple[Seen, ...]:
    """The last system events, if somebody had them kept."""
    watch = cell.extra.watch if cell.extra is not None else None
    observer = None if watch is None else watch.observers.get("log")
    return tuple(getattr(observer, "events", ()))


def _client(cell: Cell) -> str | None:
    """Who waits for the answer to the message being handled. Found at his waiting task, so that
    messages need not carry it."""
    answer: Answer | None = cell.current
    if isinstance(answer, Observed):
        answer = answer.answer
    task = answer.waiter if isinstance(answer, Reply) else None
    if task is None:
        return None
    client = task.context.get(acting)
    return task.name if client is None else str(client.ref)


def _neighbours(cell: Cell) -> tuple[str, ...]:
    system = cell.system
    refs = (system.find(other) for other in system.links.linked(cell.ref.id))
    names = [str(ref) for ref in refs if ref is not None and not ref.actor_class.trap_exit]
    if len(names) > NEIGHBOURS_MAX:
        names[NEIGHBOURS_MAX:] = [f"{len(names) - NEIGHBOURS_MAX} more"]
    return tuple(names)


def shorten(text: str, characters_max: int) -> str:
    """At most so many characters, the last of them an ellipsis if some are missing."""
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"
