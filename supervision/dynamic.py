"""Many children of one kind, started on demand: channels, sessions.

Like Elixir's `DynamicSupervisor`: one_for_one, children stop in parallel, a limit on their number.
Unlike OTP's shared window, each child has its own: one poisoned channel is *retired* alone, for a
while, and the other hundred thousand do not notice.

`ensure` is called synchronously by actors of the same loop, through a `SpawnerHandle`: starting a
child is making an object, and messages to it wait until it is ready. Everything costs the same
whatever the number of children.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from actors.runtime import Actor, Custom, Down, ExitReason, MonitorRef, Ref, is_abnormal
from actors.runtime.errors import AlreadyStarted
from actors.runtime.signals import Exit
from actors.runtime.tracing import ChildRetired, Restarted, RestartScheduled
from supervision.intensity import Window
from supervision.spec import ChildSpec
from supervision.strategy import is_restarted
from supervision.supervisor import ChildInfo, TerminateChild, WhichChildren, shut_down

FACTORY_FAILED = Custom("the child could not be made")


@dataclass(slots=True)
class _Failing:
    """A child that ended abnormally of late: its window, and until when it is not started."""

    window: Window
    failures: int
    restarts: int
    last_s: float
    blocked_until_s: float
    waiting: bool


@dataclass(frozen=True, slots=True)
class _Start:
    """The delay of this child is over."""

    name: str


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Ask: `specs`, `active`, of them `restarting` and `retired`."""


