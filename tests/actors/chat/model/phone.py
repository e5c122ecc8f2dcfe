"""A device by the book: what a client shows, and what its sockets were given.

A `Phone` applies `seq == last + 1`, drops what it has, asks `history` on a jump or a `head` beyond,
and comes back with `sync` until nothing is left (PROTOCOL.md §4.3, §6). A `Socket` is a connection
of it: the `Device` that the session actor sees, with the gateway's part of the bargain, which is to
attach again when the session dies and to pass on what it has not answered.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from actors.chat import commands
from actors.chat.answers import Refused, Result
from actors.chat.channel_state import with_cid
from actors.chat.messages import (
    Caller,
    Detach,
    GroupCreate,
    GroupInfo,
    History,
    Published,
    SubmitMark,
    SubmitPost,
    Sync,
    ThreadList,
)  # fmt: skip
from actors.runtime import Ref
from persistence.records import SessionId, ThreadId, UserId
from tests.actors.chat.model.wire import fields_of

SYNC_EVENTS = 3
"""Events in one `sync` reply: so few that coming back takes several."""
TEMPORARY = ("unavailable", "timeout")
_numbers = count(1)


@dataclass(frozen=True)
class Seen:
    """An event that took effect on a phone. `form` is None where an `ok` stood for it; `is_pushed`
    tells a live event from one that was asked for."""

    seq: int
    form: dict[str, Any] | None
    is_pushed: bool


@dataclass
class Ticket:
    """A request: its answer, or the knowledge that its socket closed first."""

    message: Any
    on_answer: Callable[[Ticket], None] | None = None
    fields: dict[str, Any] | None = None
    code: str | None = None
    is_cut: bool = False
    is_resubmitted: bool = False
    may_repeat: bool = False
    """Somebody may have died of it before it was answered: it is carried out again inside, and what
    stands in the log already is its answer."""

    @property
    def is_over(self) -> bool:
        return self.fields is not None or self.code is not None or self.is_cut


def is_post(message: Any) -> bool:
    """Whether a request only appends to a thread: it waits for what `holds` alone."""
    if isinstance(message, SubmitPost):
        return isinstance(message.command, commands.Send | commands.Edit | commands.React)
    return isinstance(message, SubmitMark)


def holds(message: Any) -> bool:
    """Whether the gateway lets everything wait for a request."""
    return not is_post(message) and not isinstance(
        message, GroupCreate | GroupInfo | History | Sync | ThreadList
    )


class Phone:
    """One device of one user. `fetches` counts what it had to ask for beyond its first `sync`;
    `broken` are promises that the service broke towards it."""

    def __init__(self, name: str, uid: UserId, sid: SessionId) -> None:
        self.name = name
        self.uid = uid
        self.sid = sid
        self.socket: Socket | None = None
        self.is_synced = False
        self.applied: defaultdict[str, list[Seen]] = defaultdict(list)
        self.heads: list[dict[str, Any]] = []
        self.receipts: dict[tuple[str, str], dict[str, Any]] = {}
        self.fetches = 0
        self.broken: list[str] = []
        self._wanted: defaultdict[str, int] = defaultdict(int)
        self._fetching: set[str] = set()

    def __repr__(self) -> str:
        return self.name

    def last(self, thread: str) -> int:
        """The seq up to which this phone has everything it may have."""
        seen = self.applied.get(thread)
        return seen[-1].seq if seen else 0

    # ------------------------------------------------------------------ connection

    def connect(self) -> Socket:
        """A new socket, attached by whoever stands for the gateway; `attached` goes on."""
        assert self.socket is None
        self.socket = Socket(self)
        self.is_synced = False
        return self.socket

    def disconnect(self) -> None:
        """The socket is lost; what it had not answered nobody will hear of."""
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.gone()
        self.is_synced = False
        self._fetching.clear()

    def sync(self) -> None:
        assert self.socket is not None
        cursors = {ThreadId(thread): self.last(thread) for thread in self.applied}
        self.socket.ask(lambda caller: Sync(caller, cursors, SYNC_EVENTS), self._synced)

    def _synced(self, ticket: Ticket) -> None:
        if ticket.fields is None:
            if self._may_ask_again(ticket):
                self.sync()
            return
        if ticket.fields["reset"]:
            self.broken.append(f"{self}: the log ends before {ticket.fields['reset']}")
        for thread, events in ticket.fields["events"].items():
            self._fetched(thread, events)
        for thread in ticket.fields["threads"]:
            self._wanted[thread["thread"]] = max(self._wanted[thread["thread"]], thread["head"])
        if ticket.fields["more"]:
            self.sync()
            return
        self.is_synced = True
        for thread in list(self._wanted):
            self._fetch(thread)

    # ------------------------------------------------------------------ events

    def pushed(self, event: dict[str, Any]) -> None:
        """A live event."""
        self._effect(event["thread"], Seen(event["seq"], event, is_pushed=True))

    def acknowledged(self, thread: str, seq: int) -> None:
        """An `ok` stands for the event of this phone's own request."""
        self._effect(thread, Seen(seq, None, is_pushed=True))

    def _effect(self, thread: str, seen: Seen) -> None:
        last = self.last(thread)
        if seen.seq == last + 1:
            self.applied[thread].append(seen)
        elif seen.seq > last:
            self.beyond(thread, seen.seq)

    def beyond(self, thread: str, head: int) -> None:
        """The thread is at least at `head`: ask for what is missing."""
        self._wanted[thread] = max(self._wanted[thread], head)
        if self.is_synced:
            self._fetch(thread)

    def _fetch(self, thread: str) -> None:
        last = self.last(thread)
        if last >= self._wanted[thread] or thread in self._fetching or self.socket is None:
            return
        self._fetching.add(thread)
        self.fetches += 1

        def fetched(ticket: Ticket) -> None:
            self._fetching.discard(thread)
            if ticket.fields is None:
                if not self._may_ask_again(ticket):
                    return
            else:
                self._wanted[thread] = max(self._wanted[thread], ticket.fields["head"])
                self._fetched(thread, ticket.fields["events"])
                if self.last(thread) == last < self._wanted[thread]:
                    self.broken.append(f"{self}: {thread} has nothing after {last}")
                    return
            self._fetch(thread)

        self.socket.ask(lambda caller: History(caller, ThreadId(thread), 100, after=last), fetched)

    def _may_ask_again(self, ticket: Ticket) -> bool:
        """After a read failed: a passing trouble is sat out, any other refusal is a fault."""
        if not ticket.is_cut and ticket.code not in TEMPORARY:
            self.broken.append(f"{self}: {ticket.message} refused: {ticket.code}")
        return ticket.code in TEMPORARY

    def _fetched(self, thread: str, events: list[dict[str, Any]]) -> None:
        """A page that begins after all this phone has. It may begin later than asked, at the seq
        where the user joined: what lies between they may not read."""
        for event in events:
            if event["seq"] > self.last(thread):
                self.applied[thread].append(Seen(event["seq"], event, is_pushed=False))

    def state(self, body: dict[str, Any]) -> None:
        """A state event."""
        if body["e"] == "head":
            self.heads.append(body)
            self.beyond(body["thread"], body["seq"])
        elif body["e"] == "cursor":
            self.receipts[body["thread"], body["user"]] = body


