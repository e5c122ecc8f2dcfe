"""Stories of thread tables that are away while the log is there."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from outcome import Outcome, Value

from actors.chat.channel_projection import (
    PROMISES_MAX,
    RETRY_MAX_S,
    RETRY_MIN_S,
    Projector,
    retry_s,
)
from actors.chat.messages import GroupInfo, Sync, channel_name
from actors.chat.services import JOURNAL
from actors.runtime import Actor, Ref
from persistence.errors import Corrupt, OutcomeUnknown, StoreUnavailable
from persistence.memory import MemoryThreads
from persistence.records import Projection, ThreadId, ThreadKind, ThreadMeta, UserId
from tests.actors.chat.conftest import GROUP, ask, settled
from tests.actors.chat.model.phone import Phone
from tests.actors.chat.model.requests import Add, Create, Remove, Send, Update
from tests.actors.chat.model.stage import Stage


class Tables:
    """Fail for as long as `error` is set; promises apart, if they are let through."""

    def __init__(self, stage: Stage) -> None:
        self.error: Exception | None = None
        self.keeps_promises = False
        self.attempts: list[float] = []
        self._threads = stage.stores.threads
        self._project = stage.stores.threads.project

    async def project(self, projection: Projection) -> None:
        if not projection.is_promise:
            self.attempts.append(trio.current_time())
        if self.error is not None and not (self.keeps_promises and projection.is_promise):
            await trio.lowlevel.checkpoint()
            raise self.error
        await self._project(projection)


@pytest.fixture
def tables(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Tables:
    opened = Tables(stage)
    monkeypatch.setattr(stage.stores.threads, "project", opened.project)
    return opened


def channel(stage: Stage) -> Ref:
    ref = stage.system.whereis(channel_name(GROUP))
    assert ref is not None
    return ref


async def name_in_tables(stage: Stage) -> str:
    loaded = await stage.stores.threads.load(GROUP)
    assert loaded is not None
    return loaded[0].name


async def fields_of(stage: Stage, phone: Phone, build: Callable[..., Any]) -> dict[str, Any]:
    assert phone.socket is not None
    ticket = phone.socket.ask(build, lambda _: None)
    assert await stage.settle([ticket])
    assert ticket.fields is not None, ticket.code
    return ticket.fields


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OutcomeUnknown("lost")])
async def test_tables_that_are_away_crash_nothing_and_follow_when_they_are_back(
    stage: Stage, tables: Tables, error: Exception
) -> None:
    ann, bob, _ = stage.phones
    before = channel(stage)
    tables.error = error
    await settled(stage, ask(ann, Update(GROUP, "grove")))
    await settled(stage, ask(ann, Send(GROUP, "go on", "c-2")))
    await settled(stage, ask(ann, Remove(GROUP, bob.uid)))
    await stage.advance(60.0)
    assert channel(stage) is before
    assert before.is_alive()
    tables.error = None
    await stage.advance(RETRY_MAX_S)
    assert await name_in_tables(stage) == "grove"
    assert (await stage.members(GROUP))[bob.uid] == ("member", 1, 5)
    assert channel(stage) is before


async def test_attempts_come_less_and_less_often(stage: Stage, tables: Tables) -> None:
    tables.error = StoreUnavailable("away")
    await settled(stage, ask(stage.phones[0], Update(GROUP, "grove")))
    await stage.advance(60.0)
    waits = [b - a for a, b in zip(tables.attempts, tables.attempts[1:], strict=False)]
    assert waits[0] <= RETRY_MIN_S + 0.01
    assert all(RETRY_MAX_S / 2 <= wait <= RETRY_MAX_S + 0.01 for wait in waits[-5:])
    assert len(waits) < 30
    tables.error = None
    await stage.advance(RETRY_MAX_S + 0.1)
    attempts = len(tables.attempts)
    await stage.advance(60.0)
    assert len(tables.attempts) == attempts


async def test_tables_that_hang_hold_up_one_commit_for_a_moment_and_no_other(stage: Stage) -> None:
    ann, bob, _ = stage.phones
    stage.troubles.held["threads.project"] = held = trio.Event()
    begun_s = trio.current_time()
    await settled(stage, ask(ann, Update(GROUP, "grove")), ask(bob, Send(GROUP, "go on", "c-2")))
    assert trio.current_time() - begun_s < 1.5
    begun_s = trio.current_time()
    await settled(stage, ask(ann, Update(GROUP, "glade")), ask(bob, Send(GROUP, "go on", "c-3")))
    assert trio.current_time() - begun_s < 0.1
    del stage.troubles.held["threads.project"]
    held.set()
    await stage.advance(0.1)
    assert await name_in_tables(stage) == "glade"


async def test_nobody_is_added_who_could_not_find_the_thread(stage: Stage, tables: Tables) -> None:
    """The tables are asked first, so that nothing was done."""
    ann, bob, cat = stage.phones
    tables.error = StoreUnavailable("away")
    before = channel(stage)
    ticket = ask(ann, Add(GROUP, (cat.uid,)))
    message = ask(bob, Send(GROUP, "go on", "c-2"))
    assert await stage.settle([ticket, message])
    assert (ticket.code, message.code) == ("unavailable", None)
    assert [event["e"] for event in await stage.log(GROUP)] == ["thread", "msg", "msg"]
    assert channel(stage) is before
    tables.error = None
    await settled(stage, ask(ann, Add(GROUP, (cat.uid,))))
    assert cat.last(GROUP) == 4


async def test_a_promise_that_hangs_holds_up_nobody_else(stage: Stage) -> None:
    ann, bob, cat = stage.phones
    stage.troubles.held["threads.project"] = held = trio.Event()
    added = ask(ann, Add(GROUP, (cat.uid,)))
    message = ask(bob, Send(GROUP, "go on", "c-2"))
    await stage.advance(0.0)
    assert message.fields is not None
    assert not added.is_over
    held.set()
    await settled(stage, added)
    assert added.fields == {"seq": 4}


async def test_who_was_added_finds_the_thread_though_the_tables_never_followed(
    stage: Stage, tables: Tables
) -> None:
    """As after a server that died between the commit and its projection: no channel is up."""
    ann, _, cat = stage.phones
    tables.error, tables.keeps_promises = StoreUnavailable("away"), True
    await settled(stage, ask(ann, Add(GROUP, (cat.uid,))))
    await settled(stage, ask(ann, Send(GROUP, "welcome", "c-2")))
    info = await fields_of(stage, ann, lambda caller: GroupInfo(caller, GROUP, None, 10))
    assert [member["uid"] for member in info["members"]] == [phone.uid for phone in stage.phones]
    cat.disconnect()
    cat.applied.clear()
    stage.connect(cat)
    await stage.settle()
    page = await fields_of(stage, cat, lambda caller: Sync(caller, {}, 10))
    assert [event["seq"] for event in page["events"][GROUP]] == [3, 4]


async def test_what_is_no_absence_is_a_crash(stage: Stage, tables: Tables) -> None:
    before = channel(stage)
    tables.error = Corrupt("members of g1")
    ask(stage.phones[0], Update(GROUP, "grove"))
    await stage.advance(0.1)
    assert not before.is_alive()


async def test_a_commit_is_settled_without_the_tables(
    stage: Stage, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the channel knows, brought up to the log, is as good as what they say."""
    ann = stage.phones[0]
    before = channel(stage)

    async def away(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("away")

    tables.error = StoreUnavailable("away")
    monkeypatch.setattr(stage.stores.threads, "load", away)
    stage.troubles.held_after["log.append"] = answered = trio.Event()
    ticket = ask(ann, Update(GROUP, "grove"))
    await stage.advance(0.1)
    stage.kill(JOURNAL)
    del stage.troubles.held_after["log.append"]
    answered.set()
    await settled(stage, ticket)
    assert channel(stage) is before
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3]


