"""How a channel learns what is committed of its thread: claim, read back, catch up.

Claiming raises the epoch, which fences whoever wrote before. The thread tables may lag behind the
log (a crash may have come between the two); the log is the truth: what they say is brought up to it
here, before anybody is answered, and to be projected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from actors.chat.answers import Code, Refused
from actors.chat.channel_plan import MaybeRepeat, NeedEvents
from actors.chat.channel_state import RECENT_EVENTS_MAX, ThreadState, replay, send_refusal
from actors.chat.commands import CreateGroup, Send
from actors.chat.messages import Post, dm_members
from actors.chat.privacy import receipts_shown
from actors.chat.services import Services
from persistence.protocols import MessageLog
from persistence.records import (
    ClientId,
    Event,
    Member,
    Projection,
    Role,
    Span,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    UserId,
)

REPLAY_EVENTS_MAX = 1000
"""Events read at a time when the thread tables lag behind the log."""


@dataclass(frozen=True, slots=True)
class Relations:
    """Between the two users of a direct thread: a block, and whether they show receipts."""

    blocked: bool = False
    receipts_shown: bool = True


@dataclass(slots=True)
class Findings:
    """What was read from the log for the posts that wait: old messages with all that refers to
    them, and events that posts may repeat, with the cids that were looked for."""

    related: dict[int, Event] = field(default_factory=dict)
    known: dict[tuple[UserId, ClientId], Event] = field(default_factory=dict)
    _checked: set[tuple[UserId, ClientId]] = field(default_factory=set)

    def lacks(self, post: Post, need: NeedEvents | MaybeRepeat) -> bool:
        """Whether it is still to be looked up."""
        return isinstance(need, NeedEvents) or (post.caller.uid, post.cid) not in self._checked

    async def look_up(
        self, log: MessageLog, thread: ThreadId, post: Post, need: NeedEvents | MaybeRepeat
    ) -> None:
        if isinstance(need, NeedEvents):
            events = await log.related(thread, need.targets)
            self.related.update((event.seq, event) for event in events)
            return
        event = await log.find(thread, post.caller.uid, post.cid)
        self._checked.add((post.caller.uid, post.cid))
        self.add_known([] if event is None else [event])

    def add_known(self, events: Iterable[Event]) -> None:
        self.known.update(((e.sender, e.cid), e) for e in events if e.cid is not None)


async def claim_thread(
    services: Services, known: ThreadState
) -> tuple[ThreadState, dict[UserId, Member] | None]:
    """Take a thread over: the next epoch, head, recent events, members, cursors. What is `known` of
    description and members is brought up to the log; only if nothing is, the tables are read. If it
    lagged, the second value has the members that are to be projected with the description."""
    thread = known.thread
    claim = await services.log.claim(thread, RECENT_EVENTS_MAX)
    state = ThreadState(thread, claim.head, known.meta, known.members, cursors=dict(claim.cursors))
    state.remember(claim.recent)
    if state.meta is None:
        loaded = await services.threads.load(thread)
        if loaded is None:
            return state, None
        state.meta = loaded[0]
        state.members = {member.uid: member for member in loaded[1] if not member.is_promised}
    before = state.members
    state.meta, state.members = await as_logged(services, state.meta, before, claim.head.meta_seq)
    if state.members is before:
        return state, None
    return state, {uid: m for uid, m in state.members.items() if before.get(uid) != m}


async def as_logged(
    services: Services, meta: ThreadMeta, members: dict[UserId, Member], meta_seq: int
) -> tuple[ThreadMeta, dict[UserId, Member]]:
    """A thread's description and members as the log has them at `meta_seq`, from what the tables
    had: the very same if they do not lag. Nothing is written."""
    while meta.applied_seq < meta_seq:
        span = Span(meta.applied_seq + 1, meta_seq)
        events = await services.log.read(
            meta.thread, span, REPLAY_EVENTS_MAX, after=meta.applied_seq
        )
        assert events, "the log ends before its own meta_seq"
        meta, members = replay(meta, members, events)
        if meta.applied_seq < events[-1].seq:
            meta = replace(meta, applied_seq=events[-1].seq)
    return meta, members


async def relations_of(services: Services, thread: ThreadId) -> Relations:
    """What stands between the users of a direct thread; nothing in any other."""
    users = dm_members(thread)
    if len(users) != 2:
        return Relations()
    relations = await services.contacts.relations(users[0], users[1:])
    shown = await receipts_shown(services, users[0], users[1])
    return Relations(relations[users[1]].blocked, shown)


def opening(post: Post, state: ThreadState, now_ms: int) -> Projection | Refused:
    """The thread's rows as its first post makes them, or why that post cannot be a first one: what
    is refused must leave no thread behind."""
    uid, thread = post.caller.uid, state.thread
    match post.command:
        case CreateGroup(name, founders):
            meta = ThreadMeta(thread, ThreadKind.GROUP, name, created_ms=now_ms)
            others = (Member(other, Role.MEMBER, join_seq=1) for other in founders if other != uid)
            return Projection(meta, (Member(uid, Role.OWNER, join_seq=1), *others))
        case Send(opens_dm=True) as send if uid in dm_members(thread):
            refused = send_refusal(state, send, floor=1, head=0)
            if refused is not None:
                return refused
            meta = ThreadMeta(thread, ThreadKind.DM, created_ms=now_ms)
            members = (Member(each, Role.MEMBER, join_seq=1) for each in dm_members(thread))
            return Projection(meta, tuple(members))
    return Refused(Code.NOT_FOUND, "thread: no such thread")
