"""The actor: what a subclass writes, and what its code may call.

Every actor is a pykka actor: hooks, refs, proxies and futures keep pykka's meaning. Its receive
loop is not used (it would catch the loop's cancellation and stop every actor in the process);
`cell` and `turns` do its work by OTP's rules. Where the two differ OTP's holds, and a class flag
restores pykka's; `pykka_rules.PykkaActor` has them all.

**Life.** `spawn` makes the object and binds its name; its first turn runs `on_start`. From then
on it handles messages one at a time, and ends once, for one reason. A plain `on_receive` costs no
task; an `async` one has a task for as long as the actor lives.
"""

from __future__ import annotations

import inspect
import logging
import math
import uuid
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import trio
from outcome import Outcome
from pykka.messages import _ActorStop

from actors.runtime.cell import Cell
from actors.runtime.exits import NOPROC, NORMAL, ExitReason
from actors.runtime.futures import Future, ReplySlot
from actors.runtime.links import MonitorRef
from actors.runtime.mailbox import Mailbox, Overflow
from actors.runtime.named_timers import drop_named_timer, set_named_timer
from actors.runtime.ref import Ref
from actors.runtime.reports import StatusView, redacted
from actors.runtime.signals import TIMEOUT, Continue, Done, Down
from actors.runtime.stash import STASH_MAX, stash_of
from actors.runtime.tasks import TaskRef, start_owned, within
from actors.runtime.timers import TimerRef
from actors.runtime.watch import idle_after, timeout_at

if TYPE_CHECKING:
    from actors.runtime.system import ActorSystem

logger = logging.getLogger("actors")

MAILBOX_MAX = 10_000
"""Default bound of the traffic lane: far above any healthy backlog, far below memory trouble."""