class DynamicSupervisor(Actor):
    """`factory` makes the spec of the child with a given name. `intensity` restarts within
    `period_s` are normal for one child; more retire it for `retire_s`."""

    trap_exit = True

    def __init__(
        self,
        factory: Callable[[str], ChildSpec],
        *,
        max_children: float = math.inf,
        intensity: int = 3,
        period_s: float = 5.0,
        retire_s: float = 5.0,
    ) -> None:
        super().__init__()
        self._factory = factory
        self._max_children = max_children
        self._fresh = Window(intensity, period_s)
        self._retire_s = retire_s
        self._children: dict[str, tuple[Ref, ChildSpec, MonitorRef]] = {}
        self._failing: dict[str, _Failing] = {}
        self._restarts = 0

    # ------------------------------------------------------------------ starting

    def ensure(self, name: str) -> Ref | None:
        """The living child of this name, started if need be; None while it may not start."""
        child = self._children.get(name)
        if child is not None:
            return child[0]
        failing = self._failing.get(name)
        if failing is not None and failing.blocked_until_s > trio.current_time():
            return None
        if len(self._children) >= self._max_children:
            return None
        return self._start(name)

    def _start(self, name: str) -> Ref | None:
        spec = self._factory(name)
        try:
            ref = self.system.spawn(
                spec.actor, *spec.args, name=name, supervisor=self.ref, link_to=self.ref,
                **spec.kwargs,
            )  # fmt: skip
        except AlreadyStarted:
            return None  # a predecessor of ours left one behind; it ends with its link
        self._children[name] = (ref, spec, self.monitor(ref))
        failing = self._failing.get(name)
        if failing is not None:
            failing.waiting = False
            failing.restarts += 1
            self._restarts += 1
            self.system.emit(Restarted, self.ref, name, failing.restarts)
        return ref

    # ------------------------------------------------------------------ messages

    def on_receive(self, message: Any) -> Any:
        match message:
            case Down():
                self._down(message)
            case _Start(name):
                failing = self._failing.get(name)
                if failing is not None and failing.waiting and name not in self._children:
                    self._start(name)
            case WhichChildren():
                return [
                    ChildInfo(name, ref, spec.kind, "running", self._restarts_of(name))
                    for name, (ref, spec, _) in self._children.items()
                ]
            case CountChildren():
                return self.statistics()
            case TerminateChild(name):
                return self._terminate_child(name)
            case Exit():
                pass  # monitors tell of the children's ends
        return None

    def _restarts_of(self, name: str) -> int:
        failing = self._failing.get(name)
        return 0 if failing is None else failing.restarts

    def _terminate_child(self, name: str) -> str:
        child = self._children.pop(name, None)
        if child is None:
            return "not_found"
        ref, spec, monitor = child
        self.demonitor(monitor)
        self.unlink(ref)
        self.run_task(shut_down, self, ref, spec, on_done=lambda result: result.unwrap())
        return "ok"

    def _down(self, down: Down) -> None:
        name = down.name
        child = None if name is None else self._children.get(name)
        if name is None or child is None or child[2] != down.monitor:
            return
        del self._children[name]
        spec = child[1]
        if is_restarted(spec.restart, abnormal=is_abnormal(down.reason)):
            self._failed(name, spec, down.reason)
        else:
            self._forgive(name)

    def _forgive(self, name: str) -> None:
        """A child ended as intended: forget old failures once they no longer count."""
        failing = self._failing.get(name)
        if failing is not None and failing.window.used(trio.current_time()) == 0:
            del self._failing[name]

    def _failed(self, name: str, spec: ChildSpec, reason: ExitReason) -> None:
        now_s = trio.current_time()
        failing = self._failing.get(name)
        if failing is None or now_s - failing.last_s >= spec.backoff.reset_s:
            restarts = 0 if failing is None else failing.restarts
            failing = self._failing[name] = _Failing(self._fresh, 0, restarts, now_s, 0.0, True)
        failing.last_s = now_s
        failing.failures += 1
        failing.waiting = True
        window = failing.window.admit(now_s)
        if window is None:
            delay_s = self._retire_s
            failing.window, failing.failures = self._fresh, 0
            failing.waiting = False
            self.system.emit(ChildRetired, self.ref, name, delay_s)
        else:
            failing.window = window
            delay_s = spec.backoff.delay_s(failing.failures, self.system.rng)
            self.system.emit(RestartScheduled, self.ref, name, delay_s, reason)
            self.send_after(delay_s, _Start(name))
        failing.blocked_until_s = now_s + delay_s
        self._sweep(now_s)

    def _sweep(self, now_s: float) -> None:
        """Old failures are forgotten a few at a time, so the table stays as small as the trouble."""
        for name in list(self._failing)[:8]:
            failing = self._failing[name]
            if now_s - failing.last_s > self._fresh.period_s + self._retire_s * 2:
                del self._failing[name]

    # ------------------------------------------------------------------ stopping

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        """All children at once, each with its own deadline."""
        children = list(self._children.values())
        self._children.clear()
        async with trio.open_nursery() as nursery:
            for ref, spec, monitor in children:
                self.demonitor(monitor)
                self.unlink(ref)
                nursery.start_soon(shut_down, self, ref, spec)

    def statistics(self) -> dict[str, Any]:
        now_s = trio.current_time()
        blocked = [f for f in self._failing.values() if f.blocked_until_s > now_s]
        return {
            "strategy": "one_for_one",
            "active": len(self._children),
            "restarting": sum(1 for failing in blocked if failing.waiting),
            "retired": sum(1 for failing in blocked if not failing.waiting),
            "restarts": self._restarts,
        }

    def children(self) -> dict[str, tuple[Ref, int]]:
        """The living children and how often each was restarted, for the tree."""
        return {
            name: (ref, self._restarts_of(name)) for name, (ref, _, _) in self._children.items()
        }


class SpawnerHandle:
    """A `Spawner` that outlives its supervisor: it finds the present incarnation by name."""

    def __init__(self, system: Any, supervisor: str) -> None:
        self._system = system
        self._supervisor = supervisor

    def ensure(self, name: str) -> Ref | None:
        found: Ref | None = self._system.names.get(name)
        if found is not None:
            return found
        ref = self._system.names.get(self._supervisor)
        if ref is None or not self._system.is_ready(self._supervisor):
            return None
        started: Ref | None = ref._actor.ensure(name)
        return started
