"""What is written down when code of an actor raises. Tracebacks name code; of the message that was
handled the report shows what `format_status` lets be seen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from actors.runtime.exits import Crash, crash, describe
from actors.runtime.tracing import Crashed
from actors.runtime.viewing import crash_report

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

logger = logging.getLogger("actors")


def log_crash(cell: Cell, error: BaseException, message: Any = None) -> Crash:
    """One log record and one event for each crash; the reason to end with."""
    reason = crash(error)
    system = cell.system
    if not system.events.is_heard and not logger.isEnabledFor(logging.ERROR):
        return reason
    report = crash_report(cell, message, reason)
    if report.reason is not reason:  # the actor does not want its words to be seen
        logger.error("%s: %s", report.render(), describe(report.reason))
    elif cell.ref.actor_class.pykka_names:
        logger.error("Unhandled exception in %s:", cell.ref, exc_info=error)
    else:
        logger.error("%s", report.render(), exc_info=error)
    system.emit(Crashed, cell.ref, report)
    return reason
