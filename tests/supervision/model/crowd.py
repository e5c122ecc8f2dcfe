"""The reference for dynamic supervisors: children by name, on demand, each with its own window.

A child whose window is full is *retired* for a while. What was asked for and may not start now is
started as soon as it may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.supervision.model.lives import (
    IGNORED,
    KILLED,
    SHUTDOWN,
    UNMAKEABLE,
    Life,
    Phase,
    World,
    comes_back,
    directive_of,
    is_abnormal,
    limit_of,
    made,
)
from tests.supervision.model.timeline import Script, Waits
from tests.supervision.model.trees import Crowd, Leaf

NAMES_MAX = 4
"""The reference forgets old failures of all names at each failure. The real one looks at four, the
longest untroubled: with more names the two would differ in what is kept, not in what is right."""

ORPHAN_LIMIT_S = 5.0
LOOK_S = 1.0
"""How often children that are not ready yet are looked at."""


@dataclass(eq=False)
class Member:
    """A child that is there."""

    leaf: Leaf
    life: Life
    restarts: int
    is_restart: bool
    is_starting: bool = True
    is_stopping: bool = False
    askers: list[int] = field(default_factory=list)
    """Steps that wait until it is ready, or gone if it stops."""


@dataclass(eq=False)
class Trouble:
    """What is remembered of a name that failed."""

    leaf: Leaf
    failed_at_s: list[float] = field(default_factory=list)
    failures: int = 0
    """In a row."""
    restarts: int = 0
    until_s: float = 0.0
    """It may not start before that."""
    is_waiting: bool = False
    is_retired: bool = False
    is_wanted: bool = True
    last_s: float = 0.0


def ensure(world: World, name: str, child: str) -> str:
    """Ask for a child, whether its supervisor is there or not. Who it is, or `None`: later."""
    holder = world.living.get(child)
    if holder is not None:
        return str(holder)
    supervisor = world.living.get(name)
    if isinstance(supervisor, DynamicSupervisor) and supervisor.phase is Phase.RUNNING:
        return str(supervisor.ensure(child))
    owed = world.owed.setdefault(name, [])
    if child not in owed:
        owed.append(child)
    return "None"


class DynamicSupervisor(Life):
    def __init__(self, world: World, crowd: Crowd, boss: Life | None) -> None:
        super().__init__(world, crowd, boss)
        self.crowd = crowd
        self.kinds = {leaf.id: leaf for leaf in crowd.kinds}
        self.members: dict[str, Member] = {}
        self.troubles: dict[str, Trouble] = {}
        self.places_wanted: list[str] = []
        self.limits_s: dict[str, float] = {}
        """When those that start must be ready."""
        self.is_looking = False
        self.is_ending = False

    def begin(self) -> None:
        self.world.timeline.after(0.0, self._begun)

    def _begun(self) -> None:
        if self.phase is not Phase.STARTING:
            return
        for life in list(self.world.living.values()):
            boss = life.boss
            if boss is not None and boss.name == self.name and not boss.is_alive:
                self._end_orphan(life)
        self.ready()
        self.places_wanted = self.world.owed.pop(self.name, [])
        self._fill_places()

    def _end_orphan(self, life: Life) -> None:
        def wait() -> Waits[None]:
            if not (yield life.ended, ORPHAN_LIMIT_S):
                life.end(KILLED)

        self._script(wait())

    # ------------------------------------------------------------------ starting

    def ensure(self, name: str) -> Life | None:
        if name in self.members:
            return self.members[name].life
        trouble = self.troubles.get(name)
        if self.is_ending:
            owed = self.world.owed.setdefault(self.name, [])
            owed += [] if name in owed else [name]
        elif trouble is not None and trouble.until_s > self.world.now_s:
            trouble.is_wanted = True
        elif self._is_full:
            self.places_wanted += [] if name in self.places_wanted else [name]
        else:
            return self._start(name)
        return None

    @property
    def _is_full(self) -> bool:
        """One that waits for its restart keeps its place."""
        waiting = sum(trouble.is_waiting for trouble in self.troubles.values())
        return len(self.members) + waiting >= self.crowd.max_children

    def _fill_places(self) -> None:
        while self.places_wanted and not self._is_full and not self.is_ending:
            self.ensure(self.places_wanted.pop(0))

    def _start(self, name: str) -> Life | None:
        trouble = self.troubles.get(name)
        restarts, is_restart, leaf = 0, False, self.kinds.get(name)
        if trouble is not None:
            restarts, is_restart, leaf = trouble.restarts, trouble.is_waiting, trouble.leaf
            trouble.is_waiting = trouble.is_retired = False
        assert leaf is not None
        holder = self.world.living.get(name)
        if holder is not None:
            self._end_orphan(holder)
            return holder
        return self._make(leaf, restarts, is_restart=is_restart)

    def _make(
        self, leaf: Leaf, restarts: int = 0, *, is_restart: bool = False, asker: int | None = None
    ) -> Life | None:
        life = made(self.world, leaf, self)
        if life is None:
            if asker is None:
                self._failed(leaf, UNMAKEABLE, up_s=0.0, restarts=restarts)
            else:
                self.world.answer(asker, f"NotStarted({UNMAKEABLE})")
            return None
        member = Member(leaf, life, restarts + is_restart, is_restart)
        if asker is not None:
            member.askers.append(asker)
        self.members[leaf.id] = member
        if not self.is_looking:
            self.is_looking = True
            self.world.timeline.after(LOOK_S, self._look)
        self.limits_s[leaf.id] = self.world.now_s + leaf.start_limit_s
        life.settled.when_set(lambda: self._settled(member))
        life.begin()
        return life

    def _look(self) -> None:
        """Those that are not ready in time are killed: a failure like others."""
        if not self.is_alive:
            return
        for name, limit_s in list(self.limits_s.items()):
            if limit_s <= self.world.now_s:
                self.members[name].life.end(KILLED)
        self.is_looking = bool(self.limits_s)
        if self.is_looking:
            self.world.timeline.after(LOOK_S, self._look)

    def _settled(self, member: Member) -> None:
        name = member.leaf.id
        if self.members.get(name) is not member or not member.life.is_alive or not self.is_alive:
            return
        self.limits_s.pop(name, None)
        member.is_starting = False
        if name in self.troubles:
            self.troubles[name].is_wanted = False
        if member.is_restart:
            self._tell("restarted", name, member.restarts)
        if not member.is_stopping:
            self._answer_all(member, f"ChildStarted({member.life}, None)")

    # ------------------------------------------------------------------ an end, what follows

    def down(self, life: Life) -> None:
        member = self.members.get(life.name)
        if not self.is_alive or member is None or member.life is not life:
            return
        name, reason = life.name, life.reason or ""
        del self.members[name]
        self.limits_s.pop(name, None)
        if self.is_ending:
            return
        if member.is_stopping:
            self.troubles.pop(name, None)
            self._answer_all(member, "Done()")
        elif life.outcome == IGNORED:
            self.troubles.pop(name, None)
            self._answer_all(member, "ChildStarted(None, None)")
        elif member.is_starting and member.askers:
            self._answer_all(member, f"NotStarted({reason})")
        elif directive_of(member.leaf, reason) == "escalate":
            self._tell("escalated", name, reason)
            self.stop(SHUTDOWN)
        elif comes_back(member.leaf, reason, abnormal=is_abnormal(reason)):
            up_s = 0.0 if member.is_starting else self.world.now_s - life.made_s
            self._failed(member.leaf, reason, up_s=up_s, restarts=member.restarts)
        elif name in self.troubles and not self._recent_s(self.troubles[name]):
            del self.troubles[name]
        self._fill_places()

    def _recent_s(self, trouble: Trouble) -> list[float]:
        limit_s = self.crowd.period_s
        return [at_s for at_s in trouble.failed_at_s if self.world.now_s - at_s <= limit_s]

    def _failed(self, leaf: Leaf, reason: str, *, up_s: float, restarts: int) -> None:
        """Its own window decides: wait, or retire."""
        now_s, name = self.world.now_s, leaf.id
        shortest_s, longest_s = leaf.backoff_s
        trouble = self.troubles.setdefault(name, Trouble(leaf))
        if up_s >= max(1.0, longest_s):
            trouble.failures = 0
        trouble.failures += 1
        trouble.restarts = max(trouble.restarts, restarts)
        trouble.leaf, trouble.last_s, trouble.is_wanted = leaf, now_s, True
        recent_s = self._recent_s(trouble)
        trouble.is_retired = len(recent_s) >= self.crowd.intensity
        trouble.is_waiting = not trouble.is_retired
        if trouble.is_retired:
            trouble.failed_at_s, trouble.failures = [], 0
            delay_s = self.crowd.retire_s
            self._tell("retired", name, f"{delay_s:.6f}")
        else:
            trouble.failed_at_s = [*recent_s, now_s]
            delay_s = min(longest_s, shortest_s * 2.0 ** (trouble.failures - 1))
            self._tell("scheduled", name, f"{delay_s:.6f}", reason)
        trouble.until_s = now_s + delay_s
        self.world.timeline.after(delay_s, lambda: self._due(name))
        self._forget_old()

    def _forget_old(self) -> None:
        """Failures that can no longer count."""
        for name, trouble in list(self.troubles.items()):
            keep_s = max(self.crowd.period_s, 1.0, trouble.leaf.backoff_s[1])
            is_old = self.world.now_s - trouble.last_s > keep_s
            is_blocked = trouble.is_waiting or trouble.until_s > self.world.now_s
            if is_old and not is_blocked and not trouble.is_wanted:
                del self.troubles[name]

    def _due(self, name: str) -> None:
        trouble = self.troubles.get(name)
        if trouble is None or name in self.members or self.is_ending or not self.is_alive:
            return
        if trouble.until_s > self.world.now_s:
            return  # it failed again since
        if trouble.is_waiting:
            self._start(name)
        elif trouble.is_retired:
            trouble.is_retired = False
            self.ensure(name)

    # ------------------------------------------------------------------ requests

    def request(self, step: int, what: str, child: str, leaf: Leaf | None) -> None:
        member, trouble = self.members.get(child), self.troubles.get(child)
        is_waiting = trouble is not None and trouble.is_waiting
        is_retired = trouble is not None and trouble.is_retired
        answer: str | None = None
        if self.is_ending and what != "delete":
            answer = "ending"
        elif what == "start":
            assert leaf is not None
            answer = self._start_request(step, leaf, is_known=is_waiting or is_retired)
        elif what == "terminate":
            answer = self._terminate_request(step, child, is_waiting=is_waiting)
        elif member is not None:
            answer = "running"
        elif is_waiting:
            answer = "restarting"
        elif not is_retired:
            answer = "not_found"
        elif what == "delete":
            del self.troubles[child]
            answer = "Done()"
        else:
            self._start(child)
            if child in self.members:
                self.members[child].askers.append(step)
            else:
                answer = "NotStarted(noproc)"
        if answer is not None:
            self.world.answer(step, answer)

    def _start_request(self, step: int, leaf: Leaf, *, is_known: bool) -> str | None:
        if leaf.id in self.members:
            return f"AlreadyRunning({self.members[leaf.id].life})"
        if is_known:
            return "already_present"
        if self._is_full:
            return "max_children"
        holder = self.world.living.get(leaf.id)
        if holder is not None:
            return f"AlreadyRunning({holder})"
        self._make(leaf, asker=step)
        return None

    def _terminate_request(self, step: int, name: str, *, is_waiting: bool) -> str | None:
        if name in self.places_wanted:
            self.places_wanted.remove(name)
        member = self.members.get(name)
        if member is None:
            if is_waiting:
                del self.troubles[name]
            return "Done()" if is_waiting else "not_found"
        if not member.is_stopping:
            self._answer_all(member, f"NotStarted({SHUTDOWN})")
            member.is_stopping = True
            self._script(self._shut_down(member))
        member.askers.append(step)
        return None

    def _shut_down(self, member: Member) -> Waits[None]:
        life, limit_s = member.life, limit_of(member.leaf)
        if limit_s > 0:
            life.hear(SHUTDOWN)
        if not (limit_s > 0 and (yield life.ended, limit_s)):
            life.end(KILLED)

    def _answer_all(self, member: Member, answer: str) -> None:
        for step in member.askers:
            self.world.answer(step, answer)
        member.askers = []

    # ------------------------------------------------------------------ stopping

    def hear(self, reason: str) -> None:
        if self.phase is Phase.STARTING:
            self.end(reason)
        else:
            self.world.timeline.after(0.0, lambda: self.stop(reason))

    def stop(self, reason: str) -> None:
        """L3: all at once, each within its own limit."""
        if self.is_ending or not self.is_alive:
            return
        self.is_ending = True
        members = list(self.members.values())
        for member in members:
            member.is_stopping = True
            self._answer_all(member, "ending")
        for member in members:
            self._script(self._shut_down(member))
        self._script(self._gone(members), lambda _: self.end(reason))

    def _gone(self, members: list[Member]) -> Waits[None]:
        for member in members:
            if not member.life.ended.is_set:
                yield member.life.ended, float("inf")
        unclean: dict[str, int] = {}
        for member in members:
            expected = KILLED if limit_of(member.leaf) == 0 else SHUTDOWN
            why = member.life.reason or ""
            is_done = member.leaf.restart != "permanent" and not is_abnormal(why)
            if why != expected and not is_done:
                unclean[why] = unclean.get(why, 0) + 1
        for why, count in unclean.items():
            self._tell("unclean", count, why)

    def end(self, reason: str, *, is_ignored: bool = False) -> None:
        super().end(reason, is_ignored=is_ignored)
        for member in self.members.values():
            self._answer_all(member, reason)

    def _script(self, waits: Waits[None], done: Callable[[None], None] | None = None) -> None:
        script = Script(self.world.timeline, waits, done)
        self.scripts = [*(s for s in self.scripts if not s.is_over), script]

    def _tell(self, what: str, *words: object) -> None:
        self.world.tell(self.name, what, *words)

    def told(self) -> Iterator[str]:
        told = []
        for name, member in self.members.items():
            state = "starting" if member.is_starting else "running"
            told.append(f"{name} {'stopping' if member.is_stopping else state} {member.restarts}")
        for name, trouble in self.troubles.items():
            if name in self.members:
                continue
            if trouble.is_waiting:
                told.append(f"{name} restarting {trouble.restarts}")
            elif trouble.is_retired and trouble.until_s > self.world.now_s:
                told.append(f"{name} retired {trouble.restarts}")
        return iter(sorted(told))