@dataclass(eq=False)
class Socket:
    """One connection: `actors.chat.messages.Device`."""

    phone: Phone
    session: Ref | None = None
    lost_at_ms: int | None = None
    number: int = field(default_factory=lambda: next(_numbers))
    is_gone: bool = False
    _was_attached: bool = False
    _pending: dict[int, Ticket] = field(default_factory=dict)
    _backlog: deque[tuple[int, Ticket, Ref | None]] = field(default_factory=deque)
    _asked: int = 0
    _given: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def sid(self) -> SessionId:
        return self.phone.sid

    @sid.setter
    def sid(self, _: SessionId) -> None:
        raise AttributeError("a socket's session does not change")

    @property
    def uid(self) -> UserId:
        return self.phone.uid

    # ------------------------------------------------------------------ the gateway's part

    def ask(
        self,
        build: Callable[[Caller], Any],
        on_answer: Callable[[Ticket], None] | None = None,
        *,
        awaited: bool = True,
        to: Ref | None = None,
    ) -> Ticket:
        """Number a request and pass it on, to the session if to nobody else; not `awaited`, it is
        a `recv` or `read` without id."""
        self._asked += 1
        number = self._asked if awaited else 0
        ticket = Ticket(build(Caller(self.uid, self.number, number)), on_answer)
        self._backlog.append((number, ticket, to))
        self._advance()
        return ticket

    def _advance(self) -> None:
        """Pass on what may go: most requests wait for all before them, and all after for them."""
        while self._backlog:
            number, ticket, to = self._backlog[0]
            pending = [each.message for each in self._pending.values()]
            if any(map(holds, pending)) if is_post(ticket.message) else pending:
                return
            self._backlog.popleft()
            if number:
                self._pending[number] = ticket
            receiver = to or self.session
            if receiver is not None:
                receiver.cast(ticket.message)

    def resubmit(self) -> None:
        """The session is up again: pass on what it has not answered."""
        assert self.session is not None
        for ticket in self._pending.values():
            ticket.is_resubmitted = True
            self.session.cast(ticket.message)

    def gone(self) -> None:
        """The socket closed."""
        self.is_gone = True
        if self.session is not None:
            self.session.cast(Detach(self.number))
        tickets = [*self._pending.values(), *(ticket for _, ticket, _ in self._backlog)]
        self._pending.clear()
        self._backlog.clear()
        for ticket in tickets:
            ticket.is_cut = True
            if ticket.on_answer is not None:
                ticket.on_answer(ticket)

    # ------------------------------------------------------------------ Device

    def attached(self) -> None:
        if not self._was_attached:  # later it is the same socket at another session
            self._was_attached = True
            self.phone.sync()

    def answer(self, request: int, result: Result) -> bool:
        ticket = self._pending.pop(request, None)
        if ticket is None:
            return False
        if isinstance(result, Refused):
            ticket.code = str(result.code.value)
        else:
            ticket.fields = fields_of(result)
            self._own_event(ticket)
        if ticket.on_answer is not None:
            ticket.on_answer(ticket)
        self._advance()
        return True

    def _own_event(self, ticket: Ticket) -> None:
        """An `ok` with a seq is the delivery of that event, and stands where it belongs."""
        assert ticket.fields is not None
        thread = ticket.fields.get("thread", getattr(ticket.message, "thread", None))
        if ticket.on_answer is not None or thread is None or "seq" not in ticket.fields:
            return
        if not (ticket.fields.get("dup") or ticket.is_resubmitted or ticket.may_repeat):
            self._given_now(thread, ticket.fields["seq"])
        self.phone.acknowledged(thread, ticket.fields["seq"])

    def _given_now(self, thread: str, seq: int) -> None:
        """On one connection each event comes once and in order, which is more than "at least once"
        (PROTOCOL.md §4.3) asks."""
        if seq <= self._given[thread]:
            self.phone.broken.append(f"{self.phone}: {thread} {seq} after {self._given[thread]}")
        self._given[thread] = max(seq, self._given[thread])

    def deliver(self, event: Published) -> None:
        body = event.body
        if event.cid is not None and event.author == self.uid:
            body = with_cid(body, event.cid)
        self._given_now(event.thread, event.seq)
        self.phone.pushed(msgspec.json.decode(body))

    def show(self, key: tuple[str, ...], body: bytes) -> None:
        self.phone.state(msgspec.json.decode(body))

    def hint(self, body: bytes) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        self.phone.broken.append(f"{self.phone}: closed {code} {reason}")
