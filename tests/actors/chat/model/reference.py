"""The reference: what PROTOCOL.md says of threads, as plain values without an actor in sight.

A `Thread` answers one request at a time, changes itself, and remembers every form its events ever
had. Where the protocol leaves open which of several refusals comes first, an answer names them all.
Nothing is shared with the service: a mistake made there must not be made here by import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tests.actors.chat.model.requests import (
    GROUP_ONLY,
    Add,
    Create,
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
    cid_of,
    content_of,
    people_of,
)

Fields: TypeAlias = dict[str, Any]
GROUP_MEMBERS_MAX = 4
"""The limit the service is run with here (PROTOCOL.md §5), small enough to be met."""


@dataclass(frozen=True)
class Ok:
    """`ok` with these fields, `ts` aside: times are checked apart."""

    fields: Fields


@dataclass(frozen=True)
class Err:
    """`err` with one of these codes."""

    codes: frozenset[str]


Answer: TypeAlias = Ok | Err


@dataclass(frozen=True)
class Event:
    """An event at its seq: who caused it, the form it was pushed in first, its present form last.
    Forms are without `ts` and `cid`."""

    seq: int
    n: int
    author: str
    forms: tuple[Fields, ...]
    cid: str | None = None

    @property
    def now(self) -> Fields:
        return self.forms[-1]

    @property
    def is_message(self) -> bool:
        return bool(self.now["e"] == "msg")

    @property
    def is_deleted(self) -> bool:
        return "deleted" in self.now

    def becomes(self, form: Fields) -> Event:
        return replace(self, forms=(*self.forms, form))


@dataclass(frozen=True)
class Cursor:
    """Received and read up to these seqs."""

    recv: int = 0
    read: int = 0

    def joined(self, other: Cursor) -> Cursor:
        """Forward only; `read` implies `recv`."""
        read = max(self.read, other.read)
        return Cursor(max(self.recv, other.recv, read), read)

    def within(self, low: Cursor, high: Cursor) -> bool:
        return low.recv <= self.recv <= high.recv and low.read <= self.read <= high.read


@dataclass(frozen=True)
class Member:
    """A user's present or last stay, from `join` to `left` (None while it lasts), and those
    before."""

    role: str
    join: int
    left: int | None = None
    earlier: tuple[tuple[int, int], ...] = ()

    @property
    def joins(self) -> frozenset[int]:
        return frozenset((self.join, *(join for join, _ in self.earlier)))

    @property
    def is_manager(self) -> bool:
        return self.role in ("owner", "admin")


@dataclass
class Thread:
    """One thread. `sure` cursors are acknowledged ones, `reach` is the farthest anybody asked for:
    what the service shows lies between."""

    id: str
    events: tuple[Event, ...] = ()
    members: dict[str, Member] = field(default_factory=dict)
    name: str = ""
    deleted: bool = False
    blocked: bool = False
    known: dict[tuple[str, str, bool], tuple[tuple[object, ...], Fields]] = field(
        default_factory=dict
    )
    sure: dict[str, Cursor] = field(default_factory=dict)
    reach: dict[str, Cursor] = field(default_factory=dict)
    hidden: dict[str, frozenset[int]] = field(default_factory=dict)

    def copy(self) -> Thread:
        return replace(
            self, members=dict(self.members), known=dict(self.known), sure=dict(self.sure),
            reach=dict(self.reach), hidden=dict(self.hidden),
        )  # fmt: skip

    # ------------------------------------------------------------------ looking

    @property
    def is_dm(self) -> bool:
        return self.id.startswith("d:")

    @property
    def pair(self) -> tuple[str, ...]:
        """The users of a direct thread."""
        return tuple(dict.fromkeys(self.id.split(":")[1:])) if self.is_dm else ()

    @property
    def head(self) -> int:
        return len(self.events)

    @property
    def active(self) -> dict[str, Member]:
        return {user: member for user, member in self.members.items() if member.left is None}

    def head_for(self, user: str) -> int:
        """The last seq this user may read; for a removed member that of the removal."""
        left = self.members[user].left
        return self.head if left is None else left

    def n_at(self, seq: int) -> int:
        """How many messages there are up to `seq`."""
        return self.events[seq - 1].n if seq else 0

    def at(self, seq: int) -> Event:
        return self.events[seq - 1]

    def readable(self, user: str) -> range:
        return range(self.members[user].join, self.head_for(user) + 1)

    def messages(self) -> Iterator[Event]:
        return (event for event in self.events if event.is_message)

    def shown(self, user: str, seq: int) -> Fields:
        """The present form of an event for this user: without the text of what they deleted for
        themselves."""
        form = dict(self.at(seq).now)
        if {seq, form.get("target")} & self.hidden.get(user, frozenset()):
            form.pop("text", None)
        return form

    # ------------------------------------------------------------------ answering

    def answer(self, user: str, request: Request, people: frozenset[str]) -> Answer:
        """Carry a request out, or refuse it whole; `people` are the users that exist."""
        repeat = self._repeat(user, request)
        if repeat is not None:
            return repeat
        faults = frozenset(self._faults(user, request, people))
        if faults:
            return Err(faults)
        before = self.head
        self._write(user, request)
        cid = cid_of(request)
        if self.head == before:
            return Ok({})
        fields: Fields = {"seq": self.head}
        if isinstance(request, Send):
            fields |= {"thread": self.id, "n": self.events[-1].n}
        elif isinstance(request, Create):
            fields |= {"thread": self.id}
        if cid is not None:
            self.known[_key(user, request, cid)] = (content_of(request), fields)
            self.events = (*self.events[:-1], replace(self.events[-1], cid=cid))
        return Ok(fields)

    def _repeat(self, user: str, request: Request) -> Answer | None:
        """A repeat is recognised before anything else is checked (§4.4)."""
        cid = cid_of(request)
        known = None if cid is None else self.known.get(_key(user, request, cid))
        if known is None:
            return None
        content, fields = known
        if content != content_of(request):
            return Err(frozenset({"conflict"}))
        return Ok(fields | {"dup": True})

    def _faults(self, user: str, request: Request, people: frozenset[str]) -> Iterator[str]:
        """The codes of everything that is wrong with a request."""
        if not people.issuperset(people_of(request)):
            yield "not_found"
        if isinstance(request, Create):
            if len({user, *request.members}) > GROUP_MEMBERS_MAX:
                yield "limit"
            return
        member = self.members.get(user)
        opens = isinstance(request, Send) and request.to is not None and user in self.pair
        if opens and self.blocked:
            yield "blocked"
        if member is None:
            yield from self._unopened_faults(user, request, opens=opens)
            return
        if member.left is not None:
            yield "not_member"
        elif self.deleted:
            yield "gone"
        elif self.is_dm and isinstance(request, GROUP_ONLY):
            yield "bad_request"
        elif isinstance(request, GROUP_ONLY):
            yield from self._group_faults(user, member, request)
        else:
            yield from self._message_faults(user, member, request)

    def _unopened_faults(self, user: str, request: Request, *, opens: bool) -> Iterator[str]:
        """A thread that never was the user's. For the two of a direct thread without a message yet,
        what else is wrong may be said first."""
        if not opens or (isinstance(request, Send) and request.reply_to is not None):
            yield "not_found"
            if user in self.pair and not self.events:
                if self.blocked and isinstance(request, Send | Edit | React):
                    yield "blocked"
                if isinstance(request, GROUP_ONLY):
                    yield "bad_request"

    def _message_faults(self, user: str, member: Member, request: Request) -> Iterator[str]:
        if self.blocked and isinstance(request, Send | Edit | React):
            yield "blocked"
        match request:
            case Send(reply_to=int(reply_to)) if not member.join <= reply_to <= self.head:
                yield "not_found"
            case Edit(seq=seq):
                fault = self._target_fault(member, seq)
                if fault is not None:
                    yield fault
                    return
                if self.at(seq).author != user:
                    yield "forbidden"
                if self.at(seq).is_deleted:
                    yield "gone"
            case React(seq=seq):
                fault = self._target_fault(member, seq)
                if fault is not None:
                    yield fault
                elif self.at(seq).is_deleted:
                    yield "gone"
            case Delete(seqs=seqs):
                for seq in seqs:
                    fault = self._target_fault(member, seq)
                    if fault is not None:
                        yield fault
                    elif self.at(seq).author != user and (self.is_dm or not member.is_manager):
                        yield "forbidden"

    def _target_fault(self, member: Member, seq: int) -> str | None:
        if not member.join <= seq <= self.head:
            return "not_found"
        return None if self.at(seq).is_message else "bad_request"

    def _group_faults(self, user: str, member: Member, request: Request) -> Iterator[str]:
        active = self.active
        if isinstance(request, Update | Add | Remove) and not member.is_manager:
            yield "forbidden"
        if isinstance(request, SetRole | DeleteGroup) and member.role != "owner":
            yield "forbidden"
        match request:
            case Add(users=users):
                if active.keys() & set(users):
                    yield "conflict"
                if len(active) + len(set(users)) > GROUP_MEMBERS_MAX:
                    yield "limit"
            case Remove(user=other) | SetRole(user=other):
                assert other != user, "what one may do to oneself is not written anywhere"
                if other not in active:
                    yield "not_found"
                elif isinstance(request, Remove) and active[other].role == "owner":
                    yield "forbidden"
            case Leave() if member.role == "owner":
                yield "conflict"

    # ------------------------------------------------------------------ writing

    def _write(self, user: str, request: Request) -> None:
        match request:
            case Send(text=text, reply_to=reply_to):
                if not self.members:
                    self.members = {each: Member("member", 1) for each in self.pair}
                reply = {} if reply_to is None else {"reply_to": reply_to}
                self._append(user, {"e": "msg", "from": user, "text": text} | reply)
                self._moved(user, Cursor(self.head, self.head))
            case Edit(seq=seq, text=text):
                self._append(user, {"e": "edit", "from": user, "target": seq, "text": text})
                self._rewrite(seq, self.at(seq).now | {"text": text, "edited": self.head})
            case Delete(seqs=seqs):
                for seq in dict.fromkeys(seqs):
                    if not self.at(seq).is_deleted:
                        self._delete(user, seq)
            case React(seq=seq, emoji=emoji, on=on):
                form = {"e": "react", "from": user, "target": seq, "emoji": emoji, "on": on}
                self._append(user, form)
            case Create(name=name, members=members):
                self.members = {each: Member("member", 1) for each in members}
                self.members[user] = Member("owner", 1)
                self._append(user, {"e": "thread", "by": user, "name": name})
                self.name = name
            case Update(name=name):
                self._append(user, {"e": "thread", "by": user, "name": name})
                self.name = name
            case DeleteGroup():
                self._append(user, {"e": "thread", "by": user, "deleted": True})
                self.deleted = True
            case _:
                self._write_member(user, request)

    def _write_member(self, user: str, request: Request) -> None:
        match request:
            case Add(users=users):
                for each in dict.fromkeys(users):
                    self._member_event(user, each, "add", role="member")
                    self._join(each)
            case Remove(user=other):
                self._member_event(user, other, "remove")
                self.members[other] = replace(self.members[other], left=self.head)
            case Leave():
                self._member_event(user, user, "leave")
                self.members[user] = replace(self.members[user], left=self.head)
            case SetRole(user=other, role=role):
                self._member_event(user, other, "role", role=role)
                self.members[other] = replace(self.members[other], role=role)
                if role == "owner":
                    self.members[user] = replace(self.members[user], role="admin")

    def _join(self, user: str) -> None:
        """From the event just written on; `recv` and `read` start just before it."""
        before = self.members.get(user)
        earlier: tuple[tuple[int, int], ...] = ()
        if before is not None and before.left is not None:
            earlier = (*before.earlier, (before.join, before.left))
        self.members[user] = Member("member", self.head, earlier=earlier)
        self._moved(user, Cursor(self.head - 1, self.head - 1))

    def _delete(self, user: str, seq: int) -> None:
        self._append(user, {"e": "del", "from": user, "target": seq})
        self._rewrite(seq, _without_text(self.at(seq).now) | {"deleted": True})
        for event in self.events:
            if event.now["e"] == "edit" and event.now["target"] == seq:
                self._rewrite(event.seq, _without_text(event.now))

    def _member_event(self, by: str, user: str, act: str, **extra: str) -> None:
        self._append(by, {"e": "member", "by": by, "user": user, "act": act} | extra)

    def _append(self, user: str, form: Fields) -> None:
        seq, n = self.head + 1, self.n_at(self.head)
        form = form | {"thread": self.id, "seq": seq}
        if form["e"] == "msg":
            n += 1
            form["n"] = n
        self.events = (*self.events, Event(seq, n, user, (form,)))

    def _rewrite(self, seq: int, form: Fields) -> None:
        if form != self.at(seq).now:
            event = self.at(seq).becomes(form)
            self.events = (*self.events[: seq - 1], event, *self.events[seq:])

    # ------------------------------------------------------------------ cursors

    def _moved(self, user: str, cursor: Cursor) -> None:
        self.sure[user] = self.sure.get(user, Cursor()).joined(cursor)
        self.reach[user] = self.reach.get(user, Cursor()).joined(cursor)

    def mark(self, user: str, cursor: Cursor, *, is_sure: bool) -> None:
        """`recv` or `read`, clamped to the head this user sees; `is_sure` once it was answered
        `ok`."""
        head = self.head_for(user)
        clamped = Cursor(min(cursor.recv, head), min(cursor.read, head))
        self.reach[user] = self.reach.get(user, Cursor()).joined(clamped)
        if is_sure:
            self._moved(user, clamped)

    def cursor_bounds(self, user: str) -> tuple[Cursor, Cursor]:
        """Between what and what the service's cursor of this user lies."""
        start = Cursor(self.members[user].join - 1, self.members[user].join - 1)
        head = self.head_for(user)
        low, high = (start.joined(cursors.get(user, start)) for cursors in (self.sure, self.reach))
        return (
            Cursor(min(low.recv, head), min(low.read, head)),
            Cursor(min(high.recv, head), min(high.read, head)),
        )


