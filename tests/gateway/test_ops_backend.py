"""What the ops port shows, on a running actor system."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from actors.runtime import Actor, open_system
from gateway.metrics import Metrics
from gateway.ops_backend import EVENTS_KEPT, Backend


class Idle(Actor):
    """Does nothing until it is killed."""


async def test_events_are_numbered_kept_and_told() -> None:
    async with open_system(random.Random(1)) as system:
        backend = Backend(system, Metrics())
        await system.start(Idle, name="one")
        heard: list[Mapping[str, Any]] = []
        unsubscribe = backend.subscribe(heard.append)
        two = await system.start(Idle, name="two")
        assert two is not None
        assert backend.kill("two", "because")
        await two.wait_exit()
        unsubscribe()
        await system.start(Idle, name="three")
        kept = [(event["n"], event["event"], event["name"]) for event in backend.recent()]
        assert kept == [
            (1, "Started", "one"),
            (2, "Started", "two"),
            (3, "Exited", "two"),
            (4, "Started", "three"),
        ]
        assert [event["n"] for event in heard] == [2, 3]
        assert heard[1]["reason"] == "because"


async def test_the_oldest_events_are_forgotten() -> None:
    async with open_system(random.Random(1)) as system:
        backend = Backend(system, Metrics())
        for _ in range(EVENTS_KEPT + 3):
            await system.start(Idle)
        numbers = [event["n"] for event in backend.recent()]
        assert numbers == list(range(4, EVENTS_KEPT + 4))
