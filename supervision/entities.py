"""Actors addressed by kind and id: started by the first message, ended when idle, and no message
lost between (Akka's sharding and passivation, on one node).

**Problem.** An actor for each conversation is affordable only if most of them are not there. But an
actor that just ends takes along what was sent to it meanwhile, and its sender never knows.

**Rule.** Ending takes two steps. An entity that asks to be passivated, has been idle, or must make
room, gets its request to stop *behind* the messages in its mailbox; from then on its region keeps
what is sent to it. When it has ended, and something waits, the next incarnation is started and
gets all of it, in order, once it is *ready*: a start that fails loses nothing either.

**Who does what.** A dynamic supervisor starts the entities and restarts those that crash. The
region, an actor beside it, watches each incarnation from its beginning. What waits is kept in the
`Entities` object, outside both, because it must outlive them; a message to an entity that is here
goes straight to its mailbox.

**What can be lost.** As with any actor: what is in the mailbox of one that crashes or is killed, or
stops itself instead of asking (`EntityRef.passivate`). What waits is kept across crashes of the
entity, of its supervisor and of the region, and while the entity is retired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from actors.runtime import (
    KILL,
    NOPROC,
    Actor,
    ActorDied,
    Down,
    ExitReason,
    MailboxFull,
    NameUp,
    Ref,
    current_system,
    is_abnormal,
)
from actors.runtime.cell import RUNNING
from actors.runtime.exits import directive_of
from actors.runtime.futures import Reply
from actors.runtime.mailbox import Ask
from actors.runtime.ref import CALL_DEADLINE_S
from supervision.dynamic import DynamicSupervisor
from supervision.events import Passivated, Passivation
from supervision.population import DynamicChild
from supervision.residents import Resident, Residents
from supervision.spawner import OWED_MAX, SpawnerHandle
from supervision.spec import ChildSpec, InvalidSpec, Problem, Restart, SupervisorSpec
from supervision.strategy import is_restarted
from supervision.supervisor import Supervisor

IDLE_S = 120.0
"""Akka's default: long enough for a conversation's next message, short enough that most of those
begun in an hour are not there."""

LEAVE_S = 60.0
"""An entity that was asked to end and handles nothing for so long is killed: twice what its
`on_stop` may take."""

SLICE_ENTITIES = 256
"""Entities passivated for being idle before the loop gets to its sockets: a few milliseconds."""

LOOKS_PER_IDLE_TIME = 4
"""Looks at idle entities in their idle time: passivated a quarter of it late, at most."""

SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class EntityRef:
    """The address of one entity, whether or not it is up. Cheap to make, valid as long as its
    `entities`, equal to others of the same one. For code in the loop's thread."""

    entities: Entities = field(repr=False)
    name: str

    def cast(self, message: Any) -> bool:
        """Send, starting the entity if need be; from one sender in order, at most once. False if
        too much waits (`mailbox_max` and `overflow` of its class hold for what waits, too)."""
        ref = self.entities.reach(self.name)
        return self.entities.keep(self.name, message) if ref is None else ref.cast(message)

    async def call(self, message: Any, *, timeout_s: float = CALL_DEADLINE_S) -> Any:
        """Ask and wait for the answer, also while the entity starts, or ends and starts again.

        Raises what `Ref.call` does. Cancelled or timed out, it may still be acted upon."""
        ref = self.entities.reach(self.name)
        if ref is not None:
            return await ref.call(message, timeout_s=timeout_s)
        reply = Reply()
        self.entities.keep(self.name, Ask(message, reply))
        return await reply.wait(current_system().deadlines, timeout_s)

    def passivate(self) -> None:
        """Have the entity end behind the messages it has, and start again when more come. For
        itself to ask, or for anybody. Nothing happens to one that is not here, or whose mailbox
        is full."""
        self.entities.passivate(self.name)


