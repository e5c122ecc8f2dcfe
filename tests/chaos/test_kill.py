"""Parts of the server are killed while twenty people chat: nobody loses anything, or notices."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.chaos.killing import CLOSING, FIXED, ON_DEMAND, Killer
from tests.chaos.town import Town, settle
from tests.e2e.wire import Server, serving

PEOPLE, DEVICES = 20, 28
SEED = int(os.environ.get("COPPICE_CHAOS_SEED", "1"))
RUNS = int(os.environ.get("COPPICE_CHAOS_RUNS", "1"))
KILLS = 200


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data") as server:
        yield server


async def run(
    server: Server, seed: int, kills: int, only: set[str] | None = None
) -> tuple[Town, set[str]]:
    """A town chats while `kills` actors die, the parts in `only` or any; then it is judged."""
    rng = random.Random(seed)
    async with trio.open_nursery() as nursery:
        town = await settle(lambda: server.address, rng, nursery, people=PEOPLE, devices=DEVICES)
        killer = Killer(rng, server.ops, town, only)
        enough = trio.Event()
        async with trio.open_nursery() as chatting:
            chatting.start_soon(town.chat, enough)
            await killer.rampage(kills)
            await town.acknowledged.more(PEOPLE)  # life goes on after the last one
            enough.set()
            await killer.last_strike()
        await town.converge()
        wrong = await town.verdict()
        tree = await trio.to_thread.run_sync(killer.tree)
        closes = town.closes()
        nursery.cancel_scope.cancel()
    print(
        f"\nseed {seed}: {town.ledger.acknowledged} acknowledged, killed {dict(killer.killed)}, "
        f"missed {killer.missed}, closes {closes.count(4012)}+{len(closes)}, {dict(town.notes())}"
    )
    assert not wrong, "\n".join(wrong[:20])
    assert tree["name"] == "root"
    assert killer.closing or not closes, closes
    return town, set(killer.killed)


async def test_nothing_but_the_front_closes_a_socket(server: Server) -> None:
    town, _ = await run(server, SEED + 1, 20, {*ON_DEMAND, *FIXED} - CLOSING)
    assert not town.closes()


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
async def test_two_hundred_kills(server: Server, seed: int) -> None:
    _, killed = await run(server, seed, KILLS)
    assert killed >= {*ON_DEMAND, *FIXED}