async def test_a_thread_that_cannot_be_opened_is_refused(stage: Stage, tables: Tables) -> None:
    ann, bob, _ = stage.phones
    tables.error = StoreUnavailable("away")
    ticket = ask(ann, Create("", "glade", (bob.uid,), "c-9"))
    assert await stage.settle([ticket])
    assert ticket.code == "unavailable"
    opened = stage.system.whereis(channel_name(ThreadId("g2")))
    assert opened is not None
    tables.error = None
    await settled(stage, ask(ann, Create("", "glade", (bob.uid,), "c-9")))
    assert stage.system.whereis(channel_name(ThreadId("g2"))) is opened


class Bench:
    """Stands for the channel: writes end when they are told to."""

    def __init__(self) -> None:
        self.writes: list[tuple[Projection, Callable[[Outcome[None]], None]]] = []
        self.projector = Projector(cast("Actor", self), MemoryThreads(), retry=None, late=None)
        self.told: list[int] = []

    def run_task(
        self, _: object, projection: Projection, *, on_done: Any, timeout_s: float
    ) -> None:
        assert timeout_s
        self.writes.append((projection, on_done))

    def send_after(self, _: float, __: object) -> Any:
        return SimpleNamespace(cancel=lambda: None)

    def project(self, seq: int) -> None:
        meta = ThreadMeta(GROUP, ThreadKind.GROUP, applied_seq=seq)
        self.projector.project(meta, {}, lambda: self.told.append(seq))

    def write(self) -> int:
        """End a write; the seq it applied."""
        projection, done = self.writes.pop(0)
        done(Value(None))
        return projection.meta.applied_seq


def test_patience_that_ends_together_with_the_wait_ends_nothing_else() -> None:
    """The timer may have fired before it could be cancelled."""
    bench = Bench()
    bench.project(1)
    assert bench.write() == 1
    bench.projector.late()
    bench.project(2)
    assert bench.told == [1]
    assert bench.write() == 2
    assert bench.told == [1, 2]
    assert not bench.projector.is_busy


def test_one_write_is_under_way_and_who_waits_for_the_next_waits_for_it() -> None:
    bench = Bench()
    bench.project(1)
    bench.project(2)
    assert len(bench.writes) == 1
    assert (bench.write(), bench.told) == (1, [1])
    bench.projector.retry()
    assert len(bench.writes) == 1
    assert (bench.write(), bench.told) == (2, [1, 2])
    assert not bench.projector.is_busy


def test_no_more_promises_are_under_way_than_one_thread_may_have() -> None:
    projector = Bench().projector
    meta, outcomes = ThreadMeta(GROUP, ThreadKind.GROUP), list[bool]()
    for number in range(PROMISES_MAX + 1):
        projector.promise(meta, (UserId(f"u{number}"),), outcomes.append)
    assert outcomes == [False]


def test_waits_double_up_to_a_maximum_and_are_spread() -> None:
    rng = random.Random(1)
    for failures in range(1, 2000):
        longest = min(RETRY_MAX_S, RETRY_MIN_S * 2.0 ** min(failures - 1, 20))
        assert longest / 2 <= retry_s(failures, rng) <= longest
