"""One-off work under a supervisor: work nobody waits for, work with a result, streams of work.

Elixir's `Task.Supervisor`. Each piece of work is a temporary child, an actor that does only that:
it is in the tree, it ends with its supervisor, its failure is a crash report, and it is never
restarted. `Tasks` starts them, at once and synchronously, from an actor or from any other code of
the loop; a `Task` is what waits for a result.

**Who ends whom.** With `async_` the work is linked to the actor that starts it: if one crashes, so
does the other, and an actor that traps exits hears of it. With `async_nolink` the failure is an
outcome and nothing else. Whatever `start_child` starts is nobody's but its supervisor's.

**How it ends.** Told to end, the work is cancelled and may clean up, for five seconds, behind a
shield if it must wait for that; then it is killed.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

import trio
from outcome import Error, Outcome, Value

from actors.runtime import (
    NOPROC,
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorDied,
    ActorSystem,
    CallTimeout,
    Custom,
    Down,
    Exit,
    ExitReason,
    Normal,
    Ref,
    ReplySlot,
    Request,
    Stop,
)
from actors.runtime.errors import ActorError
from actors.runtime.ref import CALL_DEADLINE_S
from supervision.admin import Refusal, StartChild
from supervision.dynamic import DynamicSupervisor
from supervision.spec import WORKER_SHUTDOWN_S, ChildSpec, InvalidSpec, Problem, Restart
from supervision.streams import OnTimeout, TaskStream, TaskTimeout, end_all

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[..., Awaitable[Result]]


class TooManyTasks(ActorError):
    """The supervisor has `max_children` already. Trying again helps when one of them is done."""


# ---------------------------------------------------------------------- the children


@dataclass(frozen=True, slots=True)
class _Begin:
    """Begin. As an ask: and answer with the result."""

    is_awaited: bool


@dataclass(frozen=True, slots=True)
class _TimedOut:
    """The work has had its time."""


@dataclass(frozen=True, slots=True)
class _Overdue:
    """And has not ended since."""


_TIMEOUT = Custom("timeout")

_CANCELLED = object()
"""Instead of a result: the work was told to end, and did."""


class TaskRunner(Actor):
    """Does one piece of work. Its end is that of the work: `NORMAL`, or a crash."""

    trap_exit = True

    def __init__(self, work: Work[Any], args: tuple[Any, ...], timeout_s: float) -> None:
        super().__init__()
        self._call = partial(work, *args)
        self._timeout_s = timeout_s
        self._scope = trio.CancelScope()
        self._slot: ReplySlot | None = None
        self._is_working = False
        self._end_reason: ExitReason = NORMAL

    def on_receive(self, message: Any) -> Any:
        match message:
            case _Begin(is_awaited):
                self._begin(self.defer_reply() if is_awaited else None)
            case _TimedOut() if not self._scope.cancel_called:
                self.stop(_TIMEOUT)
                self.send_after(WORKER_SHUTDOWN_S, _Overdue())
            case _TimedOut():
                pass  # it is ending already, and whoever told it to looks after that
            case _Overdue():
                self._end()
            case Exit(_, Normal()):
                pass  # whoever began it is done; that is no reason to give up (OTP's X5)
            case Exit(_, reason):
                self.stop(reason)
            case _:
                super().on_receive(message)

    def _begin(self, slot: ReplySlot | None) -> None:
        self._slot = slot
        self._is_working = True
        if self._timeout_s < math.inf:
            self.send_after(self._timeout_s, _TimedOut())
        self.run_task(self._work, on_done=self._done, label="work")

    async def _work(self) -> Any:
        with self._scope:
            return _CANCELLED if self._scope.cancel_called else await self._call()
        return _CANCELLED

    def _done(self, result: Outcome[Any]) -> None:
        self._is_working = False
        match result:
            case Error(error):
                if self._slot is not None and not isinstance(error, Stop):
                    self._slot.fail(error)
                raise error
            case Value(value) if self._slot is not None and value is not _CANCELLED:
                self._slot.set(value)
                self._slot = None
        self._end()

    def _end(self) -> None:
        """Whoever has no answer gets the reason, from the runtime."""
        if self._end_reason is _TIMEOUT and self._slot is not None:
            self._slot.fail(TaskTimeout(f"not done within {self._timeout_s} s"))
        super().stop(self._end_reason)

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """Cancel the work, and end when it has."""
        if not self._is_working:
            super().stop(reason)
        elif not self._scope.cancel_called:
            self._end_reason = reason
            self._scope.cancel()

    def statistics(self) -> dict[str, Any]:
        """For the tree: what it does."""
        return {"work": getattr(self._call.func, "__qualname__", type(self._call.func).__name__)}


class TaskSupervisor(DynamicSupervisor):
    """The supervisor of at most `max_children` pieces of work at once. Give it a name: `Tasks`
    finds it by that.

    Children are called `NAME:0`, `NAME:1`, …, by the first number that is free again: a name for
    each piece of work would crowd out what the system knows of all other names.
    """

    def __init__(self, *, max_children: float = math.inf) -> None:
        super().__init__(_no_child, max_children=max_children)
        self._names = (f"{self.name or self.ref.id}:{number}" for number in count())
        self._free_names: list[str] = []
        self._living = 0
        """Children that have not ended. Of the others we may not have heard yet, but whoever waited
        for one of them knows, and may count on its place."""

    def on_receive(self, message: Any) -> Any:
        return Refusal.UNKNOWN if isinstance(message, StartChild) else super().on_receive(message)

    def start_task(self, work: Work[Any], args: tuple[Any, ...], timeout_s: float) -> Ref:
        """A child for this work, which waits to be told to begin. For `Tasks`. Raises
        `TooManyTasks`, `ActorDied` if this supervisor is about to end."""
        if self.is_ending:
            raise ActorDied(SHUTDOWN)
        if self._living >= self._max_children:
            raise TooManyTasks(f"{self} has {self._living} tasks, the most it may have")
        name = self._free_names.pop() if self._free_names else next(self._names)
        while name in self.system.names:  # a child of our predecessor that still cleans up
            name = next(self._names)
        spec = ChildSpec(name, TaskRunner, (work, args, timeout_s), restart=Restart.TEMPORARY)
        ref = self._spawn(name, spec).ref
        self._living += 1
        ref.on_exit(self._ended)
        return ref

    def _ended(self, _ref: Ref, _reason: ExitReason) -> None:
        self._living -= 1

    def _down(self, down: Down) -> None:
        super()._down(down)
        if down.name is not None and down.name not in self._children:
            self._free_names.append(down.name)


def _no_child(name: str) -> ChildSpec:
    raise InvalidSpec([Problem(name, "a task supervisor starts work (`Tasks`), not names")])


# ---------------------------------------------------------------------- who starts and waits


class Task(Request, Generic[Result]):
    """Work whose result is waited for, by one task at a time.

    It is a `Request`: `wait` is Elixir's `yield` (None if there is no outcome in time, and it can
    be waited for again), `abandon` its `ignore`, and a `RequestSet` waits for many. An outcome is
    the result, what the work raised, or `ActorDied` with why it ended otherwise.
    """

    __slots__ = ("_is_linked", "_owner")

    def __init__(self, ref: Ref, owner: Ref | None, *, is_linked: bool) -> None:
        self._owner = owner
        self._is_linked = is_linked
        if is_linked and owner is not None:
            ref._actor.link(owner)
        super().__init__(ref, _Begin(is_awaited=True))

    def __repr__(self) -> str:
        return f"<Task {self.ref}: {self.outcome or 'not done'}>"

    async def result(self, timeout_s: float = CALL_DEADLINE_S) -> Result:
        """The result; raises what the work raised, `ActorDied`, or `CallTimeout`. After that, or
        when cancelled, nobody waits: work begun by `async_` is told to end, other work goes on."""
        try:
            outcome = await self.wait(timeout_s)
        except trio.Cancelled:
            self._give_up()
            raise
        match outcome:
            case Value(value):
                result: Result = value
                return result
            case Error(error):
                raise error
            case _:
                self._give_up()
                raise CallTimeout(Custom("timeout"))

    async def shutdown(self, timeout_s: float = WORKER_SHUTDOWN_S) -> Outcome[Result] | None:
        """End the work and wait for that; it is killed after `timeout_s`, at once if that is zero.
        Its outcome, which may be a result if it was there before or while it ended; None if it was
        abandoned. A link is undone first, so the caller is not hit by the end it asked for."""
        self._unlink()
        await end_all([self.ref], timeout_s)
        return self.outcome

    def _give_up(self) -> None:
        self.abandon()
        if self._is_linked:
            self._unlink()
            self.ref.exit(SHUTDOWN)

    def _unlink(self) -> None:
        if self._owner is not None:
            self._owner._cell.system.unlink(self._owner._cell, self.ref)


class Tasks:
    """Starts work under the `TaskSupervisor` of this name, at once. Cheap to make, valid for as
    long as the system. Everything that starts raises `TooManyTasks`, or `ActorDied` while there is
    no such supervisor: one-off work is not kept until there is."""

    __slots__ = ("_supervisor", "_system")

    def __init__(self, system: ActorSystem, supervisor: str) -> None:
        self._system = system
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return f"<Tasks {self._supervisor}>"

    def start_child(self, work: Work[Any], *args: Any) -> Ref:
        """Do this, and nobody waits for it: it is done for its effects."""
        ref = self._start(work, args)
        ref.tell(_Begin(is_awaited=False))
        return ref

    def async_(self, work: Work[Result], *args: Any) -> Task[Result]:
        """Do this; its result is waited for. Linked to the actor whose code calls, if it is one's:
        each ends with a crash of the other."""
        ref = self._start(work, args)
        acting = self._system.dispatcher.acting()
        return Task(ref, None if acting is None else acting.ref, is_linked=True)

    def async_nolink(self, work: Work[Result], *args: Any) -> Task[Result]:
        """Do this; its result may be waited for. Its failure is nothing but an outcome, and it
        outlives whoever began it."""
        return Task(self._start(work, args), None, is_linked=False)

    @asynccontextmanager
    async def async_stream(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Awaitable[Result]],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout_s: float = CALL_DEADLINE_S,
        on_timeout: OnTimeout = OnTimeout.EXIT,
    ) -> AsyncIterator[TaskStream[Item, Result]]:
        """Do this with each item, with at most so many at once: `async for item, outcome in …`.

        Outcomes come in the order of the items, or as they are there. `timeout_s` is for each item
        from its start. A failed item is an outcome, never a signal (Elixir's
        `async_stream_nolink`); unwrap it to fail with it. Asking for the next raises what reading
        `items` or starting work raises. However the block is left, also by the consumer's death,
        the work under way is ended, and none of its code runs afterwards.
        """
        if not isinstance(max_concurrency, int) or max_concurrency < 1:
            raise ValueError(f"max_concurrency: {max_concurrency!r} is not a positive count")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s: {timeout_s!r} is not a positive number of seconds")

        def start(item: Item) -> Task[Result]:
            return Task(self._start(work, (item,), timeout_s), None, is_linked=False)

        stream = TaskStream(
            items, start,
            max_concurrency=max_concurrency, ordered=ordered, on_timeout=OnTimeout(on_timeout),
        )  # fmt: skip
        try:
            yield stream
        finally:
            await stream.close()

    def _start(self, work: Work[Any], args: tuple[Any, ...], timeout_s: float = math.inf) -> Ref:
        supervisor = self._system.whereis(self._supervisor)
        if supervisor is None:
            raise ActorDied(NOPROC, f"there is no task supervisor {self._supervisor}")
        actor = supervisor._actor
        if not isinstance(actor, TaskSupervisor):
            raise TypeError(f"supervisor: {self._supervisor} is a {type(actor).__name__}")
        return actor.start_task(work, args, timeout_s)
