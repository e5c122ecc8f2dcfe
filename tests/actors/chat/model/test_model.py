"""The rules of seqs and membership, held against the reference by chance: any requests of any
users, any faults, in any order.

`COPPICE_HYPOTHESIS=long` runs many more and longer examples; `COPPICE_HYPOTHESIS_SEED` begins
elsewhere. A failure prints the steps that lead to it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.chat import channel_loading, channel_state
from tests.actors.chat.model.comparison import Comparison
from tests.actors.chat.model.drawing import TEXTS, Drawer
from tests.actors.chat.model.phone import Phone
from tests.actors.chat.model.reference import Cursor
from tests.actors.chat.model.requests import Create, Edit, Request, Send, cid_of
from tests.actors.chat.model.stage import Fault

LONG = os.environ.get("COPPICE_HYPOTHESIS") == "long"
SEED = int(os.environ.get("COPPICE_HYPOTHESIS_SEED", "1"))
EXAMPLES, STEPS = (1500, 60) if LONG else (40, 30)

FAULTS = st.one_of(
    st.just([]), st.just([]), st.lists(st.sampled_from(Fault), min_size=1, max_size=3, unique=True)
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Crashes are the point here: nobody needs their tracebacks."""
    loggers = [logging.getLogger(name) for name in ("actors", "supervision")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


class Chat(RuleBasedStateMachine):
    """Five people with seven phones."""

    def __init__(self) -> None:
        super().__init__()
        self.comparison: Comparison | None = None
        self._patches: list[mock._patch[int]] = []
        self._cids = 0
        self._asked: list[tuple[str, Request]] = []

    @initialize(recent=st.sampled_from([100, 7]), founders=st.integers(1, 3))
    def begin(self, recent: int, founders: int) -> None:
        """A group exists. With few events kept in memory most of the past is in the store."""
        for module in (channel_state, channel_loading):
            patch = mock.patch.object(module, "RECENT_EVENTS_MAX", recent)
            patch.start()
            self._patches.append(patch)
        self.comparison = Comparison()
        people = sorted(self.it.reference.people)
        create = Create("", "wood", tuple(people[1 : founders + 1]), self._fresh())
        self._step([(self.it.phones[0], create)], [])

    @property
    def it(self) -> Comparison:
        assert self.comparison is not None
        return self.comparison

    def _fresh(self) -> str:
        self._cids += 1
        return f"c{self._cids}"

    def _drawer(self, data: st.DataObject) -> Drawer:
        return Drawer(data, self.it.reference)

    def _phone(self, draw: Drawer) -> Phone:
        if not self.it.online:
            self.it.connect(self.it.phones[0])
        return draw.one(self.it.online, "phone")

    def _step(self, asks: list[tuple[Phone, Request]], faults: list[Fault]) -> None:
        self._asked += [
            (phone.uid, request) for phone, request in asks if cid_of(request) is not None
        ]
        self.it.step(asks, faults)

    # ------------------------------------------------------------------ requests

    @rule(data=st.data(), faults=FAULTS)
    def ask(self, data: st.DataObject, faults: list[Fault]) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        self._step([(phone, draw.request(phone.uid, self._fresh()))], faults)

    @rule(data=st.data(), faults=FAULTS)
    def ask_together(self, data: st.DataObject, faults: list[Fault]) -> None:
        """Several requests to one thread, none waiting for another. One that speaks of an event
        before it exists is refused, but may be carried out when a fault has it tried again: nobody
        guesses then."""
        draw = Drawer(data, self.it.reference, may_guess=not faults)
        first = self._phone(draw)
        request = draw.request(first.uid, self._fresh())
        thread = self.it.reference.thread(request.thread)
        asks: list[tuple[Phone, Request]] = [(first, request)]
        for _ in range(data.draw(st.integers(1, 3), "more")):
            phone = self._phone(draw)
            asks.append((phone, draw.request_to(thread, phone.uid, self._fresh())))
        self._step(asks, faults)

    @precondition(lambda self: self._asked)
    @rule(data=st.data(), faults=FAULTS)
    def repeat(self, data: st.DataObject, faults: list[Fault]) -> None:
        """The same cid again: as it was, with other content, or for something else."""
        draw = self._drawer(data)
        user, request = draw.one(self._asked, "again")
        phones = [phone for phone in self.it.online if phone.uid == user]
        if not phones:
            return
        changed = draw.chance(3)
        if changed and isinstance(request, Create):
            created = (user, request.cid) in self.it.reference.created
            request = Create("", request.name + "!" * created, request.members, request.cid)
        elif changed:
            thread = self.it.reference.thread(draw.thread(user))
            cid = str(cid_of(request))
            if draw.chance(2):
                request = Edit(thread.id, draw.seq(thread), draw.one(TEXTS), cid)
            else:
                request = Send(thread.id, draw.one(TEXTS), cid)
        self._step([(draw.one(phones), request)], faults)

    @rule(data=st.data(), faults=FAULTS)
    def create(self, data: st.DataObject, faults: list[Fault]) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        people = sorted(self.it.reference.people)
        members = tuple(draw.some([*people, draw.user()], 4, "members"))
        self._step([(phone, Create("", draw.one(TEXTS), members, self._fresh()))], faults)

    # ------------------------------------------------------------------ reading, marking

    @rule(data=st.data(), limit=st.integers(1, 6))
    def history(self, data: st.DataObject, limit: int) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        thread = self.it.reference.thread(draw.thread(phone.uid))
        name = draw.one(("none", "before", "after", "around"), "bound")
        bound = None if name == "none" else (name, data.draw(st.integers(0, thread.head + 2)))
        self.it.history(phone, thread.id, limit, bound)

    @rule(data=st.data(), limit=st.sampled_from([100, 4]))
    def sync(self, data: st.DataObject, limit: int) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        cursors = {
            thread.id: data.draw(st.integers(0, thread.head + 1))
            for thread in self.it.reference.of_user(phone.uid)
            if draw.chance(2)
        }
        self.it.sync(phone, cursors, limit)

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        self.it.thread_list(phone)
        self.it.group_info(phone, draw.thread(phone.uid))

    @rule(data=st.data(), awaited=st.sampled_from([True, True, False]))
    def mark(self, data: st.DataObject, awaited: bool) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        thread = self.it.reference.thread(draw.thread(phone.uid))
        seq = data.draw(st.integers(1, thread.head + 2), "seq")
        cursor = Cursor(recv=seq) if draw.chance(3) else Cursor(read=seq)
        self.it.mark(phone, thread.id, cursor, awaited=awaited)

    @rule(data=st.data())
    def hide(self, data: st.DataObject) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        thread = self.it.reference.thread(draw.thread(phone.uid))
        self.it.hide(phone, thread.id, draw.seq(thread))

    @rule(data=st.data())
    def block(self, data: st.DataObject) -> None:
        draw = self._drawer(data)
        phone = self._phone(draw)
        others = sorted(self.it.reference.people - {phone.uid})
        self.it.block(phone, draw.one(others, "peer"), on=not draw.chance(2))

    # ------------------------------------------------------------------ devices, harm, time

    @rule(data=st.data())
    def come_or_go(self, data: st.DataObject) -> None:
        phone = self._drawer(data).one(self.it.phones, "phone")
        if phone.socket is None:
            self.it.connect(phone)
        else:
            self.it.disconnect(phone)

    @rule(data=st.data(), kind=st.sampled_from(["channel", "session", "journal"]))
    def kill(self, data: st.DataObject, kind: str) -> None:
        draw = self._drawer(data)
        if kind == "journal":
            self.it.kill_journal()
        elif kind == "session":
            self.it.kill(f"session:{draw.one(sorted(self.it.reference.people))}")
        else:
            self.it.kill(f"channel:{draw.one(sorted(self.it.reference.threads))}")

    @precondition(lambda self: not self.it.is_calm)
    @rule()
    def calm_down(self) -> None:
        self.it.calm_down()

    @rule()
    def idle(self) -> None:
        self.it.idle()

    @rule(skew_ms=st.integers(-20_000, 20_000))
    def set_clock(self, skew_ms: int) -> None:
        self.it.set_clock(skew_ms)

    @invariant()
    def agree(self) -> None:
        if self.comparison is not None:
            self.comparison.compare()

    def teardown(self) -> None:
        try:
            if self.comparison is not None:
                try:
                    if sys.exc_info()[0] is None:  # a failed step has said all there is to say
                        self.comparison.finish()
                finally:
                    self.comparison.close()
        finally:
            for patch in self._patches:
                patch.stop()


def test_the_service_does_what_the_protocol_says() -> None:
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(seed(SEED)(Chat), settings=profile)


def test_a_phone_syncs_when_its_session_comes_whatever_it_has_asked_before() -> None:
    """Contacts answer a phone whose session waits for its restart."""
    comparison = Comparison()
    try:
        ann, dan = comparison.phones[0], comparison.phones[-2]
        comparison.disconnect(dan)
        comparison.step([(ann, Create("", "wood", (dan.uid,), "c1"))])
        comparison.kill(f"session:{dan.uid}")
        comparison.connect(dan)
        assert not dan.is_synced
        comparison.block(dan, ann.uid, on=True)
        comparison.calm_down()
        assert dan.is_synced
    finally:
        comparison.close()
