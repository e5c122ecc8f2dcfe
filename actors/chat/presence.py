"""The presence registry: answers status polls from memory.

Heartbeats never come here. Gateways report transitions and renew one lease each
(`presence_state`); clients poll. What a viewer may see (blocks, last-seen privacy) is looked up
once per device and set of ids, and again when a block, contact or setting that concerns it changes.
"""

from __future__ import annotations

from typing import Any

import trio
from outcome import Error, Outcome

from actors.chat.answers import Done
from actors.chat.messages import (
    Caller,
    Lease,
    Poll,
    RelationChanged,
    UserDown,
    UserUp,
)
from actors.chat.presence_state import (
    PresenceState,
    View,
    Watch,
    changed_since,
    next_poll_ms,
)
from actors.chat.privacy import mutual
from actors.chat.services import Services, store_refusal
from actors.runtime import Actor
from actors.runtime.stalls import stood_still
from persistence.records import AccountChange, UserId

TICK_S = 1.0
FLUSH_TICKS = 5
"""Last-seen times are written every `FLUSH_TICKS` ticks, together."""

WATCHES_PER_USER_MAX = 16
"""Polling devices remembered per user; beyond it the oldest is answered in full next time."""

POLICY_CHANGES_MAX = 100_000
"""Users whose change of privacy is remembered; then everybody's view is looked up anew, once."""

LOOK_DEADLINE_S = 5.0
SAVE_DEADLINE_S = 60.0
"""Store calls that take longer are given up; what was to be saved is tried again."""

_TICK = "tick"


