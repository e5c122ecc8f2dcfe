"""Who is online, as a value: gateways' leases, users' transitions, and what changed since when.

A gateway counts its own sockets and reports a user once when their first comes and once when their
last is gone (after the silence rule). A user is online while any gateway that holds a fresh lease
says so; a gateway that falls silent takes all of its users with it, so that nobody stays online
after a crash.

`version` grows with every transition. A poll that names the version of its last answer gets only
what changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from persistence.records import UserId

LAST_SEEN_REMEMBERED_MAX = 1_000_000
"""Users whose last-seen time is kept in memory; the account store has them all."""

CHANGES_REMEMBERED_MAX = 1_000_000
"""Users whose latest change is kept; who names a version from before those is answered in full."""

POLL_INTERVAL_MS = 10_000
POLLS_PER_S_COMFORTABLE = 2_000
POLL_INTERVAL_MS_MAX = 60_000
"""Above the comfortable rate the interval stretches in proportion, up to the maximum."""


@dataclass(slots=True)
class PresenceState:
    version: int
    online: dict[UserId, set[str]] = field(default_factory=dict)
    last_ms: dict[UserId, int] = field(default_factory=dict)
    changed: dict[UserId, int] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    lost: dict[tuple[str, UserId], float] = field(default_factory=dict)
    """Whom a gateway held before it restarted, and when that was; the earliest first."""
    changes_max: int = CHANGES_REMEMBERED_MAX
    forgotten: int = 0
    """The latest version whose change is not in `changed` any more."""

    @property
    def is_known(self) -> bool:
        """Whether any gateway has reported: before that the truth is *unknown*, not offline."""
        return bool(self.leases)

    def up(self, gateway: str, uid: UserId) -> bool:
        """A user's first socket on a gateway. True if they came online by it.

        Of a gateway without a lease nothing is believed: if it fell silent now, no lease would run
        out and take the user offline. Its next lease names all it holds."""
        if gateway not in self.leases:
            return False
        self.lost.pop((gateway, uid), None)
        holders = self.online.get(uid)
        if holders is None:
            self.online[uid] = {gateway}
            self._change(uid)
            return True
        holders.add(gateway)
        return False

    def down(self, gateway: str, uid: UserId, last_ms: int) -> bool:
        """A user's last socket on a gateway is gone. True if they went offline by it."""
        holders = self.online.get(uid)
        if holders is None or gateway not in holders:
            return False
        self.lost.pop((gateway, uid), None)
        self.saw(uid, last_ms)
        holders.discard(gateway)
        if holders:
            return False
        del self.online[uid]
        self._change(uid)
        return True

    def lease(self, gateway: str, users: Collection[UserId] | None, now_s: float) -> list[UserId]:
        """Renew a gateway's lease; with `users`, these are all it holds. Who came online by it.

        Others that it held before it lost by restarting: their sockets ended, but not cleanly, so
        that they are online until the silence rule ends it."""
        self.leases[gateway] = now_s
        if users is None:
            return []
        held = set(users)
        for uid, holders in self.online.items():
            if gateway in holders and uid not in held:
                self.lost.setdefault((gateway, uid), now_s)
        return [uid for uid in users if self.up(gateway, uid)]

    def expire(self, now_s: float, silence_s: float, now_ms: int) -> list[UserId]:
        """Drop gateways silent for `silence_s` with all their users, and whom a gateway lost as
        long ago; returns who went offline."""
        gone = []
        for gateway, renewed_s in list(self.leases.items()):
            if now_s - renewed_s >= silence_s:
                del self.leases[gateway]
                held = [uid for uid, holders in self.online.items() if gateway in holders]
                gone += [uid for uid in held if self.down(gateway, uid, now_ms)]
        over = takewhile(lambda entry: now_s - entry[1] >= silence_s, self.lost.items())
        for (gateway, uid), lost_s in list(over):
            if self.down(gateway, uid, now_ms - round((now_s - lost_s) * 1000)):
                gone.append(uid)
        return gone

    def saw(self, uid: UserId, ms: int) -> None:
        """Note when a user was last seen; forward only."""
        if ms > self.last_ms.get(uid, 0):
            if len(self.last_ms) >= LAST_SEEN_REMEMBERED_MAX:
                self.last_ms.pop(next(iter(self.last_ms)))
            self.last_ms[uid] = ms

    def _change(self, uid: UserId) -> None:
        self.version += 1
        self.changed.pop(uid, None)
        self.changed[uid] = self.version  # in the order of the versions
        if len(self.changed) > self.changes_max:
            self.forgotten = self.changed.pop(next(iter(self.changed)))

    def status(self, uids: Iterable[UserId], since: int | None, view: View) -> dict[str, Any]:
        """`st` of a poll answer: all of `uids`, or those that changed after version `since`."""
        answer: dict[str, Any] = {}
        if since is not None and since < self.forgotten:
            since = None
        for uid in uids:
            if uid in view.unknown or (since is not None and self.changed.get(uid, 0) <= since):
                continue
            if uid in view.hidden:
                answer[uid] = {"on": False}
            elif uid in self.online:
                answer[uid] = {"on": True}
            else:
                answer[uid] = {"on": False}
                last_ms = self.last_ms.get(uid)
                if last_ms and uid not in view.timeless:
                    answer[uid]["last"] = last_ms
        return answer


@dataclass(frozen=True, slots=True)
class View:
    """What one viewer may see of one set of users: `unknown` do not exist, `hidden` are blocked
    either way, of the `timeless` the last-seen time is private."""

    unknown: frozenset[UserId] = frozenset()
    hidden: frozenset[UserId] = frozenset()
    timeless: frozenset[UserId] = frozenset()


@dataclass(slots=True)
class Watch:
    """A device's polling: the set of ids asked for, the version answered, and the view of it.
    `policy` is the privacy epoch the view was made in."""

    ids: int
    view: View
    policy: int
    answered: int | None = None


def next_poll_ms(polls_per_s: float) -> int:
    """When a client should poll again: 10 s, stretched under load."""
    stretched = POLL_INTERVAL_MS * polls_per_s / POLLS_PER_S_COMFORTABLE
    return int(min(max(POLL_INTERVAL_MS, stretched), POLL_INTERVAL_MS_MAX))


def changed_since(changes: Mapping[UserId, int], epoch: int, uids: Iterable[UserId]) -> bool:
    """Whether any of `uids` has a change later than `epoch`."""
    return any(changes.get(uid, 0) > epoch for uid in uids)
