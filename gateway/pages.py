"""STOP-GAP of the lead until the real module arrives: overwrite freely."""

from __future__ import annotations

from gateway.exchange import Request, Response


class Pages:
    async def respond(self, request: Request) -> Response:
        return Response(404, b"")