class Presence(Actor):
    """Named `presence`. After a restart it knows nothing until the gateways' leases return."""

    trap_exit = True  # so that a shutdown still writes the last-seen times

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._state = PresenceState(version=services.wall_ms())
        self._watches: dict[UserId, dict[int, Watch]] = {}
        self._policy_changes: dict[UserId, int] = {}
        self._policy = 0
        self._overtaken = 0
        """Grows with every change that a look-up under way may not have seen."""
        self._unsaved: dict[UserId, int] = {}
        self._saving = False
        self._ticks = 0
        self._ticked_at_s = 0.0
        self._polls = 0
        self._polls_per_s = 0.0

    def on_start(self) -> None:
        self._ticked_at_s = trio.current_time()
        self.send_every(TICK_S, _TICK)

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await self._save(self._unsaved)

    def on_receive(self, message: Any) -> None:
        match message:
            case Poll():
                self._poll(message)
            case UserUp(gateway, uid):
                self._state.up(gateway, uid)
                self._unsaved[uid] = self._services.wall_ms()
            case UserDown(gateway, uid, last_ms):
                if self._state.down(gateway, uid, last_ms):
                    self._unsaved[uid] = last_ms
                    self._watches.pop(uid, None)
            case Lease(gateway, users):
                self._state.lease(gateway, users, trio.current_time())
            case RelationChanged(uid, peer):
                self._relation_changed(uid, peer)
            case _ if message == _TICK:
                self._tick()

    def _expire(self) -> None:
        """End the leases that ran out, unless it was we who did not hear."""
        now_s, now_ms = trio.current_time(), self._services.wall_ms()
        silence_s = self._services.times.gateway_silence_s
        is_late = stood_still(now_s - self._ticked_at_s, TICK_S, silence_s)
        self._ticked_at_s = now_s
        if is_late:
            return
        for uid in self._state.expire(now_s, silence_s, now_ms):
            self._unsaved[uid] = self._state.last_ms.get(uid, now_ms)
            self._watches.pop(uid, None)

    def _tick(self) -> None:
        self._expire()
        self._polls_per_s = 0.8 * self._polls_per_s + 0.2 * self._polls / TICK_S
        self._polls = 0
        self._ticks += 1
        if self._ticks % FLUSH_TICKS == 0 and self._unsaved and not self._saving:
            unsaved, self._unsaved = self._unsaved, {}
            self._saving = True
            self.run_task(
                self._save, unsaved, on_done=lambda result: self._saved(unsaved, result),
                timeout_s=SAVE_DEADLINE_S,
            )  # fmt: skip

    async def _save(self, unsaved: dict[UserId, int]) -> None:
        for uid, seen_ms in unsaved.items():
            await self._services.accounts.update(uid, AccountChange(seen_ms=seen_ms))

    def _saved(self, unsaved: dict[UserId, int], result: Outcome[Any]) -> None:
        self._saving = False
        if isinstance(result, Error):
            store_refusal(result.error)  # a bug of ours is raised again
            self._unsaved = unsaved | self._unsaved

    # ------------------------------------------------------------------ polling

    def _poll(self, poll: Poll) -> None:
        self._polls += 1
        if not self._state.is_known:
            poll.device.answer(
                poll.caller.request, Done({"st": {}, "v": 0, "next_ms": next_poll_ms(0)})
            )
            return
        ids = hash(frozenset(poll.uids))
        watch = self._watches.get(poll.caller.uid, {}).get(poll.caller.device)
        if (
            watch is None
            or watch.ids != ids
            or changed_since(self._policy_changes, watch.policy, (poll.caller.uid, *poll.uids))
        ):
            self._look_up(poll, ids)
        else:
            self._answer(poll, watch)

    def _look_up(self, poll: Poll, ids: int) -> None:
        policy, overtaken = self._policy, self._overtaken

        async def look() -> View:
            uid, uids = poll.caller.uid, poll.uids
            accounts = await self._services.accounts.by_ids(uids)
            for account in accounts.values():
                if account.seen_ms is not None:
                    self._state.saw(account.uid, account.seen_ms)
            known = [peer for peer in uids if peer in accounts]
            relations = await self._services.contacts.relations(uid, known)
            hidden = frozenset(peer for peer in known if relations[peer].blocked)
            shared = await mutual(self._services, "last_seen", uid, known)
            return View(frozenset(uids) - accounts.keys(), hidden, frozenset(known) - shared)

        def done(result: Outcome[View]) -> None:
            if isinstance(result, Error):
                poll.device.answer(poll.caller.request, store_refusal(result.error))
                return
            watch = Watch(ids, result.unwrap(), policy)
            if overtaken == self._overtaken and poll.caller.uid in self._state.online:
                self._remember(poll.caller, watch)
            self._answer(poll, watch)

        self.run_task(look, on_done=done, timeout_s=LOOK_DEADLINE_S)

    def _remember(self, caller: Caller, watch: Watch) -> None:
        """Until the user goes offline, or what the view was made of changes."""
        watches = self._watches.setdefault(caller.uid, {})
        if len(watches) >= WATCHES_PER_USER_MAX:
            watches.pop(next(iter(watches)))
        watches[caller.device] = watch

    def _answer(self, poll: Poll, watch: Watch) -> None:
        """Changes only, if the client names the version of its last answer for this very set."""
        since = poll.v if poll.v is not None and poll.v == watch.answered else None
        status = self._state.status(dict.fromkeys(poll.uids), since, watch.view)
        watch.answered = self._state.version
        fields = {
            "st": status,
            "v": self._state.version,
            "next_ms": next_poll_ms(self._polls_per_s),
        }
        poll.device.answer(poll.caller.request, Done(fields))

    def _relation_changed(self, uid: UserId, peer: UserId | None) -> None:
        """Views that concern these users are out of date."""
        if peer is None:
            self._policy += 1
            self._policy_changes[uid] = self._policy
            if len(self._policy_changes) > POLICY_CHANGES_MAX:
                self._policy_changes.clear()
                self._watches.clear()
                self._overtaken += 1
        else:
            self._overtaken += 1
            self._watches.pop(uid, None)
            self._watches.pop(peer, None)

    def statistics(self) -> dict[str, float]:
        """Live state for the tree and for metrics."""
        return {
            "online": len(self._state.online),
            "watching": len(self._watches),
            "policy_changes": len(self._policy_changes),
            "version": self._state.version,
            "polls_per_s": round(self._polls_per_s, 1),
        }
