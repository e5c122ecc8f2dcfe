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
from enum import Enum
from typing import Any

import trio
from outcome import Error, Outcome, Value

from actors.chat import journal
from actors.chat.answers import Code, Done, Refused, Result
from actors.chat.channel_cursors import CursorBook, NeedCount, cursor_of, write_last
from actors.chat.channel_delivery import announcements, page_of, receipts, runs, typing_event
from actors.chat.channel_draft import Draft
from actors.chat.channel_loading import Findings, Relations, claim_thread, opening, relations_of
from actors.chat.channel_plan import MaybeRepeat, NeedEvents, Rules, Settled, Written, if_unwritten
from actors.chat.channel_projection import TABLES_AWAY, Projector, adding_any
from actors.chat.channel_state import ThreadState, typing_refusal
from actors.chat.messages import (
    Answer,
    BlockChanged,
    Caller,
    CommitFailed,
    Deliver,
    Hint,
    Mark,
    Post,
    ReadPage,
    Typing,
    ViewChanged,
    session_name,
)
from actors.chat.services import AWAY, JOURNAL, Services
from actors.runtime import Actor, Down, Exit, NameUp, Ref, Shutdown
from persistence.records import Committed, Cursor, Deposed, Head, Repeated, Span, ThreadId, UserId

BATCH_EVENTS_MAX = 256
"""Events of one thread in one commit: bounds the time others wait for a flood in one thread."""

QUEUE_POSTS_MAX = 2000
"""Posts waiting in one thread; beyond it posts are answered `unavailable`."""

STEP_DEADLINE_S = 5.0
"""A store that has not answered by then hangs: the channel crashes and starts over, before the
posts that wait behind it have run out of time."""

UNKNOWN_MAX = 2
"""Commits in a row whose outcome is unknown; with more, the fault is in what is to be written. Then
the channel crashes, so that its sessions give up on what they sent into two crashes."""


class _Tick(Enum):
    """Timer messages."""

    IDLE = "idle check"
    FLUSH = "flush cursors"
    RECEIPTS = "show receipts"
    PROJECT = "project again"
    LATE = "the tables are late"


