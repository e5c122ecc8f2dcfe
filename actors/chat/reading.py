"""Answers that are read from the stores: thread lists, history pages, sync, group members.

Each function is one request of one user. They run in tasks of the user's session actor, touch no
actor's state, and may be cancelled at any point without effect.

The thread tables may lag behind the log: for the moment between a commit and its projection, for as
long as they are away, or, after a crash between the two, until the thread's channel starts again.
What is in the log holds for readers all the same (`in_step`): a removal, and also an addition, for
which a row was promised before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from actors.chat.answers import Code, Done, Refused, Result
from actors.chat.channel_delivery import head_event
from actors.chat.channel_loading import as_logged
from actors.chat.channel_state import masked, page_range, shown_to, standing
from actors.chat.messages import (
    History,
    Page,
    dm_members,
)
from actors.chat.privacy import mutual
from actors.chat.services import Services
from persistence.records import (
    Cursor,
    Event,
    Head,
    Member,
    Membership,
    Span,
    Summary,
    ThreadId,
    ThreadKind,
    UserId,
)

LIST_LIMIT_MAX = 200
"""PROTOCOL.md §2, `thread.list` and `group.info`."""

MISSED_MARGIN_MS = 90_000
"""Threads that moved up to this long before a session died are announced again to its devices."""

NOT_FOUND = Refused(Code.NOT_FOUND, "thread: no such thread")


class Line:
    """One thread in a user's list: membership, log summary, and where the user's view of it
    ends."""

    __slots__ = ("head", "membership", "summary")

    def __init__(self, membership: Membership, summary: Summary, head: Head) -> None:
        self.membership = membership
        self.summary = summary
        self.head = head

    @property
    def thread(self) -> ThreadId:
        return self.membership.meta.thread

    @property
    def span(self) -> Span:
        return Span(self.membership.member.join_seq, self.membership.member.left_seq)

    @property
    def removed(self) -> bool:
        return self.membership.member.left_seq is not None or self.membership.meta.deleted


async def lines(services: Services, uid: UserId, rows: Sequence[Membership]) -> list[Line]:
    """The threads of `rows` that have events, with their heads; newest activity first."""
    spans = {row.meta.thread: _span(row.member) for row in rows}
    readers = {thread: {uid, *dm_members(thread)} for thread in spans}
    summaries = await services.log.summaries(spans, readers)
    found = []
    for row in rows:
        summary = summaries.get(row.meta.thread)
        if summary is None or not summary.head.seq:
            continue
        row, summary = await in_step(services, row, summary)  # noqa: PLW2901  (the same, newer)
        if row.member.is_promised:
            continue
        head = summary.head
        left = row.member.left_seq
        if left is not None:
            events = await services.log.read(row.meta.thread, Span(left, left), 1)
            if events:
                head = Head(head.epoch, left, events[0].n, head.meta_seq, events[0].ts_ms)
        found.append(Line(row, summary, head))
    found.sort(key=lambda line: (-line.head.ts_ms, line.thread))
    return found


def _span(member: Member) -> Span:
    """What may be read; nothing is known of someone with a promise, so `in_step` says it later."""
    return Span() if member.is_promised else Span(member.join_seq, member.left_seq)


async def membership_of(services: Services, uid: UserId, thread: ThreadId) -> Membership | None:
    """A user's membership, past or present, of one thread."""
    rows = await services.threads.memberships(uid, (thread,))
    if not rows or not rows[0].member.is_promised:
        return rows[0] if rows else None
    found = await lines(services, uid, rows)
    return found[0].membership if found else None


async def in_step(
    services: Services, row: Membership, summary: Summary
) -> tuple[Membership, Summary]:
    """A membership that was read before (or lags behind) a summary, as of that summary's head, and
    the summary with the newest message that such a member may read."""
    head, thread = summary.head, row.meta.thread
    if row.meta.applied_seq >= head.meta_seq:
        return row, summary
    loaded = await services.threads.load(thread)
    assert loaded is not None, "a thread with a membership is there"
    stored = {member.uid: member for member in loaded[1]}
    meta, members = await as_logged(services, loaded[0], stored, head.meta_seq)
    member = members[row.member.uid]
    span = Span(member.join_seq, head.seq if member.left_seq is None else member.left_seq)
    last = (await services.log.summaries({thread: span}, {}))[thread].last
    return replace(row, meta=meta, member=member), replace(summary, last=last)


