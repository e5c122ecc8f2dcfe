"""The channel actor: the one writer of one live thread.

It exists while its thread has traffic. Starting, it claims the next epoch (which fences every
earlier writer), loads head, members and recent events, and tells the members online where the log
stands. Then posts queue, are planned into a draft (`channel_draft`), committed through the journal,
and only after that answered and delivered, in seq order. One commit is in flight; what arrives
meanwhile gathers into the next.

Whatever is unknown is settled, never guessed: if the journal dies or cannot say how a commit ended,
the channel claims a new epoch, reads back, and plans the same posts again; those that had been
committed are recognised by their cids (DESIGN.md §6).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Any

import msgspec
import trio
from outcome import Error, Outcome, Value

from actors.chat import journal
from actors.chat.channel_draft import (
    Draft,
    MaybeRepeat,
    NeedEvents,
    Rules,
    Settled,
    Written,
)
from actors.chat.channel_state import (
    RECENT_EVENTS_MAX,
    ThreadState,
    page_range,
    replay,
    shown_to,
    standing,
)
from actors.chat.messages import (
    OWN_CID_PREFIX,
    Answer,
    BlockChanged,
    Caller,
    Code,
    CommitFailed,
    CreateGroup,
    Deliver,
    Done,
    Hint,
    Mark,
    NoPage,
    Page,
    Post,
    Published,
    ReadPage,
    Refused,
    Result,
    Send,
    Show,
    Typing,
    ViewChanged,
    dm_members,
    session_name,
)
from actors.chat.privacy import receipts_shown
from actors.chat.services import JOURNAL, Services
from actors.runtime import Actor, Down, NameUp, Ref, Shutdown
from persistence.records import (
    ClientId,
    Committed,
    Cursor,
    Deposed,
    Event,
    Head,
    Member,
    Projection,
    Repeated,
    Role,
    Span,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    UserId,
)

BATCH_EVENTS_MAX = 256
"""Events of one thread in one commit: bounds the time others wait for a flood in one thread."""

QUEUE_POSTS_MAX = 2000
"""Posts waiting in one thread; beyond it posts are answered `unavailable`."""

REPLAY_EVENTS_MAX = 1000
"""Events read at a time when the thread tables lag behind the log."""


class _Tick:
    """Timer messages, each its own singleton."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


_IDLE = _Tick("idle check")
_FLUSH = _Tick("flush cursors")
_RECEIPTS = _Tick("show receipts")