class Channel(Actor):
    """Named `channel:<thread>`. Dynamic, transient: restarted on a crash, gone when idle."""

    trap_exit = True  # so that an orderly end still writes the cursors nobody awaits

    def __init__(self, thread: ThreadId, services: Services) -> None:
        super().__init__()
        self._services = services
        self._rules = Rules(services.limits.group_members)
        self._state = ThreadState(thread, Head())
        self._queue: deque[Post] = deque()
        self._busy = False
        self._draft: Draft | None = None
        self._written: list[Written | Settled] = []
        self._token = 0
        self._unknown = 0
        self._found = Findings()
        self._cursors = CursorBook()
        self._projector = Projector(self, services.threads, retry=_Tick.PROJECT, late=_Tick.LATE)
        self._flush_timer = False
        self._receipts_shown = True
        self._stale = False
        self._relations_known = True
        self._held: list[Typing] = []
        self._journal: Ref | None = None
        self._active_at = math.nan

    # ------------------------------------------------------------------ life

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        with trio.fail_after(STEP_DEADLINE_S):
            await self._load()
        self._active_at = trio.current_time()
        self.send_after(self._services.times.channel_idle_s, _Tick.IDLE)
        self._announce()

    def on_stop(self) -> Any:
        if self._busy or not self._cursors.dirty:
            return None
        return write_last(self._services.log, self._state, self._cursors.dirty)

    async def _load(self) -> None:
        """Claim the thread and read back what is committed of it."""
        self._state, changed = await claim_thread(self._services, self._state)
        if changed is not None and self._state.meta is not None:
            self._projector.project(self._state.meta, changed, lambda: None)
        self._relations(await relations_of(self._services, self._state.thread))

    def _relations(self, relations: Relations) -> None:
        self._state.blocked = relations.blocked
        self._receipts_shown = relations.receipts_shown
        self._relations_known = not self._stale  # another change may have come meanwhile
        if self._relations_known:
            held, self._held = self._held, []
            for typing in held:
                self._typing(typing)

    def _announce(self) -> None:
        """Tail safety: every member online hears where the log stands (PROTOCOL.md §4.6). Who was
        told of a change of membership is not known: sessions look theirs up again."""
        if not self._state.head.seq:
            return
        for show, audience in announcements(self._state):
            for uid in audience:
                self._tell(uid, ViewChanged(self._state.thread))
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
                self._tell(message.request.caller.uid, page_of(self._state, message.request))
            case Typing():
                self._typing(message)
            case BlockChanged():
                self._stale, self._relations_known = True, False
                self._pump()
            case NameUp():
                self._pump()
            case Down():
                self._journal_down(message)
            case _Tick():
                self._tick(message)
            case Exit(_, reason):
                self.stop(reason)

    def _tick(self, tick: _Tick) -> None:
        if tick is _Tick.FLUSH:
            self._flush_timer = False
            self._cursors.due = self._cursors.due or bool(self._cursors.dirty)
            self._pump()
        elif tick is _Tick.RECEIPTS:
            self._show_receipts()
        elif tick is _Tick.PROJECT:
            self._projector.retry()
        elif tick is _Tick.LATE:
            self._projector.late()
        elif tick is _Tick.IDLE:
            self._idle()

    def _idle(self) -> None:
        idle_s = self._services.times.channel_idle_s
        quiet_s = trio.current_time() - self._active_at
        is_used = self._busy or self._queue or self._cursors.dirty or self._projector.is_busy
        if quiet_s < idle_s or is_used or len(self.actor_inbox):
            self.send_after(max(idle_s - quiet_s, 1.0), _Tick.IDLE)
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
            self._step(relations_of, self._services, self._state.thread, on_value=self._relations)
        elif self._queue and self._state.meta is None:
            self._open(self._queue[0])
        elif self._queue or self._cursors.due:
            self._plan()

    def _step(self, work: Any, *args: Any, on_value: Any, on_away: Any = None) -> None:
        """Do something that waits; nothing else of this thread goes on until it is done. That the
        store is away is a crash, unless something is to be done then."""
        self._busy = True

        def done(result: Outcome[Any]) -> None:
            self._busy = False
            match result:
                case Value(value):
                    on_value(value)
                case Error(error) if on_away is None or not isinstance(error, TABLES_AWAY):
                    raise error
                case _:
                    on_away()
            self._pump()

        self.run_task(work, *args, on_done=done, timeout_s=STEP_DEADLINE_S)

    def _open(self, post: Post) -> None:
        """The thread's first post: its rows come before its first event, so that nobody can be
        sent something they cannot find. Without a head they are not shown."""
        projection = opening(post, self._state, self._services.wall_ms())
        if isinstance(projection, Refused):
            self._refuse([self._queue.popleft()], projection)
            self._pump()
            return

        def projected(_: object) -> None:
            self._state.meta = projection.meta
            self._state.members = {member.uid: member for member in projection.members}
            for uid in self._state.members:
                self._tell(uid, ViewChanged(self._state.thread))

        self._step(
            self._services.threads.project, projection, on_value=projected,
            on_away=lambda: self._refuse([self._queue.popleft()]),
        )  # fmt: skip

    def _plan(self) -> None:
        """Plan as many waiting posts as fit into one draft, and send it to the journal."""
        found, now_ms = self._found, self._services.wall_ms()
        draft = Draft(self._state, now_ms, self._rules, found.related, found.known)
        written: list[Written | Settled] = []
        while self._queue and len(draft.events) < BATCH_EVENTS_MAX:
            planned = draft.plan(self._queue[0])
            if isinstance(planned, (NeedEvents, MaybeRepeat)):
                if written:
                    break
                if self._look_up(self._queue[0], planned):
                    return
                assert isinstance(planned, MaybeRepeat)
                planned = Settled(self._queue[0], planned.refused)
            self._queue.popleft()
            written.append(planned)
        if not draft.events and not self._cursors.due:
            self._finish(written)
            self._pump()
        elif strangers := self._projector.strangers(draft.changed, self._state.members):
            self._queue.extendleft(entry.post for entry in reversed(written))
            self._promise(strangers)
        else:
            self._commit(draft, written)

    def _promise(self, strangers: tuple[UserId, ...]) -> None:
        """Posts that add people without a row wait for these, and nobody waits for the posts."""
        adding, self._queue = adding_any(strangers, self._queue)
        assert adding, "nothing else makes members"

        def promised(is_done: bool) -> None:
            if is_done:
                self._queue.extendleft(reversed(adding))
            else:
                self._refuse(adding)
            self._pump()

        assert self._state.meta is not None
        self._projector.promise(self._state.meta, strangers, promised)
        self._pump()

    def _look_up(self, post: Post, need: NeedEvents | MaybeRepeat) -> bool:
        """Fetch from the log what the plan of `post` needs; False if that was done already."""
        if not self._found.lacks(post, need):
            return False
        log, thread = self._services.log, self._state.thread
        self._step(self._found.look_up, log, thread, post, need, on_value=lambda _: None)
        return True

    # ------------------------------------------------------------------ committing

    def _commit(self, draft: Draft, written: list[Written | Settled]) -> None:
        ref = self.system.whereis(JOURNAL)
        if ref is not self._journal:
            self._journal = ref
            if ref is not None:
                self.monitor(ref)
        self._cursors.into(draft.cursors)
        self._token += 1
        self._busy = True
        self._draft, self._written = draft, written
        if ref is None or not journal.commit(ref, draft.to_append(), self.ref, self._token):
            self._take_back()
            self.system.watch_name(JOURNAL, self.ref)

    def _take_back(self) -> None:
        """What was to be written waits again, in its order."""
        self._queue.extendleft(entry.post for entry in reversed(self._written))
        self._cursors.taken_back()
        self._busy = False
        self._draft, self._written = None, []
        if self._cursors.dirty:
            self._flush_later()

    def _receipt(self, receipt: journal.Receipt) -> None:
        if receipt.token != self._token or self._draft is None:
            return  # of a commit that was settled meanwhile
        match receipt.outcome:
            case Committed():
                self._committed(self._draft)
            case Repeated(events):
                self._found.add_known(events)
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
        self._unknown = 0
        self._draft = None  # durable: how the journal fares from here on is none of its business
        if draft.meta_seq is None:
            self._conclude(draft)
            return
        assert draft.meta is not None
        self._projector.project(draft.meta, draft.changed, lambda: self._conclude(draft))

    def _conclude(self, draft: Draft) -> None:
        """The commit is durable and, unless the tables are late, projected: deliver, answer."""
        written = self._written
        self._busy = False
        self._draft, self._written = None, []
        for uid in draft.changed:
            self._tell(uid, ViewChanged(self._state.thread))
        self._finish(written)  # repeats stand at seqs before those of this draft
        self._deliver(draft, written)
        for caller in self._cursors.committed(draft.cursors):
            self._answer(caller, Done())
        self._pump()

    def _refuse_all(self) -> None:
        """The store is away and nothing was written."""
        for entry in self._written:
            self._answer(entry.post.caller, if_unwritten(entry, self._state.head.seq, AWAY))
        for caller in self._cursors.failed():
            self._answer(caller, AWAY)
        self._written = []
        self._take_back()
        self._pump()

    def _refuse(self, posts: list[Post], refused: Refused = AWAY) -> None:
        for post in posts:
            self._answer(post.caller, refused)

    def _journal_down(self, down: Down) -> None:
        if down.ref is not self._journal:
            return
        self._journal = None
        if self._draft is not None:
            self._settle()

    def _settle(self) -> None:
        """The outcome of the commit is unknown: fence it with the next epoch, then read back."""
        self._unknown += 1
        assert self._unknown <= UNKNOWN_MAX, "no claim makes this append one that can be written"
        self._take_back()
        self._found.related = {}
        self._token += 1

        def loaded(_: object) -> None:
            for uid, cursor in self._cursors.dirty.items():
                self._state.move_cursor(uid, cursor)
            self._announce()

        self._step(self._load, on_value=loaded)

    # ------------------------------------------------------------------ delivering

    def _deliver(self, draft: Draft, written: list[Written | Settled]) -> None:
        for audience, events in runs(self._state.thread, draft, written):
            message = Deliver(events)
            for uid in audience:
                self._tell(uid, message)

    def _finish(self, written: list[Written | Settled]) -> None:
        # Until here, so that a draft planned again and again knows all of its repeats in the end.
        self._found = Findings()
        for entry in written:
            if isinstance(entry, Settled):
                self._answer(entry.post.caller, entry.result)

    def _answer(self, caller: Caller, result: Result) -> None:
        self._tell(caller.uid, Answer(caller, result))

    def _tell(self, uid: UserId, message: object) -> None:
        ref = self.system.names.get(session_name(uid))
        if ref is not None:
            ref.cast(message)

    # ------------------------------------------------------------------ cursors, typing

    def _mark(self, mark: Mark) -> None:
        self._active_at = trio.current_time()
        cursor = cursor_of(self._state, mark)
        if isinstance(cursor, Refused):
            self._answer(mark.caller, cursor)
        elif isinstance(cursor, NeedCount):
            self._count(mark, cursor)
        else:
            self._move(mark, cursor)

    def _count(self, mark: Mark, need: NeedCount) -> None:
        def found(result: Outcome[Any]) -> None:
            (event,) = result.unwrap()
            self._move(mark, Cursor(need.recv, need.seq, event.n))

        span = Span(need.seq, need.seq)
        read, thread = self._services.log.read, self._state.thread
        self.run_task(read, thread, span, 1, on_done=found, timeout_s=STEP_DEADLINE_S)

    def _move(self, mark: Mark, cursor: Cursor) -> None:
        caller = mark.caller
        if self._state.move_cursor(caller.uid, cursor):
            if not self._cursors.unshown:
                self.send_after(self._services.times.receipt_delay_s, _Tick.RECEIPTS)
            self._cursors.moved(caller, self._state.cursors[caller.uid])
            self._flush_later()
        if not mark.answered:
            return
        if caller.uid in self._cursors.dirty or self._draft is not None:
            self._cursors.await_flush(caller)
            self._pump()
        else:
            self._answer(caller, Done())

    def _flush_later(self) -> None:
        if not self._flush_timer:
            self._flush_timer = True
            self.send_after(self._services.times.cursor_flush_s, _Tick.FLUSH)

    def _show_receipts(self) -> None:
        if not self._relations_known:
            self.send_after(self._services.times.receipt_delay_s, _Tick.RECEIPTS)
            return
        unshown, self._cursors.unshown = self._cursors.unshown, {}
        for uid, show in receipts(self._state, unshown, to_others=self._receipts_shown):
            self._tell(uid, show)

    def _typing(self, typing: Typing) -> None:
        self._active_at = trio.current_time()
        caller = typing.caller
        if not self._relations_known:
            self._held.append(typing)
            return
        refused = typing_refusal(self._state, caller.uid)
        if refused is not None:
            self._answer(caller, refused)
            return
        body = typing_event(self._state.thread, caller.uid, on=typing.on)
        for uid in self._state.active_members():
            if uid != caller.uid:
                self._tell(uid, Hint(body))
        if typing.answered:
            self._answer(caller, Done())

    def statistics(self) -> dict[str, float]:
        """Live state for the tree and for logs: never a message body."""
        return {
            "head": self._state.head.seq,
            "epoch": self._state.head.epoch,
            "waiting": len(self._queue),
            "in_flight": len(self._written),
            "projecting": self._projector.is_busy,
            "idle_s": round(trio.current_time() - self._active_at, 1),
        }
