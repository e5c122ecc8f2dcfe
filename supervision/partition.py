"""N copies of one child, and for each key the copy that belongs to it.

Elixir's `PartitionSupervisor`. A partition fails, restarts and fills its mailbox by itself, so what
hits one key's partition leaves the others alone, and each queue is as short as its share. All of
them are in one loop: no more is done at the same time than by a single actor.

**Copies** are children `0` to `N-1`, named `NAME:0`, `NAME:1`, …, all made from one spec; what they
need to differ in comes from `with_arguments`. Nothing can be added or taken away: the number of
partitions is part of where a key belongs, and to change it is to start anew. (Elixir can stop the
last ones for a while; here they would only move their keys to others in the same loop.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import trio

from actors.runtime import NOPROC, ActorDied, ActorSystem, Ref
from actors.runtime.ref import CALL_DEADLINE_S
from supervision.admin import DeleteChild, GivenSpec, Refusal, StartChild, UpdateSpec
from supervision.reading import read_child
from supervision.routing import Key, partition_of
from supervision.spec import ChildSpec, InvalidSpec, Problem, Strategy, SupervisorSpec
from supervision.supervisor import Supervisor

WithArguments = Callable[[tuple[Any, ...], int], tuple[Any, ...]]
"""The arguments of one copy, from those of the spec and its index."""


class PartitionSupervisor(Supervisor):
    """The supervisor of so many copies of a child. It must have a name. Raises `InvalidSpec`, and
    what `with_arguments` does."""

    def __init__(
        self,
        child: GivenSpec,
        partitions: int,
        *,
        with_arguments: WithArguments | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 3,
        period_s: float = 5.0,
    ) -> None:
        spec = read_child(child)
        problems = list(_problems(self.name, spec, partitions, with_arguments))
        if problems:
            raise InvalidSpec(problems)
        copies = []
        for index in range(partitions):
            args = spec.args if with_arguments is None else with_arguments(spec.args, index)
            copies.append(replace(spec, id=str(index), name=f"{self.name}:{index}", args=args))
        super().__init__(SupervisorSpec(strategy, intensity, period_s, children=tuple(copies)))
        self.partitions = partitions

    def on_receive(self, message: Any) -> Any:
        match message:
            case StartChild() | DeleteChild() | UpdateSpec():
                return Refusal.UNKNOWN
            case _:
                return super().on_receive(message)


def _problems(
    name: str | None, child: ChildSpec, partitions: object, with_arguments: object
) -> Iterator[Problem]:
    if name is None:
        yield Problem("supervisor.name", "a partition supervisor is found by its name")
    if child.name is not None:
        yield Problem(f"supervisor.{child.id}.name", "each copy has a name of its own")
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        yield Problem("supervisor.partitions", f"{partitions!r} is not a positive count")
    if with_arguments is not None and not callable(with_arguments):
        yield Problem("supervisor.with_arguments", f"{with_arguments!r} is no function")


class Partitions:
    """The partitions under the `PartitionSupervisor` of this name. Cheap to make, valid for as long
    as the system.

    Where a key belongs is `routing.partition_of`. An actor that finds nobody there may watch the
    name (`ActorSystem.watch_name`): the partition comes back by itself.
    """

    __slots__ = ("_supervisor", "_system")

    def __init__(self, system: ActorSystem, supervisor: str) -> None:
        self._system = system
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return f"<Partitions {self._supervisor}>"

    @property
    def count(self) -> int:
        """How many there are, running or not; 0 while their supervisor is not there."""
        actor = self._actor()
        return 0 if actor is None else actor.partitions

    def names(self) -> list[str]:
        """Of all partitions, by index."""
        return [f"{self._supervisor}:{index}" for index in range(self.count)]

    def refs(self) -> list[Ref | None]:
        """All partitions, by index; None for one that is not there now."""
        return [self._system.whereis(name) for name in self.names()]

    def name_for(self, key: Key) -> str:
        """The name of the partition of this key. Raises `ActorDied` while their supervisor is not
        there."""
        partitions = self.count
        if not partitions:
            raise ActorDied(NOPROC, f"there is no partition supervisor {self._supervisor}")
        return f"{self._supervisor}:{partition_of(key, partitions)}"

    def ref_for(self, key: Key) -> Ref | None:
        """The partition of this key; None while it is not there."""
        return self._system.whereis(self.name_for(key)) if self.count else None

    def cast(self, key: Key, message: Any) -> bool:
        """Send to the partition of this key; False if it is not there or refuses."""
        ref = self.ref_for(key)
        return ref is not None and ref.cast(message)

    def tell(self, key: Key, message: Any) -> None:
        """The same, but raises `ActorDied` or `MailboxFull`."""
        ref = self.ref_for(key)
        if ref is None:
            raise ActorDied(NOPROC, f"the partition is not there: {self.name_for(key)}")
        ref.tell(message)

    async def call(self, key: Key, message: Any, *, timeout_s: float = CALL_DEADLINE_S) -> Any:
        """Wait for the partition of this key, if it is not there, and ask it, in one deadline.
        Raises `DeadlineExceeded` if it does not come, otherwise what `Ref.call` raises: a partition
        that ends with the question is not asked again."""
        until_s = trio.current_time() + timeout_s
        ref = await self.wait(key, timeout_s)
        return await ref.call(message, timeout_s=_left_s(until_s))

    async def wait(self, key: Key, timeout_s: float) -> Ref:
        """The partition of this key, once it is ready. Raises `DeadlineExceeded`."""
        until_s = trio.current_time() + timeout_s
        while not self.count:
            await self._system.wait_name(self._supervisor, _left_s(until_s))
        return await self._system.wait_name(self.name_for(key), _left_s(until_s))

    def _actor(self) -> PartitionSupervisor | None:
        ref = self._system.whereis(self._supervisor)
        actor = None if ref is None else ref._actor
        if not isinstance(actor, PartitionSupervisor | None):
            raise TypeError(f"supervisor: {self._supervisor} is a {type(actor).__name__}")
        return actor


def _left_s(until_s: float) -> float:
    return max(0.0, until_s - trio.current_time())
