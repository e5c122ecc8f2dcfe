"""The journal: which appends go together, and what is said of those that fail."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.chat.journal import COMMIT_DEADLINE_S, Journal, Receipt, commit
from actors.chat.messages import CommitFailed
from actors.runtime import Actor, Ref, open_system
from persistence.errors import StoreUnavailable
from persistence.records import Append, Committed, Failed, Outcome, ThreadId


class HeldLog:
    """Answers a batch when told to: with outcomes, or with an error."""

    def __init__(self, commits_at_once: int) -> None:
        self.commits_at_once = commits_at_once
        self.held: list[tuple[list[ThreadId], trio.Event]] = []
        self.error: Exception | None = None
        self.outcome: Outcome = Committed()

    async def append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        release = trio.Event()
        self.held.append(([append.thread for append in batch], release))
        await release.wait()
        if self.error is not None:
            raise self.error
        return [self.outcome] * len(batch)

    @property
    def batches(self) -> list[list[ThreadId]]:
        return [threads for threads, _ in self.held]

    def answer(self, index: int) -> None:
        self.held.pop(index)[1].set()


class Channel(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.receipts: list[Receipt] = []

    def on_receive(self, message: Any) -> None:
        self.receipts.append(message)


class Desk:
    """A journal, and a channel that asks it."""

    def __init__(self, log: HeldLog, journal: Ref, channel: Ref) -> None:
        self.log = log
        self._journal = journal
        self._channel = channel

    def commit(self, token: int) -> None:
        """An append to a thread of this number."""
        append = Append(ThreadId(f"g{token}"), 1, 0, ())
        assert commit(self._journal, append, self._channel, token)

    @property
    def outcomes(self) -> dict[int, Any]:
        return {receipt.token: receipt.outcome for receipt in self._channel._actor.receipts}


@asynccontextmanager
async def desk(commits_at_once: int) -> AsyncIterator[Desk]:
    async with open_system(random.Random(1)) as system:
        log = HeldLog(commits_at_once)
        yield Desk(log, system.spawn(Journal, log), system.spawn(Channel))


async def test_what_comes_during_a_commit_goes_with_the_next() -> None:
    async with desk(1) as it:
        for token in range(4):
            it.commit(token)
            await wait_all_tasks_blocked()
        assert it.log.batches == [["g0"]]
        it.log.answer(0)
        await wait_all_tasks_blocked()
        assert it.log.batches == [["g1", "g2", "g3"]]
        assert it.outcomes == {0: Committed()}


async def test_commits_go_side_by_side_and_wait_for_no_other() -> None:
    async with desk(2) as it:
        for token in range(5):
            it.commit(token)
            await wait_all_tasks_blocked()
        assert it.log.batches == [["g0"], ["g1"]]
        it.log.answer(1)
        await wait_all_tasks_blocked()
        assert it.outcomes == {1: Committed()}
        assert it.log.batches == [["g0"], ["g2", "g3", "g4"]]
        it.log.answer(1)
        it.log.answer(0)
        await wait_all_tasks_blocked()
        assert sorted(it.outcomes) == [0, 1, 2, 3, 4]


async def test_a_commit_that_hangs_is_given_up_alone(autojump: MockClock) -> None:
    async with desk(2) as it:
        it.commit(0)
        await trio.sleep(COMMIT_DEADLINE_S / 2)
        it.commit(1)
        await trio.sleep(COMMIT_DEADLINE_S * 0.75)
        assert it.outcomes == {0: CommitFailed(known=False)}
        it.log.answer(1)
        await wait_all_tasks_blocked()
        assert it.outcomes[1] == Committed()


@pytest.mark.parametrize("error", [None, StoreUnavailable("away")])
async def test_an_outage_is_told_once_a_second(
    error: Exception | None, caplog: pytest.LogCaptureFixture, autojump: MockClock
) -> None:
    async with desk(1) as it:
        it.log.error, it.log.outcome = error, Failed(True, "away")
        for token in range(4):
            it.commit(token)
            await wait_all_tasks_blocked()
            it.log.answer(0)
            await trio.sleep(0.4)
        assert set(it.outcomes.values()) == {CommitFailed(known=True)}
    warnings = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert [words.partition(" ")[0] for words in warnings] == ["1", "3"]
    assert all("away" in words for words in warnings)


@pytest.fixture
async def autojump() -> MockClock:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.autojump_threshold = 0
    return clock