class Actor(pykka.Actor):
    """Subclass it; see the module. The methods are for the actor's own code in the loop's thread;
    the runtime calls the `on_…` hooks. Called by code of an actor that is dead, they do nothing.
    Private names of the runtime begin with `_actor_`; all others are the subclass's."""

    trap_exit: ClassVar[bool] = False
    """Exit signals become `Exit` messages; one from the supervisor (or, without one, from code that
    is no actor) ends it through `on_stop`."""
    mailbox_max: ClassVar[int] = MAILBOX_MAX
    overflow: ClassVar[Overflow] = Overflow.REFUSE
    crash_on_ask_error: ClassVar[bool] = True
    """A handler that raises while answering crashes the actor (OTP). False: only the asker
    hears."""
    stash_max: ClassVar[int] = STASH_MAX
    pykka_registry: ClassVar[bool] = False
    """List the actor in pykka's global registry, whose operations take linear time."""
    pykka_names: ClassVar[bool] = False
    """In `str`, `repr` and logs it is its URN, and crashes are logged in pykka's words. Otherwise
    it is its name, or number."""
    answers_unexpected_asks: ClassVar[bool] = False
    """An ask that no `on_receive` of the class handles is logged and answered None. Otherwise it is
    a crash."""
    stop_behind_messages: ClassVar[bool] = False
    """`stop` waits for the messages already queued. Otherwise they are dropped."""
    stopped_before_hooks: ClassVar[bool] = False
    """It does not count as alive, and is in no registry of pykka's, while `on_stop` or `on_failure`
    runs. Otherwise it is alive until its end, and to supervisors, links and monitors in any
    case."""
    stop_all_on_base_exception: ClassVar[bool] = False
    """A handler that raises something that is no `Exception` stops every actor in pykka's registry,
    itself through `on_stop`. Otherwise it ends this actor like any failure."""

    _actor_is_async: ClassVar[bool] = False
    _actor_cell: Cell

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._actor_is_async = inspect.iscoroutinefunction(cls.on_receive)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # pykka's __init__ makes a UUID, a thread event and a weak reference for every actor. Ours
        # come from the cell, on demand; the system has set that before this runs.
        pass

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
        """pykka's start: in the current system, without waiting for `on_start`, from any thread.
        The constructor runs in the loop, whoever calls."""
        from actors.runtime.system import current_system

        system = current_system()
        if not system.dispatcher.is_foreign_thread():
            return system.spawn(cls, *args, **kwargs)
        return system.dispatcher.run_from_thread(partial(system.spawn, cls, *args, **kwargs))

    @property
    def actor_ref(self) -> Ref:
        return self._actor_cell.ref

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # pykka stores it, we compute it
        if hasattr(self, "_actor_cell"):
            return self._actor_cell.ref.actor_urn
        urn: str = self.__dict__.setdefault("_actor_urn", uuid.uuid4().urn)  # it is never started
        return urn

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]  # pykka stores it, we compute it
        return self._actor_cell.mailbox

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]  # pykka stores it, we compute it
        return self._actor_cell.ref.actor_stopped

    # ------------------------------------------------------------------ who am I

    @property
    def ref(self) -> Ref:
        return self._actor_cell.ref

    @property
    def name(self) -> str | None:
        return self._actor_cell.ref.name

    @property
    def incarnation(self) -> int:
        return self._actor_cell.ref.incarnation

    @property
    def system(self) -> ActorSystem:
        return self._actor_cell.system

    @property
    def is_dead(self) -> bool:
        return self._actor_cell.is_dead

    def set_label(self, label: str | None) -> None:
        """Say what this actor is doing, for people: shown in its status and crash report."""
        if not self.is_dead:
            self._actor_cell.more().label = label

    @property
    def _actor_supervisor(self) -> Ref | None:
        return self._actor_cell.supervisor

    def __str__(self) -> str:
        if hasattr(self, "_actor_cell"):
            return str(self._actor_cell.ref)
        return f"{type(self).__name__} ({self.actor_urn})"

    def __repr__(self) -> str:
        return (
            repr(self._actor_cell)
            if hasattr(self, "_actor_cell")
            else f"<{type(self).__name__} unstarted>"
        )

    # ------------------------------------------------------------------ links and monitors

    def link(self, ref: Ref) -> None:
        """Tie this actor's end to another's. Linking to the dead is a signal `NOPROC` at once."""
        cell = self._actor_cell
        if cell.is_dead or ref is cell.ref:
            return
        if ref.exit_reason is None:
            cell.system.links.link(cell.ref.id, ref.id)
        else:
            cell.signal(NOPROC, ref)

    def unlink(self, ref: Ref) -> None:
        """Undo it; afterwards no exit signal of that link arrives."""
        self._actor_cell.system.unlink(self._actor_cell, ref)

    def monitor(self, ref: Ref) -> MonitorRef:
        """Hear `Down` once when `ref` ends; at once, with `NOPROC`, if it is dead. Monitors
        stack."""
        return self._actor_cell.system.monitor(self._actor_cell.ref, ref)

    def demonitor(self, monitor: MonitorRef) -> None:
        """Hear nothing of it any more, even if it was on its way. Unknown ones are ignored."""
        assert monitor.watcher == self._actor_cell.ref.id, "a monitor is ended by its owner"
        self._actor_cell.system.links.demonitor(monitor)
        self._actor_cell.mailbox.drop_control(
            lambda item: isinstance(item, Down) and item.monitor == monitor
        )

    # ------------------------------------------------------------------ time

    def send_after(self, delay_s: float, message: Any, *, to: Ref | str | None = None) -> TimerRef:
        """Send this actor a message later, before traffic; or another, as a `cast`. The timer ends
        with this incarnation, or with that of a `Ref`; a name is looked up when it fires."""
        return self.send_at(trio.current_time() + delay_s, message, to=to)

    def send_at(self, at_s: float, message: Any, *, to: Ref | str | None = None) -> TimerRef:
        """The same at a point in loop time, at once if that has passed."""
        cell = self._actor_cell
        owner = to._cell if isinstance(to, Ref) else cell
        return cell.system.timers.set_at(at_s, owner, _delivery(cell, to), message)

    def send_every(self, period_s: float, message: Any) -> TimerRef:
        """Send it again and again. Periods missed in a stall are skipped."""
        return self._actor_cell.system.timers.send_after(
            period_s, self._actor_cell, message, period_s
        )

    def cancel_timer(self, timer: TimerRef) -> float | None:
        """The seconds that were left, or None if it had fired. What has fired may be queued."""
        return timer.cancel()

    def set_timer(self, key: Hashable, delay_s: float, message: Any) -> None:
        """Send this actor a message later, instead of what its timer of this key would have sent:
        nothing of that is heard any more, even if it has fired."""
        set_named_timer(self._actor_cell, key, delay_s, message)

    def drop_timer(self, key: Hashable) -> float | None:
        """Hear nothing of it any more; the seconds that were left, None if there was none."""
        return drop_named_timer(self._actor_cell, key)

    def timeout_after(self, delay_s: float, message: Any = TIMEOUT) -> None:
        """Send this actor a message if nothing else comes within the delay after the current one.
        Any message ends it, also one that waits already; system messages do not. Zero is before
        whatever waits (the timeout of gen_server(3)). The last call for a message counts."""
        timeout_at(self._actor_cell, trio.current_time() + delay_s, message)

    def timeout_at(self, at_s: float, message: Any = TIMEOUT) -> None:
        """The same at a point in loop time."""
        timeout_at(self._actor_cell, at_s, message)

    def idle_after(self, idle_s: float, message: Any = TIMEOUT) -> TimerRef:
        """Send this actor a message whenever it has handled nothing for so long, never early and
        at most a quarter late. It costs nothing with each message."""
        return idle_after(self._actor_cell, idle_s, message)

    # ------------------------------------------------------------------ order

    def continue_with(self, message: Any) -> None:
        """Have `on_continue` called right after the current handler or hook, before anything that
        waits. Several are called in order, also when one asks for the next."""
        self._actor_cell.accept_next(Continue(message))

    def stash(self, message: Any) -> None:
        """Put aside the message being handled, with its answer if it is an ask. Raises
        `StashFull` if there are `stash_max` already."""
        stash_of(self._actor_cell).put(self._actor_cell, message, self.stash_max)

    def unstash(self, count: int | None = None) -> int:
        """Handle what was put aside next, all or the first so many, in its original order and
        before what waits in the mailbox. How many there were."""
        return stash_of(self._actor_cell).take_back(self._actor_cell, count)

    # ------------------------------------------------------------------ answering, tasks, ending

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End after the current message, through `on_stop`; messages still waiting are dropped. An
        async `on_start` under way is cancelled, unless it is what calls.

        Whoever asks the actor to stop (its supervisor, the system, pykka's `ref.stop`) comes by
        here, so a subclass may put something in front of its end."""
        cell = self._actor_cell
        is_queued = self.stop_behind_messages and reason is NORMAL and not cell.is_dead
        if not (is_queued and cell.accept(_ActorStop())):
            cell.stop(reason)

    def defer_reply(self) -> ReplySlot:
        """Answer the current ask later; what the handler returns is then not the answer."""
        cell = self._actor_cell
        answer = cell.current
        assert answer is not None, "there is no ask to answer"
        cell.current = None
        cell.more().deferred[answer] = None
        return ReplySlot(answer, cell)

    def run_task(
        self,
        work: Callable[..., Awaitable[Any]],
        *args: Any,
        on_done: Callable[[Outcome[Any]], None],
        label: str = "",
        timeout_s: float = math.inf,
    ) -> TaskRef:
        """Run something that waits, beside this actor; `on_done` gets its outcome in a turn of this
        actor, before traffic. It is cancelled when this incarnation ends, and after `timeout_s`:
        then its outcome is `DeadlineExceeded`, and what it had done by then is unknown."""
        task = TaskRef(label)
        cell = self._actor_cell
        call = partial(work, *args) if timeout_s == math.inf else within(timeout_s, work, *args)

        def ended(result: Outcome[Any] | None) -> None:
            if result is not None and not task.is_cancelled:
                cell.accept_control(Done(task, on_done, result))

        start_owned(cell, task, call, ended, handles=False)
        return task

    # ------------------------------------------------------------------ hooks

    def on_start(self) -> Any:
        """Before the first message. Raise to fail the start, `Ignore` to not be needed."""

    def on_receive(self, message: Any) -> Any:
        """One message. What it returns answers an ask. This one logs; an ask that came here would
        get no answer that means anything, so it is a crash."""
        if self._actor_cell.current is not None and not self.answers_unexpected_asks:
            raise NotImplementedError(f"{type(self).__name__} answers no {type(message).__name__}")
        # Not pykka's own warning, which would write the message into the log.
        logger.warning("Unexpected message received by %s: %s", self, type(message).__name__)

    def on_continue(self, message: Any) -> Any:
        """What `continue_with` was called with."""
        raise NotImplementedError(f"{type(self).__name__} has no on_continue")

    def on_stop(self) -> Any:
        """At an intended end. Names are still bound."""

    def format_status(self, view: StatusView) -> StatusView:
        """What may be seen in a status and in a crash report. By default names of types."""
        return redacted(view)

    def get_state(self) -> Any:
        """What `inspection.get_state` answers: by default a copy of the attributes."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_actor_")}

    def set_state(self, state: Any) -> None:
        """Take over what `inspection.replace_state` made of that, in full or not at all."""
        self.__dict__ = {**state, "_actor_cell": self._actor_cell}

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """After a handler raised. The reason is fixed; this is for cleaning up."""


def _delivery(cell: Cell, to: Ref | str | None) -> Callable[[Any], object]:
    """How a timer's message gets there. Nobody of a name is no error: the message goes nowhere."""
    if to is None:
        return cell.accept_control
    if isinstance(to, Ref):
        return to.cast

    def send(message: Any) -> None:
        ref = cell.system.whereis(to)
        if ref is not None:
            ref.cast(message)

    return send
