"""What the stories about clients have in common: a client at a fake server, and its events."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from gateway.client import (
    Client,
    Event,
    connect,
)
from tests.gateway.fake_server import FakeServer, Frame, Handler

URL = "ws://fake/ws"
SOON_S = 120.0
"""Virtual: every test is over by then."""


@asynccontextmanager
async def logged_in(server: FakeServer, **options: Any) -> AsyncIterator[Client]:
    with trio.fail_after(SOON_S):
        async with connected(server, **options) as client:
            await client.login("alice", "correct horse")
            yield client


def connected(server: FakeServer, **options: Any) -> Client:
    options.setdefault("rng", random.Random(7))
    return connect(URL, open_stream=server.open_stream, **options)


async def take(client: Client, count: int, *kinds: str) -> list[Event]:
    """The next events of these kinds (or of those with a seq)."""
    taken: list[Event] = []
    async for event in client.events():
        if event["e"] in kinds or (not kinds and "seq" in event):
            taken.append(event)
            if len(taken) == count:
                break
    return taken


async def until_live(client: Client) -> list[Event]:
    """Wait for the connection; the other events that came before."""
    others: list[Event] = []
    async for event in client.events():
        if event["e"] != "connection":
            others.append(event)
        elif event["state"] == "live":
            break
    return others


def always(answer: Frame) -> Handler:
    return lambda link, frame: answer


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events]