async def thread_objects(
    services: Services, uid: UserId, shown: Sequence[Line]
) -> list[dict[str, Any]]:
    """`Thread` objects (PROTOCOL.md §2), in the order given."""
    peers = {peer for line in shown if (peer := peer_of(line.thread, uid)) is not None}
    accounts = await services.accounts.by_ids(peers) if peers else {}
    open_peers = await mutual(services, "receipts", uid, peers) if peers else frozenset()
    objects = []
    for line in shown:
        fields = thread_object(line, uid)
        peer = peer_of(line.thread, uid)
        if peer is not None:
            fields["name"] = accounts[peer].name if peer in accounts else ""
            fields["peer"] = peer
            cursor = line.summary.cursors.get(peer)
            if cursor is not None and peer in open_peers:
                fields |= {"peer_recv": cursor.recv, "peer_read": cursor.read}
        objects.append(fields)
    return objects


def peer_of(thread: ThreadId, uid: UserId) -> UserId | None:
    """The other user of a direct thread (oneself, in a thread with oneself); None for a group."""
    members = dm_members(thread)
    if not members:
        return None
    return next((member for member in members if member != uid), uid)


def thread_object(line: Line, uid: UserId) -> dict[str, Any]:
    """A `Thread` without what only other stores know (the peer's name and cursors)."""
    meta, member, view = line.membership.meta, line.membership.member, line.membership.view
    start = member.join_seq - 1
    cursor = line.summary.cursors.get(uid, Cursor(start, start, 0))
    fields: dict[str, Any] = {
        "thread": meta.thread,
        "kind": meta.kind.value,
        "name": meta.name,
        "head": line.head.seq,
        "head_n": line.head.n,
        "read": min(cursor.read, line.head.seq),
        "read_n": min(cursor.read_n, line.head.n),
        "recv": min(cursor.recv, line.head.seq),
        "unread": max(0, line.head.n - cursor.read_n),
        "ts": line.head.ts_ms,
    }
    if meta.kind is ThreadKind.GROUP:
        fields["role"] = member.role.value
        fields |= {
            key: text for key, text in (("about", meta.about), ("avatar", meta.avatar)) if text
        }
    last = line.summary.last
    if last is not None:
        body = masked([(last.seq, shown_to(last, uid))], line.membership.hidden)[0]
        fields["last"] = msgspec.Raw(body)
    if view.muted_until_ms is not None:
        fields["muted_until"] = view.muted_until_ms
    fields |= {key: True for key in ("pinned", "archived") if getattr(view, key)}
    return fields


async def thread_list(services: Services, uid: UserId, limit: int, after: str | None) -> Result:
    """One page of the user's threads, newest activity first; `next` continues it."""
    found = await lines(services, uid, await services.threads.memberships(uid))
    if after is not None:
        position = _position(after)
        if position is None:
            return Refused(Code.BAD_REQUEST, "after: not a value of next")
        found = [line for line in found if (-line.head.ts_ms, line.thread) > position]
    limit = min(limit, LIST_LIMIT_MAX)
    shown = found[:limit]
    fields: dict[str, Any] = {"threads": await thread_objects(services, uid, shown)}
    if len(found) > limit:
        fields["next"] = f"{shown[-1].head.ts_ms}:{shown[-1].thread}"
    return Done(fields)


def _position(after: str) -> tuple[int, ThreadId] | None:
    ts, _, thread = after.partition(":")
    return (-int(ts), ThreadId(thread)) if ts.isascii() and ts.isdigit() and thread else None


