"""The process core: one cell for each incarnation of an actor.

A cell has what OTP calls a process: a mailbox, a state, a way in for messages and for exit signals,
and exactly one end. `turns` runs it, `Actor` is the behaviour in it, `Ref` the handle on it. The
three stay apart so that the message path touches one small object, a subclass of `Actor` cannot
trip over the runtime's attributes, and a `Ref` to the dead holds nothing of what the actor held:
the cell lets go of it at the end.

**The end** comes once, in this order: names and memberships are released, timers and tasks are
cancelled, waiting asks fail, links and monitors are told, `on_exit` callbacks run (OTP's resource
law: whoever hears of an end may take the name). Code of a dead actor's tasks may still be unwinding
for a moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

import trio
from pykka.messages import _ActorStop

from actors.runtime.errors import ActorDied, MailboxFull
from actors.runtime.exits import KILLED, NOPROC, Custom, ExitReason, Kill, Normal, handed_on
from actors.runtime.futures import Answer
from actors.runtime.mailbox import Ask, Mailbox, Overflow
from actors.runtime.ref import ActorStatistics, ExitCallback, Ref
from actors.runtime.signals import Continue, Exit, Inspect, StopRequest
from actors.runtime.tasks import TaskRef

if TYPE_CHECKING:
    from actors.runtime.actor import Actor
    from actors.runtime.address import ActorId
    from actors.runtime.directives import OnError
    from actors.runtime.stash import Stash
    from actors.runtime.system import ActorSystem
    from actors.runtime.timers import TimerRef
    from actors.runtime.watch import Watch


class State(Enum):
    """STARTING has not had its first turn, INITIALISING waits for an async `on_start`, STOPPING for
    an async `on_stop` or `on_failure`."""

    STARTING = "starting"
    INITIALISING = "initialising"
    RUNNING = "running"
    STOPPING = "stopping"
    DEAD = "dead"


# As globals: a member looked up on its enum costs a good part of a message.
STARTING, INITIALISING, RUNNING, STOPPING, DEAD = State


@dataclass(frozen=True, slots=True)
class Ending:
    """The actor ends when its running code returns; with `hooks` through `on_stop`."""

    reason: ExitReason
    hooks: bool


class Holding(Protocol):
    """A table outside of the cell that lists its actor."""

    def ended(self, ref: Ref) -> None:
        """Forget this actor, now: nobody has heard of its end yet."""


class Extra:
    """What most actors never have, made when first needed."""

    __slots__ = (
        "deferred", "holdings", "hook", "label", "named_timers", "on_exit", "parked", "stash",
        "stop_answers", "tasks", "timers", "watch",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tasks: set[TaskRef] = set()
        self.timers: set[TimerRef] = set()
        self.on_exit: list[ExitCallback] = []
        self.deferred: dict[Answer, None] = {}
        self.stop_answers: list[Answer] = []
        self.hook: TaskRef | None = None
        self.parked: trio.lowlevel.Task | None = None
        self.named_timers: dict[Hashable, tuple[object, TimerRef]] | None = None
        self.stash: Stash | None = None
        self.holdings: dict[Holding, None] | None = None
        self.watch: Watch | None = None
        self.label: str | None = None


class Cell:
    """See the module. Everything but `accept` and `signal` is for the loop's thread."""

    __slots__ = (
        "actor", "current", "dispatcher", "ending", "exit_reason", "extra", "handled", "is_async",
        "is_plain", "is_scheduled", "mailbox", "on_error", "ref", "started_s", "state",
        "supervisor", "system", "unwinding",
    )  # fmt: skip

    actor: Any
    """The `Actor`; None once dead."""

    def __init__(
        self,
        system: ActorSystem,
        actor_class: type[Actor],
        id_: ActorId,
        name: str | None,
        incarnation: int,
        supervisor: Ref | None,
        on_error: OnError | None,
    ) -> None:
        self.system = system
        self.dispatcher = system.dispatcher
        self.actor = None
        self.ref = Ref(self, actor_class, id_, name, incarnation)
        self.supervisor = supervisor
        self.on_error = on_error or None
        self.mailbox = Mailbox(actor_class.mailbox_max)
        self.is_async = actor_class._actor_is_async
        # Neither async nor watched: its messages need nothing but `on_receive`.
        self.is_plain = not self.is_async
        self.state = STARTING
        self.is_scheduled = False
        self.handled = 0
        self.started_s = self.dispatcher.now()
        self.current: Answer | None = None
        self.ending: Ending | None = None
        self.exit_reason: ExitReason | None = None
        self.extra: Extra | None = None
        self.unwinding: set[TaskRef] | None = None

    @property
    def is_unwinding(self) -> bool:
        """Dead, but code of its tasks has not ended yet."""
        return self.unwinding is not None

    @property
    def is_waiting_for_a_message(self) -> bool:
        """An actor without task or watch that has nothing to do, and nothing keeps it from doing
        something."""
        return self.state is RUNNING and not self.is_scheduled and self.is_plain

    @property
    def has_started(self) -> bool:
        """Past `on_start`."""
        return self.state in (RUNNING, STOPPING)

    @property
    def is_dead(self) -> bool:
        return self.state is DEAD

    def more(self) -> Extra:
        """The rare things, made now if need be."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def __repr__(self) -> str:
        return f"<Cell {self.ref} {self.state.value}, {len(self.mailbox)} queued>"

    def statistics(self) -> ActorStatistics:
        state = STARTING if self.state is INITIALISING else self.state
        age_s = trio.current_time() - self.started_s
        return ActorStatistics(len(self.mailbox), self.handled, age_s, state.value, self.started_s)

    # ------------------------------------------------------------------ messages arrive

    def accept(self, message: Any) -> bool:
        """Into the traffic lane, by the overflow policy, from any thread. False if the actor is
        dead or refuses: a dead letter, and an asker is told. From another thread True unless it is
        dead already."""
        dispatcher = self.dispatcher
        if get_ident() != dispatcher.thread:
            return self._accept_from_thread(message)
        mailbox = self.mailbox
        traffic = mailbox.traffic
        if traffic is None:
            if self.state is DEAD:
                return self._refuse(message)
            mailbox.traffic = deque((message,))
        elif len(traffic) < mailbox.limit:
            traffic.append(message)
        elif not self._overflowed(message, traffic):
            return False
        if not self.is_scheduled:  # `schedule`, without a call for every message
            self.is_scheduled = True
            dispatcher.queue.append(self)
            if dispatcher.parked is not None:
                dispatcher.wake()
        return True

    def _accept_from_thread(self, message: Any) -> bool:
        if self.state is DEAD:
            if type(message) is Ask:
                message.answer.resolve(None, self.refusal())
            self.dispatcher.from_thread(self.system.dead_letter, self.ref, message)
            return False
        if not self.dispatcher.from_thread(self.accept, message) and type(message) is Ask:
            message.answer.resolve(None, self.refusal())
        return True

    def refusal(self) -> Exception:
        """Why `accept` answered False."""
        if self.state is DEAD or self.system.is_closed:
            return ActorDied(NOPROC, f"{self.ref} not found")
        return MailboxFull(f"{self.ref} has {len(self.mailbox)} messages waiting")

    def _refuse(self, message: Any) -> bool:
        self._reject(message, self.refusal())
        return False

    def _reject(self, message: Any, error: Exception) -> None:
        """This message will not be handled: tell its asker and whoever watches dead letters."""
        if type(message) is Ask:
            message.answer.resolve(None, error)
        self.system.dead_letter(self.ref, message)

    def _overflowed(self, message: Any, traffic: deque[Any]) -> bool:
        """Apply the policy of a full mailbox; True if the sender need not care."""
        policy: Overflow = self.actor.overflow
        match policy:
            case Overflow.REFUSE:
                return self._refuse(message)
            case Overflow.DROP_NEWEST:
                self._reject(message, self.refusal())
            case Overflow.DROP_OLDEST:
                self._reject(traffic.popleft(), self.refusal())
                traffic.append(message)
            case Overflow.STOP_RECEIVER:
                self._reject(message, self.refusal())
                self.end(Custom("mailbox_overflow"))
        return True

    def accept_control(self, item: Any) -> None:
        """Into the control lane: before traffic, never refused, nothing to the dead."""
        if self.state is not DEAD:
            self.mailbox.put_control(item)
            self.dispatcher.schedule(self)

    def accept_next(self, item: Any) -> None:
        """Into the control lane in front of all else; what continues waits for what continues
        already, so that steps keep their order."""
        if self.state is DEAD:
            return
        ahead = []
        while isinstance((self.mailbox.control or (None,))[0], Continue):
            ahead.append(self.mailbox.next_control())
        self.mailbox.put_next(item)
        for step in reversed(ahead):
            self.mailbox.put_next(step)
        self.dispatcher.schedule(self)

    # ------------------------------------------------------------------ exit signals

    def signal(self, reason: ExitReason | Kill, sender: Ref | None) -> None:
        """An exit signal arrives (OTP's table X1 to X9). `sender` None: from no actor."""
        if self.dispatcher.is_foreign_thread():
            self.dispatcher.from_thread(self.signal, reason, sender)
        elif self.state is DEAD:
            return
        elif isinstance(reason, Kill):
            self.end(KILLED)
        elif self.actor.trap_exit:
            # A parent's signal ends its child in order, as in gen_server(3). The parent of an actor
            # without a supervisor is whatever is no actor: the program round the system.
            if sender is self.supervisor:
                self.request_stop(reason)
            else:
                self.accept_control(Exit(sender, reason))
        elif not isinstance(reason, Normal) or sender is self.ref:
            self.end(handed_on(reason))

    def request_stop(self, reason: ExitReason) -> None:
        """Ask the actor to stop (`Actor.stop`) in a turn of its own, before traffic. One that has
        not begun just ends; one that is stopping goes on."""
        match self.state:
            case State.STARTING:
                self.end(handed_on(reason))
            case State.INITIALISING | State.RUNNING:
                self.accept_control(StopRequest(reason))
            case State.STOPPING | State.DEAD:
                pass

    def stop(self, reason: ExitReason) -> None:
        """End after the current message, through `on_stop`. The first reason stays. An async
        `on_start` is cancelled, unless it is what calls."""
        if self.ending is not None or self.state is DEAD:
            return
        self.ending = Ending(handed_on(reason), hooks=True)
        self.dispatcher.schedule(self)
        hook = self.extra.hook if self.extra is not None else None
        if self.state is not INITIALISING or hook is None:
            return
        if hook.trio_task is not trio.lowlevel.current_task():
            hook.cancel()

    def end(self, reason: ExitReason) -> None:
        """End without hooks: now, or when its running sync code returns. The first reason stays."""
        if self.dispatcher.running is not self:
            self.terminate(reason)
        elif self.ending is None or self.ending.hooks:
            self.ending = Ending(reason, hooks=False)

    # ------------------------------------------------------------------ what it owns

    def forget_task(self, task: TaskRef) -> None:
        """It has ended."""
        if self.unwinding is not None:
            self.unwinding.discard(task)
            if not self.unwinding:
                self.unwinding = None
                self.system.unwinding.end(self)
        elif self.extra is not None:
            self.extra.tasks.discard(task)

    def is_handling_here(self) -> bool:
        """Whether the running code is a handler or hook of this very actor."""
        if self.dispatcher.running is self:
            return True
        if self.extra is None or not self.extra.tasks:
            return False
        here = trio.lowlevel.current_task()
        return any(task.trio_task is here for task in self.extra.tasks)

    def add_exit_callback(self, callback: ExitCallback) -> Callable[[], None]:
        if self.exit_reason is not None:
            callback(self.ref, self.exit_reason)
            return _nothing
        callbacks = self.more().on_exit
        callbacks.append(callback)

        def cancel() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return cancel

    def hold(self, holding: Holding) -> None:
        """This table is told of the end, with the names and before anybody else."""
        extra = self.more()
        if extra.holdings is None:
            extra.holdings = {}
        extra.holdings[holding] = None

    def let_go(self, holding: Holding) -> None:
        if self.extra is not None and self.extra.holdings is not None:
            self.extra.holdings.pop(holding, None)

    # ------------------------------------------------------------------ the end

    def terminate(self, reason: ExitReason, *, is_ignored: bool = False) -> None:
        """The end, exactly once, in the order the module gives."""
        if self.state is DEAD:
            return
        callbacks = self.bury(reason)
        self.system.exited(self, reason, is_ignored=is_ignored)
        for callback in callbacks:
            self.system.contain(callback, self.ref, reason)

    def bury(self, reason: ExitReason) -> list[ExitCallback]:
        """The first part of the end: give back everything this actor holds, telling nobody but its
        askers. The callbacks still to be called."""
        self.state = DEAD
        self.exit_reason = reason
        self.system.release(self)
        extra, self.extra = self.extra, None
        if extra is not None:
            for holding in extra.holdings or ():
                holding.ended(self.ref)
            for timer in list(extra.timers):
                timer.cancel()
            self._cancel_tasks(extra.tasks)
        died = ActorDied(reason)
        current, self.current = self.current, None
        if current is not None:
            current.resolve(None, died)
        for item in self.mailbox.control or ():
            if type(item) is Inspect:
                item.answer.resolve(None, died)
        unhandled = self.mailbox.drain()
        if extra is not None and extra.stash is not None:
            unhandled[:0] = extra.stash.messages
        for message in unhandled:
            if type(message) is Ask and type(message.message) is _ActorStop:
                message.answer.resolve(None, None)  # it asked for the end, and that has come
            else:
                self._reject(message, died)
        self.actor = None
        if extra is None:
            return []
        for answer in list(extra.deferred):
            answer.resolve(None, died)
        for answer in extra.stop_answers:
            answer.resolve(None, None)
        return extra.on_exit

    def _cancel_tasks(self, tasks: set[TaskRef]) -> None:
        if not tasks:
            return
        self.unwinding = tasks
        for task in tasks:
            task.cancel()
        self.system.unwinding.begin(self)


def _nothing() -> None:
    """The canceller of a callback that has been called."""