def _key(user: str, request: Request, cid: str) -> tuple[str, str, bool]:
    """`send` and `edit` share one name space, `group.create` has its own (§4.4)."""
    return user, cid, isinstance(request, Create)


def _without_text(form: Fields) -> Fields:
    return {key: value for key, value in form.items() if key != "text"}


@dataclass
class Reference:
    """Everything: users that exist, threads, blocks, and the cids of `group.create` per creator."""

    people: frozenset[str]
    threads: dict[str, Thread] = field(default_factory=dict)
    blocks: set[tuple[str, str]] = field(default_factory=set)
    created: dict[tuple[str, str], str] = field(default_factory=dict)

    def thread(self, id_: str) -> Thread:
        """The thread of this id, which may have no event yet. Not kept unless put."""
        found = self.threads.get(id_)
        if found is None:
            found = Thread(id_)
            found.blocked = self.is_blocked(found.pair)
        return found

    def put(self, thread: Thread) -> None:
        if thread.events:
            self.threads[thread.id] = thread

    def is_blocked(self, pair: tuple[str, ...]) -> bool:
        return any((a, b) in self.blocks for a in pair for b in pair)

    def block(self, by: str, peer: str, *, on: bool) -> None:
        (self.blocks.add if on else self.blocks.discard)((by, peer))
        thread = self.threads.get(dm_of(by, peer))
        if thread is not None:
            thread.blocked = self.is_blocked(thread.pair)

    def of_user(self, user: str) -> Iterator[Thread]:
        """The threads this user is or was a member of."""
        return (thread for thread in self.threads.values() if user in thread.members)


def dm_of(a: str, b: str) -> str:
    """A direct thread's id: the smaller uid first, compared as text."""
    return f"d:{min(a, b)}:{max(a, b)}"
