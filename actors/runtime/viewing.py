"""Views of a living actor, and the report of its crash: what `reports` describes, read off a cell.

Everything an actor holds goes through its `format_status` first. A hook that fails shows nothing
and hurts nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.runtime.exits import ExitReason
from actors.runtime.futures import Answer, Reply
from actors.runtime.mailbox import Ask
from actors.runtime.reports import CrashReport, StatusView
from actors.runtime.tasks import acting
from actors.runtime.watch import Observed, Seen

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

NEIGHBOURS_MAX = 20
"""Neighbours named in a report: links are few, except round a hub."""

ANCESTORS_MAX = 50
"""Supervisors above an actor that are looked at: deeper trees than this are a mistake."""


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
    if not isinstance(answer, Reply):
        return None
    task = answer.waiter or cell.dispatcher.served()
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
