"""The lives of the reference: one incarnation of a leaf, and what all incarnations have in common.

A life begins, is ready, and ends once, for a reason in words. Told to end (`hear`) it does as its
manner says. Its name is free, its supervisor is told (`down`) and its own children hear of it in
the instant of its end.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from tests.supervision.model.timeline import Script, Signal, Timeline
from tests.supervision.model.trees import (
    AnyNode,
    Branch,
    Crowd,
    Harm,
    Hurt,
    Leaf,
    Line,
    Look,
    Manner,
    OnError,
    Start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NORMAL, SHUTDOWN, KILLED = "normal", "shutdown", "killed"
CRASHED = "InjectedCrash: injected"
FAILED, UNMAKEABLE = "ValueError: told to fail", "ValueError: cannot be made"
NOT_READY = "not ready in time"
IGNORED = "ignore"


def failed_to_start(child: str, reason: str) -> str:
    """Why a supervisor could not start."""
    return f"{child} failed to start: {reason}"


def is_abnormal(reason: str) -> bool:
    """A supervisor that could not start ends with a kind of shutdown (L2), like one that was told
    to."""
    return reason not in (NORMAL, SHUTDOWN) and " failed to start: " not in reason


def directive_of(node: AnyNode, reason: str) -> OnError:
    """What its supervisor shall do about a child that ended so; a constructor is no child's code
    yet. An end cannot be resumed."""
    return node.on_error if isinstance(node, Leaf) and reason in (CRASHED, FAILED) else ""


def comes_back(node: AnyNode, reason: str, *, abnormal: bool) -> bool:
    """L11, L12: by its restart type, unless it raised what makes it stay down."""
    if directive_of(node, reason) in ("stop", "escalate"):
        return False
    return {"permanent": True, "transient": abnormal, "temporary": False}[node.restart]


def limit_of(node: AnyNode) -> float:
    return math.inf if node.shutdown_s is None else node.shutdown_s


class Phase(Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DEAD = "dead"


class World:
    """Everybody who lives, and the record of what happened."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.living: dict[str, Life] = {}
        self.incarnations: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.owed: dict[str, list[str]] = {}
        """By dynamic supervisor, what it was asked for while it was not there."""
        self.lines: list[Line] = []
        self.answers: list[tuple[int, float, str]] = []

    @property
    def now_s(self) -> float:
        return self.timeline.now_s

    def tell(self, group: str, *words: object) -> None:
        self.lines.append(Line(self.now_s, group, " ".join(map(str, words))))

    def answer(self, step: int, answer: str) -> None:
        self.answers.append((step, self.now_s, answer))

    def look(self) -> Look:
        lives = sorted(self.living.values(), key=lambda life: life.name)
        children = tuple(f"{life.name}/{told}" for life in lives for told in life.told())
        return Look(self.now_s, children, tuple(f"{life} {life.phase.value}" for life in lives))