class Entities:
    """The entities of one region: what is sent through it, and its part of the tree.

    `kinds` make the spec of an entity from its id. Its name is `kind:id` and it is transient,
    whatever the spec says: it ends when idle and comes back when it crashed. At most `live_max` are
    up at a time: for one more, the one least recently sent to is passivated, as is one that nothing
    was sent to for `idle_s`. Only messages through the region count. An entity that needs to finish
    something overrides `stop`, or does it in `on_stop`. `options` are `DynamicSupervisor`'s.

    Belongs to one tree of one system, in which no others have these kinds. Raises `InvalidSpec`.
    """

    def __init__(
        self,
        name: str,
        kinds: Mapping[str, Callable[[str], ChildSpec]],
        *,
        live_max: float = math.inf,
        idle_s: float = IDLE_S,
        leave_s: float = LEAVE_S,
        **options: Any,
    ) -> None:
        problems = [
            Problem(f"{name}.{kind}", f"a kind is no empty text and has no {SEPARATOR!r}")
            for kind in kinds
            if not kind or SEPARATOR in kind
        ]
        limits = {"live_max": live_max, "idle_s": idle_s, "leave_s": leave_s}
        for limit, value in limits.items():
            if not value > 0:
                problems.append(Problem(f"{name}.{limit}", f"{value!r} is not above zero"))
        if problems:
            raise InvalidSpec(problems)
        self.name = name
        self.spawner_name = f"{name}.spawner"
        self.look_s = min(idle_s, leave_s) / LOOKS_PER_IDLE_TIME
        self.residents = Residents(live_max, idle_s, leave_s)
        self._kinds = dict(kinds)
        self._options = {"max_children": live_max} | options
        self._region: Region | None = None
        self._refused = 0

    def entity(self, kind: str, id_: str) -> EntityRef:
        """The entity of this kind and id. Raises `ValueError` for a kind that is none."""
        if kind not in self._kinds:
            raise ValueError(f"kind: {kind!r} is none of {self.name}: {', '.join(self._kinds)}")
        return EntityRef(self, f"{kind}{SEPARATOR}{id_}")

    def child_spec(self, id_: str | None = None, **options: Any) -> ChildSpec:
        """The region and the supervisor of its entities, for a tree. The two live through each
        other's crashes. `options` are those of a `ChildSpec`."""
        spawner = ChildSpec(
            "spawner", EntitySupervisor, (self, self._spec), self._options,
            name=self.spawner_name, kind="supervisor",
        )  # fmt: skip
        region = ChildSpec("region", Region, (self,), name=self.name)
        own = SupervisorSpec(children=(spawner, region))
        return ChildSpec(id_ or self.name, Supervisor, (own,), kind="supervisor", **options)

    def _spec(self, name: str) -> ChildSpec:
        kind, _, id_ = name.partition(SEPARATOR)
        spec = self._kinds[kind](id_)
        return replace(spec, id=name, name=name, restart=Restart.TRANSIENT)

    # ------------------------------------------------------------------ for refs and the region

    def attach(self, region: Region) -> None:
        """This is the region's incarnation from now on."""
        self._region = region

    def spawned(self, name: str, ref: Ref) -> None:
        """The supervisor has made this incarnation, asked for by the region or by itself."""
        resident = self.residents.get(name) or self.residents.wanted(name, ref.actor_class)
        if resident.name not in self.residents.coming:
            self.residents.ended(resident)  # for this name was free
        resident.ref = ref
        if self._region is not None and not self._region.is_dead:
            self._region.watch(resident, ref)

    def reach(self, name: str) -> Ref | None:
        """The entity, if it is here: a message is about to go to it."""
        resident = self.residents.here.get(name)
        if resident is None or resident.ref is None or not takes_messages(resident.ref):
            return None
        self.residents.used(resident, trio.current_time())
        return resident.ref

    def keep(self, name: str, message: Any) -> bool:
        """Keep a message for an entity that is not here; it is coming, if it was not."""
        resident = self.residents.get(name)
        is_new = resident is None
        if resident is None:
            if len(self.residents.coming) >= OWED_MAX:
                self.reject((message,), MailboxFull(f"{OWED_MAX} entities are waited for already"))
                return False
            resident = self.residents.wanted(name, self._spec(name).actor)
        is_kept, rejected = resident.wait(message)
        if rejected is not None:
            count = len(resident.waiting)
            self.reject((rejected,), MailboxFull(f"{count} messages wait for {name}"))
        if is_new and self._region is not None and not self._region.is_dead:
            self._region.want(resident)
        return is_kept

    def reject(self, messages: Iterable[Any], error: Exception) -> None:
        """These will not be handled: tell those who asked."""
        for message in messages:
            self._refused += 1
            if isinstance(message, Ask):
                message.answer.resolve(None, error)

    def passivate(self, name: str, why: Passivation = Passivation.ASKED) -> None:
        resident = self.residents.here.get(name)
        ref = None if resident is None else resident.ref
        if resident is None or ref is None or not takes_messages(ref):
            return
        if len(ref.actor_inbox) >= ref.actor_class.mailbox_max:
            return  # the request would be refused, and it is not idle
        self.residents.left(resident, trio.current_time())
        ref.stop(block=False)
        ref._cell.system.emit(Passivated, ref, why)

    def statistics(self) -> dict[str, int]:
        """Entities `here`, `coming` and `leaving`, messages `waiting` for those, and, since the
        start, messages `refused` for want of room or of an entity that is needed."""
        return self.residents.counts() | {"refused": self._refused}


