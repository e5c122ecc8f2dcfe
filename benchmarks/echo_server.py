"""The reference: a bare trio-websocket echo, as its documentation shows it."""

from __future__ import annotations

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket


async def echo(request: WebSocketRequest) -> None:
    connection = await request.accept()
    while True:
        try:
            await connection.send_message(await connection.get_message())
        except ConnectionClosed:
            return


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
        print(f"listening on http://127.0.0.1:{server.port}", flush=True)


if __name__ == "__main__":
    trio.run(main)
