"""Requests whose answers are waited for later, and sets of them (gen_server's `send_request`).

A request is sent at once and never raises for want of a receiver: that is its outcome. Outcomes are
values, an answer or the error a call would raise. `wait` keeps a request that is not answered in
time; `receive` abandons it, and a later answer is late: dropped and counted. Answers never go
through the mailbox of whoever asked, so a long one costs nothing (OTP marks its queue for that).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import trio
from outcome import Error, Outcome, Value

from actors.runtime.errors import CallTimeout
from actors.runtime.exits import Custom
from actors.runtime.mailbox import Ask
from actors.runtime.ref import CALL_DEADLINE_S, Ref

MULTICALL_MAX = 10_000
"""Receivers of one multicall: its answers are all kept until the last is there."""


class Request:
    """One question, on its way. Belongs to the loop's thread; waited for by one task at a time."""

    __slots__ = ("_changed", "_is_abandoned", "_outcome", "_sets", "ref")

    def __init__(self, ref: Ref, message: Any) -> None:
        self.ref = ref
        self._outcome: Outcome[Any] | None = None
        self._is_abandoned = False
        self._changed: trio.Event | None = None
        self._sets: dict[RequestSet, None] = {}
        ref._cell.accept(Ask(message, self))

    @property
    def outcome(self) -> Outcome[Any] | None:
        """The outcome, if it is there."""
        return self._outcome

    def resolve(self, value: Any, error: BaseException | None) -> bool:
        """The answer, for the runtime."""
        if self._outcome is not None or self._is_abandoned:
            return False
        self._outcome = Value(value) if error is None else Error(error)
        if self._changed is not None:
            self._changed.set()
        sets, self._sets = self._sets, {}
        for collection in sets:
            collection._answered(self)
        return True

    async def wait(self, timeout_s: float = CALL_DEADLINE_S) -> Outcome[Any] | None:
        """The outcome; None if it is not there in time, and it can be waited for again."""
        if self._outcome is None and not self._is_abandoned:
            self._changed = trio.Event()
            with trio.move_on_after(timeout_s):
                await self._changed.wait()
        return self._outcome

    async def receive(self, timeout_s: float = CALL_DEADLINE_S) -> Outcome[Any]:
        """The outcome; a `CallTimeout` if it is not there in time, and the request is abandoned."""
        outcome = await self.wait(timeout_s)
        if outcome is None:
            self.abandon()
            outcome = Error(CallTimeout(Custom("timeout")))
        return outcome

    def abandon(self) -> None:
        """Want no answer any more."""
        self._is_abandoned = self._outcome is None


def send_request(ref: Ref, message: Any) -> Request:
    """Ask, without waiting."""
    return Request(ref, message)


class RequestSet:
    """Outstanding requests with labels. Their outcomes come in the order they are there."""

    def __init__(self) -> None:
        self._labels: dict[Request, Any] = {}
        self._answers: deque[Request] = deque()
        self._changed = trio.Event()

    def __len__(self) -> int:
        """Requests whose outcome was not taken yet."""
        return len(self._labels)

    def labels(self) -> list[Any]:
        return list(self._labels.values())

    def send(self, ref: Ref, message: Any, label: Any = None) -> Request:
        """Ask, and wait for the answer together with the others."""
        request = Request(ref, message)
        self.add(request, label)
        return request

    def add(self, request: Request, label: Any = None) -> None:
        """Wait for this one, too. Raises `ValueError` if that is so already."""
        if request in self._labels:
            raise ValueError("the request is in this set already")
        self._labels[request] = label
        if request.outcome is None:
            request._sets[self] = None
        else:
            self._answered(request)

    def _answered(self, request: Request) -> None:
        self._answers.append(request)
        self._changed.set()

    async def wait(self, timeout_s: float = CALL_DEADLINE_S) -> tuple[Any, Outcome[Any]] | None:
        """The next label and outcome, out of the set. None if there is none in time, or the set is
        empty; what is outstanding stays."""
        if not self._answers and self._labels:
            self._changed = trio.Event()
            with trio.move_on_after(timeout_s):
                await self._changed.wait()
        if not self._answers:
            return None
        request = self._answers.popleft()
        assert request.outcome is not None, "it is among the answers"
        return self._labels.pop(request), request.outcome

    async def receive(self, timeout_s: float = CALL_DEADLINE_S) -> tuple[Any, Outcome[Any]] | None:
        """The same, but what is outstanding at the deadline is abandoned, and the set is empty."""
        answer = await self.wait(timeout_s)
        if answer is None:
            self.abandon()
        return answer

    def abandon(self) -> None:
        """Want none of the answers any more."""
        for request in self._labels:
            request._sets.pop(self, None)
            request.abandon()
        self._labels.clear()
        self._answers.clear()

    async def results(
        self, timeout_s: float = CALL_DEADLINE_S
    ) -> AsyncIterator[tuple[Any, Outcome[Any]]]:
        """Every outcome until one deadline for all; what is outstanding then stays."""
        until_s = trio.current_time() + timeout_s
        while self._labels:
            answer = await self.wait(max(0.0, until_s - trio.current_time()))
            if answer is None:
                return
            yield answer


async def multicall(
    refs: Iterable[Ref], message: Any, timeout_s: float = CALL_DEADLINE_S
) -> tuple[dict[Ref, Any], dict[Ref, BaseException]]:
    """Ask many the same, with one deadline for all: the answers, and what went wrong with whom.
    Each is asked once, and no late answer is heard of."""
    requests = RequestSet()
    for ref in dict.fromkeys(refs):
        assert len(requests) < MULTICALL_MAX, "a multicall has a bounded number of receivers"
        requests.send(ref, message, ref)
    answers: dict[Ref, Any] = {}
    bad: dict[Ref, BaseException] = {}
    async for ref, outcome in requests.results(timeout_s):
        match outcome:
            case Value(value):
                answers[ref] = value
            case Error(error):
                bad[ref] = error
    for ref in requests.labels():
        bad[ref] = CallTimeout(Custom("timeout"))
    requests.abandon()
    return answers, bad


def abcast(refs: Iterable[Ref], message: Any) -> None:
    """Tell many, whoever of them is there."""
    for ref in refs:
        ref.cast(message)
