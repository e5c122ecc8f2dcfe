"""What a dynamic supervisor knows of each child, and what it tells of all of them.

Children that are there, and names in trouble: those wait for a restart or are retired for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from actors.runtime import MonitorRef, Ref, ReplySlot
from supervision.admin import ChildInfo, ChildState, Counts, DoneAnswer, Key, StartAnswer
from supervision.shutdown import outlives
from supervision.spec import ChildSpec
from supervision.trouble import Trouble, Troubles


@dataclass(slots=True, eq=False)
class DynamicChild:
    """One child that is there. `slots`: who waits for it to be ready, or to end if it is
    stopping."""

    ref: Ref
    spec: ChildSpec
    monitor: MonitorRef
    restarts: int = 0
    is_restart: bool = False
    is_stopping: bool = False
    is_starting: bool = True
    up_s: float = 0.0
    """How long it lived, once it has ended."""
    is_unwinding: bool = False
    """It is dead, but its code is waited for."""
    is_wanted: bool = False
    """Somebody asked for it meanwhile."""
    is_ignored: bool = False
    """It said itself that it is not needed."""
    slots: list[ReplySlot] | None = None

    def answer(self, answer: StartAnswer | DoneAnswer) -> None:
        """To all who wait for it."""
        slots, self.slots = self.slots, None
        for slot in slots or ():
            slot.set(answer)


def name_of(key: Key, children: Mapping[str, DynamicChild]) -> str:
    """A child's name, from the name or from the ref; empty, which no child is called, if it is not
    the ref of one of these."""
    if isinstance(key, str):
        return key
    name = key.name or ""
    return name if name in children and children[name].ref is key else ""


def info_of(
    name: str, children: Mapping[str, DynamicChild], troubles: Troubles, now_s: float
) -> ChildInfo | None:
    """A child that is there, or is not for now; None if it is not missed."""
    child = children.get(name)
    if child is not None:
        state = ChildState.STARTING if child.is_starting else ChildState.RUNNING
        state = ChildState.STOPPING if child.is_stopping else state
        state = ChildState.UNWINDING if outlives(child.ref, child.spec) else state
        return ChildInfo(name, child.ref, child.spec.kind, state, child.restarts)
    trouble = troubles.get(name)
    if trouble is None or not (
        trouble.waiting or (trouble.retired and trouble.blocked_until_s > now_s)
    ):
        return None
    state = ChildState.RESTARTING if trouble.waiting else ChildState.RETIRED
    return ChildInfo(name, None, _kind(trouble), state, trouble.restarts)


def spec_of(
    name: str, children: Mapping[str, DynamicChild], troubles: Troubles
) -> ChildSpec | None:
    child, trouble = children.get(name), troubles.get(name)
    if child is not None:
        return child.spec
    return None if trouble is None else trouble.spec


def infos(
    children: Mapping[str, DynamicChild], troubles: Troubles, now_s: float
) -> Iterator[ChildInfo]:
    """The children that are there, then those that are not for now."""
    for name in (*children, *(name for name, _ in troubles.items() if name not in children)):
        info = info_of(name, children, troubles, now_s)
        if info is not None:
            yield info


def counts(children: Mapping[str, DynamicChild], troubles: Troubles) -> Counts:
    """A child that waits for its restart keeps its place, but is not active."""
    kinds: list[str] = [child.spec.kind for child in children.values()]
    kinds += [_kind(trouble) for _, trouble in troubles.items() if trouble.waiting]
    supervisors = kinds.count("supervisor")
    return Counts(
        specs=len(kinds),
        active=sum(not child.is_unwinding for child in children.values()),
        supervisors=supervisors,
        workers=len(kinds) - supervisors,
        restarting=troubles.waiting,
        retired=troubles.retired,
    )


def _kind(trouble: Trouble) -> str:
    return "worker" if trouble.spec is None else trouble.spec.kind
