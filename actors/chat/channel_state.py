"""What is committed of one thread, and the rules that only read it.

A `ThreadState` changes in two ways only: a `channel_draft.Draft` is applied after its commit, and
cursors move forward. The rules here answer who may act, what a user may read, which seqs a history
page holds, and how the thread tables follow the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from actors.chat.answers import Code, Refused
from actors.chat.commands import Send
from actors.chat.messages import OWN_CID_PREFIX
from persistence.records import (
    ClientId,
    Cursor,
    Event,
    EventKind,
    Head,
    Member,
    Role,
    Span,
    ThreadId,
    ThreadMeta,
    UserId,
)

RECENT_EVENTS_MAX = 100
"""Newest events kept in memory per live thread: one history page of the largest size, so that the
page everybody opens first never touches the store."""

_decode = msgspec.json.decode


@dataclass(slots=True)
class ThreadState:
    """What is committed of one thread, as far as its channel keeps it in memory.

    `recent` is a gapless run of the newest events, ascending, rewritten in place when a text is
    edited or deleted. `cids` indexes them by (sender, cid).
    """

    thread: ThreadId
    head: Head
    meta: ThreadMeta | None = None
    members: dict[UserId, Member] = field(default_factory=dict)
    recent: list[Event] = field(default_factory=list)
    cids: dict[tuple[UserId, ClientId], Event] = field(default_factory=dict)
    cursors: dict[UserId, Cursor] = field(default_factory=dict)
    blocked: bool = False
    """A direct thread with a block between its two users."""

    @property
    def low(self) -> int:
        """The smallest seq in memory, or one past the head when nothing is."""
        return self.recent[0].seq if self.recent else self.head.seq + 1

    def remember(self, events: Iterable[Event]) -> None:
        """Add newer events to the recent ones and let the oldest go."""
        for event in events:
            self.recent.append(event)
            if event.cid is not None:
                self.cids[event.sender, event.cid] = event
        if len(self.recent) > 2 * RECENT_EVENTS_MAX:
            for event in self.recent[:-RECENT_EVENTS_MAX]:
                if event.cid is not None:
                    self.cids.pop((event.sender, event.cid), None)
            del self.recent[:-RECENT_EVENTS_MAX]

    def at(self, seq: int) -> Event | None:
        """The event at `seq`, if it is in memory."""
        index = seq - self.low
        return self.recent[index] if 0 <= index < len(self.recent) else None

    def active_members(self) -> Iterator[UserId]:
        return (uid for uid, member in self.members.items() if member.left_seq is None)

    def span(self, uid: UserId) -> Span | None:
        """What this user may read, or None for one who was never here."""
        member = self.members.get(uid)
        return None if member is None else Span(member.join_seq, member.left_seq)

    def move_cursor(self, uid: UserId, cursor: Cursor) -> bool:
        """Merge a cursor forward; says whether anything moved."""
        before = self.cursors.get(uid, Cursor())
        after = merge_cursors(before, cursor)
        if after == before:
            return False
        self.cursors[uid] = after
        return True


def merge_cursors(a: Cursor, b: Cursor) -> Cursor:
    """Field by field the farther of two cursors; `read` implies `recv`."""
    ahead = a if a.read >= b.read else b
    return Cursor(max(a.recv, b.recv, ahead.read), ahead.read, max(a.read_n, b.read_n))


def standing(meta: ThreadMeta | None, member: Member | None) -> Member | Refused:
    """Whether someone may act in a thread (PROTOCOL.md §6)."""
    if meta is None or member is None:
        return Refused(Code.NOT_FOUND, "thread: no such thread")
    if member.left_seq is not None:
        return Refused(Code.NOT_MEMBER, "thread: you are not a member any more")
    if meta.deleted:
        return Refused(Code.GONE, "thread: the group was deleted")
    return member


def viewing(meta: ThreadMeta | None, member: Member | None) -> Member | Refused:
    """Whether someone may mark and hide what they read: also after they were removed, but nobody
    once the group is deleted (PROTOCOL.md §3)."""
    if meta is not None and member is not None and not meta.deleted:
        return member
    return standing(meta, member)


def send_refusal(state: ThreadState, command: Send, floor: int, head: int) -> Refused | None:
    """Why a message may not be sent by someone who reads from `floor` to `head`; None if it may."""
    if state.blocked:
        return Refused(Code.BLOCKED, "thread: there is a block between you")
    if command.reply_to is not None and not floor <= command.reply_to <= head:
        return Refused(Code.NOT_FOUND, "reply_to: no such message")
    return None


def typing_refusal(state: ThreadState, uid: UserId) -> Refused | None:
    """Why someone may not show that they are typing; None if they may."""
    member = standing(state.meta, state.members.get(uid))
    if isinstance(member, Refused):
        return member
    if state.blocked:
        return Refused(Code.BLOCKED, "thread: there is a block between you")
    return None


def page_range(
    span: Span,
    head: int,
    limit: int,
    *,
    before: int | None = None,
    after: int | None = None,
    around: int | None = None,
) -> tuple[int, int, bool]:
    """Which seqs a history page holds: (low, high, more). Empty when low > high.

    Seqs are dense, so a page is arithmetic. `before` and `after` exclude their seq, `around`
    includes it; `more` tells of the direction walked, with `around` of older events.
    """
    floor = span.low
    ceiling = head if span.high is None else min(span.high, head)
    if after is not None:
        low = max(floor, after + 1)
        high = min(ceiling, low + limit - 1)
        return low, high, high < ceiling
    if around is not None:
        middle = min(max(around, floor), ceiling)
        high = min(ceiling, middle + (limit - 1) // 2)
        low = max(floor, high - limit + 1)
        high = min(ceiling, low + limit - 1)
        return low, high, low > floor
    high = ceiling if before is None else min(ceiling, before - 1)
    low = max(floor, high - limit + 1)
    return low, high, floor <= high and low > floor


def replay(
    meta: ThreadMeta, members: Mapping[UserId, Member], events: Iterable[Event]
) -> tuple[ThreadMeta, dict[UserId, Member]]:
    """Bring a projection up to date with committed events it has not seen (DESIGN.md §6): the log
    is the truth, the thread tables follow it."""
    current = dict(members)
    for event in events:
        if event.seq <= meta.applied_seq:
            continue
        fields = _decode(event.body)
        if event.kind is EventKind.THREAD:
            given = {k: fields[k] for k in ("name", "about", "avatar", "deleted") if k in fields}
            meta = replace(meta, **given, applied_seq=event.seq)
        elif event.kind is EventKind.MEMBER:
            _replay_member(current, event, fields)
            meta = replace(meta, applied_seq=event.seq)
    return meta, current


def _replay_member(members: dict[UserId, Member], event: Event, fields: dict[str, Any]) -> None:
    uid = UserId(fields["user"])
    match fields["act"]:
        case "add" | "join":
            members[uid] = Member(uid, Role(fields.get("role", "member")), join_seq=event.seq)
        case "remove" | "leave":
            members[uid] = replace(members[uid], left_seq=event.seq)
        case "role":
            role = Role(fields["role"])
            by = UserId(fields["by"])
            if role is Role.OWNER and by != uid:
                members[by] = replace(members[by], role=Role.ADMIN)
            members[uid] = replace(members[uid], role=role)


def shown_to(event: Event, uid: UserId) -> bytes:
    """The event's JSON object as this user sees it: its `cid` only if they wrote it."""
    if event.sender != uid or event.cid is None or event.cid.startswith(OWN_CID_PREFIX):
        return event.body
    return with_cid(event.body, event.cid)


def with_cid(body: bytes, cid: ClientId) -> bytes:
    return body[:-1] + b',"cid":' + msgspec.json.encode(cid) + b"}"


def without_text(body: bytes, **extra: object) -> bytes:
    """An event's JSON object with its text gone."""
    fields = _decode(body)
    for name in ("text", "mentions", "file"):
        fields.pop(name, None)
    fields.update(extra)
    return msgspec.json.encode(fields)


def masked(events: Iterable[tuple[int, bytes]], hidden: frozenset[int]) -> list[bytes]:
    """Bodies of a page for someone who deleted `hidden` for themselves: those messages and their
    edits stay at their seq, without text."""
    shown: list[bytes] = []
    for seq, body in events:
        fields = _decode(body) if b'"e":"edit"' in body else {}
        if seq in hidden:
            shown.append(without_text(body, deleted=True))
        elif fields.get("target") in hidden:
            shown.append(without_text(body))
        else:
            shown.append(body)
    return shown
