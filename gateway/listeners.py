"""The two listeners as actors: the main port and the ops port.

The listening sockets are opened once by the composition root and outlive these actors: after a
crash of the front, clients that reconnect wait in the kernel's queue and are never refused. The
connections themselves live in a nursery of the listener and end with it.
"""

from __future__ import annotations

from typing import Any

import trio

from actors.runtime import Actor
from gateway.server import Server


class Listener(Actor):
    """Accepts on one server for as long as it lives."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def on_start(self) -> None:
        self.run_task(self._accept, on_done=lambda result: result.unwrap(), label="accept")

    async def _accept(self) -> None:
        async with trio.open_nursery() as connections:
            await self._server.accept(connections)

    def statistics(self) -> Any:
        return self._server.statistics()
