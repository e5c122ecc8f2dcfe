"""A probe: an actor that does nothing but remember, and its handle for the test.

Give `probe.ref` to the actor under test where it expects another. What arrives is kept in the
order of the probe's mailbox, which is that of any actor: exits, downs and timers go before traffic.
Expecting moves along that order, so nothing is overlooked: `expect` wants the next arrival, `fish`
passes over what it does not want. The methods are for the test's own tasks, in the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, overload

import trio
from trio.testing import wait_all_tasks_blocked

from actors.runtime import Actor, ActorSystem, Down, Exit, ExitReason, MonitorRef, Ref, ReplySlot
from actors.testkit.expectations import ANYTHING, WITHIN_S, Wanted, shown
from actors.testkit.virtual import advance

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, and when it came in loop time; `answer` if its sender awaits one."""

    at_s: float
    message: Any
    answer: ReplySlot | None = field(default=None, repr=False)


class ProbeActor(Actor):
    """What is in the system. It never ends by itself."""

    trap_exit: ClassVar[bool] = True

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    def on_receive(self, message: Any) -> None:
        is_ask = self._actor_cell.current is not None
        answer = self.defer_reply() if is_ask else None
        self._probe._arrive(Arrival(trio.current_time(), message, answer))


class Probe:
    """A probe in a system, from now on; `ref` is its address. It ends with the system.

    Wanted is a type, a union of types, a predicate, or a value to be equal to; fields are
    attributes that are wanted in the same sense: `expect(Down, ref=worker, reason=Crash)`. Times
    are loop time. What is not as expected raises `AssertionError` with everything that did arrive.
    """

    def __init__(self, system: ActorSystem, name: str | None = None) -> None:
        """Raises `AlreadyStarted` if the name is taken."""
        self.arrivals: list[Arrival] = []
        """All of them, in order."""
        self._next = 0
        self._last: Arrival | None = None
        self._arrived = trio.Event()
        self.ref = system.spawn(ProbeActor, self, name=name)

    @property
    def messages(self) -> list[Any]:
        """Everything that has arrived, in order."""
        return [arrival.message for arrival in self.arrivals]

    def __repr__(self) -> str:
        waiting = len(self.arrivals) - self._next
        return f"<Probe {self.ref}, {len(self.arrivals)} arrived, {waiting} not expected yet>"

    # ------------------------------------------------------------------ expecting

    @overload
    async def expect(self, wanted: type[T], within_s: float = ..., **fields: Any) -> T: ...
    @overload
    async def expect(self, wanted: Any = ..., within_s: float = ..., **fields: Any) -> Any: ...
    async def expect(
        self, wanted: Any = ANYTHING, within_s: float = WITHIN_S, **fields: Any
    ) -> Any:
        """The next message, which must be a wanted one. In 0 seconds comes what needs no time."""
        want = Wanted(wanted, fields)
        arrival = await self._take(within_s)
        if arrival is None:
            raise self._failure(f"{want} within {within_s} s", "nothing more")
        if not want.accepts(arrival.message):
            raise self._failure(f"{want}", shown(arrival.message))
        return arrival.message

    @overload
    async def fish(self, wanted: type[T], within_s: float = ..., **fields: Any) -> T: ...
    @overload
    async def fish(self, wanted: Any, within_s: float = ..., **fields: Any) -> Any: ...
    async def fish(self, wanted: Any, within_s: float = WITHIN_S, **fields: Any) -> Any:
        """The next wanted message, passing over all before it."""
        want = Wanted(wanted, fields)
        until_s = trio.current_time() + within_s
        while (arrival := await self._take(until_s - trio.current_time())) is not None:
            if want.accepts(arrival.message):
                return arrival.message
        raise self._failure(f"to fish {want} within {within_s} s", "nothing more")

    async def expect_nothing(self, for_s: float = 0.0) -> None:
        """That nothing is here that was not expected, and nothing comes in so many seconds and
        while everything settles then."""
        await advance(for_s)
        if self._next < len(self.arrivals):
            self._next = len(self.arrivals)
            raise self._failure(f"nothing for {for_s} s", shown(self.arrivals[-1].message))

    async def expect_down(
        self, of: Ref | MonitorRef, reason: Any = ANYTHING, within_s: float = WITHIN_S
    ) -> ExitReason:
        """That the next message is the `Down` of this actor, or monitor, for a wanted reason; the
        reason. See `watch`."""
        whose = {"ref" if isinstance(of, Ref) else "monitor": of}
        return (await self.expect(Down, within_s, **whose, reason=reason)).reason

    async def expect_exit(
        self, of: Ref, reason: Any = ANYTHING, within_s: float = WITHIN_S
    ) -> ExitReason:
        """That the next message is an exit signal from this actor, for a wanted reason; the reason.
        See `link`."""
        return (await self.expect(Exit, within_s, ref=of, reason=reason)).reason

    # ------------------------------------------------------------------ taking part

    def reply(self, value: Any = None) -> None:
        """Answer the message that was expected or fished last."""
        self._answer().set(value)

    def reply_error(self, error: BaseException) -> None:
        """Answer it with an exception, which the asker raises."""
        self._answer().fail(error)

    def watch(self, ref: Ref) -> MonitorRef:
        """Monitor an actor: its end is a `Down` here."""
        return self.ref._cell.system.monitor(self.ref, ref)

    def link(self, ref: Ref) -> None:
        """Link the probe to an actor. It traps exits, so an end is an `Exit` here."""
        actor: Actor | None = self.ref._actor
        assert actor is not None, "the probe has ended"
        actor.link(ref)

    # ------------------------------------------------------------------ inside

    def _arrive(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()

    async def _take(self, within_s: float) -> Arrival | None:
        """The next arrival; None if there is none in time, up to what that moment brings."""
        with trio.move_on_after(max(within_s, 0.0)):
            while self._next == len(self.arrivals):
                await self._arrived.wait()
        if self._next == len(self.arrivals):
            await wait_all_tasks_blocked()
        if self._next == len(self.arrivals):
            return None
        self._last = self.arrivals[self._next]
        self._next += 1
        return self._last

    def _answer(self) -> ReplySlot:
        if self._last is None or self._last.answer is None:
            last = "nothing" if self._last is None else shown(self._last.message)
            raise self._failure("an ask to answer", last)
        return self._last.answer

    def _failure(self, wanted: str, found: str) -> AssertionError:
        lines = [f"{self.ref} expected {wanted}, and got {found}"]
        if self.ref.exit_reason is not None:
            lines.append(f"the probe itself has ended: {self.ref.exit_reason}")
        lines.append("arrived, in order:" if self.arrivals else "nothing has arrived at all")
        for index, arrival in enumerate(self.arrivals):
            mark = ">" if index == self._next - 1 else " "
            lines.append(f"{mark} {arrival.at_s:10.3f} s  {shown(arrival.message)}")
        return AssertionError("\n".join(lines))
