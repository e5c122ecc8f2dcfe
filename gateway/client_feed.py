"""What arrives at a client: catching up, keeping up, and handing events to the application.

`Feed` survives its links. On each new one it runs `sync` until nothing is left (`catch_up`), then
fetches whatever goes missing (`keep_up`). Pushed events may arrive during all of this; the rule
of `client_state.Timeline` sorts them out, and fetching waits until the sync is through.

The queue to the application is bounded. When it is full, durable events are not queued but
merely heard of: they stay on the server and are fetched once there is room. State and presence
events are dropped then, as the server itself would do.

An event counts as taken when the next one is asked for. Only what was taken is saved.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, Literal, Self

import msgspec
import trio

from gateway.client_link import ClientError, Link, OnReply, Reply, RequestError
from gateway.client_state import (
    DURABLE,
    Event,
    SavedState,
    Timeline,
    backoff_s,
    membership_after,
    own_event,
)
from gateway.client_verbs import given
from gateway.wire.limits import PAGE_MAX, Limits

Start = Literal["join", "now"]

SYNC_EVENTS: Final = 500
"""Events asked for in one `sync`: some megabytes at most."""
FRAME_SLACK_BYTES: Final = 1_024
"""What a `sync` frame holds beside its cursors."""
GRACE_S: Final = 0.5
"""A gap in a thread where one's own request is under way gets this long to close by itself."""
STALLS_MAX: Final = 3
"""Pages without news before a head that promised some is no longer believed."""
RECEIPT_TICK_S: Final = 0.5
RECEIPTS_PER_TICK: Final = 5
"""Delivery receipts are coalesced, and leave most of the request rate to the application."""
SAVE_EVERY_S: Final = 0.25
"""While events rush through, the cursors are saved this often; otherwise at each pause."""


