"""The supervisor: starts children in order, restarts them by plan, stops them in reverse.

**Deciding and doing.** `strategy.plan` says what follows from an end, `intensity.Window` whether
one more restart is normal, `backoff` how long to wait; `children` starts and stops. Whatever takes
time runs in a task of the supervisor (`lanes` order it), so the supervisor answers, and can be shut
down, while a child takes long to start or waits for its restart.

**Start** is strictly sequential, left to right, each child ready before the next, and the
supervisor itself is ready after the last. If one fails, those before it are stopped in reverse, and
the start fails with `Shutdown(FailedToStart(child, reason))`.

**Stop** is right to left, by `shutdown.shut_down`. **A failed restart** is an event like any other
end: it counts against the window and is tried again after a longer delay. When the window is full,
or a child's `on_error` says so, the supervisor stops everything and ends with `SHUTDOWN`, for its
own supervisor to act.

**Its spec** may be a function (`Init`), asked at each start and at an update (`upgrade`).

**Nobody is lost.** Children are linked from before their first turn until after their last: however
the supervisor ends, they end. Its successor waits for names they still hold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import trio
from outcome import Outcome

from actors.runtime import (
    NORMAL,
    SHUTDOWN,
    Actor,
    Down,
    Exit,
    ExitReason,
    Ignore,
    Ref,
    Shutdown,
    StartFailed,
    is_abnormal,
)
from actors.runtime.exits import directive_of
from actors.runtime.tracing import Escalated, RestartScheduled
from supervision.admin import (
    BadSpec,
    ChildInfo,
    ChildState,
    CountChildren,
    Counts,
    DeleteChild,
    Done,
    GetChildSpec,
    Init,
    Refusal,
    RestartChild,
    StartChild,
    TerminateChild,
    UpdateAnswer,
    UpdateSpec,
    WhichChild,
    WhichChildren,
)
from supervision.children import Child, ChildTable, Failure
from supervision.events import FailedToStart, StartAttemptFailed
from supervision.intensity import Window
from supervision.lanes import Lanes
from supervision.reading import read_supervisor
from supervision.requests import Requests
from supervision.spec import InvalidSpec, Problem, Strategy, SupervisorSpec
from supervision.strategy import Plan, concerns_others, plan
from supervision.upgrade import upgraded

logger = logging.getLogger("supervision")


@dataclass(frozen=True, slots=True)
class _Begun:
    """All children have started: look at what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """The delay is over: start these, as far as they still wait for it."""

    lane: str
    number: int
    children: tuple[str, ...]


