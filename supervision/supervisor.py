"""The supervisor: starts children in order, restarts them by plan, stops them in reverse.

**Deciding and doing.** `strategy.plan` says what follows from an end, `intensity.Window` whether one
more restart is normal, `backoff` how long to wait. Here is only the doing, as a queue of steps (stop
one, start one), one under way at a time. Between steps the supervisor handles its messages, so it
answers and can be shut down while a child takes long to start or a restart waits for its delay.

**Start** is strictly sequential, left to right, each child ready before the next. If one fails, those
before it are stopped in reverse and the start fails. **Stop** is right to left: ask (an exit signal),
wait `shutdown_s`, kill. A child that survives even that is reported and left behind. **A failed
restart** is an event like any other end: it counts against the window and is tried again after a
longer delay. When the window is full the supervisor stops everything and ends with `SHUTDOWN`, for
its own supervisor to act.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import trio
from outcome import Error, Outcome

from actors.runtime import KILL, SHUTDOWN, Actor, Custom, ExitReason, Ref, is_abnormal
from actors.runtime.signals import Down, Exit
from actors.runtime.tracing import Escalated, Restarted, RestartScheduled, Unkillable
from supervision.intensity import Window
from supervision.spec import BRUTAL_KILL, ChildSpec, InvalidSpec, Restart, SupervisorSpec, validate
from supervision.strategy import ChildView, plan

KILL_GRACE_S = 2.0
"""A killed child that has not ended by then runs code that cannot be cancelled."""


@dataclass(slots=True)
class Child:
    """One child: its spec, its living incarnation (if any), and its history."""

    spec: ChildSpec
    ref: Ref | None = None
    monitor: Any = None
    state: str = "stopped"
    restarts: int = 0
    failures: int = 0
    """Ends and failed starts in a row, for the backoff."""
    started_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Ask: the children as `ChildInfo`s, in start order."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    id: str
    ref: Ref | None
    kind: str
    state: str
    restarts: int


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Ask: stop a child and keep its spec. Answers `ok` or `not_found`."""

    id: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Ask: start a stopped child. Answers `ok`, `running`, `restarting` or `not_found`."""

    id: str


@dataclass(frozen=True, slots=True)
class _Retry:
    """The delay is over: start these, as far as they still wait for it."""

    children: tuple[str, ...]


@dataclass(slots=True)
class _Steps:
    """What is still to do of the plan under way."""

    stop: deque[str] = field(default_factory=deque)
    start: deque[str] = field(default_factory=deque)

    def __bool__(self) -> bool:
        return bool(self.stop or self.start)


class Supervisor(Actor):
    """See the module."""

    trap_exit = True

    def __init__(self, spec: SupervisorSpec) -> None:
        super().__init__()
        problems = validate(spec)
        if problems:
            raise InvalidSpec(problems)
        self.spec = spec
        self._children = {child.id: Child(child) for child in spec.children}
        self._window = Window(spec.intensity, spec.period_s)
        self._steps = _Steps()
        self._working = False
        self._ending = False

    # ------------------------------------------------------------------ start and stop

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        started: list[Child] = []
        for child in self._children.values():
            try:
                await self._start(child)
            except BaseException:
                with trio.CancelScope(shield=True):
                    for earlier in reversed(started):
                        await self._stop_child(earlier)
                raise
            started.append(child)

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        self._ending = True
        for child in reversed(list(self._children.values())):
            await self._stop_child(child)

    async def _start(self, child: Child) -> None:
        """Start one child and wait until it is ready. Raises `StartFailed`."""
        spec = child.spec
        child.state = "starting"
        try:
            ref = await self.system.start(
                spec.actor, *spec.args, name=spec.name, timeout_s=spec.start_s,
                supervisor=self.ref, link_to=self.ref, **spec.kwargs,
            )  # fmt: skip
        except BaseException:
            child.state = "restarting"
            raise
        child.ref = ref
        child.state = "running" if ref is not None else "ignored"
        child.started_s = trio.current_time()
        if ref is not None:
            child.monitor = self.monitor(ref)

    async def _stop_child(self, child: Child) -> None:
        """The shutdown protocol: watch, ask, wait, kill."""
        ref = child.ref
        child.state = "stopped"
        if ref is None:
            return
        child.ref = None
        if child.monitor is not None:
            self.demonitor(child.monitor)
        self.unlink(ref)
        await shut_down(self, ref, child.spec)

    # ------------------------------------------------------------------ messages

    def on_receive(self, message: Any) -> Any:
        match message:
            case Down():
                self._down(message)
            case _Retry(children):
                self._steps.start.extend(id_ for id_ in children if self._is_waiting(id_))
                self._work()
            case Exit():
                pass  # links only see to it that children die with us; monitors tell of their ends
            case WhichChildren():
                return list(self.infos())
            case TerminateChild(child):
                return self._terminate_child(child)
            case RestartChild(child):
                return self._restart_child(child)
        return None

    def infos(self) -> Iterator[ChildInfo]:
        """The children, in start order."""
        for id_, child in self._children.items():
            yield ChildInfo(id_, child.ref, child.spec.kind, child.state, child.restarts)

    def _terminate_child(self, id_: str) -> str:
        child = self._children.get(id_)
        if child is None:
            return "not_found"
        child.state = "stopped"
        self._steps.stop.append(id_)
        self._work()
        return "ok"

    def _restart_child(self, id_: str) -> str:
        child = self._children.get(id_)
        if child is None:
            return "not_found"
        if child.state in ("running", "restarting"):
            return child.state
        self._steps.start.append(id_)
        self._work()
        return "ok"

    # ------------------------------------------------------------------ an end, and what follows

    def _down(self, down: Down) -> None:
        child = next((c for c in self._children.values() if c.monitor == down.monitor), None)
        if child is None or self._ending:
            return
        child.ref = child.monitor = None
        child.state = "stopped"
        self._ended(child, down.reason)

    def _ended(self, child: Child, reason: ExitReason) -> None:
        """Carry out what the strategy says of this end."""
        views = [
            ChildView(id_, c.spec.restart, c.spec.significant, alive=c.state != "stopped")
            for id_, c in self._children.items()
        ]
        decided = plan(
            self.spec.strategy, self.spec.auto_shutdown, views, child.spec.id,
            abnormal=is_abnormal(reason),
        )  # fmt: skip
        for id_ in decided.forget:
            if self._children[id_].ref is None:
                del self._children[id_]
        if decided.shut_down:
            self.stop(SHUTDOWN)
        if not decided.restarts:
            return
        if not self._admit(child, reason):
            return
        self._steps.start.clear()  # what was being restarted is part of this plan, or waits anew
        self._steps.stop.extend(decided.stop)
        for id_ in decided.start:
            if id_ != child.spec.id:
                self._children[id_].state = "restarting"
        self._schedule(child, reason, decided.start)

    def _admit(self, child: Child, reason: ExitReason) -> bool:
        """Spend one restart; if there is none left, give up."""
        window = self._window.admit(trio.current_time())
        if window is None:
            self.system.emit(Escalated, self.ref, child.spec.id, reason)
            self.stop(SHUTDOWN)
            return False
        self._window = window
        return True

    def _schedule(self, child: Child, reason: ExitReason, start: tuple[str, ...]) -> None:
        """Start again after the child's delay; siblings of a group wait with it."""
        now_s = trio.current_time()
        if child.started_s and now_s - child.started_s >= child.spec.backoff.reset_s:
            child.failures = 0
        child.failures += 1
        child.state = "restarting"
        delay_s = child.spec.backoff.delay_s(child.failures, self.system.rng)
        self.system.emit(RestartScheduled, self.ref, child.spec.id, delay_s, reason)
        self.send_after(delay_s, _Retry(start))
        self._work()

    def _is_waiting(self, id_: str) -> bool:
        child = self._children.get(id_)
        return child is not None and child.state == "restarting" and child.ref is None

    # ------------------------------------------------------------------ steps, one at a time

    def _work(self) -> None:
        """Begin the next step, if none is under way."""
        if self._working or self._ending:
            return
        if self._steps.stop:
            child = self._children.get(self._steps.stop.popleft())
            if child is not None:
                self._step(self._stop_child, child)
        elif self._steps.start:
            child = self._children.get(self._steps.start.popleft())
            if child is not None and child.ref is None:
                self._step(self._start, child)
        if self._steps and not self._working:
            self._work()

    def _step(self, work: Any, child: Child) -> None:
        self._working = True
        stopping = work == self._stop_child
        state = child.state

        def done(result: Outcome[Any]) -> None:
            self._working = False
            if self._ending:
                return
            if isinstance(result, Error):
                reason = Custom(f"start failed: {result.error}")
                child.state = "stopped"
                self._ended(child, reason)
            elif stopping:
                child.state = state
                if child.spec.restart is Restart.TEMPORARY:
                    self._children.pop(child.spec.id, None)
            else:
                child.restarts += 1
                self.system.emit(Restarted, self.ref, child.spec.id, child.restarts)
            self._work()

        self.run_task(work, child, on_done=done)

    def statistics(self) -> dict[str, Any]:
        """For the tree: strategy, and how much of the window is spent."""
        return {
            "strategy": self.spec.strategy.value,
            "restarts_in_window": self._window.used(trio.current_time()),
            "intensity": self.spec.intensity,
        }


async def shut_down(supervisor: Actor, ref: Ref, spec: ChildSpec) -> None:
    """Ask a child to end, wait, kill it; report one that outlives even that."""
    if spec.shutdown_s is not BRUTAL_KILL:
        ref.exit(SHUTDOWN, supervisor.ref)
        limit_s = float("inf") if spec.shutdown_s is None else float(spec.shutdown_s)
        with trio.move_on_after(limit_s):
            await ref.wait_exit()
            return
    ref.exit(KILL)
    with trio.move_on_after(KILL_GRACE_S):
        await ref.wait_exit()
        return
    supervisor.system.emit(Unkillable, ref)
