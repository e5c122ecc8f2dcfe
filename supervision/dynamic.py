"""Many children of one kind, started on demand: channels, sessions.

Like Elixir's `DynamicSupervisor`: one_for_one, children stop in parallel, a limit on their number.
Unlike it, each child has its own restart window (see `trouble`), and this supervisor gives up only
if a child's `on_error` says so: one that fails too often is retired for a while and then tried
again.

**On demand.** `ensure` is called synchronously by actors of the same loop, through a
`SpawnerHandle`: starting a child is making an object, and messages to it wait until it is ready.
When it answers None the child may not start now; *it is started as soon as it may*, so whoever
watches the name hears of it. That holds across a crash of this supervisor too: what is owed is kept
outside of it.

**Cost.** An operation on a child costs the same whatever the number of children; the end of a child
with which nothing is wrong is one dict removal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import trio
from outcome import Outcome

from actors.runtime import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    AlreadyStarted,
    Down,
    Exit,
    ExitReason,
    Ref,
    is_abnormal,
)
from actors.runtime.directives import Directive
from actors.runtime.exits import crash, directive_of
from actors.runtime.system import IGNORED
from actors.runtime.tracing import ChildRetired, Escalated, Restarted, RestartScheduled
from supervision.admin import (
    BadSpec,
    ChildInfo,
    ChildStarted,
    CountChildren,
    Counts,
    DeleteChild,
    Done,
    GetChildSpec,
    NotStarted,
    Refusal,
    RestartChild,
    StartChild,
    TerminateChild,
    UpdateAnswer,
    UpdateDynamic,
    WhichChild,
    WhichChildren,
)
from supervision.backoff import Backoff
from supervision.dynamic_requests import DynamicRequests
from supervision.population import DynamicChild, counts, info_of, infos, name_of, spec_of
from supervision.reading import read_child
from supervision.shutdown import end_orphan, is_orphan, outlives, remains_of, shut_down_all
from supervision.spawner import OWED_MAX, owe, take_owed
from supervision.spec import DEFAULT_BACKOFF, ChildSpec, InvalidSpec, as_kept, window_problems
from supervision.strategy import is_restarted
from supervision.trouble import Trouble, Troubles

logger = logging.getLogger("supervision")

SLICE_CHILDREN = 256
"""Children started or told to end before the loop gets to its sockets: a few milliseconds."""

START_CHECK_S = 1.0
"""How often children that are not ready yet are looked at."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The delay of this child is over."""

    name: str


@dataclass(frozen=True, slots=True)
class _Ready:
    name: str
    ref: Ref
    start_info: object


@dataclass(frozen=True, slots=True)
class _StartOwed:
    """Places are free: start some of those who wait for one."""


@dataclass(frozen=True, slots=True)
class _CheckStarts:
    """Look for children that do not get ready."""