async def group_info(
    services: Services, uid: UserId, thread: ThreadId, after: UserId | None, limit: int
) -> Result:
    """A group's `Thread` and one page of its members, by uid."""
    rows = await services.threads.memberships(uid, (thread,))
    if not rows or rows[0].meta.kind is not ThreadKind.GROUP:
        return NOT_FOUND if not rows else Refused(Code.BAD_REQUEST, "thread: not a group")
    found = await lines(services, uid, rows)
    if not found:
        return NOT_FOUND
    may = standing(found[0].membership.meta, found[0].membership.member)
    if isinstance(may, Refused):
        return may
    loaded = await services.threads.load(thread)
    assert loaded is not None, "a thread with a membership is there"
    stored = {member.uid: member for member in loaded[1]}
    _, current = await as_logged(services, loaded[0], stored, found[0].summary.head.meta_seq)
    members = sorted(
        (member for member in current.values() if member.left_seq is None),
        key=lambda member: member.uid,
    )
    page = [member for member in members if after is None or member.uid > after]
    limit = min(limit, LIST_LIMIT_MAX)
    shown = page[:limit]
    readers = [member.uid for member in shown]
    summaries = await services.log.summaries({thread: Span()}, {thread: readers})
    cursors = summaries[thread].cursors
    fields: dict[str, Any] = {
        "info": (await thread_objects(services, uid, found))[0],
        "members": [
            {"uid": member.uid, "role": member.role.value, "join_seq": member.join_seq}
            | _receipt(cursors.get(member.uid))
            for member in shown
        ],
    }
    if len(page) > limit:
        fields["next"] = shown[-1].uid
    return Done(fields)


def _receipt(cursor: Cursor | None) -> dict[str, int]:
    return {} if cursor is None else {"recv": cursor.recv, "read": cursor.read}


# ---------------------------------------------------------------------------- history


def page_answer(
    events: Iterable[tuple[int, bytes]], hidden: frozenset[int], head: int, *, more: bool
) -> Done:
    bodies = masked(events, hidden) if hidden else [body for _, body in events]
    return Done({"events": raw_list(bodies), "head": head, "more": more})


