"""What a thread's members are told: events in runs of one audience, state events, history pages.

The acting device finds the `ok` in the place of its event; every other device of every member, the
actor's included, gets the event (PROTOCOL.md §4.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from actors.chat.answers import Code, Refused
from actors.chat.channel_draft import Draft
from actors.chat.channel_plan import Settled, Written
from actors.chat.channel_state import ThreadState, page_range, shown_to
from actors.chat.messages import OWN_CID_PREFIX, History, NoPage, Page, Published, Show
from persistence.records import Cursor, Head, ThreadId, UserId


def runs(
    thread: ThreadId, draft: Draft, written: Sequence[Written | Settled]
) -> Iterator[tuple[tuple[UserId, ...], tuple[Published, ...]]]:
    """A committed draft's events, cut where the audience changes: nearly always one run."""
    published = [
        Published(thread, event.seq, event.n, event.kind, event.body, event.sender)
        for event in draft.events
    ]
    for entry in written:
        if isinstance(entry, Written):
            caller = entry.post.caller
            for event in published[entry.first : entry.last + 1]:
                event.origin = caller.device
            last = published[entry.last]
            last.request, last.answer = caller.request, entry.answer
            if not entry.post.cid.startswith(OWN_CID_PREFIX):
                last.cid = entry.post.cid
    start = 0
    for index in range(1, len(published) + 1):
        if index == len(published) or draft.audiences[index] is not draft.audiences[start]:
            yield draft.audiences[start], tuple(published[start:index])
            start = index


def head_event(thread: ThreadId, head: Head) -> bytes:
    """Where the log stands, and under which writer."""
    fields = {"e": "head", "thread": thread, "seq": head.seq, "n": head.n, "epoch": head.epoch}
    return msgspec.json.encode(fields)


def announcements(state: ThreadState) -> Iterator[tuple[Show, tuple[UserId, ...]]]:
    """Where the log stands, for its members; for those who left of late, where it ends for them:
    they may have missed their last event as anybody may have missed theirs."""
    key = ("head", state.thread)
    yield Show(key, head_event(state.thread, state.head)), tuple(state.active_members())
    for member in state.members.values():
        last = None if member.left_seq is None else state.at(member.left_seq)
        if last is not None:
            head = replace(state.head, seq=last.seq, n=last.n)
            yield Show(key, head_event(state.thread, head)), (member.uid,)


def cursor_event(thread: ThreadId, uid: UserId, cursor: Cursor) -> bytes:
    fields = {"e": "cursor", "thread": thread, "user": uid}
    return msgspec.json.encode(fields | {"recv": cursor.recv, "read": cursor.read})


def receipts(
    state: ThreadState, unshown: Mapping[UserId, int], *, to_others: bool
) -> Iterator[tuple[UserId, Show]]:
    """One `cursor` event for each user whose cursor moved (`unshown` names the device that moved
    it): for their other devices, and for the other members if these may see it."""
    for uid, device in unshown.items():
        key = ("cursor", state.thread, uid)
        body = cursor_event(state.thread, uid, state.cursors[uid])
        yield uid, Show(key, body, but=device)
        if to_others:
            for member in state.active_members():
                if member != uid:
                    yield member, Show(key, body)


def typing_event(thread: ThreadId, uid: UserId, *, on: bool) -> bytes:
    return msgspec.json.encode({"e": "typing", "thread": thread, "user": uid, "on": on})


def page_of(state: ThreadState, request: History) -> Page | NoPage:
    """A history page: from memory, or the range of seqs the session may read from the store."""
    uid = request.caller.uid
    span = state.span(uid)
    if span is None:
        return NoPage(request, Refused(Code.NOT_FOUND, "thread: no such thread"))
    head = state.head.seq if span.high is None else span.high
    low, high, more = page_range(
        span,
        head,
        request.limit,
        before=request.before,
        after=request.after,
        around=request.around,
    )
    bodies: tuple[tuple[int, bytes], ...] | None = None
    if low > high:
        bodies = ()
    elif low >= state.low:
        recent = state.recent[low - state.low : high - state.low + 1]
        bodies = tuple((event.seq, shown_to(event, uid)) for event in recent)
    return Page(request, low, high, head, more, bodies)
