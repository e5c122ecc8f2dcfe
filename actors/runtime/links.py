"""Who is told when an actor ends: links and monitors, as one table of ids.

Links are symmetric, at most one per pair, and idempotent. Monitors are one-way and stack: n
calls, n messages. An exit goes in, the signals owed come out, and everything about the dead is
forgotten (OTP's reference manual, *Processes*). Nothing is sent from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class MonitorRef:
    """One monitor: `watcher` is told once when `watched` ends."""

    number: int
    watcher: int
    watched: int


@dataclass(frozen=True, slots=True)
class Owed:
    """What an exit owes: exit signals to the linked, a message for each monitor."""

    linked: tuple[int, ...] = ()
    monitors: tuple[MonitorRef, ...] = ()


NOTHING_OWED = Owed()


class LinkTable:
    """All links and monitors of one system. Memory is used only by ids that have any."""

    def __init__(self) -> None:
        self._links: dict[int, set[int]] = {}
        self._watched: dict[int, dict[MonitorRef, None]] = {}
        self._watching: dict[int, set[MonitorRef]] = {}
        self._numbers = count(1)

    def link(self, a: int, b: int) -> None:
        """Tie two actors together. Linking twice, or to oneself, changes nothing."""
        if a != b:
            self._links.setdefault(a, set()).add(b)
            self._links.setdefault(b, set()).add(a)

    def unlink(self, a: int, b: int) -> None:
        """Undo a link, from either side. Without one, nothing changes."""
        self._unlink_one(a, b)
        self._unlink_one(b, a)

    def _unlink_one(self, a: int, b: int) -> None:
        others = self._links.get(a)
        if others is not None:
            others.discard(b)
            if not others:
                del self._links[a]

    def is_linked(self, a: int, b: int) -> bool:
        return b in self._links.get(a, ())

    def linked(self, a: int) -> Iterator[int]:
        return iter(sorted(self._links.get(a, ())))

    def monitor(self, watcher: int, watched: int) -> MonitorRef:
        """One more monitor. Both are taken to be alive; whoever knows better demonitors it."""
        monitor = MonitorRef(next(self._numbers), watcher, watched)
        self._watched.setdefault(watched, {})[monitor] = None
        self._watching.setdefault(watcher, set()).add(monitor)
        return monitor

    def demonitor(self, monitor: MonitorRef) -> bool:
        """Forget a monitor; False if it is not (or no longer) there."""
        watched = self._watched.get(monitor.watched)
        if watched is None or monitor not in watched:
            return False
        del watched[monitor]
        if not watched:
            del self._watched[monitor.watched]
        self._forget_watching(monitor)
        return True

    def _forget_watching(self, monitor: MonitorRef) -> None:
        watching = self._watching.get(monitor.watcher)
        if watching is not None:
            watching.discard(monitor)
            if not watching:
                del self._watching[monitor.watcher]

    def exited(self, dead: int) -> Owed:
        """Forget a dead actor; what its end owes to others, in the order they asked."""
        linked = self._links.pop(dead, None)
        watched = self._watched.pop(dead, None)
        watching = self._watching.pop(dead, None)
        if linked is None and watched is None and watching is None:
            return NOTHING_OWED
        for other in linked or ():
            self._unlink_one(other, dead)
        for monitor in watched or ():
            if monitor.watcher != dead:
                self._forget_watching(monitor)
        for monitor in watching or ():
            others = self._watched.get(monitor.watched)
            if others is not None:
                others.pop(monitor, None)
                if not others:
                    del self._watched[monitor.watched]
        told = tuple(monitor for monitor in watched or () if monitor.watcher != dead)
        return Owed(tuple(sorted(linked or ())), told)

    def __len__(self) -> int:
        return len(self._links) + len(self._watched)