def raw_list(bodies: Iterable[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(bodies) + b"]")


async def stored_range(
    services: Services, uid: UserId, thread: ThreadId, low: int, high: int
) -> list[tuple[int, bytes]]:
    """The bodies from `low` to `high`, both included, as `uid` sees them."""
    events = await services.log.read(thread, Span(low, high), high - low + 1)
    return [(event.seq, shown_to(event, uid)) for event in events]


async def warm_page(services: Services, page: Page, view: Membership | None) -> Result:
    """The answer to a page whose range a live channel gave: what the channel or the session has not
    in memory, the events or what the user deleted for themselves, is read here."""
    uid, thread = page.request.caller.uid, page.request.thread
    rows = [view] if view is not None else await services.threads.memberships(uid, (thread,))
    events: Iterable[tuple[int, bytes]] | None = page.bodies
    if events is None:
        events = await stored_range(services, uid, thread, page.low, page.high)
    hidden = rows[0].hidden if rows else frozenset()
    return page_answer(events, hidden, page.head, more=page.more)


async def cold_page(services: Services, request: History, membership: Membership) -> Result:
    """A history page of a thread without a live channel: the store is the truth."""
    uid, thread = request.caller.uid, request.thread
    summary = (await services.log.summaries({thread: Span()}, {})).get(thread)
    if summary is None or not summary.head.seq:
        return NOT_FOUND
    membership, summary = await in_step(services, membership, summary)
    if membership.member.is_promised:
        return NOT_FOUND
    span = Span(membership.member.join_seq, membership.member.left_seq)
    head = summary.head.seq if span.high is None else span.high
    low, high, more = page_range(
        span, head, request.limit,
        before=request.before, after=request.after, around=request.around,
    )  # fmt: skip
    events = await stored_range(services, uid, thread, low, high) if low <= high else []
    return page_answer(events, membership.hidden, head, more=more)


# ---------------------------------------------------------------------------- sync


async def sync(
    services: Services, uid: UserId, cursors: Mapping[ThreadId, int], limit: int
) -> Result:
    """Every thread of the user that is ahead of its cursor, newest activity first.

    `limit` counts the events of the whole reply. A thread that did not get all of its events is in
    `more`; a cursor beyond the head is in `reset` and served from the newest page, or, when the
    limit is reached before, in `more` alone; groups that were deleted or left are in `removed`.
    """
    limits = services.limits
    found = await lines(services, uid, await services.threads.memberships(uid))
    ahead = [
        line
        for line in found
        if _is_beyond(line, cursors) or _cursor(line, cursors) < line.head.seq
    ]
    budget = min(limit, limits.sync_events)
    events: dict[str, msgspec.Raw] = {}
    more: list[ThreadId] = []
    shown: list[Line] = []
    for line in ahead:
        is_beyond = _is_beyond(line, cursors)
        if len(shown) == limits.sync_threads or (is_beyond and not budget):
            more.append(line.thread)
            continue
        shown.append(line)
        if is_beyond:
            most = min(budget, limits.history_events)
            low, high, _ = page_range(line.span, line.head.seq, most)
        else:
            low, high = _sync_range(line, cursors, budget)
            if high < line.head.seq:
                more.append(line.thread)
        bodies = await stored_range(services, uid, line.thread, low, high) if low <= high else []
        budget -= len(bodies)
        hidden = line.membership.hidden
        events[line.thread] = raw_list(
            masked(bodies, hidden) if hidden else [body for _, body in bodies]
        )
    return Done(
        {
            "threads": await thread_objects(services, uid, shown),
            "events": events,
            "more": more,
            "removed": [line.thread for line in found if line.removed],
            "reset": sorted(line.thread for line in shown if _is_beyond(line, cursors)),
        }
    )


def _is_beyond(line: Line, cursors: Mapping[ThreadId, int]) -> bool:
    return cursors.get(line.thread, 0) > line.head.seq


def _cursor(line: Line, cursors: Mapping[ThreadId, int]) -> int:
    """Where to go on: a thread absent from the cursors starts at the join."""
    return max(cursors.get(line.thread, 0), line.membership.member.join_seq - 1)


def _sync_range(line: Line, cursors: Mapping[ThreadId, int], budget: int) -> tuple[int, int]:
    low = _cursor(line, cursors) + 1
    return low, min(line.head.seq, low + budget - 1)


async def recent_heads(
    services: Services, uid: UserId, since_ms: int
) -> list[tuple[ThreadId, bytes]]:
    """`head` events of the threads that moved since `since_ms`, or a while before it: for devices
    whose session died then."""
    since_ms -= MISSED_MARGIN_MS
    found = await lines(services, uid, await services.threads.memberships(uid))
    moved = [line for line in found if line.head.ts_ms >= since_ms]
    return [(line.thread, head_event(line.thread, line.head)) for line in moved]


# ---------------------------------------------------------------------------- people


async def find_people(services: Services, people: Collection[str]) -> dict[str, UserId]:
    """Uids for uids and `@name`s; those that do not exist are left out."""
    found: dict[str, UserId] = {}
    uids = {UserId(person) for person in people if not person.startswith("@")}
    if uids:
        found.update((uid, uid) for uid in await services.accounts.by_ids(uids))
    for person in people:
        if person.startswith("@"):
            account = await services.accounts.by_name(person[1:].casefold())
            if account is not None:
                found[person] = account.uid
    return found


async def check_hideable(
    services: Services, membership: Membership, seqs: Collection[int]
) -> Refused | None:
    """Whether these seqs are messages the user may delete for themselves."""
    span = Span(membership.member.join_seq, membership.member.left_seq)
    events: dict[int, Event] = {
        event.seq: event for event in await services.log.related(membership.meta.thread, seqs)
    }
    for seq in seqs:
        beyond = span.high is not None and seq > span.high
        if seq not in events or seq < span.low or beyond:
            return Refused(Code.NOT_FOUND, "seqs: no such message")
        if events[seq].kind.value != "msg":
            return Refused(Code.BAD_REQUEST, "seqs: not a message")
    return None