class Supervisor(Actor):
    """See the module. An invalid spec raises `InvalidSpec`, before anything starts."""

    trap_exit = True

    def __init__(self, spec: SupervisorSpec | Mapping[str, Any] | Init) -> None:
        super().__init__()
        self._init = spec if callable(spec) else None
        known = SupervisorSpec() if callable(spec) else read_supervisor(spec)
        self.spec = replace(known, children=())
        """Strategy and limits. The children's specs are in the table, as they are now."""
        self.is_ending = False
        self._children = ChildTable(self, known.children, self._end_of)
        self._window = Window(known.intensity, known.period_s)
        self._lanes = Lanes(self)
        self._requests = Requests(self, self._children, self._lanes, self._lane_of)
        self._is_initialising = True
        self._starting = trio.CancelScope()
        self._end_reason: ExitReason = SHUTDOWN

    # ------------------------------------------------------------------ start and stop

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        failure: Failure | None = None
        if self._init is not None:
            self._adopt(read_supervisor(self._init()), ChildState.WAITING)
        with self._starting:
            failure = await self._children.start_in_order(tuple(self._children))
        self._is_initialising = False
        if failure is None and not self.is_ending:
            self.ref.deliver_control(_Begun())
            return
        if failure is not None and not self.is_ending:
            self.is_ending = True
            self._end_reason = Shutdown(FailedToStart(failure[0].spec.id, failure[1]))
        await self._children.stop_all()
        raise StartFailed(self._end_reason)

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """Stop all children, right to left, and then end. Whatever was under way is given up."""
        if self.is_ending:
            return
        self.is_ending = True
        self._end_reason = reason
        self._requests.close()
        self._lanes.close()
        if self._is_initialising:
            self._starting.cancel()
        else:
            self.run_task(self._children.stop_all, on_done=self._stopped, label="stop all")

    def _stopped(self, result: Outcome[None]) -> None:
        result.unwrap()
        super().stop(self._end_reason)

    # ------------------------------------------------------------------ an end, and what follows

    def _lane_of(self, child: Child) -> str:
        return child.spec.id if _has_lanes(self.spec) else ""

    def _end_of(self, child: Child, ref: Ref, reason: ExitReason) -> None:
        """A child ended by itself."""

        def act() -> None:
            if child.state is ChildState.ENDED and child.ref is ref:
                self._children.let_go(child)
                self._follow(child, reason, abnormal=is_abnormal(reason))

        if not self.is_ending:
            self._lanes.do(self._lane_of(child), act)

    def _follow(self, child: Child, reason: ExitReason, *, abnormal: bool) -> None:
        """Carry out what the strategy says."""
        rules = self.spec.strategy, self.spec.auto_shutdown
        directive = directive_of(reason)
        views = [child.view()]
        if concerns_others(*rules, views[0], abnormal=abnormal, directive=directive):
            # One that is to be started by request, and is not begun yet, is nobody's sibling.
            known = (each for each in self._children if each.state is not ChildState.WAITING)
            views = [each.view() for each in known]
        decided = plan(*rules, views, child.spec.id, abnormal=abnormal, directive=directive)
        if decided.escalates:
            self._give_up(child, reason)
        elif decided.shut_down:
            self.stop(SHUTDOWN)
        elif not decided.restarts:
            child.state = ChildState.STOPPED
            if decided.forget:
                self._children.forget(child)
        elif self._admit(child, reason):
            self._schedule(child, reason, decided)

    def _admit(self, child: Child, reason: ExitReason) -> bool:
        """Spend one restart; if there is none left, give up."""
        window = self._window.admit(trio.current_time())
        if window is None:
            self._give_up(child, reason)
            return False
        self._window = window
        return True

    def _give_up(self, child: Child, reason: ExitReason) -> None:
        """End with all children, for the supervisor above to act."""
        self.system.emit(Escalated, self.ref, child.spec.id, reason)
        self.stop(SHUTDOWN)

    def _schedule(self, child: Child, reason: ExitReason, decided: Plan) -> None:
        """Stop the siblings concerned; start again after the child's delay, all together."""
        backoff = child.spec.backoff_or_default
        if child.up_s >= backoff.reset_s:
            child.failures = 0
        child.failures += 1
        delay_s = backoff.delay_s(child.failures, self.system.rng)
        self.system.emit(RestartScheduled, self.ref, child.spec.id, delay_s, reason)
        for id_ in set(decided.start) - set(decided.stop):
            other = self._children.get(id_)
            assert other is not None
            other.state = ChildState.RESTARTING
        key = self._lane_of(child)
        self._retry_after(delay_s, key, decided.start)
        if decided.stop:
            self._lanes.job(key, lambda: self._stop_siblings(decided), lambda _: None)

    def _retry_after(self, delay_s: float, key: str, children: tuple[str, ...]) -> None:
        lane = self._lanes.lane(key)
        if lane.retry is not None:
            self.cancel_timer(lane.retry)
        lane.retry_number += 1
        lane.retry = self.send_after(delay_s, _Retry(key, lane.retry_number, children))

    async def _stop_siblings(self, decided: Plan) -> None:
        for id_ in decided.stop:
            child = self._children.get(id_)
            if child is None or child.state is ChildState.STOPPED:
                continue  # somebody terminated it meanwhile
            await self._children.stop(child)
            if id_ in decided.forget:
                self._children.forget(child)
            else:
                child.state = ChildState.RESTARTING

    def _retry(self, retry: _Retry) -> None:
        lane = self._lanes.get(retry.lane)
        if lane is None or lane.retry_number != retry.number:
            return
        lane.retry = None
        found = (self._children.get(id_) for id_ in retry.children)
        children = tuple(child for child in found if child is not None)

        self._lanes.do(retry.lane, lambda: self._start_again(retry.lane, children))

    def _start_again(self, key: str, children: tuple[Child, ...]) -> None:
        """Start those of them that still wait for it."""
        due = next((child for child in children if child.is_due), None)
        if due is not None:
            self._children.begin(due)
            start = self._children.start_in_order
            then = self._restarted
            self._lanes.job(
                key, lambda: start(children), lambda failed: then(key, children, failed)
            )

    def _restarted(self, key: str, children: tuple[Child, ...], failure: Failure | None) -> None:
        """A restart has come to its end; a start that failed is an abnormal end. If that child is
        to stay down, the others start without it."""
        if failure is None:
            return
        child, reason = failure
        self.system.emit(StartAttemptFailed, self.ref, child.spec.id, reason)
        if self._children.get(child.spec.id) is child and child.is_due:
            self._follow(child, reason, abnormal=True)
        if not (child.is_due or self.is_ending):
            self._start_again(key, children)

    # ------------------------------------------------------------------ messages

    def on_receive(self, message: Any) -> Any:
        match message:
            case Down():
                self._children.down(message)
            case _Retry():
                self._retry(message)
            case _Begun():
                if not self.is_ending:
                    self._lanes.open()
            case Exit(None, reason):
                self.stop(reason)  # from the program around the actors: as from a supervisor
            case Exit():
                pass  # links only see to it that children end with us; monitors tell of their ends
            case WhichChildren():
                return list(self.infos())
            case WhichChild(id_):
                child = self._children.get(id_)
                return Refusal.NOT_FOUND if child is None else child.info()
            case GetChildSpec(id_):
                child = self._children.get(id_)
                return Refusal.NOT_FOUND if child is None else child.spec
            case CountChildren():
                return self.counts()
            case StartChild(spec):
                return self._requests.start(spec, self.spec.auto_shutdown)
            case TerminateChild(id_):
                return self._requests.terminate(id_)
            case RestartChild(id_):
                return self._requests.restart(id_)
            case DeleteChild(id_):
                return self._requests.delete(id_)
            case UpdateSpec(spec):
                return self._update_request(spec)
            case _:
                logger.warning("%s dropped a message of type %s", self, type(message).__name__)
                return Refusal.UNKNOWN
        return None

    # ------------------------------------------------------------------ another spec

    def _update_request(self, given: object) -> UpdateAnswer | None:
        if self.is_ending:
            return Refusal.ENDING
        init = given if callable(given) else self._init if given is None else None
        if given is None and init is None:
            return Done()  # it was given its spec, and that is the same still
        try:
            new = read_supervisor(given if init is None else init())
        except Ignore:
            return Done()
        except InvalidSpec as error:
            return BadSpec(tuple(error.problems))
        except Exception as error:  # noqa: BLE001  (foreign code may raise anything)
            return BadSpec((Problem("supervisor", f"its init raised {error!r}"),))
        self._init = init or self._init
        slot = self._requests.defer()

        def act() -> None:
            self._adopt(new, ChildState.STOPPED)
            self._requests.answer(slot, Done())

        self._lanes.do_when_calm(act)
        return None

    def _adopt(self, new: SupervisorSpec, state: ChildState) -> None:
        """Take over a valid spec; children that are new begin in this state."""
        is_laned_anew = _has_lanes(new) != _has_lanes(self.spec)
        self.spec = replace(new, children=())
        self._window = self._window.limited(new.intensity, new.period_s)
        present = [child.spec for child in self._children]
        self._children.respec(upgraded(present, new), state)
        if is_laned_anew:
            self._wait_in_other_lanes()

    def _wait_in_other_lanes(self) -> None:
        """Those that wait for their restart go on waiting, by the new strategy."""
        left_s = self._lanes.cancel_retries()
        waiting: dict[str, list[str]] = {}
        for child in self._children:
            if child.state is ChildState.RESTARTING:
                waiting.setdefault(self._lane_of(child), []).append(child.spec.id)
        for key, ids in waiting.items():
            self._retry_after(left_s, key, tuple(ids))

    # ------------------------------------------------------------------ looking

    def infos(self) -> Iterator[ChildInfo]:
        """The children, in start order."""
        return (child.info() for child in self._children)

    def counts(self) -> Counts:
        children = tuple(self._children)
        supervisors = sum(child.spec.kind == "supervisor" for child in children)
        return Counts(
            specs=len(children),
            active=sum(child.is_active for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
            restarting=sum(child.state is ChildState.RESTARTING for child in children),
        )

    def statistics(self) -> dict[str, Any]:
        """For the tree: strategy, and how much of the window is spent."""
        return {
            "strategy": self.spec.strategy.value,
            "init": getattr(self._init, "__qualname__", None),
            "restarts_in_window": self._window.used(trio.current_time()),
            "intensity": self.spec.intensity,
        }


def _has_lanes(spec: SupervisorSpec) -> bool:
    """Whether each child has a lane of its own."""
    return spec.strategy is Strategy.ONE_FOR_ONE