class Feed:
    """The events of one user, across links. `save` is called when there is something to keep."""

    def __init__(
        self, *, start: Start, queue_max: int, rng: random.Random, save: Callable[[], None]
    ) -> None:
        self.timeline = Timeline()
        self.threads: dict[str, dict[str, Any]] = {}
        """The `Thread` objects that `sync` and `thread.list` brought, newest per thread."""
        self._start = start
        self._queue_max = queue_max
        self._rng = rng
        self._save = save
        self._saved_s = -math.inf
        self._queue: deque[Event] = deque()
        self._in_hand: Event | None = None
        self._reading = False
        self._ended = False
        self._end: ClientError | None = None
        self._taken: dict[str, int] = {}
        self._left: set[str] = set()
        self._primed = False
        self._resync = False
        self._acting: Counter[str] = Counter()
        self._behind_since_s: dict[str, float] = {}
        self._owed: dict[str, int] = {}
        self._news = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._owing = trio.lowlevel.ParkingLot()

    def statistics(self) -> dict[str, int]:
        """Counts for people and tests."""
        return {
            "queued_events": len(self._queue),
            "threads_behind": len(self.timeline.behind()),
            "receipts_owed": len(self._owed),
        }

    def restore(self, state: SavedState) -> None:
        """Go on where an earlier client of this user was."""
        self.timeline = Timeline(state.uid, state.cursors, state.removed)
        self._taken, self._left = dict(state.cursors), set(state.removed)
        self._primed = bool(state.uid)

    def state(self, token: str | None) -> SavedState:
        """What to keep of us."""
        return SavedState(
            uid=self.timeline.uid,
            token=token,
            cursors=dict(self._taken),
            removed=sorted(self._left),
        )

    def belongs_to(self, uid: str) -> None:
        """Somebody logged in; another user than before starts with nothing."""
        if self.timeline.uid != uid:
            self.restore(SavedState(uid=uid))
            self._primed = False
            self._queue.clear()
            self._in_hand = None

    # ------------------------------------------------------------------------- to the application

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. Ends when the feed does; raises what it ended with."""
        assert not self._reading, "one reader of events() at a time"
        await trio.lowlevel.checkpoint()
        self.take()
        while not self._queue:
            if self._ended:
                raise self._end or StopAsyncIteration
            self._keep()
            self._reading = True
            try:
                await self._news.park()
            finally:
                self._reading = False
        if trio.current_time() - self._saved_s > SAVE_EVERY_S:
            self._keep()
        self._in_hand = self._queue.popleft()
        if len(self._queue) <= self._queue_max // 2:
            self._room.unpark_all()
        return self._in_hand

    def take(self) -> None:
        """The application is done with the event it holds, if it holds one."""
        event, self._in_hand = self._in_hand, None
        if event is None:
            return
        if event["e"] in DURABLE or event["e"] == "reset":
            self._taken[event["thread"]] = event["seq"]
        member = membership_after(event, self.timeline.uid)
        if member is not None:
            (self._left.discard if member else self._left.add)(event["thread"])
        if event["e"] == "msg" and event.get("from") != self.timeline.uid:
            self._owed[event["thread"]] = event["seq"]
            self._owing.unpark_all()

    def _keep(self) -> None:
        self._saved_s = trio.current_time()
        self._save()

    def end(self, error: ClientError | None) -> None:
        """No more events will come; those queued may still be read."""
        if not self._ended:
            self._ended, self._end = True, error
            self._news.unpark_all()

    def notify(self, state: str, **details: Any) -> None:
        """Tell the application about the connection."""
        self._publish([{"e": "connection", "state": state, **details}])

    @property
    def _full(self) -> bool:
        return len(self._queue) >= self._queue_max

    def _publish(self, events: Iterable[Event]) -> None:
        self._queue.extend(events)
        self._news.unpark_all()

    # ----------------------------------------------------------------------------- from the link

    def on_event(self, event: Event) -> None:
        """A pushed event, in the order of frames."""
        kind = event.get("e")
        if kind in DURABLE:
            if self._full:
                self.timeline.heard(event["thread"], event["seq"])
            else:
                self._publish(self.timeline.live(event))
        elif kind == "head":
            self._resync |= event["seq"] < self.timeline.last(event["thread"])
            self.timeline.heard(event["thread"], event["seq"])
        elif kind == "gap":
            self.timeline.heard(event["thread"], event["head"])
        elif not self._full:
            self._publish([event])
        if self._resync or self.timeline.behind():
            self._work.unpark_all()

    def writes(self, op: str, fields: dict[str, Any]) -> OnReply:
        """A request that writes to a thread goes out; what it returns gets the answer."""
        thread = fields.get("thread", "")
        self._acting[thread] += 1

        def on_reply(reply: Reply | None) -> None:
            self._acting[thread] -= 1
            if not self._acting[thread]:
                del self._acting[thread]
            if reply is not None and reply.get("seq") is not None:
                self._acted(op, fields, reply)
            self._work.unpark_all()

        return on_reply

    def _acted(self, op: str, fields: dict[str, Any], reply: Reply) -> None:
        """The `ok` delivers what was written: it says all about a fresh message or edit; what
        anything else wrote, and how a repeated message looks by now, is read from the log."""
        if op in ("send", "edit") and not reply.get("dup") and not self._full:
            self._publish(self.timeline.live(own_event(op, fields, reply, self.timeline.uid)))
        else:
            self.timeline.heard(reply.get("thread") or fields["thread"], reply["seq"])

    # ------------------------------------------------------------------------------- catching up

    async def catch_up(self, link: Link) -> None:
        """Bring every thread up to date on a fresh link."""
        if self._start == "now" and not self._primed:
            await self._skip_to_now(link)
        await self._sync(link)
        self._primed = True

    async def _skip_to_now(self, link: Link) -> None:
        async for info in self._thread_infos(link):
            self.timeline.begin_at(info["thread"], info["head"])
            self._taken[info["thread"]] = self.timeline.last(info["thread"])

    async def _thread_infos(self, link: Link) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = await link.ask("thread.list", limit=PAGE_MAX, **given(after=after))
            for info in page["threads"]:
                self.threads[info["thread"]] = info
                yield info
            after = page.get("next")
            if after is None:
                return

    async def _sync(self, link: Link) -> None:
        """Ask until `more` is empty. What a server cannot bring so is left to `keep_up`."""
        frame_bytes = int(link.hello.get("limits", {}).get("frame_bytes") or Limits().frame_bytes)
        self._resync = False
        while True:
            await self._wait_for_room()
            cursors = self.timeline.cursors()
            if len(msgspec.json.encode(cursors)) > frame_bytes - FRAME_SLACK_BYTES:
                async for info in self._thread_infos(link):
                    self.timeline.heard(info["thread"], info["head"])
                return
            reply = await link.ask("sync", cursors=cursors, limit=SYNC_EVENTS)
            if not self._primed and self._start == "now":
                self._skip_what_was_left(reply)
            self._merge(reply)
            if not reply.get("more") or self.timeline.cursors() == cursors:
                return

    def _skip_what_was_left(self, reply: Reply) -> None:
        """Groups that the user had left before this device existed are no news to it."""
        for thread in reply.get("removed", ()):
            events = reply["events"].pop(thread, None)
            if events:
                self.timeline.begin_at(thread, events[-1]["seq"])
                self._taken[thread] = self.timeline.last(thread)
            self.timeline.remove(thread)
            self._left.add(thread)

    def _merge(self, reply: Reply) -> None:
        """Apply one `sync` page."""
        removed, reset = set(reply.get("removed", ())), set(reply.get("reset", ()))
        pages: dict[str, list[Event]] = reply["events"]
        for thread in pages.keys() | reset:
            events = pages.get(thread, [])
            if thread in reset:
                delivered = self.timeline.reset(thread, events)
            else:
                delivered = self.timeline.page(thread, events)
            self._publish(delivered)
        for info in reply.get("threads", ()):
            self.threads[info["thread"]] = info
            if info["thread"] not in removed:
                self.timeline.heard(info["thread"], info["head"])
        for thread in removed:
            self._publish(self.timeline.remove(thread))

    async def _wait_for_room(self) -> None:
        while len(self._queue) > self._queue_max // 2:
            await self._room.park()

    # ------------------------------------------------------------------------------- keeping up

    async def keep_up(self, link: Link) -> None:
        """Fetch what goes missing, for as long as the link lasts."""
        while True:
            if self._resync:
                await self._sync(link)
            thread = self._due()
            if thread is not None:
                await self._fetch(link, thread)
                continue
            with trio.move_on_after(GRACE_S if self.timeline.behind() else math.inf):
                await self._work.park()

    def _due(self) -> str | None:
        """A thread to fetch now: behind, and not about to be completed by an answer of ours."""
        now_s, behind = trio.current_time(), self.timeline.behind()
        self._behind_since_s = {
            thread: self._behind_since_s.get(thread, now_s) for thread in behind
        }
        for thread in behind:
            waited_s = now_s - self._behind_since_s[thread]
            if thread not in self._acting or waited_s >= GRACE_S:
                return thread
        return None

    async def _fetch(self, link: Link, thread: str) -> None:
        """Read a thread from `last` to its head."""
        stalls = 0
        while thread in self.timeline.behind():
            await self._wait_for_room()
            last = self.timeline.last(thread)
            try:
                page = await link.ask("history", thread=thread, after=last)
            except RequestError:
                self.timeline.settle(thread)  # not ours to read (any more)
                return
            self._publish(self.timeline.page(thread, page["events"]))
            if self.timeline.last(thread) > last:
                stalls = 0
            elif (stalls := stalls + 1) > STALLS_MAX:
                self.timeline.settle(thread)
            else:
                await trio.sleep(backoff_s(stalls, self._rng))

    async def acknowledge(self, link: Link) -> None:
        """Send `recv` for what the application took, coalesced per thread."""
        while True:
            while not self._owed:
                await self._owing.park()
            await trio.sleep(RECEIPT_TICK_S)
            for thread in list(self._owed)[:RECEIPTS_PER_TICK]:
                seq = self._owed.pop(thread)
                try:
                    await link.ask("recv", thread=thread, seq=seq)
                except RequestError:
                    continue  # no longer a member
                except ClientError:
                    self._owed.setdefault(thread, seq)
                    raise
