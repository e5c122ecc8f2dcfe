"""Children for the stories: their lives are written down, their starts and ends are told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

import trio

from actors.runtime import (
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorSystem,
    ExitReason,
    Ref,
    StartFailed,
    describe,
)
from actors.runtime.tracing import Event, Exited
from actors.testkit import IGNORES, Life, Script, Scripted, record_events, settle
from supervision import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
)

SOON = Backoff(min_s=0.01, max_s=0.01, jitter=0.0)
"""Every restart comes after 10 ms, so that stories can count."""


@dataclass
class World:
    """What happened, in order, and what shall: `scripts[name]` is how the next starts go."""

    log: list[str] = field(default_factory=list)
    scripts: dict[str, Script] = field(default_factory=lambda: defaultdict(Script))

    def take(self) -> list[str]:
        """The log since the last time."""
        log, self.log = self.log, []
        return log

    def fail_next(self, name: str, times: int = 1, *, after_s: float = 0.0) -> None:
        """The next starts of this child fail."""
        fails = Life(start_s=after_s, raises=ValueError("told to fail"))
        self.scripts[name].plan(*[fails] * times)

    def ignore_next(self, name: str) -> None:
        self.scripts[name].plan(IGNORES)

    def refuse_next(self, name: str, reason: ExitReason) -> None:
        """The next start of this child ends with a reason of its own."""
        self.scripts[name].plan(Life(raises=StartFailed(reason)))

    def hold_next(self, name: str) -> trio.Event:
        """The next start of this child waits for this event."""
        opened = trio.Event()
        self.scripts[name].plan(Life(opened=opened))
        return opened


class Worker(Scripted):
    """Logs its life, which is its script's. Obeys messages as scripted children do, and these:
    `"crash"`, and `"unlink"` from its supervisor."""

    def __init__(self, world: World, label: str) -> None:
        super().__init__(world.scripts[label])
        self.world = world
        self.label = label

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await super().on_start()
        self.world.log.append(f"+{self.label}")

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("told to crash")
        if message == "unlink":
            above = self._actor_supervisor
            assert above is not None
            self.unlink(above)
        return super().on_receive(message)


class Polite(Worker):
    """Traps exits: ends through `on_stop`, which takes its time."""

    trap_exit = True
    stop_s: ClassVar[float] = 0.0

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await trio.sleep(self.stop_s)
        self.world.log.append(f"bye {self.label}")


class Slow(Polite):
    """Needs three seconds to stop."""

    stop_s = 3.0


class Willful(Worker):
    """Told to end, it does so with a reason of its own."""

    trap_exit = True

    def __init__(self, world: World, label: str, reason: ExitReason) -> None:
        super().__init__(world, label)
        self.reason = reason

    def stop(self, reason: ExitReason = NORMAL) -> None:
        super().stop(reason if reason != SHUTDOWN else self.reason)


class Telling(Worker):
    """Has something to say when it is ready: which of its lives this is."""

    start_info = ""

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await super().on_start()
        self.start_info = f"{self.label} {self.incarnation}"


class Deaf(Worker):
    """Traps exits and does not care."""

    trap_exit = True

    def stop(self, reason: ExitReason = NORMAL) -> None:
        self.world.log.append(f"{self.label} does not listen")


class Shielded(Worker):
    """Told `"hold"`, it runs code for a minute that no cancellation reaches."""

    async def on_receive(self, message: Any) -> Any:
        if message == "hold":
            with trio.CancelScope(shield=True):
                await trio.sleep(60.0)


class Broken(Worker):
    """Cannot even be made."""

    def __init__(self, world: World, label: str) -> None:
        super().__init__(world, label)
        raise ValueError("cannot be made")


@dataclass
class Stage:
    """One system with a world, and the ends of its actors in the log."""

    system: ActorSystem
    world: World

    def __post_init__(self) -> None:
        self.events = record_events(self.system)
        self.system.events.subscribe(self._event)

    def _event(self, event: Event) -> None:
        if isinstance(event, Exited) and event.name is not None:
            self.world.log.append(f"-{event.name} {describe(event.reason).split(':')[0]}")

    def ref(self, name: str) -> Ref:
        found = self.system.whereis(name)
        assert found is not None, f"{name} is not there"
        return found

    def spec(self, id_: str, actor: type[Actor] = Worker, **given: Any) -> ChildSpec:
        options: dict[str, Any] = {"backoff": SOON, "name": id_} | given
        return ChildSpec(id_, actor, (self.world, id_), **options)

    async def supervise(
        self, *children: ChildSpec | str, strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 3, period_s: float = 5.0, **options: Any,
    ) -> Ref:  # fmt: skip
        """A running supervisor of these."""
        specs = tuple(self.spec(c) if isinstance(c, str) else c for c in children)
        spec = SupervisorSpec(strategy, intensity, period_s, children=specs, **options)
        ref = await self.system.start(Supervisor, spec, name="sup")
        assert ref is not None
        return ref

    def nest(self, id_: str, *children: ChildSpec, **given: Any) -> ChildSpec:
        """The spec of a supervisor below another."""
        options: dict[str, Any] = {"name": id_, "backoff": SOON, "kind": "supervisor"} | given
        own = ("strategy", "intensity", "period_s", "auto_shutdown")
        limits = {key: options.pop(key) for key in own if key in options}
        spec = SupervisorSpec(children=children, **limits)
        return ChildSpec(id_, Supervisor, (spec,), **options)

    async def crash(self, name: str) -> None:
        """Make a child crash, and let everything settle that needs no time."""
        self.ref(name).tell("crash")
        await settle()


def ids(sup: Ref) -> list[str]:
    """The children a supervisor knows, in order."""
    actor = sup._actor
    assert isinstance(actor, Supervisor | DynamicSupervisor)
    return [info.id for info in actor.infos()]


TEMPORARY, TRANSIENT = Restart.TEMPORARY, Restart.TRANSIENT
