"""What happened, from what was answered and what the log holds.

Requests that were under way together may have been carried out in any order that keeps the order of
each device. Those whose outcome nobody told (`timeout`, or a socket that closed first) happened or
did not. `explain` searches for a history of the reference that fits every answer and ends exactly
in the log that is there; when there is none, the service has broken a promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.actors.chat.model.reference import Err, Ok, Thread
from tests.actors.chat.model.requests import Request

NOT_DONE, UNKNOWN = "unavailable", "timeout"
"""The codes of a service in trouble: surely not carried out, and nobody knows."""


@dataclass(frozen=True)
class Asked:
    """A request and what was answered: the fields of the `ok`, a code, or None if the socket closed
    first. `is_doubtful`: an `unavailable` does not say that an earlier incarnation did nothing."""

    user: str
    request: Request
    fields: dict[str, Any] | None = None
    code: str | None = None
    is_doubtful: bool = False

    @property
    def is_unknown(self) -> bool:
        if self.fields is not None:
            return False
        return self.code in (None, UNKNOWN) or (self.code == NOT_DONE and self.is_doubtful)

    @property
    def is_not_done(self) -> bool:
        return self.code == NOT_DONE and not self.is_doubtful


@dataclass
class Puzzle:
    """The lanes of requests of one step (one per device, all to one thread), the log afterwards,
    and whether anything went wrong meanwhile."""

    people: frozenset[str]
    lanes: Sequence[Sequence[Asked]]
    log: Sequence[dict[str, Any]]
    troubled: bool

    def solve(self, thread: Thread) -> Thread | None:
        """The thread after the step, or None if no order explains what was seen."""
        return self._search(thread, tuple(0 for _ in self.lanes))

    def _search(self, thread: Thread, at: tuple[int, ...]) -> Thread | None:
        if all(place == len(lane) for place, lane in zip(at, self.lanes, strict=True)):
            return thread if self._is_log_of(thread) else None
        for index, lane in enumerate(self.lanes):
            if at[index] == len(lane):
                continue
            following = (*at[:index], at[index] + 1, *at[index + 1 :])
            for after in self._outcomes(thread, lane[at[index]]):
                found = self._search(after, following)
                if found is not None:
                    return found
        return None

    def _outcomes(self, thread: Thread, asked: Asked) -> Iterator[Thread]:
        """The threads that one request may leave behind, given its answer."""
        if asked.is_not_done:
            if self.troubled:
                yield thread
            return
        after = thread.copy()
        answer = after.answer(asked.user, asked.request, self.people)
        if asked.is_unknown:
            if self.troubled:
                if isinstance(answer, Ok) and self._is_prefix(after):
                    yield after
                yield thread
        elif isinstance(answer, Err):
            if asked.code in answer.codes:
                yield thread
        elif (
            asked.fields is not None
            and self._fits(answer.fields, asked.fields)
            and (self._is_prefix(after))
        ):
            yield after

    def _fits(self, expected: dict[str, Any], fields: dict[str, Any]) -> bool:
        """Whether an `ok` is as expected. After trouble a first answer may say `dup`: the service
        found the event it had written itself."""
        given = {key: value for key, value in fields.items() if key != "ts"}
        if given == expected:
            return True
        return self.troubled and given == expected | {"dup": True}

    def _is_prefix(self, thread: Thread) -> bool:
        """Whether the log can still become this thread's: forms may change, kinds do not."""
        if thread.head > len(self.log):
            return False
        return all(
            _fixed(event.now) == _fixed(form)
            for event, form in zip(thread.events, self.log, strict=False)
        )

    def _is_log_of(self, thread: Thread) -> bool:
        forms = [event.now for event in thread.events]
        return forms == [without(form, "ts") for form in self.log]


def _fixed(form: dict[str, Any]) -> dict[str, Any]:
    return without(form, "ts", "text", "edited", "deleted") if form["e"] == "msg" else without(
        form, "ts", "text"
    )  # fmt: skip


def without(form: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in form.items() if key not in names}