@dataclass(frozen=True, slots=True)
class _Look:
    """Time to look for those that have been idle."""


@dataclass(frozen=True, slots=True)
class _WantAgain:
    """Its name was not free yet."""

    resident: Resident


class EntitySupervisor(DynamicSupervisor):
    """Starts the entities, and tells of each incarnation before its first turn."""

    def __init__(
        self, entities: Entities, factory: Callable[[str], ChildSpec], **options: Any
    ) -> None:
        super().__init__(factory, **options)
        self._entities = entities

    def _spawn(self, name: str, spec: ChildSpec) -> DynamicChild:
        child = super()._spawn(name, spec)
        self._entities.spawned(name, child.ref)
        return child


class Region(Actor):
    """Watches the entities of `Entities` and has those started that something waits for."""

    def __init__(self, entities: Entities) -> None:
        super().__init__()
        self._entities = entities
        self._residents = entities.residents

    def on_start(self) -> None:
        """Take up what our predecessor knew. Hearing of the supervisor does the rest."""
        self._spawner = SpawnerHandle(self.system, self._entities.spawner_name)
        for resident in (*self._residents.here.values(), *self._residents.leaving.values()):
            assert resident.ref is not None, "it is there until we hear of its end"
            self.monitor(resident.ref)
        self.system.watch_name(self._entities.spawner_name, self.ref)
        self.send_every(self._entities.look_s, _Look())
        self._entities.attach(self)

    def on_receive(self, message: Any) -> None:
        match message:
            case Down(_, ref, name):
                self._down(ref, name)
            case NameUp(name, ref):
                self._up(name, ref)
            case _WantAgain(resident):
                if resident is self._residents.coming.get(resident.name):
                    self.want(resident)
            case _Look():
                self._look()
            case _:
                super().on_receive(message)

    # ------------------------------------------------------------------ coming

    def want(self, resident: Resident) -> None:
        """Have it started, now or as soon as it may, and hear when it is ready or ends before."""
        self._make_room()
        ref = self._spawner.ensure(resident.name)
        if ref is not None and ref.exit_reason is not None:
            self.ref.deliver_control(_WantAgain(resident))  # its supervisor has not heard yet
        elif ref is not None and ref is not resident.ref:
            resident.ref = ref
            self.watch(resident, ref)

    def watch(self, resident: Resident, ref: Ref) -> None:
        """Hear when this incarnation is ready, and of its end, which may be before."""
        self.monitor(ref)
        self.system.watch_name(resident.name, self.ref)

    def _make_room(self) -> None:
        for resident in self._residents.excess():
            self._entities.passivate(resident.name, Passivation.MAKES_ROOM)

    def _up(self, name: str, ref: Ref) -> None:
        """An entity is ready: it gets what waits for it, in order and before all else."""
        if name == self._entities.spawner_name:
            self._spawner_up(ref)
            return
        resident = self._residents.coming.get(name)
        if resident is None or ref is not resident.ref:
            return
        if takes_messages(ref):
            for message in self._residents.arrived(resident, ref, trio.current_time()):
                ref._cell.accept(message)
            self._make_room()

    def _spawner_up(self, ref: Ref) -> None:
        """This incarnation of the supervisor or of ours is new, and may know of nobody that is
        coming."""
        self.monitor(ref)
        for resident in list(self._residents.coming.values()):
            is_here = resident.ref is not None and resident.ref.is_alive()
            resident.ref = None
            self._want_or_forget(resident, is_wanted=is_here)

    # ------------------------------------------------------------------ leaving

    def _down(self, ref: Ref, name: str | None) -> None:
        if name == self._entities.spawner_name:
            self.system.watch_name(name, self.ref)
            return
        resident = None if name is None else self._residents.get(name)
        if resident is None or resident.ref is not ref:
            return
        was_coming = resident.name in self._residents.coming
        self._residents.ended(resident)
        is_by_itself = _is_supervised(ref)
        is_restarted = is_by_itself and _is_restarted(ref.exit_reason or NOPROC)
        if is_by_itself and was_coming and not is_restarted:
            self._forget(resident)  # it said that it is not needed; asking again would be endless
        else:
            self._want_or_forget(resident, is_wanted=is_restarted)

    def _want_or_forget(self, resident: Resident, *, is_wanted: bool = False) -> None:
        if is_wanted or resident.waiting:
            self.want(resident)
        else:
            self._forget(resident)

    def _forget(self, resident: Resident) -> None:
        self.system.unwatch_name(resident.name, self.ref)
        waited = self._residents.forgotten(resident)
        self._entities.reject(waited, ActorDied(NOPROC, f"{resident.name} is not needed"))

    def _look(self) -> None:
        now_s = trio.current_time()
        idle = self._residents.idle(now_s, SLICE_ENTITIES)
        for resident in idle:
            self._entities.passivate(resident.name, Passivation.IDLE)
        if len(idle) == SLICE_ENTITIES:
            self.ref.deliver_control(_Look())
        self._make_room()  # one whose mailbox was full may have room for the request now
        for resident in list(self._residents.leaving.values()):
            assert resident.ref is not None, "it is there until it has ended"
            handled = resident.ref.statistics().handled
            if self._residents.is_stuck(resident, handled, now_s):
                resident.ref.exit(KILL)
        for resident in list(self._residents.coming.values()):
            if resident.ref is None:  # somebody may have told its supervisor that it is not coming
                self._want_or_forget(resident)

    def statistics(self) -> dict[str, int]:
        """For the tree: see `Entities.statistics`."""
        return self._entities.statistics()


def takes_messages(ref: Ref) -> bool:
    """Whether a message would be handled, as far as can be known: the actor is ready, and nobody
    has begun to end it, itself or its supervisor."""
    cell = ref._cell
    is_up = cell.state is RUNNING and cell.ending is None
    return is_up and (cell.supervisor is None or _goes_on(cell.supervisor))


def _goes_on(supervisor: Ref) -> bool:
    return supervisor.exit_reason is None and not getattr(supervisor._actor, "is_ending", False)


def _is_restarted(reason: ExitReason) -> bool:
    """Whether its supervisor starts an entity again that ended by itself."""
    return is_restarted(
        Restart.TRANSIENT, abnormal=is_abnormal(reason), directive=directive_of(reason)
    )


def _is_supervised(ref: Ref) -> bool:
    """Whether the supervisor this actor had goes on."""
    return ref._cell.supervisor is not None and _goes_on(ref._cell.supervisor)
