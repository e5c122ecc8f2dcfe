"""The actor: pykka's class, OTP's life, run by the system's dispatcher.

**Life.** `spawn` makes the object and binds its name; its first turn runs `on_start`. From then on it
handles messages one at a time. It ends once, for one reason, and in this order: names are released,
timers and tasks end, waiting asks fail, links and monitors are told (OTP's resource law: whoever
hears of the end may take the name).

**Turns.** An actor whose `on_receive` is a plain function has no task: the dispatcher calls it. One
whose `on_receive` is `async` has a task for as long as it lives. `on_start`, `on_stop` and
`on_failure` may be either in both kinds; an async `on_start` runs in a task of its own while
messages wait.

**pykka.** Hooks, refs, proxies and futures keep pykka's meaning. Its receive loop is not used: it
would catch the loop's cancellation and stop every actor in the process. Where pykka and OTP differ,
OTP's rule holds; `crash_on_ask_error = False` restores pykka's for asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import trio
from outcome import Error, Outcome, Value
from pykka import messages as pykka_messages
from pykka._introspection import get_attr_directly

from actors.runtime.errors import CallError, Ignore, MailboxFull
from actors.runtime.exits import (
    KILLED,
    NORMAL,
    Custom,
    ExitReason,
    Kill,
    Normal,
    Shutdown,
    crash,
    is_abnormal,
)
from actors.runtime.futures import Future, ReplySlot
from actors.runtime.links import MonitorRef
from actors.runtime.mailbox import Ask, Mailbox, Overflow
from actors.runtime.ref import ActorStatistics, Ref
from actors.runtime.signals import Done, Down, Exit, StopRequest
from actors.runtime.timers import TimerRef

if TYPE_CHECKING:
    from actors.runtime.system import ActorSystem

TURN_MESSAGES_MAX = 64
"""Messages an actor handles before others get their turn."""

MAILBOX_MAX = 10_000
"""Default bound of the traffic lane: far above any healthy backlog, far below memory trouble."""

STOP_DEADLINE_S = 30.0
"""An async `on_stop` or `on_failure` may take this long, unless its supervisor kills it before."""

_PYKKA = frozenset(
    {
        pykka_messages._ActorStop,
        pykka_messages.ProxyCall,
        pykka_messages.ProxyGetAttr,
        pykka_messages.ProxySetAttr,
    }
)


class TaskRef:
    """A task of an actor; `cancel` ends it, and its `on_done` is then not called."""

    __slots__ = ("_scope", "label")

    def __init__(self, label: str) -> None:
        self._scope = trio.CancelScope()
        self.label = label

    def cancel(self) -> None:
        self._scope.cancel()


class Actor(pykka.Actor):
    """Subclass it; see the module. All methods are for the actor's own code, except `on_…` hooks,
    which the runtime calls."""

    trap_exit: ClassVar[bool] = False
    """Exit signals become `Exit` messages; one from the supervisor ends it through `on_stop`."""
    mailbox_max: ClassVar[int] = MAILBOX_MAX
    overflow: ClassVar[Overflow] = Overflow.REFUSE
    crash_on_ask_error: ClassVar[bool] = True
    """A handler that raises while answering crashes the actor (OTP). False: only the asker hears."""
    pykka_registry: ClassVar[bool] = False
    """List the actor in pykka's global registry, whose operations take linear time."""

    _actor_is_async: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._actor_is_async = inspect.iscoroutinefunction(cls.on_receive)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # pykka's __init__ makes a UUID and a thread event for every actor; ours are made on demand.
        self.mailbox = Mailbox(self.mailbox_max)
        self.exit_reason: ExitReason | None = None
        self._actor_state = "new"
        self._actor_scheduled = False
        self._actor_handled = 0
        self._actor_started_s = 0.0
        self._actor_stopping: ExitReason | None = None
        self._actor_current: Future[Any] | None = None
        self._actor_own: dict[str, Any] = {}

    # ------------------------------------------------------------------ pykka's implementor hooks

    @staticmethod
    def _create_actor_inbox() -> Any:
        return Mailbox(MAILBOX_MAX)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        raise NotImplementedError("an actor is started by its system")

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Ref:  
        """pykka's start: in the current system, without waiting for `on_start`."""
        from actors.runtime.system import current_system

        return current_system().spawn(cls, *args, **kwargs)

    # ------------------------------------------------------------------ who am I

    @property
    def ref(self) -> Ref:
        return self._actor_ref  # type: ignore[return-value]

    @property
    def name(self) -> str | None:
        return self.ref.name

    @property
    def incarnation(self) -> int:
        return self.ref.incarnation

    @property
    def system(self) -> ActorSystem:
        return self._actor_system

    @property
    def is_dead(self) -> bool:
        return self._actor_state == "dead"

    def __str__(self) -> str:
        return str(self._actor_ref)

    def __repr__(self) -> str:
        return f"<{self} {self._actor_state}, {len(self.mailbox)} queued>"

    def bind(self, system: ActorSystem, ref: Ref) -> None:
        """The system introduces itself; called once, before the first turn."""
        self._actor_system = system
        self._actor_ref = ref
        self._actor_state = "starting"
        self._actor_started_s = trio.current_time()
        system.schedule(self)

    # ------------------------------------------------------------------ for the actor's own code

    def link(self, ref: Ref) -> None:
        """Tie this actor's end to another's. Linking to the dead delivers its end at once."""
        if ref.is_alive():
            self._actor_system.links.link(self.ref.id, ref.id)
        else:
            self.signal(ref.exit_reason or NORMAL, ref)

    def unlink(self, ref: Ref) -> None:
        self._actor_system.links.unlink(self.ref.id, ref.id)

    def monitor(self, ref: Ref) -> MonitorRef:
        """Hear `Down` once when `ref` ends; at once if it is dead."""
        return self._actor_system.monitor(self.ref, ref)

    def demonitor(self, monitor: MonitorRef) -> None:
        """Hear nothing of it any more, even if it was on its way."""
        self._actor_system.links.demonitor(monitor)
        control = self.mailbox.control
        if control:
            for item in list(control):
                if isinstance(item, Down) and item.monitor == monitor:
                    control.remove(item)
            if not control:
                self.mailbox.control = None

    def send_after(self, delay_s: float, message: Any) -> TimerRef:
        """Send this actor a message later. The timer ends with this incarnation."""
        return self._actor_system.timers.send_after(delay_s, self.ref, message)

    def send_every(self, period_s: float, message: Any) -> TimerRef:
        return self._actor_system.timers.send_after(period_s, self.ref, message, period_s)

    def cancel_timer(self, timer: TimerRef) -> float | None:
        return timer.cancel()

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End after the current message, through `on_stop`."""
        if self._actor_stopping is None:
            self._actor_stopping = reason
            self._actor_system.schedule(self)

    def defer_reply(self) -> ReplySlot:
        """Answer the current ask later; what the handler returns is then not the answer."""
        assert self._actor_current is not None, "there is no ask to answer"
        slot = ReplySlot(self._actor_current, self._actor_system)
        self._actor_current = None
        return slot

    def run_task(
        self,
        work: Callable[..., Awaitable[Any]],
        *args: Any,
        on_done: Callable[[Outcome[Any]], None],
        label: str = "",
    ) -> TaskRef:
        """Run something that waits, beside this actor; `on_done` gets its outcome in a turn of this
        actor, before traffic. It is cancelled when this incarnation ends."""
        task = TaskRef(label)
        self._actor_own.setdefault("tasks", set()).add(task)
        self._actor_system.nursery.start_soon(self._actor_task, task, work, args, on_done)
        return task

    async def _actor_task(
        self,
        task: TaskRef,
        work: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        on_done: Callable[[Outcome[Any]], None],
    ) -> None:
        result: Outcome[Any] | None = None
        with task._scope:
            try:
                result = Value(await work(*args))
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001  (handed to on_done, which decides)
                result = Error(error)
        tasks = self._actor_own.get("tasks")
        if tasks is not None:
            tasks.discard(task)
        if result is not None and not self.is_dead:
            self.accept_control(Done(on_done, result))

    # ------------------------------------------------------------------ receiving, from outside

    def accept(self, message: Any) -> None:
        """Into the traffic lane, by the overflow policy."""
        if self._actor_system.is_foreign_thread():
            self._actor_system.from_thread(self.accept_quietly, message)
        elif not self.accept_quietly(message):
            raise MailboxFull(f"{self} has {len(self.mailbox)} messages waiting")

    def accept_quietly(self, message: Any) -> bool:
        system = self._actor_system
        if system.is_foreign_thread():
            system.from_thread(self.accept_quietly, message)
            return True
        if self._actor_state == "dead":
            system.dead_letter(self.ref, message)
            return False
        if self.mailbox.put(message) or self._actor_overflowed(message):
            if not self._actor_scheduled:
                system.schedule(self)
            return True
        system.dead_letter(self.ref, message)
        return False

    def _actor_overflowed(self, message: Any) -> bool:
        """Apply the policy of a full mailbox; True if the sender need not care."""
        match self.overflow:
            case Overflow.REFUSE:
                return False
            case Overflow.DROP_NEWEST:
                self._actor_system.dead_letter(self.ref, message)
            case Overflow.DROP_OLDEST:
                assert self.mailbox.traffic is not None
                self._actor_system.dead_letter(self.ref, self.mailbox.traffic.popleft())
                self.mailbox.put(message)
            case Overflow.STOP_RECEIVER:
                self.signal(Custom("mailbox_overflow"), None)
        return True

    def accept_control(self, item: Any) -> None:
        if self._actor_state != "dead":
            self.mailbox.put_control(item)
            self._actor_system.schedule(self)

    def signal(self, reason: ExitReason | Kill, sender: Ref | None) -> None:
        """An exit signal arrives (OTP's table X1 to X9)."""
        if self._actor_system.is_foreign_thread():
            self._actor_system.from_thread(self.signal, reason, sender)
        elif self.is_dead:
            return
        elif isinstance(reason, Kill):
            self._actor_end_now(KILLED)
        elif self.trap_exit:
            if sender is not None and sender is self._actor_supervisor:
                self.accept_control(StopRequest(reason))
            else:
                self.accept_control(Exit(sender, reason))
        elif not isinstance(reason, Normal) or sender is None or sender is self.ref:
            self._actor_end_now(reason)

    def _actor_end_now(self, reason: ExitReason) -> None:
        """End without hooks; after the current handler if that is running."""
        if self._actor_system.running is self:
            self._actor_own["killed"] = reason
        else:
            self._actor_terminate(reason)

    @property
    def _actor_supervisor(self) -> Ref | None:
        found: Ref | None = self._actor_own.get("supervisor")
        return found

    def add_exit_callback(self, callback: Callable[[Ref, ExitReason], None]) -> Callable[[], None]:
        if self.exit_reason is not None:
            callback(self.ref, self.exit_reason)
            return lambda: None
        callbacks = self._actor_own.setdefault("on_exit", [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def is_own_task(self) -> bool:
        """Whether the running task is this (async) actor's own."""
        task = self._actor_own.get("task")
        return task is not None and task is _current_task()

    def runtime_statistics(self) -> ActorStatistics:
        age_s = trio.current_time() - self._actor_started_s
        return ActorStatistics(len(self.mailbox), self._actor_handled, age_s, self._actor_state)

    # ------------------------------------------------------------------ turns

    def turn(self) -> int:
        """Handle some messages; how many. Called by the dispatcher, never by anybody else."""
        self._actor_scheduled = False
        state = self._actor_state
        if state == "starting":
            self._actor_state = "initialising"
            self._actor_begin()
            return 1
        if state in ("dead", "stopping"):
            return 0
        if self._actor_is_async and state == "running":
            return self._actor_wake()
        handled = 0
        mailbox = self.mailbox
        while handled < TURN_MESSAGES_MAX:
            if self._actor_stopping is not None:
                self._actor_finish(self._actor_stopping)
                return handled
            if mailbox.control is not None:
                self._actor_handle_control(mailbox.next_control())
            elif state == "running" and mailbox.traffic is not None:
                message = mailbox.traffic.popleft()
                if not mailbox.traffic:
                    mailbox.traffic = None
                self._actor_handle(message)
            else:
                return handled
            handled += 1
            if self._actor_state == "dead":
                return handled
        self._actor_system.schedule(self)
        return handled

    def _actor_wake(self) -> int:
        waiting: trio.Event | None = self._actor_own.get("wake")
        if waiting is not None:
            waiting.set()
        return 1

    def _actor_begin(self) -> None:
        try:
            result = self.on_start()
        except Ignore:
            self._actor_own["ignored"] = True
            self._actor_terminate(NORMAL)
        except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
            self._actor_fail(error)
        else:
            if isinstance(result, CoroutineType):
                self._actor_spawn_hook(result, self._actor_begun)
            else:
                self._actor_begun(Value(None))

    def _actor_begun(self, result: Outcome[Any]) -> None:
        if self.is_dead:
            return
        match result:
            case Error(Ignore()):
                self._actor_own["ignored"] = True
                self._actor_terminate(NORMAL)
            case Error(error):
                self._actor_fail(error)
            case _:
                if "killed" in self._actor_own:
                    self._actor_terminate(self._actor_own["killed"])
                    return
                self._actor_state = "running"
                if self._actor_is_async:
                    self._actor_system.nursery.start_soon(self._actor_async_loop)
                self._actor_system.ready(self)
                self._actor_system.schedule(self)

    def _actor_handle_control(self, item: Any) -> None:
        match item:
            case Done(callback, result):
                self._actor_run(callback, result)
            case StopRequest(reason):
                self.stop(reason)
            case _:
                self._actor_handle(item)

    def _actor_handle(self, message: Any) -> None:
        """One message, in full: the handler, its answer, or the crash."""
        self._actor_handled += 1
        system = self._actor_system
        future: Future[Any] | None = None
        if type(message) is Ask:
            future, message = message.future, message.message
            self._actor_current = future
        system.running = self
        try:
            if type(message) in _PYKKA:
                result = self._actor_handle_pykka(message)
            else:
                result = self.on_receive(message)
        except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
            system.running = None
            self._actor_handler_failed(error, future)
            return
        system.running = None
        if future is not None and self._actor_current is future:
            self._actor_current = None
            if not future.resolve(result, None):
                system.late_replies += 1
        if "killed" in self._actor_own:
            self._actor_terminate(self._actor_own["killed"])

    def _actor_handle_pykka(self, message: Any) -> Any:
        match message:
            case pykka_messages.ProxyCall():
                return get_attr_directly(self, message.attr_path)(*message.args, **message.kwargs)
            case pykka_messages.ProxyGetAttr():
                return get_attr_directly(self, message.attr_path)
            case pykka_messages.ProxySetAttr():
                parent = get_attr_directly(self, message.attr_path[:-1])
                return setattr(parent, message.attr_path[-1], message.value)
            case _:
                return self.stop()

    def _actor_run(self, callback: Callable[[Any], None], argument: Any) -> None:
        self._actor_system.running = self
        try:
            callback(argument)
        except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
            self._actor_system.running = None
            self._actor_fail(error)
            return
        self._actor_system.running = None
        if "killed" in self._actor_own:
            self._actor_terminate(self._actor_own["killed"])

    def _actor_handler_failed(self, error: BaseException, future: Future[Any] | None) -> None:
        if future is not None and self._actor_current is future and not self.crash_on_ask_error:
            self._actor_current = None
            future.resolve(None, error)
        else:
            self._actor_fail(error)

    # ------------------------------------------------------------------ async actors

    async def _actor_async_loop(self) -> None:
        scope = trio.CancelScope()
        self._actor_own["scope"] = scope
        self._actor_own["task"] = trio.lowlevel.current_task()
        with scope:
            while not self.is_dead:
                if self._actor_stopping is not None:
                    self._actor_finish(self._actor_stopping)
                    return
                if self.mailbox.control is not None:
                    await self._actor_handle_control_async(self.mailbox.next_control())
                elif self.mailbox.traffic is not None:
                    message = self.mailbox.traffic.popleft()
                    if not self.mailbox.traffic:
                        self.mailbox.traffic = None
                    await self._actor_handle_async(message)
                else:
                    self._actor_own["wake"] = trio.Event()
                    await self._actor_own["wake"].wait()

    async def _actor_handle_control_async(self, item: Any) -> None:
        if isinstance(item, (Done, StopRequest)):
            self._actor_handle_control(item)
        else:
            await self._actor_handle_async(item)

    async def _actor_handle_async(self, message: Any) -> None:
        self._actor_handled += 1
        future: Future[Any] | None = None
        if type(message) is Ask:
            future, message = message.future, message.message
        self._actor_current = future
        try:
            if type(message) in _PYKKA:
                result = self._actor_handle_pykka(message)
            else:
                result = self.on_receive(message)
            if isinstance(result, CoroutineType):
                result = await result
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001  (every failure is this actor's own end)
            self._actor_handler_failed(error, future)
            return
        if future is not None and self._actor_current is future:
            self._actor_current = None
            if not future.resolve(result, None):
                self._actor_system.late_replies += 1

    # ------------------------------------------------------------------ the end

    def _actor_fail(self, error: BaseException) -> None:
        """A hook or handler raised: `on_failure`, then the end."""
        if isinstance(error, trio.Cancelled):
            error = RuntimeError("a handler let a cancellation of its own escape")
        reason = crash(error)
        self._actor_system.log_crash(self, error)
        self._actor_last(reason, lambda: self.on_failure(type(error), error, error.__traceback__))

    def _actor_finish(self, reason: ExitReason) -> None:
        """An intended end: `on_stop`, then the end."""
        self._actor_last(reason, self.on_stop)

    def _actor_last(self, reason: ExitReason, hook: Callable[[], Any]) -> None:
        self._actor_state = "stopping"
        self._actor_system.running = self
        try:
            result = hook()
        except BaseException as error:  # noqa: BLE001  (the end comes all the same)
            self._actor_system.log_crash(self, error)
            reason, result = crash(error), None
        finally:
            self._actor_system.running = None
        if isinstance(result, CoroutineType):

            def done(outcome: Outcome[Any]) -> None:
                if isinstance(outcome, Error):
                    self._actor_system.log_crash(self, outcome.error)
                    self._actor_terminate(crash(outcome.error))
                else:
                    self._actor_terminate(reason)

            self._actor_spawn_hook(result, done)
        else:
            self._actor_terminate(reason)

    def _actor_spawn_hook(
        self, hook: CoroutineType[Any, Any, Any], done: Callable[[Outcome[Any]], None]
    ) -> None:
        """Run an async hook in a task that ends with the actor."""

        async def run() -> None:
            result: Outcome[Any] | None = None
            scope = self._actor_own["hook"] = trio.CancelScope()
            if self._actor_state == "stopping":
                scope.deadline = trio.current_time() + STOP_DEADLINE_S
            with scope:
                try:
                    result = Value(await hook)
                except trio.Cancelled:
                    raise
                except BaseException as error:  # noqa: BLE001  (handed on)
                    result = Error(error)
            if not self.is_dead:
                done(result or Error(TimeoutError("the hook did not end in time")))

        self._actor_system.nursery.start_soon(run)

    def _actor_terminate(self, reason: ExitReason) -> None:
        """The end, exactly once, in the order the module gives."""
        if self._actor_state == "dead":
            return
        self._actor_state = "dead"
        self.exit_reason = reason
        system = self._actor_system
        own, self._actor_own = self._actor_own, {}
        system.release(self, forget=isinstance(reason, Normal | Shutdown) is not False)
        for task in own.get("tasks", ()):
            task.cancel()
        for scope in (own.get("scope"), own.get("hook")):
            if scope is not None:
                scope.cancel()
        error = CallError(reason)
        if self._actor_current is not None:
            self._actor_current.resolve(None, error)
            self._actor_current = None
        for message in self.mailbox.drain():
            if type(message) is Ask:
                is_stop = isinstance(message.message, pykka_messages._ActorStop)
                dead = pykka.ActorDeadError(f"{self.ref} stopped before handling the message")
                message.future.resolve(None, None if is_stop else _dead(dead, error, self))
            else:
                system.dead_letter(self.ref, message)
        system.exited(self, reason, ignored="ignored" in own)
        for callback in own.get("on_exit", ()):
            system.contain(callback, self.ref, reason)

    # ------------------------------------------------------------------ hooks, typed for subclasses

    def on_start(self) -> Any:
        """Before the first message. Raise to fail the start, `Ignore` to not be needed."""

    def on_receive(self, message: Any) -> Any:
        """One message. What it returns answers an ask."""
        return super().on_receive(message)

    def on_stop(self) -> Any:
        """At an intended end. Names are still bound."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """After a crash. The reason is fixed; this is for cleaning up."""


def _dead(dead: Exception, error: CallError, actor: Actor) -> Exception:
    """Waiting asks fail with the exit reason; by pykka's rule with `ActorDeadError`."""
    return error if actor.crash_on_ask_error else dead


def _current_task() -> object:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None
