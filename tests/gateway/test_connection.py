"""What a connection passes on while something is unanswered."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.chat.answers import Done
from actors.runtime import Spawner
from gateway.config import Settings
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.wire.protocol import Phase

CREATE = {"op": "group.create", "name": "wood", "members": []}
ADD = {"op": "group.add", "thread": "g1", "users": ["@cat"]}
SEND = {"op": "send", "thread": "g2", "text": "hi"}
READ = {"op": "read", "thread": "g2", "seq": 1}
LIST = {"op": "thread.list"}
READS = [
    LIST,
    {"op": "history", "thread": "g1"},
    {"op": "sync", "cursors": {}},
    {"op": "group.info", "thread": "g1"},
]


class Wire:
    """A client that sends all of it at once, and nothing after."""

    peer_address = "192.0.2.1"

    def __init__(self, requests: Iterable[dict[str, Any]]) -> None:
        self._payloads: list[bytes | str] = [
            msgspec.json.encode({"id": number} | request).decode()
            for number, request in enumerate(requests, 1)
        ]

    async def receive(self) -> list[bytes | str]:
        payloads, self._payloads = self._payloads, []
        if not payloads:
            await trio.sleep_forever()
        return payloads

    def try_send(self, payloads: Iterable[bytes]) -> bool:
        return bool(list(payloads))

    async def drain(self) -> None: ...

    async def close(self, code: int, reason: str, deadline_s: float) -> None: ...

    def abort(self) -> None: ...


class Session:
    """Takes everything and answers nothing."""

    def cast(self, _: object) -> bool:
        return True


async def under_way(*requests: dict[str, Any], answered: int = 0) -> list[str]:
    """The requests that are passed on and unanswered, after so many answers."""
    hub = Hub(Settings(), Metrics(), cast("Spawner", None), lambda: 0, random.Random(1))
    connection = Connection(hub, Wire(requests))
    connection.phase, connection.session = Phase.AUTHENTICATED, Session()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await wait_all_tasks_blocked()
        for _ in range(answered):
            connection.answer(min(connection.pending), Done())
        found = [
            str(pending.frame.__struct_config__.tag) for pending in connection.pending.values()
        ]
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize("first", [CREATE, *READS], ids=lambda request: str(request["op"]))
async def test_posts_wait_for_nothing_they_cannot_depend_on(first: dict[str, Any]) -> None:
    """A store that is away may hold up what asks it; a thread nobody can name yet, and what is only
    read, are no reason to hold up messages."""
    assert await under_way(first, SEND, READ) == [first["op"], "send", "read"]


async def test_everything_waits_for_what_it_may_depend_on() -> None:
    assert await under_way(ADD, SEND) == ["group.add"]
    assert await under_way(ADD, LIST) == ["group.add"]
    assert await under_way(ADD, SEND, answered=1) == ["send"]


@pytest.mark.parametrize("last", [CREATE, ADD, *READS], ids=lambda request: str(request["op"]))
async def test_all_but_posts_wait_for_what_came_before(last: dict[str, Any]) -> None:
    for first in (CREATE, SEND, LIST):
        assert await under_way(first, last) == [first["op"]]
        assert await under_way(first, last, answered=1) == [last["op"]]


async def test_nothing_overtakes_what_waits() -> None:
    assert await under_way(SEND, LIST, SEND) == ["send"]
    assert await under_way(SEND, LIST, SEND, answered=1) == ["thread.list", "send"]
