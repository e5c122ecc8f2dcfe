"""Which request comes next: mostly possible ones, sometimes what is forbidden or does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from tests.actors.chat.model.reference import Reference, Thread, dm_of
from tests.actors.chat.model.requests import (
    Add,
    Delete,
    DeleteGroup,
    Edit,
    Leave,
    React,
    Remove,
    Request,
    Send,
    SetRole,
    Update,
)

T = TypeVar("T")
STRANGER, NOWHERE = "u99", "g99"
"""A user and a thread that do not exist."""
TEXTS = ("oak", "ash", "elm", "yew")
EMOJI = ("🌱", "🪵")

MESSAGE_VERBS = ("send", "send", "send", "send", "edit", "edit", "delete", "delete", "react")
GROUP_VERBS = (
    "add", "add", "add", "remove", "remove", "role", "role", "leave", "update", "delete group",
)  # fmt: skip


class Drawer:
    """Draws from one `data()` of a rule, knowing what the reference knows."""

    def __init__(
        self, data: st.DataObject, reference: Reference, *, may_guess: bool = True
    ) -> None:
        self._data = data
        self._beyond = 2 if may_guess else 100
        self._reference = reference

    def one(self, choices: Sequence[T], label: str | None = None) -> T:
        return self._data.draw(st.sampled_from(choices), label)

    def some(self, choices: Sequence[T], most: int, label: str | None = None) -> list[T]:
        chosen = st.lists(st.sampled_from(choices), min_size=1, max_size=most, unique=True)
        return self._data.draw(chosen, label)

    def chance(self, one_in: int) -> bool:
        """True once in so many, and never in the simplest example."""
        return self._data.draw(st.integers(0, one_in - 1)) == one_in - 1

    # ------------------------------------------------------------------ things

    def user(self) -> str:
        people = sorted(self._reference.people)
        return self.one([*people, *people, STRANGER], "user")

    def thread(self, user: str) -> str:
        """Mostly one of the user's own, groups before direct ones."""
        own = [thread.id for thread in self._reference.of_user(user)]
        if own and not self.chance(8):
            return self.one(sorted(own, reverse=True), "thread")
        return self.one([*sorted(self._reference.threads), NOWHERE], "any thread")

    def seq(self, thread: Thread) -> int:
        """Mostly a message, else any event, or one that does not exist (or not yet, if it may be
        guessed)."""
        messages = [event.seq for event in thread.messages()]
        if messages and not self.chance(5):
            return self.one(messages[::-1], "message")
        beyond = thread.head + self._beyond
        seq: int = self._data.draw(st.sampled_from([*range(thread.head + 1), beyond]), "seq")
        return seq

    # ------------------------------------------------------------------ requests

    def request(self, user: str, cid: str) -> Request:
        """Anything a user may ask of some thread."""
        if self.chance(5) or not any(self._reference.of_user(user)):
            peer = self.one(sorted(self._reference.people), "peer")
            return self.send(dm_of(user, peer), user, cid, to=peer)
        return self.request_to(self._reference.thread(self.thread(user)), user, cid)

    def request_to(self, thread: Thread, user: str, cid: str) -> Request:
        verbs = MESSAGE_VERBS if thread.is_dm and not self.chance(8) else (
            MESSAGE_VERBS + GROUP_VERBS
        )  # fmt: skip
        verb = self.one(verbs, "verb")
        if verb in GROUP_VERBS:
            return self._group(thread, user, verb)
        match verb:
            case "edit":
                return Edit(thread.id, self.seq(thread), self.one(TEXTS), cid)
            case "delete":
                seqs = tuple(self.seq(thread) for _ in range(1 + self.chance(3)))
                return Delete(thread.id, tuple(dict.fromkeys(seqs)))
            case "react":
                return React(thread.id, self.seq(thread), self.one(EMOJI), not self.chance(3))
            case _:
                return self.send(thread.id, user, cid)

    def send(self, thread: str, user: str, cid: str, to: str | None = None) -> Send:
        reply_to = None
        known = self._reference.thread(thread)
        if to is None and user in known.pair and not known.events:
            to = next((each for each in known.pair if each != user), user)
        if self.chance(6):
            reply_to = self.seq(known)
        return Send(thread, self.one(TEXTS), cid, to, reply_to)

    def _group(self, thread: Thread, user: str, verb: str) -> Request:
        others = [each for each in (*sorted(self._reference.people), STRANGER) if each != user]
        inside = [each for each in thread.active if each != user]
        outside = [each for each in others if each not in inside]
        unusual = self.chance(4)
        match verb:
            case "add":
                candidates = others if unusual or not outside else outside
                return Add(thread.id, tuple(self.some(candidates, 2, "users")))
            case "remove":
                return Remove(thread.id, self.one(others if unusual or not inside else inside))
            case "role":
                other = self.one(others if unusual or not inside else inside)
                return SetRole(thread.id, other, self.one(("admin", "owner", "member")))
            case "leave":
                return Leave(thread.id)
            case "update":
                return Update(thread.id, self.one(TEXTS))
            case _:
                return DeleteGroup(thread.id) if self.chance(2) else Update(thread.id, "renamed")
