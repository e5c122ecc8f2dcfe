"""The reference: what a fixed supervisor does, written down without a loop, a clock or chance.

It shares nothing with `supervision`. Laws (L1 to L21) are OTP's, supervisor(3), with what differs
here: restarts are delayed, and under one_for_one children do not wait for each other.

**One thing at a time.** Starting and stopping take time. What a supervisor does to its children
goes through *lanes*: one for each child under one_for_one, otherwise one for all. What turns up
meanwhile (an end, a request, a delay that is over) waits until its lane is free.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from tests.supervision.model.lives import (
    IGNORED,
    KILLED,
    NOT_READY,
    SHUTDOWN,
    UNMAKEABLE,
    Life,
    Phase,
    World,
    comes_back,
    directive_of,
    failed_to_start,
    is_abnormal,
    limit_of,
    made,
)
from tests.supervision.model.timeline import Script, Waits
from tests.supervision.model.trees import (
    BRUTAL,
    AnyNode,
    Branch,
    Leaf,
)

RECOVERED_MIN_S = 1.0
"""Up for this long, or its longest delay, and a child's delays begin anew."""

ORPHAN_LIMIT_S = 10.0
"""A dead supervisor's child may take at most this long to free the name its successor needs."""

T = TypeVar("T")


class State(Enum):
    """Of a child, as an administrator sees it."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    STOPPED = "stopped"


DUE = (State.WAITING, State.RESTARTING)


@dataclass(eq=False)
class Child:
    node: AnyNode
    state: State = State.WAITING
    life: Life | None = None
    restarts: int = 0
    failures: int = 0
    """Ends and failed starts in a row."""
    ready_s: float | None = None
    ended_s: float = 0.0
    """When it ended, which may be long before somebody looks at that."""

    def __str__(self) -> str:
        return self.node.id


@dataclass(eq=False)
class Lane:
    job: Script[Any] | None = None
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    retry: int = 0
    """The number of the latest restart that was scheduled: only that one counts."""


Failure = tuple[Child, str]


class Supervisor(Life):
    def __init__(self, world: World, branch: Branch, boss: Life | None) -> None:
        super().__init__(world, branch, boss)
        self.branch = branch
        self.children = {node.id: Child(node) for node in branch.children}
        self.restarted_s: list[float] = []
        self.is_ending = False
        self.lanes: dict[str, Lane] = {}
        self.early_ends: list[Life] = []
        """Of children, before it is ready itself: it looks at them afterwards."""
        self.asked: dict[int, None] = {}
        """Steps that wait for their answer."""

    # ------------------------------------------------------------------ start and stop

    def begin(self) -> None:
        """L1: one after the other, left to right. It is ready when all are."""
        self._script(self._start_in_order(list(self.children.values())), self._begun)

    def _begun(self, failure: Failure | None) -> None:
        if failure is not None:
            # L2: a failure is not tried again; those started before are stopped in reverse.
            self._wind_up(failed_to_start(str(failure[0]), failure[1]))
            return
        self.ready()
        for life in self.early_ends:
            self.down(life)

    def stop(self, reason: str) -> None:
        """Whatever was under way is given up; L3: then right to left, one after the other."""
        if self.is_ending or not self.is_alive:
            return
        for script in self.scripts:
            script.give_up()
        for step in list(self.asked):
            self._answer(step, "ending")
        self._wind_up(reason)

    def hear(self, reason: str) -> None:
        """After what it has heard before."""
        self.world.timeline.after(0.0, lambda: self.stop(reason))

    def _wind_up(self, reason: str) -> None:
        self.is_ending = True
        self.lanes = {}
        self._script(self._stop_all(), lambda _: self.end(reason))

    def _stop_all(self) -> Waits[None]:
        for child in reversed(list(self.children.values())):
            yield from self._stop(child)

    def end(self, reason: str, *, is_ignored: bool = False) -> None:
        super().end(reason, is_ignored=is_ignored)
        self.lanes = {}
        for step in list(self.asked):
            self._answer(step, reason)

    # ------------------------------------------------------------------ one child

    def _start(self, child: Child) -> Waits[str | None]:
        """Until it is ready; why it could not be, otherwise None. Terminated meanwhile, it is
        passed over."""
        child.state, child.ready_s = State.STARTING, None
        while (holder := self.world.living.get(child.node.id)) is not None:
            limit_s = min(limit_of(child.node), ORPHAN_LIMIT_S)
            if not holder.ended.is_set and not (yield holder.ended, limit_s):
                holder.end(KILLED)
            if child.state is not State.STARTING:
                return None
        life = made(self.world, child.node, self)
        if life is None:
            return UNMAKEABLE
        child.life = life
        life.begin()
        limit_s = child.node.start_limit_s if isinstance(child.node, Leaf) else math.inf
        if (yield life.settled, limit_s):
            reason = life.outcome
        else:
            life.end(KILLED)
            reason = NOT_READY
        if child.state is State.STOPPING:
            return None
        if reason is not None:
            child.life = None
            return None if self._is_ignored(child, reason) else reason
        child.state, child.ready_s = State.RUNNING, self.world.now_s
        return None

    def _is_ignored(self, child: Child, reason: str) -> bool:
        """A child that is not needed now: no failure. A temporary one is forgotten."""
        if reason != IGNORED:
            return False
        child.state = State.STOPPED
        self._forget_temporary(child)
        return True

    def _start_in_order(
        self, children: Sequence[Child], *, is_asked: bool = False
    ) -> Waits[Failure | None]:
        """L1, up to the first that fails."""
        for child in children:
            if child.state not in DUE:
                continue
            is_restart = child.state is State.RESTARTING
            reason = yield from self._start(child)
            if reason is not None:
                child.state = State.RESTARTING
                return child, reason
            if child.state is State.RUNNING:
                if is_restart:
                    child.restarts += 1
                    self._tell("restarted", child, child.restarts)
                self._tell("progress", child, "debug" if is_asked else "info")  # L21
        return None

    def _stop(self, child: Child) -> Waits[None]:
        """L13: tell it, wait, kill it. Another reason than expected is reported."""
        child.state = State.STOPPING
        life, limit_s = child.life, limit_of(child.node)
        if life is not None and life.is_alive:
            if limit_s > 0:
                life.hear(SHUTDOWN)
            if not (limit_s > 0 and (yield life.ended, limit_s)):
                life.end(KILLED)
            assert life.reason is not None
            if not _is_clean(child.node, life.reason):
                self._tell("unclean", child, life.reason)
        child.life, child.state = None, State.STOPPED

    def _forget_temporary(self, child: Child) -> None:
        """L11."""
        if child.node.restart == "temporary" and self.children.get(child.node.id) is child:
            del self.children[child.node.id]

    # ------------------------------------------------------------------ an end, what follows

    def down(self, life: Life) -> None:
        if self.phase is not Phase.RUNNING:
            self.early_ends.append(life)
            return
        child = self.children.get(life.name)
        if child is None or child.life is not life or child.state is not State.RUNNING:
            return  # whoever starts or stops it sees to that
        child.state = State.ENDED
        child.ended_s = life.ended_s
        reason = life.reason or ""

        def look() -> None:
            if child.state is State.ENDED and child.life is life:
                child.life = None
                self._follow(child, reason, abnormal=is_abnormal(reason))

        if not self.is_ending:
            self._do(child, look)

    def _follow(self, child: Child, reason: str, *, abnormal: bool) -> None:
        """A start that failed is an abnormal end."""
        if directive_of(child.node, reason) == "escalate":
            self._give_up(child, reason)
        elif comes_back(child.node, reason, abnormal=abnormal):
            self._bring_back(child, reason)
        elif child.node.significant and self._is_done(child):
            self.stop(SHUTDOWN)  # L16
        else:
            child.state = State.STOPPED
            self._forget_temporary(child)

    def _is_done(self, ended: Child) -> bool:
        """L17: whether the end of a significant child is the end of all."""
        if self.branch.auto_shutdown == "any_significant":
            return True
        return all(
            child.state in (State.STOPPED, State.WAITING)
            for child in self.children.values()
            if child.node.significant and child is not ended
        )

    def _bring_back(self, child: Child, reason: str) -> None:
        """L4, L6: one restart, whatever the number of children concerned, if the window has room
        for it; and L10, who they are."""
        now_s, branch = self.world.now_s, self.branch
        recent_s = [at_s for at_s in self.restarted_s if now_s - at_s <= branch.period_s]
        if len(recent_s) >= branch.intensity:
            self._give_up(child, reason)
            return
        self.restarted_s = [*recent_s, now_s]
        delay_s = self._delay_s(child)
        self._tell("scheduled", child, f"{delay_s:.6f}", reason)
        # One that somebody asked to start, and that is not begun yet, is nobody's sibling.
        children = [c for c in self.children.values() if c.state is not State.WAITING]
        if branch.strategy == "one_for_one":
            concerned = [child]
        elif branch.strategy == "one_for_all":
            concerned = children
        else:
            concerned = children[children.index(child) :]
        others = [c for c in concerned if c is not child and c.state is not State.STOPPED]
        back = [c for c in concerned if c.node.restart != "temporary"]
        for each in back:
            if each not in others:
                each.state = State.RESTARTING  # also one that was done, or terminated by hand
        self._retry_after(delay_s, child, back)
        if others:
            self._job(child, self._stop_siblings(others))

    def _give_up(self, child: Child, reason: str) -> None:
        self._tell("escalated", child, reason)
        self.stop(SHUTDOWN)

    def _delay_s(self, child: Child) -> float:
        """Twice as long after each failure in a row."""
        shortest_s, longest_s = child.node.backoff_s
        recovered_s = max(RECOVERED_MIN_S, longest_s)
        if child.ready_s is not None and child.ended_s - child.ready_s >= recovered_s:
            child.failures = 0
        child.failures += 1
        return min(longest_s, shortest_s * 2.0 ** (child.failures - 1))

    def _stop_siblings(self, others: Sequence[Child]) -> Waits[None]:
        """L3, and L11: a temporary one is gone for good."""
        for child in reversed(others):
            if child.state is State.STOPPED or child not in self.children.values():
                continue
            yield from self._stop(child)
            if child.node.restart == "temporary":
                self._forget_temporary(child)
            else:
                child.state = State.RESTARTING

    def _retry_after(self, delay_s: float, child: Child, back: Sequence[Child]) -> None:
        lane = self._lane(child)
        lane.retry += 1
        number = lane.retry

        def retry() -> None:
            if lane.retry == number and lane in self.lanes.values():
                self._do(child, start)

        def start() -> None:
            known = [c for c in back if c in self.children.values()]
            self._job(child, self._start_in_order(known), then)

        def then(failure: Failure | None) -> None:
            self._restarted(failure)
            if failure is not None and failure[0].state not in DUE and not self.is_ending:
                start()  # it is to stay down: the others without it

        self.world.timeline.after(delay_s, retry)

    def _restarted(self, failure: Failure | None) -> None:
        """L8: a failed restart is tried again, and counts."""
        if failure is None:
            return
        child, reason = failure
        self._tell("failed", child, reason)
        if self.children.get(child.node.id) is child and child.state in DUE:
            self._follow(child, reason, abnormal=True)

    # ------------------------------------------------------------------ requests

    def request(self, step: int, what: str, child: str, leaf: Leaf | None) -> None:
        self.asked[step] = None
        present = self.children.get(child)
        if what == "start":
            assert leaf is not None
            self._start_request(step, present, leaf)
        elif present is None:
            self._answer(step, "not_found")
        elif what == "terminate":
            self._terminate_request(step, present)
        elif what == "restart":
            self._restart_request(step, present)
        else:
            self._delete_request(step, present)

    def _start_request(self, step: int, present: Child | None, leaf: Leaf) -> None:
        if present is not None:
            life = present.life
            is_up = life is not None and life.is_alive
            self._answer(step, f"AlreadyRunning({life})" if is_up else "already_present")
        elif self.is_ending:
            self._answer(step, "ending")
        else:
            child = self.children[leaf.id] = Child(leaf)
            self._do(child, lambda: self._start_for(step, child, is_new=True))

    def _start_for(self, step: int, child: Child, *, is_new: bool) -> None:
        """A start that was asked for is not tried again."""

        def then(failure: Failure | None) -> None:
            if failure is not None:
                child.state = State.STOPPED
                if is_new:
                    self.children.pop(child.node.id, None)
                self._answer(step, f"NotStarted({failure[1]})")
            elif child.state is State.STOPPING:
                self._answer(step, f"NotStarted({SHUTDOWN})")
            else:
                self._answer(step, f"ChildStarted({child.life}, None)")

        self._job(child, self._start_in_order([child], is_asked=True), then)

    def _terminate_request(self, step: int, child: Child) -> None:
        if child.state in (State.STOPPED, State.RESTARTING):
            child.state = State.STOPPED  # L9: a restart that is due passes it over
            self._answer(step, "Done()")
            return
        if self.is_ending:
            self._answer(step, "ending")
            return
        if child.state is State.STARTING:
            child.state = State.STOPPING
            if child.life is not None:
                child.life.hear(SHUTDOWN)

        def then(_: None) -> None:
            self._forget_temporary(child)
            self._answer(step, "Done()")

        self._do(child, lambda: self._job(child, self._stop(child), then))

    def _restart_request(self, step: int, child: Child) -> None:
        if child.state in (*DUE, State.ENDED):
            self._answer(step, "restarting")
        elif child.state in (State.RUNNING, State.STARTING):
            self._answer(step, "running")
        elif self.is_ending:
            self._answer(step, "ending")
        else:
            self._do(child, lambda: self._restart_stopped(step, child))

    def _restart_stopped(self, step: int, child: Child) -> None:
        if child.state is State.STOPPED and child in self.children.values():
            child.state = State.WAITING
            self._start_for(step, child, is_new=False)
        else:
            self._answer(step, "restarting" if child.state in DUE else "running")

    def _delete_request(self, step: int, child: Child) -> None:
        if child.state is State.STOPPED:
            del self.children[child.node.id]
            self._answer(step, "Done()")
        else:
            is_due = child.state in (*DUE, State.ENDED)
            self._answer(step, "restarting" if is_due else "running")

    def _answer(self, step: int, answer: str) -> None:
        if step in self.asked:
            del self.asked[step]
            self.world.answer(step, answer)

    # ------------------------------------------------------------------ lanes

    def _lane(self, child: Child) -> Lane:
        key = child.node.id if self.branch.strategy == "one_for_one" else ""
        return self.lanes.setdefault(key, Lane())

    def _do(self, child: Child, act: Callable[[], None]) -> None:
        """Now, or when the lane is free."""
        lane = self._lane(child)
        if lane.job is None:
            act()
        else:
            lane.waiting.append(act)

    def _job(
        self, child: Child, waits: Waits[T], then: Callable[[T], None] = lambda _: None
    ) -> None:
        """Something that takes time; the lane is busy until it is done."""
        lane = self._lane(child)

        def done(result: T) -> None:
            lane.job = None
            then(result)
            while lane.waiting and lane.job is None and lane in self.lanes.values():
                lane.waiting.popleft()()

        lane.job = self._script(waits, done)

    def _script(self, waits: Waits[T], done: Callable[[T], None]) -> Script[T]:
        script = Script(self.world.timeline, waits, done)
        self.scripts = [*(s for s in self.scripts if not s.is_over), script]
        return script

    def _tell(self, what: str, *words: object) -> None:
        self.world.tell(self.name, what, *words)

    def told(self) -> Iterator[str]:
        for child in self.children.values():
            yield f"{child} {child.state.value} {child.restarts}"


def _is_clean(node: AnyNode, reason: str) -> bool:
    if reason == (KILLED if node.shutdown_s == BRUTAL else SHUTDOWN):
        return True
    return node.restart != "permanent" and not is_abnormal(reason)
