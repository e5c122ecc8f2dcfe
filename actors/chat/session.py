"""The session actor: one per user with a device online on this node.

It stands between the user's devices and everything else. Upwards it passes posts to channels,
starting them on demand and sending again what a crashed channel left unanswered (`pending`).
Downwards it hands every event to every device, and puts each `ok` where its event stands, so that a
device sees replies and events of a thread in seq order. What can be answered from the stores
(`reading`) runs in tasks of its own and never holds up the traffic.

It keeps no truth. After a crash the next incarnation finds its devices attaching again, tells them
the heads of the threads that moved meanwhile, and goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
from outcome import Error, Outcome, Value

from actors.chat import reading, settings
from actors.chat.addressing import Ordered, may_overtake, missing, people_of, resolve
from actors.chat.answers import Done, Refused, Result
from actors.chat.commands import Send
from actors.chat.messages import (
    OWN_CID_PREFIX,
    Answer,
    Attach,
    Caller,
    Deliver,
    Detach,
    Device,
    GroupCreate,
    GroupInfo,
    HideMine,
    Hint,
    History,
    Mark,
    NoPage,
    OnlineSids,
    Page,
    Post,
    Published,
    ReadPage,
    Revoked,
    Show,
    SubmitMark,
    SubmitPost,
    SubmitTyping,
    Sync,
    ThreadList,
    ThreadSet,
    Typing,
    ViewChanged,
    channel_name,
)
from actors.chat.pending import Entry, Link, Outstanding, Passed
from actors.chat.services import Services, store_refusal
from actors.runtime import Actor, Down, NameUp, Overflow, is_abnormal
from persistence.errors import StoreError
from persistence.records import ClientId, Membership, SessionId, ThreadId, UserId

REPLACED, REVOKED = 4007, 4006
"""Close codes (PROTOCOL.md §6)."""

PEOPLE_REMEMBERED_MAX = 500
VIEWS_REMEMBERED_MAX = 200
"""Name look-ups and memberships a session keeps; beyond it starts over."""

SWEEP_S = 0.5
"""How often waiting posts are checked against their deadlines and stalled channels retried."""

MAKE_UP_RETRY_S = 1.0
"""How long after a store failed what a device has missed is looked up again."""


_SWEEP = "sweep"


@dataclass(frozen=True, slots=True)
class _Idle:
    generation: int


@dataclass(frozen=True, slots=True)
class _MakeUp:
    device: Device
    since_ms: int | None


class Session(Actor):
    """Named `session:<uid>`. Dynamic, transient; ends itself when no device came for a while."""

    overflow = Overflow.STOP_RECEIVER  # starting over makes up for events; dropping them does not

    def __init__(self, uid: UserId, services: Services) -> None:
        super().__init__()
        self._uid = uid
        self._services = services
        self._devices: dict[int, Device] = {}
        self._outstanding = Outstanding()
        self._monitored: dict[Any, ThreadId] = {}
        self._people: dict[str, UserId] = {}
        self._views: dict[ThreadId, Membership] = {}
        self._view_changes = 0
        self._ordered: dict[int, deque[Ordered]] = {}
        self._sweeping = False
        self._generation = 0

    def on_start(self) -> None:
        self._wait_for_devices()

    def on_receive(self, message: Any) -> Any:
        match message:
            case Deliver(events):
                self._deliver(events)
            case SubmitPost() | SubmitMark() | SubmitTyping() | History():
                self._in_order(message)
            case Answer(caller, result):
                self._settle(caller, result)
            case Show(key, body, but):
                for number, device in self._devices.items():
                    if number != but:
                        device.show(key, body)
            case Hint(body):
                for device in self._devices.values():
                    device.hint(body)
            case Page():
                self._page(message)
            case NoPage(request, refused):
                self._settle(request.caller, refused)
            case OnlineSids():
                return frozenset(device.sid for device in self._devices.values())
            case ViewChanged(thread):
                self._view_changed(thread)
            case Attach():
                self._attach(message)
            case Detach(device):
                self._detach(device)
            case Revoked():
                self._revoked(message)
            case Down():
                self._channel_down(message)
            case NameUp():
                self._retry()
            case _ if message is _SWEEP:
                self._sweep()
            case _MakeUp(device, since_ms):
                self._make_up(device, since_ms)
            case _Idle(generation):
                if generation == self._generation and not self._devices:
                    self._end()
            case _:
                self._read(message)
        return None

    # ------------------------------------------------------------------ devices

    def _attach(self, attach: Attach) -> None:
        device = attach.device
        for other in [d for d in self._devices.values() if d.sid == device.sid]:
            if other.number != device.number:
                del self._devices[other.number]
                other.close(REPLACED, "replaced by a newer socket of this session")
        self._devices[device.number] = device
        self._generation += 1
        device.attached()
        if attach.fresh_login:
            self._show_session(device.sid, "login", but=device.number)
        self._make_up(device, attach.since_ms)

    def _make_up(self, device: Device, since_ms: int | None) -> None:
        """A device may have missed its own revocation, which can overtake it on the way here. One
        of an earlier incarnation may have missed events, too."""
        if device.number not in self._devices:
            return

        async def look() -> tuple[list[tuple[ThreadId, bytes]], set[SessionId]]:
            heads: list[tuple[ThreadId, bytes]] = []
            if since_ms is not None:
                heads = await reading.recent_heads(self._services, self._uid, since_ms)
            sessions = await self._services.sessions.of_user(self._uid)
            return heads, {session.sid for session in sessions}

        def done(result: Outcome[Any]) -> None:
            if isinstance(result, Error) and isinstance(result.error, StoreError | TimeoutError):
                self.send_after(MAKE_UP_RETRY_S, _MakeUp(device, since_ms))
                return
            heads, sids = result.unwrap()
            for thread, body in heads:
                device.show(("head", thread), body)
            if device.sid not in sids and device.number in self._devices:
                self._close(device, REVOKED, "session revoked")

        self._wait(look, on_done=done)

    def _detach(self, number: int) -> None:
        self._devices.pop(number, None)
        self._ordered.pop(number, None)
        self._outstanding.forget_device(number)
        if not self._devices:
            self._wait_for_devices()

    def _wait_for_devices(self) -> None:
        self._generation += 1
        self.send_after(self._services.times.session_idle_s, _Idle(self._generation))

    def _end(self) -> None:
        if len(self._outstanding):
            self._wait_for_devices()
        else:
            self.stop()

    def _revoked(self, revoked: Revoked) -> None:
        for device in list(self._devices.values()):
            if device.sid in revoked.sids:
                self._close(device, REVOKED, "session revoked")
        for sid in revoked.sids:
            self._show_session(sid, "revoke")

    def _close(self, device: Device, code: int, reason: str) -> None:
        self._devices.pop(device.number, None)
        device.close(code, reason)
        if not self._devices:
            self._wait_for_devices()

    def _show_session(self, sid: SessionId, act: str, but: int = 0) -> None:
        body = msgspec.json.encode({"e": "session", "sid": sid, "act": act})
        for number, device in self._devices.items():
            if number != but:
                device.show(("session", sid), body)

    # ------------------------------------------------------------------ downwards

    def _deliver(self, events: tuple[Published, ...]) -> None:
        for number, device in self._devices.items():
            for event in events:
                if event.origin != number:
                    device.deliver(event)
                elif event.answer is not None and not device.answer(event.request, event.answer):
                    device.deliver(event)  # its request was given up on meanwhile
        for event in events:
            if event.author == self._uid and event.answer is not None:
                self._outstanding.settle(event.origin, event.request)

    def _settle(self, caller: Caller, result: Result) -> None:
        self._outstanding.settle(caller.device, caller.request)
        self._answer(caller, result)

    def _answer(self, caller: Caller, result: Result) -> None:
        device = self._devices.get(caller.device)
        if device is not None:
            device.answer(caller.request, result)

    # ------------------------------------------------------------------ upwards, in order

    def _in_order(self, request: Ordered) -> None:
        """Requests of one device to one thread keep their order, also when one must look something
        up first."""
        device = request.caller.device
        waiting = self._ordered.get(device)
        if waiting is not None:
            if not (may_overtake(request, waiting) and self._pass(request)):
                waiting.append(request)
        elif not self._pass(request):
            self._ordered[device] = deque([request])
            self._look_up(request)

    def _look_up(self, request: Ordered) -> None:
        device = request.caller.device
        changes = self._view_changes

        async def look() -> tuple[dict[str, UserId], list[Membership]]:
            people = people_of(request)
            found = await reading.find_people(self._services, people) if people else {}
            thread = request.thread
            rows = await self._services.threads.memberships(self._uid, (thread,)) if thread else []
            return found, list(rows)

        def done(result: Outcome[Any]) -> None:
            match result:
                case Value((_, [_, *_])) if changes != self._view_changes:
                    self._look_up(request)  # what it read may be out of date already
                    return
                case Value((found, rows)):
                    self._people_found(found)
                    for row in rows:
                        self._remember_view(row)
                    if not self._pass(request):
                        self._answer(request.caller, missing(request, self._people))
                case Error(error):
                    self._answer(request.caller, store_refusal(error))
            self._next(device)

        self._wait(look, on_done=done)

    def _next(self, device: int) -> None:
        waiting = self._ordered.get(device)
        if waiting is None:
            return
        waiting.popleft()
        while waiting:
            if not self._pass(waiting[0]):
                self._look_up(waiting[0])
                return
            waiting.popleft()
        del self._ordered[device]

    def _people_found(self, found: dict[str, UserId]) -> None:
        if len(self._people) + len(found) > PEOPLE_REMEMBERED_MAX:
            self._people.clear()
        self._people.update(found)

    def _view_changed(self, thread: ThreadId) -> None:
        self._views.pop(thread, None)
        self._view_changes += 1

    def _remember_view(self, row: Membership) -> None:
        if len(self._views) >= VIEWS_REMEMBERED_MAX:
            self._views.clear()
        self._views[row.meta.thread] = row

    def _pass(self, request: Ordered) -> bool:
        """Pass a request on, if all it needs is known; False asks for a look-up."""
        match request:
            case SubmitPost():
                resolved = resolve(request, self._uid, self._people)
                if resolved is None:
                    return False
                thread, command = resolved
                if not (isinstance(command, Send) and command.opens_dm) and not self._knows(thread):
                    return False
                self._give(thread, Post(request.caller, request.cid, command))
            case SubmitMark(thread=thread) | SubmitTyping(thread=thread) if not self._knows(thread):
                return False
            case SubmitMark(caller, thread, recv, read, answered):
                self._give(thread, Mark(caller, recv, read, answered))
            case SubmitTyping(caller, thread, on, answered):
                self._give(thread, Typing(caller, on, answered))
            case History():
                return self._history(request)
        return True

    def _knows(self, thread: ThreadId) -> bool:
        """Whether the thread is surely one of the user's, or its channel can say so itself."""
        return thread in self._views or self.system.names.get(channel_name(thread)) is not None

    # ------------------------------------------------------------------ channels

    def _give(self, thread: ThreadId, message: Passed) -> None:
        """Note a message for a channel and send it, starting the channel if need be."""
        deadline_s = trio.current_time() + self._services.times.post_deadline_s
        self._pass_on(self._outstanding.add(thread, message, deadline_s))
        self._sweep_later()

    def _pass_on(self, link: Link) -> None:
        """Send the channel what waits, in order, until it takes no more."""
        if link.ref is None:
            self._connect(link)
        while link.ref is not None and (entry := self._outstanding.next_unsent(link)) is not None:
            if not link.ref.cast(entry.message):
                return
            self._outstanding.sent(link)

    def _connect(self, link: Link) -> None:
        """Find or start the channel."""
        name = channel_name(link.thread)
        ref = self._services.channels.ensure(name)
        if ref is None:
            self.system.watch_name(name, self.ref)
        else:
            link.ref = ref
            self._monitored[self.monitor(ref)] = link.thread

    def _channel_down(self, down: Down) -> None:
        thread = self._monitored.pop(down.monitor, None)
        if thread is None:
            return
        link = self._outstanding.links.get(thread)
        if link is None or link.ref is not down.ref:
            return
        self._give_up(self._outstanding.crashed(thread, abnormal=is_abnormal(down.reason)))
        self._retry()

    def _retry(self) -> None:
        for link in list(self._outstanding.stalled()):
            self._pass_on(link)

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self.send_after(SWEEP_S, _SWEEP)

    def _sweep(self) -> None:
        self._sweeping = False
        self._give_up(self._outstanding.expired(trio.current_time()))
        self._retry()
        if len(self._outstanding):
            self._sweep_later()

    def _give_up(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._answer(entry.caller, entry.refusal())

    # ------------------------------------------------------------------ reading

    def _history(self, request: History) -> bool:
        view = self._views.get(request.thread)
        if view is None:
            return False
        if self.system.names.get(channel_name(request.thread)) is not None:
            self._give(request.thread, ReadPage(request))
        else:
            self._answer_later(request.caller, reading.cold_page, self._services, request, view)
        return True

    def _page(self, page: Page) -> None:
        request = page.request
        caller = request.caller
        self._outstanding.settle(caller.device, caller.request)
        view = self._views.get(request.thread)
        if view is not None and page.bodies is not None:
            self._answer(
                caller, reading.page_answer(page.bodies, view.hidden, page.head, more=page.more)
            )
        else:
            self._answer_later(caller, reading.warm_page, self._services, page, view)

    def _read(self, message: Any) -> None:
        services, uid = self._services, self._uid
        match message:
            case ThreadList(caller, limit, after):
                self._answer_later(caller, reading.thread_list, services, uid, limit, after)
            case GroupInfo(caller, thread, after, limit):
                self._answer_later(caller, reading.group_info, services, uid, thread, after, limit)
            case Sync(caller, cursors, limit):
                self._answer_later(caller, reading.sync, services, uid, cursors, limit)
            case ThreadSet() | HideMine():
                self._answer_later(message.caller, self._change_view, message)
            case GroupCreate():
                self._create_group(message)
            case _:
                raise TypeError(f"a session does not understand {type(message).__name__}")

    def _wait(self, work: Any, *args: Any, on_done: Callable[[Outcome[Any]], None]) -> None:
        limit_s = self._services.times.post_deadline_s
        self.run_task(work, *args, on_done=on_done, timeout_s=limit_s)

    def _answer_later(
        self, caller: Caller, work: Callable[..., Awaitable[Result]], *args: Any
    ) -> None:
        """Run a request that waits for the stores, and answer it."""

        def done(result: Outcome[Any]) -> None:
            answer = store_refusal(result.error) if isinstance(result, Error) else result.unwrap()
            self._answer(caller, answer)

        self._wait(work, *args, on_done=done)

    # ------------------------------------------------------------------ the user's own settings

    async def _change_view(self, request: ThreadSet | HideMine) -> Result:
        """Store a setting of the user's own and show it to their other devices."""
        settle = settings.set_view if isinstance(request, ThreadSet) else settings.hide
        shown = await settle(self._services, self._uid, request)  # type: ignore[arg-type]  # by kind
        if isinstance(shown, Refused):
            return shown
        self._view_changed(request.thread)
        for number, device in self._devices.items():
            if number != request.caller.device:
                device.show(shown.key, shown.body)
        return Done()

    def _create_group(self, request: GroupCreate) -> None:
        """Reserve the thread id that belongs to this cid, then post the creation to its channel."""

        def done(result: Outcome[Any]) -> None:
            match result:
                case Value(Refused() as refused):
                    self._answer(request.caller, refused)
                case Value((thread, command)):
                    # its own name space: the same cid may name a message in the group
                    cid = ClientId(OWN_CID_PREFIX + request.cid)
                    self._give(thread, Post(request.caller, cid, command))
                case Error(error):
                    self._answer(request.caller, store_refusal(error))

        self._wait(settings.reserve_group, self._services, self._uid, request, on_done=done)

    def statistics(self) -> dict[str, int]:
        """Live state for the tree and for logs."""
        return {
            "devices": len(self._devices), "waiting": len(self._outstanding),
            "channels": len(self._outstanding.links),
        }  # fmt: skip
