"""How the thread tables follow one thread's log.

**Problem.** Memberships and descriptions are events first; the tables that lists need come after.
They may be out of reach just then, which is no reason to crash, nor to keep a thread waiting. And
the server may die between the two, before anybody who was added can find the thread.

**Rule.** Who was never in the tables is *promised* a row before the commit that adds them: they
find the thread, and the log says whether they are in it (`reading.in_step`). If no row can be
promised, nothing was done, and that is the answer. After the commit the change is projected, and
those concerned are told when the tables have it, or have kept them waiting. What is late is
projected again, less and less often, with all that has come since, beside everything else.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from outcome import Error, Outcome, Value

from actors.chat.commands import AddMembers
from actors.chat.messages import Post
from actors.runtime import Actor, TimerRef
from persistence.errors import OutcomeUnknown, StoreUnavailable
from persistence.protocols import ThreadStore
from persistence.records import Member, Projection, Role, ThreadMeta, UserId

ATTEMPT_S = 5.0
"""How long one attempt may take, and whoever adds somebody waits for a promise."""

PATIENCE_S = 1.0
"""How long a thread waits for its tables: most projections are there in milliseconds."""

PROMISES_MAX = 8
"""Promises of one thread under way together; further additions are refused."""

RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
"""The wait before the second attempt; it doubles with each that fails, up to the other."""

TABLES_AWAY = (StoreUnavailable, OutcomeUnknown, TimeoutError)
"""What is to be expected of tables: projecting is idempotent, so the three mean the same."""


def retry_s(failures: int, rng: random.Random) -> float:
    """The wait after so many attempts in a row failed; up to half of it is taken away, lest the
    threads of one outage come back in step."""
    longest = RETRY_MIN_S * 2.0 ** min(failures - 1, 10)
    return min(RETRY_MAX_S, longest) * (1 - rng.random() / 2)


def adding_any(uids: Collection[UserId], posts: Iterable[Post]) -> tuple[list[Post], deque[Post]]:
    """Those of the posts that add any of these people, and the others. They may go separate ways: a
    connection that changes a group asks nothing more until it is answered."""
    adding: list[Post] = []
    others: deque[Post] = deque()
    for post in posts:
        command = post.command
        is_adding = isinstance(command, AddMembers) and not set(uids).isdisjoint(command.users)
        (adding if is_adding else others).append(post)
    return adding, others


class Projector:
    """Of one channel, whose tasks and timers it uses. `retry` and `late` are the messages it sends
    it: the channel calls the methods of these names."""

    def __init__(self, actor: Actor, threads: ThreadStore, *, retry: object, late: object) -> None:
        self._actor = actor
        self._threads = threads
        self._retry = retry
        self._late = late
        self._meta: ThreadMeta | None = None
        self._members: dict[UserId, Member] = {}
        self._failures = 0
        self._then: Callable[[], None] | None = None
        self._patience: TimerRef | None = None
        self._is_late = self._is_writing = False
        self._promised: set[UserId] = set()
        self._promising = 0

    @property
    def is_busy(self) -> bool:
        """Whether the tables lack something that is committed, or is about to be."""
        return self._meta is not None or self._promising > 0

    # ------------------------------------------------------------------ before a commit

    def strangers(
        self, changed: Mapping[UserId, Member], members: Mapping[UserId, Member]
    ) -> tuple[UserId, ...]:
        """Those among the `changed` who have no row, promised or not."""
        return tuple(uid for uid in changed if uid not in members and uid not in self._promised)

    def promise(
        self, meta: ThreadMeta, uids: tuple[UserId, ...], then: Callable[[bool], None]
    ) -> None:
        """Rows for these. `then` is told whether they have them, or else the tables are away."""
        if self._promising == PROMISES_MAX:
            then(False)
            return
        rows = tuple(Member(uid, Role.MEMBER, join_seq=1, left_seq=0) for uid in uids)
        self._promising += 1

        def done(result: Outcome[Any]) -> None:
            self._promising -= 1
            if isinstance(result, Error) and not isinstance(result.error, TABLES_AWAY):
                raise result.error
            if isinstance(result, Value):
                self._promised.update(uids)
            then(isinstance(result, Value))

        self._write(Projection(meta, rows), done)

    # ------------------------------------------------------------------ after it

    def project(
        self, meta: ThreadMeta, changed: Mapping[UserId, Member], then: Callable[[], None]
    ) -> None:
        """Write a committed change to the tables. `then` is called once: when they have it, or
        when they are late."""
        self._meta = meta
        self._members.update(changed)
        self._promised.difference_update(changed)
        if self._is_late:
            then()  # what is under way takes it along
            return
        self._go_on()
        self._then = then
        self._patience = self._actor.send_after(PATIENCE_S, self._late)
        self._attempt()

    def retry(self) -> None:
        """Time for another attempt."""
        self._attempt()

    def late(self) -> None:
        """Whoever still waits for the attempt under way waits no longer."""
        if self._then is not None:
            self._is_late = True
            self._go_on()

    def _attempt(self) -> None:
        if self._meta is None or self._is_writing:
            return
        self._is_writing = True
        projection = Projection(self._meta, tuple(self._members.values()))

        def done(result: Outcome[Any]) -> None:
            self._is_writing = False
            match result:
                case Value() if self._meta is projection.meta:
                    self._meta, self._members = None, {}
                    self._failures, self._is_late = 0, False
                    self._go_on()
                case Value():
                    self._attempt()  # there is more by now
                case Error(error) if isinstance(error, TABLES_AWAY):
                    self._failures += 1
                    self._is_late = True
                    self._actor.send_after(
                        retry_s(self._failures, self._actor.system.rng), self._retry
                    )
                    self._go_on()
                case Error(error):
                    raise error

        self._write(projection, done)

    def _write(self, projection: Projection, done: Callable[[Outcome[Any]], None]) -> None:
        self._actor.run_task(self._threads.project, projection, on_done=done, timeout_s=ATTEMPT_S)

    def _go_on(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        then, self._then, self._patience = self._then, None, None
        if then is not None:
            then()