class Channel(Actor):
    """Named `channel:<thread>`. Dynamic, transient: restarted on a crash, gone when idle."""

    def __init__(self, thread: ThreadId, services: Services) -> None:
        super().__init__()
        self._services = services
        self._rules = Rules(services.limits.group_members)
        self._state = ThreadState(thread, Head())
        self._queue: deque[Post] = deque()
        self._busy = False
        self._taken: list[Post] = []
        self._draft: Draft | None = None
        self._written: list[Written | Settled] = []
        self._token = 0
        self._related: dict[int, Event] = {}
        self._known: dict[tuple[UserId, ClientId], Event] = {}
        self._checked: set[tuple[UserId, ClientId]] = set()
        self._dirty: dict[UserId, Cursor] = {}
        self._unshown: dict[UserId, int] = {}
        self._awaiting_flush: list[Caller] = []
        self._flushing: list[Caller] = []
        self._flush_due = False
        self._flush_timer = False
        self._receipts_shown = True
        self._stale = False
        self._journal: Ref | None = None
        self._active_at = 0.0

    # ------------------------------------------------------------------ life

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await self._load()
        self._active_at = trio.current_time()
        self.send_after(self._services.times.channel_idle_s, _IDLE)
        self._announce()

    async def _load(self) -> None:
        """Claim the thread and read back what is committed of it."""
        thread = self._state.thread
        claim = await self._services.log.claim(thread, RECENT_EVENTS_MAX)
        state = ThreadState(thread, claim.head, cursors=dict(claim.cursors))
        state.remember(claim.recent)
        loaded = await self._services.threads.load(thread)
        if loaded is not None:
            state.meta = loaded[0]
            state.members = {member.uid: member for member in loaded[1]}
            await self._catch_up(state)
        self._state = state
        await self._load_relations()

    async def _catch_up(self, state: ThreadState) -> None:
        """Bring the thread tables to where the log is: a crash may have come between the two."""
        assert state.meta is not None
        before = state.members
        while state.meta.applied_seq < state.head.meta_seq:
            span = Span(state.meta.applied_seq + 1, state.head.meta_seq)
            events = await self._services.log.read(
                state.thread, span, REPLAY_EVENTS_MAX, after=state.meta.applied_seq
            )
            assert events, "the log ends before its own meta_seq"
            state.meta, state.members = replay(state.meta, state.members, events)
            if state.meta.applied_seq < events[-1].seq:
                state.meta = replace(state.meta, applied_seq=events[-1].seq)
        if state.members is not before:
            members = tuple(m for uid, m in state.members.items() if before.get(uid) != m)
            await self._services.threads.project(Projection(state.meta, members))

    async def _load_relations(self) -> None:
        users = dm_members(self._state.thread)
        if len(users) != 2:
            return
        relations = await self._services.contacts.relations(users[0], users[1:])
        self._state.blocked = relations[users[1]].blocked
        self._receipts_shown = await receipts_shown(self._services, users[0], users[1])

    def _announce(self) -> None:
        """Tail safety: every member online hears where the log stands (PROTOCOL.md §4.6)."""
        head = self._state.head
        if not head.seq:
            return
        body = msgspec.json.encode(
            {"e": "head", "thread": self._state.thread, "seq": head.seq, "n": head.n,
             "epoch": head.epoch}
        )  # fmt: skip
        show = Show(("head", self._state.thread), body)
        for uid in self._state.active_members():
            self._tell(uid, show)

    def on_receive(self, message: Any) -> None:
        match message:
            case Post():
                self._post(message)
            case journal.Receipt():
                self._receipt(message)
            case Mark():
                self._mark(message)
            case ReadPage():
                self._page(message)
            case Typing():
                self._typing(message)
            case BlockChanged():
                self._stale = True
                self._pump()
            case NameUp():
                self._pump()
            case Down():
                self._journal_down(message)
            case _Tick():
                self._tick(message)

    def _tick(self, tick: _Tick) -> None:
        if tick is _FLUSH:
            self._flush_timer = False
            self._flush_due = self._flush_due or bool(self._dirty)
            self._pump()
        elif tick is _RECEIPTS:
            self._show_receipts()
        elif tick is _IDLE:
            self._idle()

    def _idle(self) -> None:
        idle_s = self._services.times.channel_idle_s
        quiet_s = trio.current_time() - self._active_at
        if quiet_s < idle_s or self._busy or self._queue or self._dirty:
            self.send_after(max(idle_s - quiet_s, 1.0), _IDLE)
        else:
            self.stop()

    # ------------------------------------------------------------------ posts

    def _post(self, post: Post) -> None:
        self._active_at = trio.current_time()
        if len(self._queue) >= QUEUE_POSTS_MAX:
            busy = Refused(Code.UNAVAILABLE, "thread: too many posts are waiting", retry_ms=1000)
            self._answer(post.caller, busy)
            return
        self._queue.append(post)
        self._pump()

    def _pump(self) -> None:
        """Start the next step, if none is under way: reload, project, fetch, or commit."""
        if self._busy:
            return
        if self._stale:
            self._stale = False
            self._step(self._load_relations, on_value=lambda _: None)
        elif self._queue and self._state.meta is None:
            self._open(self._queue[0])
        elif self._queue or self._flush_due:
            self._plan()

    def _step(self, work: Any, *args: Any, on_value: Any) -> None:
        """Do something that waits; nothing else of this thread goes on until it is done."""
        self._busy = True

        def done(result: Outcome[Any]) -> None:
            self._busy = False
            match result:
                case Value(value):
                    on_value(value)
                    self._pump()
                case Error(error):
                    raise error

        self.run_task(work, *args, on_done=done)

    def _open(self, post: Post) -> None:
        """The thread's first post: its rows come before its first event, so that nobody can be
        sent something they cannot find. Without a head they are not shown."""
        thread = self._state.thread
        now_ms = self._services.wall_ms()
        match post.command:
            case CreateGroup(name, founders):
                meta = ThreadMeta(thread, ThreadKind.GROUP, name, created_ms=now_ms)
                members = tuple(
                    Member(uid, Role.MEMBER if index else Role.OWNER, join_seq=1)
                    for index, uid in enumerate(founders)
                )
            case Send(opens_dm=True) if post.caller.uid in dm_members(thread):
                meta = ThreadMeta(thread, ThreadKind.DM, created_ms=now_ms)
                members = tuple(Member(u, Role.MEMBER, join_seq=1) for u in dm_members(thread))
            case _:
                self._queue.popleft()
                self._answer(post.caller, Refused(Code.NOT_FOUND, "thread: no such thread"))
                self._pump()
                return

        def projected(_: object) -> None:
            self._state.meta = meta
            self._state.members = {member.uid: member for member in members}
            for member in members:
                self._tell(member.uid, ViewChanged(thread))

        self._step(self._services.threads.project, Projection(meta, members), on_value=projected)

    def _plan(self) -> None:
        """Plan as many waiting posts as fit into one draft, and send it to the journal."""
        draft = Draft(
            self._state, self._services.wall_ms(), self._rules, self._related, self._known
        )
        taken: list[Post] = []
        written: list[Written | Settled] = []
        while self._queue and len(draft.events) < BATCH_EVENTS_MAX:
            planned = draft.plan(self._queue[0])
            if isinstance(planned, (NeedEvents, MaybeRepeat)):
                if taken:
                    break
                if self._look_up(self._queue[0], planned):
                    return
                assert isinstance(planned, MaybeRepeat)
                planned = Settled(self._queue[0], planned.refused)
            taken.append(self._queue.popleft())
            written.append(planned)
        self._related, self._known = {}, {}
        self._checked.clear()
        if not draft.events and not self._flush_due:
            self._finish(written)
            self._pump()
            return
        self._commit(draft, taken, written)

    def _look_up(self, post: Post, need: NeedEvents | MaybeRepeat) -> bool:
        """Fetch from the log what the plan of `post` needs; False if that was done already."""
        log, thread = self._services.log, self._state.thread
        key = (post.caller.uid, post.cid)
        if isinstance(need, NeedEvents):

            def related(events: Any) -> None:
                self._related.update((event.seq, event) for event in events)

            self._step(log.related, thread, need.targets, on_value=related)
            return True
        if key in self._checked:
            return False
        self._checked.add(key)

        def found(event: Event | None) -> None:
            if event is not None:
                self._known[key] = event

        self._step(log.find, thread, post.caller.uid, post.cid, on_value=found)
        return True

    # ------------------------------------------------------------------ committing

    def _commit(self, draft: Draft, taken: list[Post], written: list[Written | Settled]) -> None:
        ref = self.system.whereis(JOURNAL)
        if ref is not self._journal:
            self._journal = ref
            if ref is not None:
                self.monitor(ref)
        for uid, cursor in self._dirty.items():
            draft.cursors.setdefault(uid, cursor)
        self._flushing, self._awaiting_flush = self._awaiting_flush, []
        self._flush_due = False
        self._token += 1
        self._busy = True
        self._draft, self._taken, self._written = draft, taken, written
        if ref is None or not journal.commit(ref, draft.to_append(), self.ref, self._token):
            self._take_back()
            self.system.watch_name(JOURNAL, self.ref)

    def _take_back(self) -> None:
        """What was to be written waits again, in its order."""
        self._queue.extendleft(reversed(self._taken))
        self._awaiting_flush = self._flushing + self._awaiting_flush
        self._flush_due = bool(self._awaiting_flush)
        self._flushing = []
        self._busy = False
        self._draft, self._taken, self._written = None, [], []

    def _receipt(self, receipt: journal.Receipt) -> None:
        if receipt.token != self._token or self._draft is None:
            return  # of a commit that was settled meanwhile
        match receipt.outcome:
            case Committed():
                self._committed(self._draft)
            case Repeated(events):
                for event in events:
                    if event.cid is not None:
                        self._known[event.sender, event.cid] = event
                self._take_back()
                self._pump()
            case Deposed():
                self.stop(Shutdown("deposed"))
            case CommitFailed(known=True):
                self._refuse_all()
            case CommitFailed():
                self._settle()

    def _committed(self, draft: Draft) -> None:
        draft.apply()
        for uid in draft.cursors:
            if self._dirty.get(uid) == draft.cursors[uid]:
                del self._dirty[uid]
        if draft.meta_seq is None:
            self._conclude(draft)
            return
        assert draft.meta is not None
        projection = Projection(draft.meta, tuple(draft.changed.values()))
        self._step(
            self._services.threads.project, projection, on_value=lambda _: self._conclude(draft)
        )

    def _conclude(self, draft: Draft) -> None:
        """The commit is durable and projected: deliver, answer, go on."""
        written = self._written
        self._busy = False
        self._draft, self._taken, self._written = None, [], []
        for uid in draft.changed:
            self._tell(uid, ViewChanged(self._state.thread))
        self._deliver(draft, written)
        self._finish(written)
        flushed, self._flushing = self._flushing, []
        for caller in flushed:
            self._tell(caller.uid, Answer(caller, Done()))
        self._pump()

    def _refuse_all(self) -> None:
        """The store is away and nothing was written."""
        refused = Refused(Code.UNAVAILABLE, "the store is not available", retry_ms=1000)
        for post in self._taken:
            self._answer(post.caller, refused)
        for caller in self._flushing:
            self._tell(caller.uid, Answer(caller, refused))
        self._taken, self._flushing = [], []
        self._take_back()
        if self._dirty:
            self._flush_later()
        self._pump()

    def _journal_down(self, down: Down) -> None:
        if down.ref is not self._journal:
            return
        self._journal = None
        if self._draft is not None:
            self._settle()

    def _settle(self) -> None:
        """The outcome of the commit is unknown: fence it with the next epoch, then read back."""
        self._take_back()
        self._token += 1

        def loaded(_: object) -> None:
            for uid, cursor in self._dirty.items():
                self._state.move_cursor(uid, cursor)
            self._announce()

        self._step(self._load, on_value=loaded)

    # ------------------------------------------------------------------ delivering

    def _deliver(self, draft: Draft, written: list[Written | Settled]) -> None:
        """Events to every member online, in one message per run of the same audience. The acting
        device finds its `ok` in place of its event."""
        published = [self._published(event) for event in draft.events]
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
                message = Deliver(tuple(published[start:index]))
                for uid in draft.audiences[start]:
                    self._tell(uid, message)
                start = index

    def _published(self, event: Event) -> Published:
        return Published(
            self._state.thread, event.seq, event.n, event.kind, event.body, event.sender
        )

    def _finish(self, written: list[Written | Settled]) -> None:
        for entry in written:
            if isinstance(entry, Settled):
                self._answer(entry.post.caller, entry.result)

    def _answer(self, caller: Caller, result: Result) -> None:
        self._tell(caller.uid, Answer(caller, result, post=True, thread=self._state.thread))

    def _tell(self, uid: UserId, message: object) -> None:
        ref = self.system.names.get(session_name(uid))
        if ref is not None:
            ref.cast(message)

    # ------------------------------------------------------------------ cursors, typing

    def _mark(self, mark: Mark) -> None:
        """Move a cursor forward; beyond the head it is clamped, `read` implies `recv`."""
        self._active_at = trio.current_time()
        caller = mark.caller
        span = self._state.span(caller.uid)
        if span is None:
            self._refuse(mark, Refused(Code.NOT_FOUND, "thread: no such thread"))
            return
        high = self._state.head.seq if span.high is None else span.high
        recv = min(mark.recv or 0, high)
        read = min(mark.read or 0, high)
        if not read:
            self._move(mark, Cursor(recv=recv))
            return
        event = self._state.at(read)
        n = self._state.head.n if read == self._state.head.seq else event.n if event else None
        if n is not None:
            self._move(mark, Cursor(max(recv, read), read, n))
        elif read < span.low:
            self._move(mark, Cursor(recv=max(recv, read)))
        else:

            def found(result: Outcome[Any]) -> None:
                events = result.unwrap()
                self._move(mark, Cursor(max(recv, read), read, events[0].n))

            self.run_task(
                self._services.log.read, self._state.thread, Span(read, read), 1, on_done=found
            )

    def _move(self, mark: Mark, cursor: Cursor) -> None:
        caller = mark.caller
        if self._state.move_cursor(caller.uid, cursor):
            self._dirty[caller.uid] = self._state.cursors[caller.uid]
            if not self._unshown:
                self.send_after(self._services.times.receipt_delay_s, _RECEIPTS)
            self._unshown[caller.uid] = caller.device
            self._flush_later()
        if mark.answered:
            if caller.uid in self._dirty or self._draft is not None:
                self._awaiting_flush.append(caller)
                self._flush_due = True
                self._pump()
            else:
                self._tell(caller.uid, Answer(caller, Done()))

    def _flush_later(self) -> None:
        if not self._flush_timer:
            self._flush_timer = True
            self.send_after(self._services.times.cursor_flush_s, _FLUSH)

    def _show_receipts(self) -> None:
        """One `cursor` event for each user whose cursor moved; in a direct thread the other side
        sees it only if both show theirs."""
        unshown, self._unshown = self._unshown, {}
        members = list(self._state.active_members())
        for uid, device in unshown.items():
            cursor = self._state.cursors[uid]
            body = msgspec.json.encode(
                {"e": "cursor", "thread": self._state.thread, "user": uid, "recv": cursor.recv,
                 "read": cursor.read}
            )  # fmt: skip
            key = ("cursor", self._state.thread, uid)
            self._tell(uid, Show(key, body, but=device))
            if self._receipts_shown:
                show = Show(key, body)
                for member in members:
                    if member != uid:
                        self._tell(member, show)

    def _typing(self, typing: Typing) -> None:
        self._active_at = trio.current_time()
        caller = typing.caller
        member = standing(self._state.meta, self._state.members.get(caller.uid))
        if isinstance(member, Refused):
            self._refuse(typing, member)
        elif self._state.blocked:
            self._refuse(typing, Refused(Code.BLOCKED, "thread: there is a block between you"))
        else:
            body = msgspec.json.encode(
                {"e": "typing", "thread": self._state.thread, "user": caller.uid, "on": typing.on}
            )
            for uid in self._state.active_members():
                if uid != caller.uid:
                    self._tell(uid, Hint(body))
            if typing.answered:
                self._tell(caller.uid, Answer(caller, Done()))

    def _refuse(self, message: Mark | Typing, refused: Refused) -> None:
        self._tell(message.caller.uid, Answer(message.caller, refused))

    # ------------------------------------------------------------------ reading

    def _page(self, message: ReadPage) -> None:
        """Answer a history page: from memory, or with the range the session may read."""
        request = message.request
        uid = request.caller.uid
        span = self._state.span(uid)
        if span is None:
            refused = Refused(Code.NOT_FOUND, "thread: no such thread")
            self._tell(uid, NoPage(request, refused))
            return
        head = self._state.head.seq if span.high is None else span.high
        low, high, more = page_range(
            span, head, request.limit,
            before=request.before, after=request.after, around=request.around,
        )  # fmt: skip
        bodies: tuple[tuple[int, bytes], ...] | None = None
        if low > high:
            bodies = ()
        elif low >= self._state.low:
            first = self._state.low
            recent = self._state.recent[low - first : high - first + 1]
            bodies = tuple((event.seq, shown_to(event, uid)) for event in recent)
        self._tell(uid, Page(request, low, high, head, more, bodies))

    def statistics(self) -> dict[str, float]:
        """Live state for the tree and for logs: never a message body."""
        return {
            "head": self._state.head.seq,
            "epoch": self._state.head.epoch,
            "waiting": len(self._queue),
            "in_flight": len(self._taken),
            "idle_s": round(trio.current_time() - self._active_at, 1)
            if self._active_at
            else math.nan,
        }
