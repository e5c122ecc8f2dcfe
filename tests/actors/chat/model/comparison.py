"""The service and the reference, side by side, one step at a time.

A step is one request, or several under way together, perhaps with faults. Afterwards the reference
is moved to where the answers and the log say it must be (`explain`), and everything that can be
seen is held against it. Every method asserts; the state machine and the directed tests only choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import trio

from actors.chat import messages
from actors.chat.messages import Caller
from actors.chat.services import CONTACTS, JOURNAL
from persistence.records import ThreadId, UserId
from tests.actors.chat.model import checks
from tests.actors.chat.model.explain import Asked, Puzzle
from tests.actors.chat.model.hosting import Hosted
from tests.actors.chat.model.phone import Phone, Ticket
from tests.actors.chat.model.reference import Cursor, Reference, Thread
from tests.actors.chat.model.requests import Create, Request
from tests.actors.chat.model.stage import CALM_S, Fault, Stage, open_stage
from tests.actors.chat.model.wire import message_of

T = TypeVar("T")
PHONES = {"ann": 2, "bob": 2, "cat": 1, "dan": 1, "eve": 1}
IDLE_S = 125.0
"""Longer than a quiet channel lives."""


class Comparison:
    """A running service, its users with their phones, and the reference."""

    def __init__(self) -> None:
        self._hosted: Hosted[Stage] = Hosted(open_stage)
        self.stage = self._hosted.stage
        self.is_calm = True
        """Nothing went wrong since everybody was last seen to have everything."""
        self._is_doubtful = False
        """Nobody was told how a request ended: its thread's tables may lag behind its log."""
        self._times: checks.Times = {}
        self._checked: dict[Phone, dict[str, int]] = {}
        self.names = {name: self._run(self._register, name) for name in PHONES}
        self.reference = Reference(frozenset(self.names.values()))
        for phone in self.phones:
            self.connect(phone)

    async def _register(self, name: str) -> UserId:
        return await self.stage.register(name, PHONES[name])

    def close(self) -> None:
        self._hosted.close()

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._hosted.call(function, *args)

    # ------------------------------------------------------------------ phones

    @property
    def phones(self) -> list[Phone]:
        return self.stage.phones

    @property
    def online(self) -> list[Phone]:
        return [phone for phone in self.phones if phone.socket is not None]

    def connect(self, phone: Phone) -> None:
        """Come back: after `sync`, nothing is missing."""
        self._run(self._do, lambda: self.stage.connect(phone))
        if self.is_calm:
            assert phone.is_synced

    def disconnect(self, phone: Phone) -> None:
        self._run(self._do, phone.disconnect)

    async def _do(self, action: Callable[[], None]) -> None:
        action()
        await self.stage.settle()

    # ------------------------------------------------------------------ requests

    def step(
        self, asks: Sequence[tuple[Phone, Request]], faults: Sequence[Fault] = ()
    ) -> list[Asked]:
        """Ask all of these at once, to one thread, while these faults wait for their moment; then
        move the reference to where the answers and the log say it is."""
        tickets, met, known = self._run(self._ask_all, asks, faults)
        assert all(ticket.is_over for ticket in tickets), f"unanswered: {asks}"
        self.is_calm = self.is_calm and not met
        thread, asks = self._thread_of(asks, tickets, known)
        asked = [
            Asked(phone.uid, request, ticket.fields, ticket.code, ticket.is_resubmitted)
            for (phone, request), ticket in zip(asks, tickets, strict=True)
        ]
        lanes: dict[Phone, list[Asked]] = {}
        for (phone, _), each in zip(asks, asked, strict=True):
            lanes.setdefault(phone, []).append(each)
        log = self._run(self.stage.log, thread.id)
        puzzle = Puzzle(self.reference.people, list(lanes.values()), log, bool(met))
        after = puzzle.solve(thread)
        assert after is not None, (
            f"after {met} nothing explains\n{asked}\nof\n{thread}\nwith\n{log}"
        )
        self._keep(after, asks)
        self._is_doubtful = self._is_doubtful or any(each.is_unknown for each in asked)
        for each in asked:
            if each.fields is not None and "ts" in each.fields:
                at = (after.id, each.fields["seq"])
                assert each.fields["ts"] == next(e["ts"] for e in log if e["seq"] == at[1]), asked
        self.compare()
        return asked

    async def _ask_all(
        self, asks: Sequence[tuple[Phone, Request]], faults: Sequence[Fault]
    ) -> tuple[list[Ticket], list[Fault], set[str]]:
        if faults:
            await self.stage.spare()
        self.stage.arm(faults, asks[0][1].thread, asks[0][0])
        tickets = []
        for phone, request in asks:
            assert phone.socket is not None
            build: Callable[[Caller], Any] = lambda caller, request=request: message_of(  # type: ignore[misc]  # noqa: E731
                request, caller
            )
            tickets.append(phone.socket.ask(build))
            tickets[-1].may_repeat = bool(faults)
        await self.stage.settle(tickets)
        return tickets, self.stage.disarm(), await self.stage.threads()

    def _thread_of(
        self, asks: Sequence[tuple[Phone, Request]], tickets: Sequence[Ticket], known: set[str]
    ) -> tuple[Thread, Sequence[tuple[Phone, Request]]]:
        """The thread a step was about. The id of a new group is in its answer, or, if nobody heard
        that, it is the one group that nobody knew."""
        phone, request = asks[0]
        if not isinstance(request, Create):
            return self.reference.thread(request.thread), asks
        new = known - self.reference.threads.keys()
        id_ = self.reference.created.get((phone.uid, request.cid))
        if id_ is None:
            assert len(new) <= 1, f"{request} made {new}"
            id_ = next(iter(new), "")
        named = Create(id_, request.name, request.members, request.cid)
        return self.reference.thread(id_), [(phone, named)]

    def _keep(self, thread: Thread, asks: Sequence[tuple[Phone, Request]]) -> None:
        self.reference.put(thread)
        for phone, request in asks:
            if isinstance(request, Create) and thread.events:
                self.reference.created[phone.uid, request.cid] = thread.id

    # ------------------------------------------------------------------ reading

    def ask(self, phone: Phone, build: Callable[[Caller], Any], *, awaited: bool = True) -> Ticket:
        """A request that writes no event, without faults."""

        async def ask() -> Ticket:
            assert phone.socket is not None
            ticket = phone.socket.ask(build, lambda _: None, awaited=awaited)
            await self.stage.settle([ticket] if awaited else ())
            return ticket

        ticket: Ticket = self._run(ask)
        assert ticket.is_over or not awaited, f"unanswered: {ticket.message}"
        return ticket

    def _settle_doubts(self) -> None:
        """What was acknowledged can be read at once, what is unknown a moment later."""
        if self._is_doubtful:
            self.calm_down()

    def _fields(self, ticket: Ticket) -> Mapping[str, Any]:
        assert ticket.fields is not None, f"{ticket.message}: {ticket.code}"
        return ticket.fields

    def history(
        self, phone: Phone, thread_id: str, limit: int, bound: tuple[str, int] | None
    ) -> None:
        self._settle_doubts()
        given = {} if bound is None else {bound[0]: bound[1]}
        ticket = self.ask(
            phone, lambda caller: messages.History(caller, ThreadId(thread_id), limit, **given)
        )
        thread = self.reference.thread(thread_id)
        if phone.uid not in thread.members:
            assert ticket.code == "not_found", ticket
        else:
            page = self._fields(ticket)
            self._nothing(checks.check_page(thread, phone.uid, page, limit, bound))

    def sync(self, phone: Phone, cursors: Mapping[str, int], limit: int) -> None:
        self._settle_doubts()
        typed = {ThreadId(thread): seq for thread, seq in cursors.items()}
        ticket = self.ask(phone, lambda caller: messages.Sync(caller, typed, limit))
        page = self._fields(ticket)
        self._nothing(checks.check_sync(self.reference, phone.uid, cursors, limit, page))

    def thread_list(self, phone: Phone) -> None:
        self._settle_doubts()
        ticket = self.ask(phone, lambda caller: messages.ThreadList(caller, 200, None))
        lines = self._fields(ticket)["threads"]
        mine = {thread.id: thread for thread in self.reference.of_user(phone.uid)}
        assert {line["thread"] for line in lines} == mine.keys()
        assert [line["ts"] for line in lines] == sorted(
            (line["ts"] for line in lines), reverse=True
        )
        for line in lines:
            self._nothing(checks.check_line(mine[line["thread"]], phone.uid, line))

    def group_info(self, phone: Phone, thread_id: str) -> None:
        self._settle_doubts()
        ticket = self.ask(
            phone, lambda caller: messages.GroupInfo(caller, ThreadId(thread_id), None, 200)
        )
        thread = self.reference.thread(thread_id)
        member = thread.members.get(phone.uid)
        if member is None:
            assert ticket.code == "not_found", ticket
        elif thread.is_dm:
            assert ticket.code == "bad_request", ticket
        elif member.left is not None:
            assert ticket.code == "not_member", ticket
        elif thread.deleted:
            assert ticket.code == "gone", ticket
        else:
            info = self._fields(ticket)
            self._nothing(checks.check_info(thread, info))
            self._nothing(checks.check_line(thread, phone.uid, info["info"]))

    # ------------------------------------------------------------------ what writes no event

    def mark(self, phone: Phone, thread_id: str, cursor: Cursor, *, awaited: bool = True) -> None:
        """`recv` or `read`; where no event was written to tell of it, its receipt tells."""
        ticket = self.ask(
            phone,
            lambda caller: messages.SubmitMark(
                caller, ThreadId(thread_id), cursor.recv or None, cursor.read or None, awaited
            ),
            awaited=awaited,
        )
        thread = self.reference.thread(thread_id)
        member = thread.members.get(phone.uid)
        if member is None:
            assert ticket.code == "not_found" or not awaited, ticket
            return
        before = thread.reach.get(phone.uid, Cursor())
        if ticket.code is not None:
            allowed = {"not_member"} if member.left is not None else set()
            assert ticket.code in allowed | ({"gone"} if thread.deleted else set()), ticket
            return
        thread.mark(phone.uid, cursor, is_sure=ticket.fields is not None)
        has_moved = thread.reach.get(phone.uid, Cursor()) != before.joined(Cursor())
        if has_moved and self.is_calm and ticket.fields is not None:
            self._receipt_heard(phone, thread)

    def _receipt_heard(self, phone: Phone, thread: Thread) -> None:
        self._run(self.stage.advance, 0.1)
        low, high = thread.sure[phone.uid], thread.reach[phone.uid]
        for other in self.online:
            member = thread.members.get(other.uid)
            if other is not phone and member is not None and member.left is None:
                heard = other.receipts[thread.id, phone.uid]
                assert Cursor(heard["recv"], heard["read"]).within(low, high), (other, heard)

    def hide(self, phone: Phone, thread_id: str, seq: int) -> None:
        """`delete` for `me`."""
        ticket = self.ask(
            phone, lambda caller: messages.HideMine(caller, ThreadId(thread_id), (seq,))
        )
        thread = self.reference.thread(thread_id)
        member = thread.members.get(phone.uid)
        if member is not None and thread.deleted:
            assert ticket.code == ("gone" if member.left is None else "not_member"), ticket
        elif member is None or seq not in thread.readable(phone.uid):
            assert ticket.code == "not_found", ticket
        elif not thread.at(seq).is_message:
            assert ticket.code == "bad_request", ticket
        else:
            assert ticket.fields == {}, ticket
            hidden = thread.hidden.get(phone.uid, frozenset())
            thread.hidden[phone.uid] = hidden | {seq}

    def block(self, phone: Phone, peer: str, *, on: bool) -> None:
        verb = "block" if on else "unblock"

        async def ask() -> Ticket:
            socket = phone.socket
            assert socket is not None
            build: Callable[[Caller], Any] = lambda caller: messages.ContactRequest(  # noqa: E731
                caller, socket, verb, {"uid": peer}
            )
            ticket = socket.ask(build, lambda _: None, to=self.stage.system.whereis(CONTACTS))
            await self.stage.settle([ticket])
            return ticket

        assert self._run(ask).fields == {}
        self.reference.block(phone.uid, peer, on=on)

    # ------------------------------------------------------------------ harm, time

    def kill(self, name: str) -> None:
        """End an actor that is there, between two requests."""

        async def kill() -> None:
            await self.stage.spare()
            self.stage.kill(name)
            await self.stage.settle()

        self.is_calm = False
        self._run(kill)

    def kill_journal(self) -> None:
        self.kill(JOURNAL)

    def set_clock(self, skew_ms: int) -> None:
        """Set the wall clock, forth or back."""
        self.stage.skew_ms = skew_ms

    def calm_down(self) -> None:
        """After five seconds everybody online has everything, without a word of theirs."""
        self._run(self.stage.advance, CALM_S)
        self.is_calm = True
        self._is_doubtful = False
        self.compare()

    def idle(self) -> None:
        """So long a silence that nothing is kept in memory for it."""
        self.calm_down()
        self._run(self.stage.advance, IDLE_S)
        online = {f"session:{phone.uid}" for phone in self.online}

        async def alive() -> set[str]:
            await trio.lowlevel.checkpoint()
            names = self.stage.system.names
            return {name for name in names if name.startswith(("session:", "channel:"))}

        assert self._run(alive) == online

    # ------------------------------------------------------------------ comparing

    def compare(self) -> None:
        """Hold everything that can be seen against the reference."""
        logs, members = self._run(self._look)
        for id_, thread in self.reference.threads.items():
            self._nothing(checks.check_log(thread, logs[id_], self._times))
            if self.is_calm:
                self._nothing(checks.check_members(thread, members[id_]))
        for phone in self.phones:
            checked = self._checked.setdefault(phone, {})
            self._nothing(checks.check_phone(phone, self.reference, checked, self._times))
            self._nothing(checks.check_receipts(phone, self.reference))
        if self.is_calm:
            for phone in self.online:
                self._nothing(checks.check_caught_up(phone, self.reference))

    async def _look(self) -> tuple[dict[str, Any], dict[str, Any]]:
        ids = list(self.reference.threads)
        logs = {id_: await self.stage.log(id_) for id_ in ids}
        return logs, {id_: await self.stage.members(id_) for id_ in ids}

    def finish(self) -> None:
        """At the end everybody comes back, and somebody with an empty phone sees everything."""
        assert self._run(self.stage.threads) == self.reference.threads.keys()
        for phone in self.phones:
            if phone.socket is None:
                self.connect(phone)
        self.calm_down()
        for phone in self.phones:
            if phone.name.endswith(" 0"):
                self.thread_list(phone)
                self.disconnect(phone)
                phone.applied.clear()
                self._checked.pop(phone)
                self.connect(phone)
        self.compare()

    def _nothing(self, *broken: Any) -> None:
        sentences = list(chain.from_iterable(broken))
        assert not sentences, "\n".join(sentences)
