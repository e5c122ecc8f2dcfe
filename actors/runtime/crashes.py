"""What is written down when code of an actor raises. Tracebacks name code; of the message that was
handled the report shows what `format_status` lets be seen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from actors.runtime.directives import Directive, directive_for
from actors.runtime.exits import Crash, crash, describe
from actors.runtime.reports import CrashReport
from actors.runtime.tracing import Crashed, Resumed
from actors.runtime.viewing import crash_report

if TYPE_CHECKING:
    from actors.runtime.cell import Cell

logger = logging.getLogger("actors")


def log_crash(cell: Cell, error: BaseException, message: Any = None) -> Crash:
    """One log record and one event for each crash; the reason to end with. An end cannot be
    resumed."""
    directive = directive_for(cell.on_error, error)
    reason = crash(error, None if directive is Directive.RESUME else directive)
    report = _logged(cell, error, message, reason, logging.ERROR, "crashed")
    if report is not None:
        cell.system.emit(Crashed, cell.ref, report)
    return reason


def log_resumed(cell: Cell, error: BaseException, message: Any) -> None:
    """One log record and one event for each failure after which the actor goes on."""
    cell.system.resumed += 1
    report = _logged(cell, error, message, crash(error), logging.WARNING, "failed and goes on")
    if report is not None:
        cell.system.emit(Resumed, cell.ref, report)


def _logged(
    cell: Cell, error: BaseException, message: Any, reason: Crash, level: int, happened: str
) -> CrashReport | None:
    """The report, logged; None if nobody would see it."""
    if not cell.system.events.is_heard and not logger.isEnabledFor(level):
        return None
    report = crash_report(cell, message, reason)
    if report.reason is not reason:  # the actor does not want its words to be seen
        logger.log(level, "%s: %s", report.render(happened=happened), describe(report.reason))
    elif cell.ref.actor_class.pykka_names and level == logging.ERROR:
        logger.error("Unhandled exception in %s:", cell.ref, exc_info=error)
    else:
        logger.log(level, "%s", report.render(happened=happened), exc_info=error)
    return report
