"""What the ops port shows, on a running actor system."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.runtime import KILL, Actor, open_system
from gateway import ops_backend
from gateway.metrics import Metrics
from gateway.ops_backend import EVENTS_KEPT, Backend
from supervision import ChildSpec, Supervisor, SupervisorSpec, admin


class Idle(Actor):
    """Does nothing until it is killed."""


class Healths:
    """Stores that are as somebody says once they are asked."""

    def __init__(self, **known: str) -> None:
        self._known, self._told = known, dict.fromkeys(known, "ok")

    async def check(self) -> None:
        self._told = self._known

    def health(self) -> Mapping[str, str]:
        return self._told


async def test_a_server_without_a_store_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops_backend, "NEEDED", ())
    async with open_system(random.Random(1)) as system:
        backend = Backend(system, Metrics(), Healths(sql="no route to host", log="ok"))
        assert backend.ready()[0]
        await backend.check()
        stores = {"sql": "no route to host", "log": "ok"}
        assert backend.ready() == (
            False,
            {"state": "store unavailable", "missing": [], "stores": stores},
        )


async def test_events_are_numbered_kept_and_told() -> None:
    async with open_system(random.Random(1)) as system:
        backend = Backend(system, Metrics(), Healths())
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


async def test_a_supervisor_that_gives_up_is_in_the_log() -> None:
    async with open_system(random.Random(1)) as system:
        Backend(system, Metrics(), Healths())
        sup = await system.start(Supervisor, SupervisorSpec(intensity=0), name="sup")
        assert sup is not None
        with capture_logs() as logs:
            await admin.start_child(sup, ChildSpec("idle", Idle, name="idle"))
            idle = system.whereis("idle")
            assert idle is not None
            idle.exit(KILL)
            await sup.wait_exit()
        reports = [line for line in logs if line["event"] == "supervisor_report"]
        assert reports[-1] == {
            "event": "supervisor_report", "log_level": "warning", "supervisor": "sup",
            "context": "shutdown", "child": "idle",
            "reason": "reached_max_restart_intensity: killed",
        }  # fmt: skip


async def test_the_oldest_events_are_forgotten() -> None:
    async with open_system(random.Random(1)) as system:
        backend = Backend(system, Metrics(), Healths())
        for _ in range(EVENTS_KEPT + 3):
            await system.start(Idle)
        numbers = [event["n"] for event in backend.recent()]
        assert numbers == list(range(4, EVENTS_KEPT + 4))
