"""The actor: what a subclass writes, and what its code may call.

Every actor is a pykka actor: hooks, refs, proxies and futures keep pykka's meaning. Its receive
loop is not used (it would catch the loop's cancellation and stop every actor in the process);
`cell` and `turns` do its work by OTP's rules. Where the two differ OTP's holds;
`crash_on_ask_error = False` restores pykka's for asks.

**Life.** `spawn` makes the object and binds its name; its first turn runs `on_start`. From then
on it handles messages one at a time, and ends once, for one reason. A plain `on_receive` costs no
task; an `async` one has a task for as long as the actor lives.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from outcome import Outcome

from actors.runtime.cell import Cell
from actors.runtime.exits import NOPROC, NORMAL, ExitReason
from actors.runtime.futures import Future, ReplySlot
from actors.runtime.links import MonitorRef
from actors.runtime.mailbox import Mailbox, Overflow
from actors.runtime.ref import Ref
from actors.runtime.signals import Done, Down
from actors.runtime.tasks import TaskRef, start_owned, within
from actors.runtime.timers import TimerRef

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
    pykka_registry: ClassVar[bool] = False
    """List the actor in pykka's global registry, whose operations take linear time."""

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
        """pykka's start: in the current system, without waiting for `on_start`."""
        from actors.runtime.system import current_system

        return current_system().spawn(cls, *args, **kwargs)

    @property
    def actor_ref(self) -> Ref:
        return self._actor_cell.ref

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # pykka stores it, we compute it
        return self._actor_cell.ref.actor_urn

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

    @property
    def _actor_supervisor(self) -> Ref | None:
        return self._actor_cell.supervisor

    def __str__(self) -> str:
        return str(self._actor_cell.ref) if hasattr(self, "_actor_cell") else type(self).__name__

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
        if ref.is_alive():
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

    def send_after(self, delay_s: float, message: Any) -> TimerRef:
        """Send this actor a message later, before traffic. The timer ends with this incarnation."""
        return self._actor_cell.system.timers.send_after(delay_s, self._actor_cell, message)

    def send_every(self, period_s: float, message: Any) -> TimerRef:
        """Send it again and again. Periods missed in a stall are skipped."""
        return self._actor_cell.system.timers.send_after(
            period_s, self._actor_cell, message, period_s
        )

    def cancel_timer(self, timer: TimerRef) -> float | None:
        """The seconds that were left, or None if it had fired. What has fired may be queued."""
        return timer.cancel()

    # ------------------------------------------------------------------ answering, tasks, ending

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End after the current message, through `on_stop`; messages still waiting are dropped. An
        async `on_start` under way is cancelled, unless it is what calls.

        Whoever asks the actor to stop (its supervisor, the system, pykka's `ref.stop`) comes by
        here, so a subclass may put something in front of its end."""
        self._actor_cell.stop(reason)

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
        """One message. What it returns answers an ask."""
        # Not pykka's own warning, which would write the message into the log.
        logger.warning("%s got an unexpected %s", self, type(message).__name__)

    def on_stop(self) -> Any:
        """At an intended end. Names are still bound."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """After a handler raised. The reason is fixed; this is for cleaning up."""
