"""The child table of a supervisor: starting, stopping and forgetting one child at a time.

Says what happened and decides nothing: what follows from an end is the supervisor's business. A
child is linked and monitored from before its first turn until after its last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import trio

from actors.runtime import (
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorSystem,
    AlreadyStarted,
    Custom,
    Down,
    ExitReason,
    MonitorRef,
    Ref,
)
from actors.runtime.exits import crash
from actors.runtime.system import IGNORED
from actors.runtime.tracing import Restarted
from supervision.admin import AlreadyRunning, ChildInfo, ChildStarted, ChildState, Key
from supervision.events import ChildReady, Level, UncleanShutdown
from supervision.shutdown import end_orphan, is_orphan, kill, outlives, remains_of, shut_down
from supervision.spec import ChildSpec, Restart, as_kept
from supervision.strategy import ChildView, is_clean_end

START_TIMED_OUT = Custom("not ready in time")


class Attempt:
    """An incarnation on its way to being ready. `outcome` is None then, or why it ended before;
    `start_info` what it said when it was ready."""

    __slots__ = ("is_over", "outcome", "ref", "start_info")

    def __init__(self, system: ActorSystem, ref: Ref) -> None:
        self.ref = ref
        self.is_over = trio.Event()
        self.outcome: ExitReason | None = None
        self.start_info: object = None
        system.when_started(ref, self._started)

    def _started(self, reason: ExitReason | None) -> None:
        self.outcome = reason
        if reason is None:
            self.start_info = getattr(self.ref._actor, "start_info", None)
        self.is_over.set()


@dataclass(slots=True, eq=False)
class Child:
    """One child: its spec, its present incarnation (if any), and its history."""

    spec: ChildSpec
    ref: Ref | None = None
    monitor: MonitorRef | None = None
    state: ChildState = ChildState.WAITING
    restarts: int = 0
    failures: int = 0
    """Ends and failed starts in a row, for the backoff."""
    ready_s: float | None = None
    """When the latest incarnation became ready, if it did."""
    up_s: float = 0.0
    """How long that one was up before it ended."""
    remains: Ref | None = None
    """A dead actor of its name that it waits for before it starts."""
    start_info: object = None
    """What it said when it became ready, until whoever asked for it has the answer."""
    begun: Attempt | Exception | None = None
    """What `begin` made or met, until `start_in_order` takes over."""

    @property
    def is_due(self) -> bool:
        """Whether it waits to be started."""
        return self.state in (ChildState.WAITING, ChildState.RESTARTING)

    @property
    def is_active(self) -> bool:
        return self.ref is not None and self.ref.exit_reason is None

    def view(self) -> ChildView:
        """What the strategy needs to know. An end that is not decided yet still counts as alive."""
        spec = self.spec
        alive = self.state is not ChildState.STOPPED
        return ChildView(spec.id, spec.restart, spec.significant, alive)

    def started(self) -> ChildStarted:
        """The answer to whoever asked for it."""
        info, self.start_info = self.start_info, None
        return ChildStarted(self.ref, info)

    def info(self) -> ChildInfo:
        spec, ref, state = self.spec, self.ref or self.remains, self.state
        if ref is not None and outlives(ref, spec):
            state = ChildState.UNWINDING
        return ChildInfo(spec.id, ref, spec.kind, state, self.restarts)


def _why(error: Exception, spec: ChildSpec) -> ExitReason:
    """Why no object could be made. A stranger that has the name is no crash."""
    if isinstance(error, AlreadyStarted) and error.ref.name == spec.name:
        return Custom(AlreadyRunning(error.ref))
    return crash(error)


Failure = tuple[Child, ExitReason]
"""A child that could not be started, and why."""

OnEnd = Callable[[Child, Ref, ExitReason], None]


class ChildTable:
    """The children of `actor`, in start order. `on_end` hears of those that ended by themselves."""

    def __init__(self, actor: Actor, specs: Sequence[ChildSpec], on_end: OnEnd) -> None:
        self._actor = actor
        self._on_end = on_end
        self._by_id = {spec.id: Child(spec) for spec in specs}
        self._by_monitor: dict[MonitorRef, Child] = {}

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, key: Key) -> Child | None:
        """By id: a fixed child is not known by its ref."""
        return self._by_id.get(key) if isinstance(key, str) else None

    def add(self, spec: ChildSpec) -> Child:
        """A new child at the end of the order."""
        child = self._by_id[spec.id] = Child(spec)
        return child

    def forget(self, child: Child) -> None:
        if self._by_id.get(child.spec.id) is child:
            del self._by_id[child.spec.id]

    def respec(self, specs: Sequence[ChildSpec], state: ChildState) -> None:
        """Exactly these, in this order: known ones keep their incarnations, the others begin in
        this state."""
        present, self._by_id = self._by_id, {}
        for spec in specs:
            child = self._by_id[spec.id] = present.get(spec.id) or Child(spec, state=state)
            child.spec = as_kept(spec) if child.state is ChildState.RUNNING else spec

    def let_go(self, child: Child) -> None:
        """Forget an incarnation that has ended."""
        if child.monitor is not None:
            self._by_monitor.pop(child.monitor, None)
            self._actor.demonitor(child.monitor)
        child.ref = child.monitor = None

    def down(self, down: Down) -> None:
        """A monitored child ended. While it starts or stops, whoever does that looks at it."""
        child = self._by_monitor.pop(down.monitor, None)
        if child is not None and child.monitor == down.monitor:
            child.monitor = None  # spent: nothing of it can wait in the mailbox any more
        if child is not None and child.state is ChildState.RUNNING and child.ref is down.ref:
            self._ended(child, down.ref, down.reason)

    def _ended(self, child: Child, ref: Ref, reason: ExitReason) -> None:
        """It ended by itself. If its code is to be waited for, it has ended when that has."""
        if child.ready_s is not None:
            child.up_s = trio.current_time() - child.ready_s

        def end(_: object = None) -> None:
            if child.ref is ref and child.state in (ChildState.RUNNING, ChildState.UNWINDING):
                child.state = ChildState.ENDED
                self._on_end(child, ref, reason)

        if outlives(ref, child.spec):
            child.state = ChildState.UNWINDING
            self._actor.run_task(ref.wait_unwound, on_done=end)
        else:
            end()

    async def _unwound(self, child: Child) -> None:
        """Its code has ended, if that is to be waited for."""
        if child.ref is not None and outlives(child.ref, child.spec):
            await child.ref.wait_unwound()

    # ------------------------------------------------------------------ starting

    def begin(self, child: Child) -> None:
        """Make the next incarnation of one that waits for it, in this very turn: a plain actor is
        up again before any task has run. `start_in_order` is to follow, and goes on from there."""
        if remains_of(self._actor.system, child.spec.name, child.spec) is not None:
            child.state = ChildState.RESTARTING
            return
        child.state, child.ready_s, child.up_s = ChildState.STARTING, None, 0.0
        try:
            child.begun = self._make(child)
        except AlreadyStarted:
            child.state = ChildState.RESTARTING
        except Exception as error:  # noqa: BLE001  (a constructor may raise anything)
            child.begun = error

    async def start_in_order(
        self, children: Sequence[Child], *, is_asked: bool = False
    ) -> Failure | None:
        """Start those that wait for it, one after the other, until one fails. `is_asked`: somebody
        waits for the answer, in which a child may say something."""
        for child in children:
            begun, child.begun = child.begun, None
            is_begun = begun is not None and child.state is ChildState.STARTING
            if not (child.is_due or is_begun):
                continue
            is_restart = is_begun or child.state is ChildState.RESTARTING
            reason = await self._start(child, begun if is_begun else None, is_asked=is_asked)
            if reason is not None:
                child.state = ChildState.RESTARTING
                return child, reason
            if is_restart and child.state in (ChildState.RUNNING, ChildState.ENDED):
                child.restarts += 1
                self._emit(Restarted, child.spec.id, child.restarts)
            if child.state is ChildState.RUNNING:
                self._emit(ChildReady, child.spec.id, Level.DEBUG if is_asked else Level.INFO)
        return None

    async def _start(
        self, child: Child, begun: Attempt | Exception | None, *, is_asked: bool
    ) -> ExitReason | None:
        """Start one child and wait until it is ready; why it could not be, otherwise None.

        It may be told to stop meanwhile (`STOPPING`): then whoever said so sees to the rest.
        """
        child.state = ChildState.STARTING
        child.ready_s, child.up_s = None, 0.0
        try:
            if isinstance(begun, Exception):
                raise begun
            attempt = begun or await self._spawn(child)
        except Exception as error:  # noqa: BLE001  (a constructor may raise anything)
            return None if child.state is ChildState.STOPPING else _why(error, child.spec)
        if attempt is None:
            return None
        reason = await self._until_ready(attempt, child.spec.start_limit_s)
        if is_asked:
            child.start_info = attempt.start_info
        if reason is not None:
            await self._unwound(child)
        if child.state is ChildState.STOPPING:
            return None
        if reason is not None:
            self.let_go(child)
            return None if reason is IGNORED and self._ignored(child) else reason
        child.ready_s = trio.current_time()
        child.state = ChildState.RUNNING
        child.spec = as_kept(child.spec)
        ref = attempt.ref
        if ref.exit_reason is not None:  # it was ready, and ended before this task got to run
            self._ended(child, ref, ref.exit_reason or NORMAL)
        return None

    def _ignored(self, child: Child) -> bool:
        child.state = ChildState.STOPPED
        if child.spec.restart is Restart.TEMPORARY:
            self.forget(child)
        return True

    async def _spawn(self, child: Child) -> Attempt | None:
        """A new incarnation, once nobody we know holds its name or is to be waited for; None if it
        was told to stop before."""
        system, spec = self._actor.system, child.spec
        while child.state is ChildState.STARTING:
            child.remains = remains_of(system, spec.name, spec)
            if child.remains is not None:
                await child.remains.wait_unwound()
                continue
            try:
                return self._make(child)
            except AlreadyStarted as error:
                if not is_orphan(error.ref):
                    raise
                await end_orphan(system, error.ref, spec)
        return None

    def _make(self, child: Child) -> Attempt:
        """A new incarnation, watched from its beginning."""
        actor, spec = self._actor, child.spec
        ref = actor.system.spawn(
            spec.actor, *spec.args, name=spec.name, supervisor=actor.ref, link_to=actor.ref,
            on_error=spec.on_error, **spec.kwargs,
        )  # fmt: skip
        child.ref = ref
        child.monitor = actor.monitor(ref)
        self._by_monitor[child.monitor] = child
        return Attempt(actor.system, ref)

    async def _until_ready(self, attempt: Attempt, limit_s: float) -> ExitReason | None:
        with trio.move_on_after(limit_s):
            await attempt.is_over.wait()
        if attempt.is_over.is_set():
            return attempt.outcome
        await kill(self._actor.system, attempt.ref)
        return START_TIMED_OUT

    def abort_start(self, child: Child) -> None:
        """End a start that is under way; `start_in_order` then passes over it."""
        assert child.state is ChildState.STARTING
        child.state = ChildState.STOPPING
        if child.ref is not None:
            child.ref.exit(SHUTDOWN, self._actor.ref)

    # ------------------------------------------------------------------ stopping

    async def stop(self, child: Child) -> None:
        """End it, however long its spec allows, and its code too if that is to be waited for; it is
        `STOPPED` afterwards."""
        ref = child.ref
        child.state = ChildState.STOPPING
        if ref is not None and ref.exit_reason is None:
            reason = await shut_down(self._actor, ref, child.spec)
            if reason is not None and not is_clean_end(child.spec, reason):
                self._emit(UncleanShutdown, child.spec.id, reason)
        await self._unwound(child)
        self.let_go(child)
        child.state = ChildState.STOPPED

    async def stop_all(self) -> None:
        """Right to left, one after the other."""
        for child in reversed(tuple(self._by_id.values())):
            await self.stop(child)

    def _emit(self, kind: type[ChildReady | Restarted | UncleanShutdown], *fields: object) -> None:
        self._actor.system.emit(kind, self._actor.ref, *fields)
