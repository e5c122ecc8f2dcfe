"""A stage for every story: people in a group, on a clock that moves when told to."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from persistence.records import ThreadId
from tests.actors.chat.model.phone import Phone, Ticket
from tests.actors.chat.model.requests import Create, Request, Send
from tests.actors.chat.model.stage import Stage, open_stage
from tests.actors.chat.model.wire import message_of

HERE = Path(__file__).parent
GROUP = ThreadId("g1")


def on_mock_clock(story: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    return trio.run(story, **{**options, "clock": MockClock()})


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if HERE in item.path.parents and inspect.iscoroutinefunction(function):
            item.add_marker(pytest.mark.trio(run=on_mock_clock), append=False)


@pytest.fixture
async def stage(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """Ann, Bob and Cat with one phone each; Ann and Bob in a group with one message of Ann's."""
    caplog.set_level(logging.CRITICAL)  # crashes are part of the stories
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async with open_stage(clock) as opened:
        for name in ("ann", "bob", "cat"):
            await opened.register(name, 1)
        for phone in opened.phones:
            opened.connect(phone)
        await opened.settle()
        ann, bob, _ = opened.phones
        await settled(opened, ask(ann, Create("", "wood", (bob.uid,), "c-0")))
        await settled(opened, ask(ann, Send(GROUP, "hello", "c-1")))
        yield opened


def ask(phone: Phone, request: Request) -> Ticket:
    """A request of this phone to its session."""
    assert phone.socket is not None
    return phone.socket.ask(lambda caller: message_of(request, caller))


async def settled(stage: Stage, *tickets: Ticket) -> None:
    """Wait for the answers; all of them are `ok`."""
    assert await stage.settle(tickets)
    assert [ticket.code for ticket in tickets] == [None] * len(tickets)
