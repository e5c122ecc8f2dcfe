"""Log records as part of a test: those it expects, and no others.

A test that has an actor crash says so with `Logs.expect`; an error that nobody expected fails the
test when the block ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

LOGGERS: Final = ("actors", "supervision")
"""Those of the runtime and of supervisors."""


class Logs(logging.Handler):
    """The records that were not expected yet, in order."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []
        self._allowed: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def text(self) -> str:
        """These records as a log file has them, with tracebacks."""
        return "\n".join(logging.Formatter().format(record) for record in self.records)

    def expect(self, text: str = "", times: int = 1) -> list[logging.LogRecord]:
        """Take out the records whose message has this text; there must be exactly so many."""
        found = [record for record in self.records if text in record.getMessage()]
        if len(found) != times:
            raise AssertionError(
                f"{len(found)} records with {text!r}, {times} expected, of{_listed(self.records)}"
            )
        self.records = [record for record in self.records if record not in found]
        return found

    def allow(self, text: str) -> None:
        """Records with this text need not be expected, past or to come."""
        self._allowed.append(text)

    def expect_nothing(self) -> None:
        """That there is no record that was neither expected nor allowed."""
        unexpected = [
            record
            for record in self.records
            if not any(text in record.getMessage() for text in self._allowed)
        ]
        if unexpected:
            raise AssertionError(f"logged, and not expected:{_listed(unexpected)}")


def _listed(records: list[logging.LogRecord]) -> str:
    lines = [f"\n  {r.levelname} {r.name}: {r.getMessage()}" for r in records]
    return "".join(lines) or " nothing"


@contextmanager
def capture_logs(*loggers: str, level: int = logging.ERROR) -> Iterator[Logs]:
    """Have these loggers' records from `level` on, by default the runtime's and supervisors'.

    When the block ends they must all have been expected or allowed, unless it ends by an exception.
    Other handlers get them as well.
    """
    logs = Logs(level)
    with ExitStack() as undo:
        for name in loggers or LOGGERS:
            logger = logging.getLogger(name)
            undo.callback(logger.setLevel, logger.level)
            undo.callback(logger.removeHandler, logs)
            logger.setLevel(min(level, logger.getEffectiveLevel()))
            logger.addHandler(logs)
        yield logs
    logs.expect_nothing()
