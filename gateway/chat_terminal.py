"""Where the terminal client's lines come from and go to."""

from __future__ import annotations

import os
import sys
from typing import Final, Protocol

import trio

from gateway.chat_view import CLEAR_LINE

READ_BYTES: Final = 4_096
LINE_BYTES_MAX: Final = 65_536
"""A longer line is taken in pieces: no message could be that long."""


class Terminal(Protocol):
    """Where lines come from and go to."""

    async def read(self) -> str | None:
        """The next typed line without its end; None when there are no more."""

    def write(self, line: str) -> None:
        """Show one line (or several) above whatever is being typed."""


class StdTerminal:
    """Standard input and output; colours only where they are seen.

    Reads the descriptor itself: a thread still waiting in `sys.stdin` would hold its lock while
    the interpreter shuts down.
    """

    def __init__(self, source: int = 0) -> None:
        self._source = source
        self._pending = b""
        self._at_end = False
        self.interactive = os.isatty(source) and os.isatty(1)

    async def read(self) -> str | None:
        if self.interactive:
            self._show(f"{CLEAR_LINE}> ")
        while b"\n" not in self._pending and not self._at_end:
            if len(self._pending) > LINE_BYTES_MAX:
                break
            data = await trio.to_thread.run_sync(
                os.read, self._source, READ_BYTES, abandon_on_cancel=True
            )
            self._pending += data
            self._at_end = not data
        if not self._pending:
            return None
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def write(self, line: str) -> None:
        self._show(f"{CLEAR_LINE}{line}\n> " if self.interactive else f"{line}\n")

    def _show(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