class Life:
    """One incarnation, below `boss`."""

    traps_exits: ClassVar[bool] = True

    def __init__(self, world: World, node: AnyNode, boss: Life | None) -> None:
        self.world = world
        self.node = node
        self.name = node.id
        self.boss = boss
        self.phase = Phase.STARTING
        self.reason: str | None = None
        self.made_s = world.now_s
        self.ended_s = math.inf
        self.outcome: str | None = None
        """Why it ended before it was ready."""
        self.settled = Signal(world.timeline)
        """It is ready, or ended before."""
        self.ended = Signal(world.timeline)
        self.scripts: list[Script[Any]] = []
        """What ends with it."""
        world.incarnations[self.name] += 1
        self.incarnation = world.incarnations[self.name]
        assert self.name not in world.living, "a name belongs to one living actor"
        world.living[self.name] = self

    def __str__(self) -> str:
        return f"{self.name}#{self.incarnation}"

    @property
    def is_alive(self) -> bool:
        return self.phase is not Phase.DEAD

    @property
    def group(self) -> str:
        return "" if self.boss is None else self.boss.name

    def begin(self) -> None:
        """Do what has to be done before it is ready."""
        raise NotImplementedError

    def hear(self, reason: str) -> None:
        """Its supervisor tells it to end, or has ended itself."""
        raise NotImplementedError

    def stop(self, reason: str) -> None:
        """End in order. By itself."""
        raise NotImplementedError

    def down(self, life: Life) -> None:
        """A child has ended."""

    def request(self, step: int, what: str, child: str, leaf: Leaf | None) -> None:
        """An administrator asks."""
        raise NotImplementedError

    def told(self) -> Iterator[str]:
        """Its children as they look now."""
        return iter(())

    def ready(self) -> None:
        self.phase = Phase.RUNNING
        self.world.tell(self.group, "start", self)
        self.settled.set()

    def hurt(self, hurt: Hurt) -> None:
        """What is done to it from outside. Only a kill also meets those who start or stop."""
        if hurt.harm is Harm.KILL:
            self.end(KILLED)
        elif self.phase is not Phase.RUNNING:
            pass
        elif hurt.harm is Harm.CRASH:
            self.end(CRASHED)
        elif hurt.harm is Harm.EXIT:
            self.stop(hurt.why)

    def end(self, reason: str, *, is_ignored: bool = False) -> None:
        """The end. Whoever is linked to it hears of it."""
        if self.phase is Phase.DEAD:
            return
        if self.phase is Phase.STARTING:
            self.outcome = IGNORED if is_ignored else reason
        self.phase, self.reason, self.ended_s = Phase.DEAD, reason, self.world.now_s
        del self.world.living[self.name]
        self.world.tell(self.group, "exit", self, reason)
        for script in self.scripts:
            script.give_up()
        boss = self.boss
        if boss is not None:
            self.world.timeline.after(0.0, lambda: boss.down(self))
        for life in [life for life in self.world.living.values() if life.boss is self]:
            life.hear(reason)
        self.settled.set()
        self.ended.set()


class Worker(Life):
    """A leaf's incarnation."""

    def __init__(self, world: World, leaf: Leaf, boss: Life, start: Start) -> None:
        super().__init__(world, leaf, boss)
        self.leaf = leaf
        self.start = start
        self.is_hung = False

    def begin(self) -> None:
        if self.start is not Start.HANG:
            self.world.timeline.after(self.leaf.start_s, self._on_start_returns)

    def _on_start_returns(self) -> None:
        if self.phase is not Phase.STARTING:
            return
        match self.start:
            case Start.FAIL:
                self.end(FAILED)
            case Start.IGNORE:
                self.end(NORMAL, is_ignored=True)
            case _:
                self.ready()

    def hear(self, reason: str) -> None:
        manner, is_starting = self.leaf.manner, self.phase is Phase.STARTING
        if manner in (Manner.PLAIN, Manner.ASYNC) or (is_starting and manner is Manner.POLITE):
            self.end(reason)
        elif self.phase is Phase.RUNNING:
            self.stop(reason)

    def stop(self, reason: str) -> None:
        if self.is_hung or self.leaf.manner is Manner.DEAF:
            return
        if self.leaf.manner is not Manner.POLITE:
            self.end(reason)
            return
        self.phase = Phase.STOPPING
        self.world.timeline.after(self.leaf.stop_s, lambda: self.end(reason))

    def hurt(self, hurt: Hurt) -> None:
        if hurt.harm is Harm.HANG:
            is_met = self.phase is Phase.RUNNING and self.leaf.manner is not Manner.PLAIN
            self.is_hung = self.is_hung or is_met
        elif hurt.harm is Harm.CRASH and self.leaf.on_error == "resume":
            pass  # the message is dropped
        elif hurt.harm is Harm.KILL or not self.is_hung:
            super().hurt(hurt)


def made(world: World, node: AnyNode, boss: Life) -> Life | None:
    """A new incarnation of any node; None if its constructor raises."""
    from tests.supervision.model.crowd import DynamicSupervisor
    from tests.supervision.model.reference import Supervisor

    match node:
        case Branch():
            return Supervisor(world, node, boss)
        case Crowd():
            return DynamicSupervisor(world, node, boss)
        case Leaf():
            number = world.attempts[node.id]
            world.attempts[node.id] += 1
            start = node.starts[number] if number < len(node.starts) else Start.READY
            if start is Start.UNMAKEABLE:
                return None
            return Worker(world, node, boss, start)
