"""Group commit: many threads' appends in one durable step.

**Problem.** A commit costs an fsync (or a quorum round trip) whatever it holds. One commit per
message is what makes chat servers slow.

**Rule.** As many commits are in flight as the log says (`commits_at_once`): one, where a commit is
a transaction; many, where each append is a request of its own anyway and would only wait for the
slowest of a batch. What arrives while there are so many gathers and goes with the next, so the
batch grows with the load and an idle system waits for nobody. There is no timer. A channel's next
append comes when it has the receipt of its last, so two of one owner's are never in flight.

A channel sends `Commit` and gets back a `Receipt`: the store's outcome, or `CommitFailed` saying
whether it surely did not happen. If the journal itself dies, its channels (who monitor it) know
only that the outcome of what they had in flight is unknown. A commit that takes too long is given
up in the same way: nothing that hangs in a store may hold up every thread for ever.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from outcome import Error, Outcome, Value

from actors.chat.messages import CommitFailed
from actors.runtime import Actor, Ref
from persistence.batching import Batching
from persistence.errors import StoreUnavailable
from persistence.protocols import MessageLog
from persistence.records import Append, Failed
from persistence.records import Outcome as AppendOutcome

logger = logging.getLogger("actors")

COMMIT_DEADLINE_S = 5.0
"""Far above what a commit takes on a healthy disk, and early enough for channels to settle it in
the time that their posts have."""

WARNING_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Commit:
    """Make `append` durable and tell `channel` how it went, quoting `token`."""

    append: Append
    channel: Ref
    token: int


@dataclass(frozen=True, slots=True)
class Receipt:
    token: int
    outcome: AppendOutcome | CommitFailed


def commit(journal: Ref, append: Append, channel: Ref, token: int) -> bool:
    """Hand an append to the journal. False if it is gone: then nothing will be written."""
    return journal.cast(Commit(append, channel, token))


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """Since this incarnation started: `commits` durable steps, `appends` in them, the `largest`
    number of appends in one; `waiting` appends now."""

    commits: int
    appends: int
    largest: int
    waiting: int


class Journal(Actor):
    """Named `journal`. Keeps nothing: a crash loses only commits whose outcome channels settle."""

    def __init__(
        self, log: MessageLog, on_commit: Callable[[int, float], None] | None = None
    ) -> None:
        """`on_commit` hears of each durable step: its events, and the seconds that it took."""
        super().__init__()
        self._log = log
        self._on_commit = on_commit
        self._batching: Batching[Commit] = Batching()
        self._in_flight = 0
        self._failures = 0
        self._quiet_until_s = -math.inf
        self._commits = 0
        self._appends = 0
        self._largest = 0

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Commit):
            self._batching.add(message, message.append)
            if self._in_flight < self._log.commits_at_once:
                self._start()

    def _start(self) -> None:
        batch = self._batching.take()
        if batch:
            self._in_flight += 1
            appends = [waiting.append for waiting in batch]
            self.run_task(
                self._log.append, appends, label="commit", timeout_s=COMMIT_DEADLINE_S,
                on_done=partial(self._done, batch, trio.current_time()),
            )  # fmt: skip

    def _done(self, batch: tuple[Commit, ...], started_at_s: float, result: Outcome[Any]) -> None:
        self._in_flight -= 1
        self._commits += 1
        self._appends += len(batch)
        self._largest = max(self._largest, len(batch))
        match result:
            case Value(outcomes):
                if self._on_commit is not None:
                    events = sum(len(waiting.append.events) for waiting in batch)
                    self._on_commit(events, trio.current_time() - started_at_s)
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    waiting.channel.cast(Receipt(waiting.token, _receipt_of(outcome)))
                failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
                if failures:
                    self._warn(len(failures), failures[-1].reason)
            case Error(error):
                known = isinstance(error, StoreUnavailable)
                words = "refused" if known else "of unknown outcome"
                self._warn(len(batch), f"{words}: {error!r}")
                failed = CommitFailed(known)
                for waiting in batch:
                    waiting.channel.cast(Receipt(waiting.token, failed))
        self._start()

    def _warn(self, failures: int, reason: str) -> None:
        """Tell of an outage once a second, not of each of its many failures."""
        self._failures += failures
        now_s = trio.current_time()
        if now_s >= self._quiet_until_s:
            logger.warning("%d appends failed, the last: %s", self._failures, reason)
            self._failures, self._quiet_until_s = 0, now_s + WARNING_PERIOD_S

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(self._commits, self._appends, self._largest, len(self._batching))


def _receipt_of(outcome: AppendOutcome) -> AppendOutcome | CommitFailed:
    return CommitFailed(outcome.known) if isinstance(outcome, Failed) else outcome
