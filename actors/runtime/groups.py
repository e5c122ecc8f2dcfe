"""Process groups: who belongs together, for messages to all of them (OTP's `pg`).

A `ProcessGroups` is a scope: a set of groups of its own. An actor that joins a group n times is in
it n times, and leaves it as often. Groups exist while somebody is in them. An actor's end removes
it from all its groups at once, before anybody hears of that end.

Who monitors a scope or a group gets what is there as the answer, and each change after that as a
message.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.runtime.errors import ActorError
from actors.runtime.ref import Ref

if TYPE_CHECKING:
    from actors.runtime.system import ActorSystem

Group = Hashable


class NotJoined(ActorError):
    """None of those who were to leave is in the group."""


@dataclass(frozen=True, slots=True)
class GroupMonitor:
    """One monitor of a scope, or of one of its groups."""

    number: int
    watcher: Ref


@dataclass(frozen=True, slots=True)
class GroupJoined:
    """`refs` joined a monitored group, one entry for each time."""

    monitor: GroupMonitor
    group: Group
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class GroupLeft:
    """`refs` left a monitored group, by themselves or by their end."""

    monitor: GroupMonitor
    group: Group
    refs: tuple[Ref, ...]


class ProcessGroups:
    """One scope. Belongs to its system's loop, and has that system's actors only."""

    def __init__(self, system: ActorSystem, scope: str = "pg") -> None:
        self.scope = scope
        self._system = system
        self._members: dict[Group, list[Ref]] = {}
        self._groups: dict[Ref, dict[Group, None]] = {}
        self._of_scope: dict[GroupMonitor, None] = {}
        self._of_group: dict[Group, dict[GroupMonitor, None]] = {}
        self._monitors: dict[Ref, dict[GroupMonitor, Group | None]] = {}
        self._numbers = count(1)

    # ------------------------------------------------------------------ members

    def join(self, group: Group, refs: Ref | Iterable[Ref]) -> None:
        """Add entries, one for each ref given. The dead join nothing. Raises `ValueError`, and then
        nobody has joined, if one is of another system."""
        joining = _refs(refs)
        if any(ref._cell.system is not self._system for ref in joining):
            raise ValueError("only actors of this system can join")
        joining = tuple(ref for ref in joining if ref.is_alive())
        if not joining:
            return
        self._members.setdefault(group, []).extend(joining)
        for ref in joining:
            self._groups.setdefault(ref, {})[group] = None
            ref._cell.hold(self)
        self._tell(GroupJoined, group, joining)

    def leave(self, group: Group, refs: Ref | Iterable[Ref]) -> None:
        """Remove one entry for each ref given, the last made first. Raises `NotJoined` if there is
        none of them to remove; to leave in the moment of one's end is no error."""
        leaving = _refs(refs)
        members = self._members.get(group, [])
        left = tuple(ref for ref in leaving if _remove_last(members, ref))
        if not left:
            if any(ref.is_alive() for ref in leaving):
                raise NotJoined(f"{group!r} in {self.scope}")
            return
        for ref in left:
            if ref not in members:
                self._forget(ref, group)
        self._drop_if_empty(group)
        self._tell(GroupLeft, group, left)

    def members(self, group: Group) -> list[Ref]:
        """Everybody in a group, in the order of joining, once for each time. All are alive."""
        return list(self._members.get(group, ()))

    def groups(self) -> list[Group]:
        """The groups that somebody is in."""
        return list(self._members)

    def broadcast(self, group: Group, message: Any) -> int:
        """Cast to every entry; how many took it."""
        return sum(ref.cast(message) for ref in self.members(group))

    # ------------------------------------------------------------------ monitors

    def monitor_scope(self, watcher: Ref) -> tuple[GroupMonitor, dict[Group, list[Ref]]]:
        """Tell `watcher` of every change from now on: the monitor, and what is there now."""
        monitor = self._monitor(watcher, None)
        if watcher.is_alive():
            self._of_scope[monitor] = None
        return monitor, {group: list(refs) for group, refs in self._members.items()}

    def monitor(self, group: Group, watcher: Ref) -> tuple[GroupMonitor, list[Ref]]:
        """The same for one group, which may be empty."""
        monitor = self._monitor(watcher, group)
        if watcher.is_alive():
            self._of_group.setdefault(group, {})[monitor] = None
        return monitor, self.members(group)

    def demonitor(self, monitor: GroupMonitor) -> bool:
        """End a monitor: nothing of it is heard any more, even if it was on its way. False if there
        is none."""
        monitors = self._monitors.get(monitor.watcher, {})
        if monitor not in monitors:
            return False
        self._unlist(monitor, monitors.pop(monitor))
        self._let_go(monitor.watcher)
        monitor.watcher._cell.mailbox.drop_control(
            lambda item: isinstance(item, GroupJoined | GroupLeft) and item.monitor == monitor
        )
        return True

    def _monitor(self, watcher: Ref, group: Group | None) -> GroupMonitor:
        monitor = GroupMonitor(next(self._numbers), watcher)
        if watcher.is_alive():
            self._monitors.setdefault(watcher, {})[monitor] = group
            watcher._cell.hold(self)
        return monitor

    def _unlist(self, monitor: GroupMonitor, group: Group | None) -> None:
        self._of_scope.pop(monitor, None)
        monitors = self._of_group.get(group, {})
        monitors.pop(monitor, None)
        if not monitors:
            self._of_group.pop(group, None)

    # ------------------------------------------------------------------ the tables

    def ended(self, ref: Ref) -> None:
        """An actor has ended. For the runtime."""
        for monitor, group in self._monitors.pop(ref, {}).items():
            self._unlist(monitor, group)
        for group in self._groups.pop(ref, {}):
            members = self._members[group]
            left = tuple(member for member in members if member is ref)
            members[:] = [member for member in members if member is not ref]
            self._drop_if_empty(group)
            self._tell(GroupLeft, group, left)

    def _tell(
        self, kind: type[GroupJoined | GroupLeft], group: Group, refs: tuple[Ref, ...]
    ) -> None:
        for monitor in (*self._of_scope, *self._of_group.get(group, ())):
            monitor.watcher.deliver_control(kind(monitor, group, refs))

    def _drop_if_empty(self, group: Group) -> None:
        if not self._members[group]:
            del self._members[group]

    def _forget(self, ref: Ref, group: Group) -> None:
        del self._groups[ref][group]
        if not self._groups[ref]:
            del self._groups[ref]
            self._let_go(ref)

    def _let_go(self, ref: Ref) -> None:
        if not self._monitors.get(ref):
            self._monitors.pop(ref, None)
            if ref not in self._groups:
                ref._cell.let_go(self)

    def __repr__(self) -> str:
        return f"<ProcessGroups {self.scope}: {len(self._members)} groups>"


def _refs(refs: Ref | Iterable[Ref]) -> tuple[Ref, ...]:
    return (refs,) if isinstance(refs, Ref) else tuple(refs)


def _remove_last(members: list[Ref], ref: Ref) -> bool:
    for index in range(len(members) - 1, -1, -1):
        if members[index] is ref:
            del members[index]
            return True
    return False
