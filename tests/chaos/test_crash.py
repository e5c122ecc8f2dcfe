"""`kill -9` of the whole server while twenty people chat, again and again on the same data.

Nobody is told and nothing is flushed. The devices come back by themselves, repeat what was not
answered, and in the end every acknowledged message stands at its seq, none twice.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.chaos.town import settle
from tests.e2e.wire import Server

PEOPLE, DEVICES = 20, 24
SEED = int(os.environ.get("COPPICE_CHAOS_SEED", "1"))
ROUNDS = 20
BETWEEN = (20, 400)
"""A life of the server is this many acknowledged messages long."""
BACK_SHARE = 0.7
"""Mostly the server dies when everybody is back, sometimes while they come."""


class Restarting:
    """A server that can be killed and started again on its data. Its port changes each time."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.server = Server(data)

    def crash(self) -> None:
        """kill -9, then a new process. Blocks until that one listens."""
        self.server.stop(signal.SIGKILL)
        self.server = Server(self.data)


@contextmanager
def restarting(data: Path) -> Iterator[Restarting]:
    servers = Restarting(data)
    try:
        yield servers
    finally:
        servers.server.stop(signal.SIGKILL)


async def run(data: Path, seed: int, rounds: int) -> None:
    rng = random.Random(seed)
    with restarting(data) as servers:
        async with trio.open_nursery() as nursery:
            town = await settle(
                lambda: servers.server.address, rng, nursery, people=PEOPLE, devices=DEVICES
            )
            enough = trio.Event()
            async with trio.open_nursery() as chatting:
                chatting.start_soon(town.chat, enough)
                for _ in range(rounds):
                    if rng.random() < BACK_SHARE:
                        await town.everybody_online()
                    await town.acknowledged.more(rng.randint(*BETWEEN))
                    await trio.to_thread.run_sync(servers.crash)
                await town.acknowledged.more(PEOPLE)
                enough.set()
            await town.converge()
            wrong = await town.verdict()
            closes = town.closes()
            nursery.cancel_scope.cancel()
    print(
        f"\nseed {seed}: {rounds} crashes, {town.ledger.acknowledged} acknowledged, "
        f"{sum(sent.tries > 1 for sent in town.ledger.sent.values())} of them sent again, "
        f"{len(closes)} closes, {dict(town.notes())}"
    )
    assert not wrong, "\n".join(wrong[:20])
    assert len(closes) >= rounds * DEVICES / 2


@pytest.mark.chaos
async def test_twenty_crashes(tmp_path: Path) -> None:
    await run(tmp_path / "data", SEED, ROUNDS)