class DynamicSupervisor(Actor):
    """`factory` makes the spec of the child with a given name. `intensity` restarts within
    `period_s` are normal for one child; more retire it for `retire_s`. `backoff` is for specs
    without one."""

    trap_exit = True

    def __init__(
        self,
        factory: Callable[[str], ChildSpec],
        *,
        max_children: float = math.inf,
        intensity: int = 3,
        period_s: float = 5.0,
        retire_s: float = 5.0,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        super().__init__()
        problems = list(window_problems(intensity, period_s, "supervisor"))
        if problems:
            raise InvalidSpec(problems)
        self.is_ending = False
        self._factory = factory
        self._max_children = max_children
        self._retire_s = retire_s
        self._backoff = backoff
        self._children: dict[str, DynamicChild] = {}
        self._starting: dict[str, float] = {}
        self._is_checking = False
        self._troubles = Troubles(intensity, period_s, retire_s)
        self._requests = DynamicRequests(
            self, self._children, self._troubles, self._spawn, self._start, self._has_place
        )
        self._to_start: dict[str, None] = {}
        self._restarts = 0
        self._awaited: set[str] = set()
        """Names of which somebody else's code must end before they start."""

    def on_start(self) -> None:
        if self.name is None:
            return
        self._to_start = take_owed(self.system, self.name)
        if self._to_start:
            self.ref.deliver_control(_StartOwed())
        for ref in self.system.actors():
            above = ref._actor._actor_supervisor
            if above is not None and above.name == self.name and not above.is_alive():
                self._end_orphan(ref)

    def _end_orphan(self, ref: Ref) -> None:
        """A child of our predecessor is still at it, perhaps for ever: see that its name gets
        free."""
        spec = ChildSpec(ref.name or str(ref.id), ref.actor_class)
        self.run_task(end_orphan, self.system, ref, spec, on_done=lambda result: result.unwrap())

    # ------------------------------------------------------------------ starting

    def ensure(self, name: str) -> Ref | None:
        """The living child of this name, started if need be. None while it may not start; it will
        be started as soon as it may."""
        child = self._children.get(name)
        if child is not None and not child.is_unwinding:
            return child.ref
        if self.is_ending:
            if self.name is not None:
                owe(self.system, self.name, name)
            return None
        if child is not None:
            child.is_wanted = True
            return None
        if name in self._awaited:
            return None
        trouble = self._troubles.get(name)
        if trouble is not None and trouble.blocked_until_s > trio.current_time():
            self._want(name, trouble)
            return None
        if not self._has_place():
            if len(self._to_start) < OWED_MAX:
                self._to_start[name] = None
            return None
        return self._start(name, trouble)

    def _has_place(self) -> bool:
        """Children that are there or about to be count: a restart keeps its place."""
        return len(self._children) + self._troubles.waiting < self._max_children

    def _want(self, name: str, trouble: Trouble) -> None:
        """Start it when its time has come, even if nobody asks again."""
        if trouble.retired and not trouble.wanted:
            self.send_at(trouble.blocked_until_s, _Start(name))
        trouble.wanted = True

    def _start(self, name: str, trouble: Trouble | None) -> Ref | None:
        """Start a child; None if it could not even be made, which is one of its failures."""
        spec, restarts, is_restart = None, 0, False
        if trouble is not None:
            spec, restarts, is_restart = trouble.spec, trouble.restarts, trouble.waiting
            self._troubles.free(trouble)
        try:
            spec = spec or read_child(self._factory(name))
            remains = remains_of(self.system, name, spec)
            if remains is not None:
                self._await(name, remains)
                return None
            child = self._spawn(name, spec)
        except AlreadyStarted as error:
            # A stranger, or a child of our predecessor about to end: its watchers will ask again.
            if is_orphan(error.ref):
                self._end_orphan(error.ref)
            return error.ref
        except Exception as error:
            logger.exception("%s could not make %s", self, name)
            self._failed(name, spec, crash(error), up_s=0.0, restarts=restarts)
            return None
        child.is_restart = is_restart
        child.restarts = restarts + is_restart
        return child.ref

    def _await(self, name: str, remains: Ref) -> None:
        """Start this child when the code of that dead actor has ended."""

        def start(_: object) -> None:
            self._awaited.discard(name)
            self.ensure(name)

        self._awaited.add(name)
        self.run_task(remains.wait_unwound, on_done=start)

    def _spawn(self, name: str, spec: ChildSpec) -> DynamicChild:
        """A new incarnation, watched from its beginning. Raises what its constructor raises."""
        supervisor = self.ref
        ref = self.system.spawn(
            spec.actor, *spec.args, name=name, supervisor=supervisor, link_to=supervisor,
            on_error=spec.on_error, **spec.kwargs,
        )  # fmt: skip
        child = self._children[name] = DynamicChild(ref, as_kept(spec), self.monitor(ref))

        def started(reason: ExitReason | None) -> None:
            if reason is None:
                info = getattr(ref._actor, "start_info", None) if child.slots else None
                supervisor.deliver_control(_Ready(name, ref, info))
            child.is_ignored = reason is IGNORED

        self.system.when_started(ref, started)
        if not self._is_checking:
            self._is_checking = True
            self.send_after(START_CHECK_S, _CheckStarts())
        self._starting[name] = trio.current_time() + spec.start_limit_s
        return child

    def _ready(self, name: str, ref: Ref, start_info: object) -> None:
        child = self._children.get(name)
        if child is None or child.ref is not ref:
            return
        self._starting.pop(name, None)
        child.is_starting = False
        trouble = self._troubles.get(name)
        if trouble is not None:
            trouble.wanted = False
        if child.is_restart:
            self._restarts += 1
            self.system.emit(Restarted, self.ref, name, child.restarts)
        if not child.is_stopping:
            child.answer(ChildStarted(ref, start_info))

    def _check_starts(self) -> None:
        """Kill those that are not ready in time; their ends are failures like others."""
        now_s = trio.current_time()
        for name, due_s in list(self._starting.items()):
            if due_s <= now_s:
                self._children[name].ref.exit(KILL)
        self._is_checking = bool(self._starting)
        if self._is_checking:
            self.send_after(START_CHECK_S, _CheckStarts())

    def _start_owed(self) -> None:
        """Start some of those who wait for a place, oldest first."""
        for _ in range(SLICE_CHILDREN):
            if not self._to_start or not self._has_place() or self.is_ending:
                return
            name = next(iter(self._to_start))
            del self._to_start[name]
            self.ensure(name)
        self.ref.deliver_control(_StartOwed())

    # ------------------------------------------------------------------ an end, and what follows

    def _down(self, down: Down) -> None:
        name = down.name
        child = None if name is None else self._children.get(name)
        if name is None or child is None or child.monitor != down.monitor:
            return
        self._starting.pop(name, None)
        if not child.is_unwinding and not child.is_starting:
            child.up_s = down.ref.statistics().age_s
        child.is_unwinding = outlives(down.ref, child.spec)
        if child.is_unwinding:  # it has ended when its code has
            self.run_task(down.ref.wait_unwound, on_done=lambda _: self._down(down))
            return
        del self._children[name]
        if self.is_ending:
            return
        if child.is_stopping:
            self._troubles.forget(name)
            child.answer(Done())
        elif child.is_ignored:
            self._troubles.forget(name)
            child.answer(ChildStarted(None))
        elif child.is_starting and child.slots is not None:
            child.answer(NotStarted(down.reason))
        else:
            self._follow(name, child, down)
        if child.is_wanted:
            self.ensure(name)
        if self._to_start:
            self._start_owed()

    def _follow(self, name: str, child: DynamicChild, down: Down) -> None:
        """What becomes of a child that ended by itself. One that is to stop is forgotten, like one
        that is done: whoever needs it starts it again."""
        reason, directive = down.reason, directive_of(down.reason)
        abnormal = is_abnormal(reason)
        if directive is Directive.ESCALATE:
            self.system.emit(Escalated, self.ref, name, reason)
            self.stop(SHUTDOWN)
        elif is_restarted(child.spec.restart, abnormal=abnormal, directive=directive):
            self._failed(name, child.spec, reason, up_s=child.up_s, restarts=child.restarts)
        else:
            self._troubles.ended_well(name, trio.current_time())

    def _failed(
        self, name: str, spec: ChildSpec | None, reason: ExitReason, *, up_s: float, restarts: int
    ) -> Trouble:
        backoff = (spec and spec.backoff) or self._backoff
        trouble, delay_s = self._troubles.failed(
            name, spec, backoff, self.system.rng,
            up_s=up_s, now_s=trio.current_time(), restarts=restarts,
        )  # fmt: skip
        if trouble.retired:
            self.system.emit(ChildRetired, self.ref, name, delay_s)
        else:
            self.system.emit(RestartScheduled, self.ref, name, delay_s, reason)
        # Also a retired one comes back by itself: it failed, so it was not done.
        trouble.wanted = trouble.wanted or spec is not None
        if trouble.waiting or trouble.wanted:
            self.send_after(delay_s, _Start(name))
        return trouble

    def _due(self, name: str) -> None:
        trouble = self._troubles.get(name)
        if trouble is None or name in self._children or self.is_ending:
            return
        if trouble.blocked_until_s > trio.current_time():
            return  # it failed again, or was retired, since this timer was set
        if trouble.waiting:
            self._start(name, trouble)
        elif trouble.retired:
            self._troubles.free(trouble)
            self.ensure(name)

    # ------------------------------------------------------------------ messages

    def on_receive(self, message: Any) -> Any:
        match message:
            case Down():
                self._down(message)
            case _Ready(name, ref, start_info):
                self._ready(name, ref, start_info)
            case _Start(name):
                self._due(name)
            case _StartOwed():
                self._start_owed()
            case _CheckStarts():
                self._check_starts()
            case Exit(None, reason):
                self.stop(reason)  # from the program around the actors: as from a supervisor
            case Exit():
                pass  # monitors tell of the children's ends
            case WhichChildren():
                return list(self.infos())
            case WhichChild(key):
                name, now_s = name_of(key, self._children), trio.current_time()
                return info_of(name, self._children, self._troubles, now_s) or Refusal.NOT_FOUND
            case GetChildSpec(key):
                name = name_of(key, self._children)
                return spec_of(name, self._children, self._troubles) or Refusal.NOT_FOUND
            case CountChildren():
                return self.counts()
            case StartChild(spec):
                return self._requests.start(spec, is_ending=self.is_ending)
            case TerminateChild() | RestartChild() if self.is_ending:
                return Refusal.ENDING
            case TerminateChild(key):
                if isinstance(key, str):
                    self._to_start.pop(key, None)
                return self._requests.terminate(key)
            case RestartChild(name):
                return self._requests.restart(name)
            case DeleteChild(name):
                return self._requests.delete(name)
            case UpdateDynamic():
                return self._update_request(message)
            case _:
                logger.warning("%s dropped a message of type %s", self, type(message).__name__)
                return Refusal.UNKNOWN
        return None

    def _update_request(self, update: UpdateDynamic) -> UpdateAnswer:
        window = self._troubles.window.limited(update.intensity, update.period_s)
        problems = list(window_problems(window.intensity, window.period_s, "supervisor"))
        if problems:
            return BadSpec(tuple(problems))
        self._troubles.limit(window)
        self._factory = update.factory or self._factory
        if update.max_children is not None:
            self._max_children = update.max_children
            self._start_owed()
        return Done()

    # ------------------------------------------------------------------ stopping

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """Stop all children at once, each within its own limit, and then end."""
        if self.is_ending:
            return
        self.is_ending = True
        for child in self._children.values():
            child.is_stopping = True
            child.answer(Refusal.ENDING)

        def stopped(result: Outcome[None]) -> None:
            result.unwrap()
            super(DynamicSupervisor, self).stop(reason)

        children = [(child.ref, child.spec) for child in self._children.values()]
        self.run_task(shut_down_all, self, children, SLICE_CHILDREN, on_done=stopped)

    # ------------------------------------------------------------------ looking

    def infos(self) -> Iterator[ChildInfo]:
        """The children that are there, then those that are not for now."""
        return infos(self._children, self._troubles, trio.current_time())

    def counts(self) -> Counts:
        return counts(self._children, self._troubles)

    def statistics(self) -> dict[str, Any]:
        """For the tree: how many children there are, and how they fare."""
        return {
            "strategy": "one_for_one", "init": getattr(self._factory, "__qualname__", None),
            "active": len(self._children),
            "restarting": self._troubles.waiting, "retired": self._troubles.retired,
            "owed": len(self._to_start), "restarts": self._restarts,
        }  # fmt: skip
