"""The same trees on the real supervisors: run by the laboratory, and seen as the reference sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import trio

from actors.runtime import NORMAL, SHUTDOWN, Actor, ActorSystem, Custom, ExitReason, Ignore
from supervision import (
    BRUTAL_KILL,
    AutoShutdown,
    Backoff,
    ChildSpec,
    Directive,
    DynamicSupervisor,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    admin,
)
from supervision.lab import Ask, Crash, Ensure, Entry, Exit, Fault, Hang, Kill, inject, run_scenario
from supervision.lab.eventlog import plain
from tests.supervision.model.prediction import AFTERWARDS_S
from tests.supervision.model.trees import (
    BRUTAL,
    AnyNode,
    Branch,
    Case,
    Crowd,
    Harm,
    Hurt,
    Leaf,
    Line,
    Look,
    Manner,
    Request,
    Seen,
    Start,
    Step,
)

REASONS: dict[str, ExitReason] = {"normal": NORMAL, "shutdown": SHUTDOWN, "done": Custom("done")}


@dataclass
class Script:
    """What the starts of a leaf come to, over all its lives."""

    leaf: Leaf
    attempts: int = 0

    def next(self) -> Start:
        number, self.attempts = self.attempts, self.attempts + 1
        return self.leaf.starts[number] if number < len(self.leaf.starts) else Start.READY


class Plain(Actor):
    """A leaf that is ready at once and ends at once."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.leaf = script.leaf
        self.start_outcome = script.next()
        if self.start_outcome is Start.UNMAKEABLE:
            raise ValueError("cannot be made")

    def on_start(self) -> None:
        if self.start_outcome is Start.FAIL:
            raise ValueError("told to fail")
        if self.start_outcome is Start.IGNORE:
            raise Ignore

    def on_receive(self, message: Any) -> Any:
        return message


class Async(Plain):
    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        if self.start_outcome is Start.HANG:
            await trio.sleep_forever()
        await trio.sleep(self.leaf.start_s)
        super().on_start()

    async def on_receive(self, message: Any) -> Any:
        return message


class Polite(Async):
    trap_exit: ClassVar[bool] = True

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka declares it sync
        await trio.sleep(self.leaf.stop_s)


class Deaf(Async):
    trap_exit: ClassVar[bool] = True

    def stop(self, reason: ExitReason = NORMAL) -> None:
        pass


MANNERS: dict[Manner, type[Plain]] = {
    Manner.PLAIN: Plain, Manner.ASYNC: Async, Manner.POLITE: Polite, Manner.DEAF: Deaf,
}  # fmt: skip


class Builder:
    """Specs of one run. A leaf's attempts are counted over all its specs."""

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}

    def child(self, node: AnyNode) -> ChildSpec:
        kind: dict[str, Any] = {"kind": "supervisor"}
        if isinstance(node, Leaf):
            script = self._scripts.setdefault(node.id, Script(node))
            script.leaf = node
            actor: type[Actor] = MANNERS[node.manner]
            arguments: tuple[Any, ...] = (script,)
            kind = {"start_s": node.start_limit_s}
            if node.on_error:
                kind["on_error"] = {Exception: Directive(node.on_error)}
        elif isinstance(node, Branch):
            actor, arguments = Supervisor, (self.branch(node),)
        else:
            actor, arguments = DynamicSupervisor, (self._factory(node),)
            kind["kwargs"] = {
                "max_children": node.max_children, "intensity": node.intensity,
                "period_s": node.period_s, "retire_s": node.retire_s,
            }  # fmt: skip
        return ChildSpec(
            node.id, actor, arguments, name=node.id, restart=Restart(node.restart),
            shutdown_s=BRUTAL_KILL if node.shutdown_s == BRUTAL else node.shutdown_s,
            significant=node.significant, backoff=Backoff(*node.backoff_s, jitter=0.0), **kind,
        )  # fmt: skip

    def branch(self, branch: Branch) -> SupervisorSpec:
        return SupervisorSpec(
            Strategy(branch.strategy), branch.intensity, branch.period_s,
            AutoShutdown(branch.auto_shutdown), tuple(map(self.child, branch.children)),
        )  # fmt: skip

    def _factory(self, crowd: Crowd) -> Callable[[str], ChildSpec]:
        kinds = {leaf.id: leaf for leaf in crowd.kinds}
        return lambda name: self.child(kinds[name])

    def fault(self, step: Step) -> Fault:
        at_s, name = step.at_s, step.name
        if isinstance(step, Hurt):
            match step.harm:
                case Harm.KILL:
                    return Kill(at_s, name)
                case Harm.CRASH:
                    return Crash(at_s, name)
                case Harm.HANG:
                    return Hang(at_s, name)
                case Harm.EXIT:
                    return Exit(at_s, name, REASONS[step.why])
        match step:
            case Request(what="ensure", child=child):
                return Ensure(at_s, name, child)
            case Request(what="start", leaf=Leaf() as leaf):
                return Ask(at_s, name, admin.StartChild(self.child(leaf)))
            case Request(what="terminate", child=child):
                return Ask(at_s, name, admin.TerminateChild(child))
            case Request(what="restart", child=child):
                return Ask(at_s, name, admin.RestartChild(child))
            case Request(child=child):
                return Ask(at_s, name, admin.DeleteChild(child))


@dataclass
class Stage:
    """One run."""

    case: Case
    seed: int
    looks: list[Look] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)
    """By identity of a fault, the number of its step."""

    def run(self) -> Seen:
        run = run_scenario(self._play, seed=self.seed)
        until_s = self.case.end_s + AFTERWARDS_S
        parents = parents_of(self.case)
        lines, answers = [], []
        for event, entry in zip(run.events, run.log, strict=True):
            if event.at_s > until_s:
                break
            if entry.kind == "Answered":
                details = dict(entry.details)
                number = self.asked[id(getattr(event, "fault"))]  # noqa: B009  (only Answered has it)
                answers.append((number, event.at_s, str(details["answer"])))
            elif (line := line_of(entry, event.at_s, parents)) is not None:
                lines.append(line)
        met = [entry for entry in run.log if entry.kind in ("Injected", "Answered")]
        faults = len({entry.details[0] for entry in met})
        return Seen(tuple(lines), tuple(self.looks), tuple(sorted(answers)), faults)

    async def _play(self, system: ActorSystem) -> None:
        builder = Builder()
        root = system.spawn(Supervisor, builder.branch(self.case.root), name=self.case.root.id)
        faults = []
        for number, step in enumerate(self.case.steps):
            if step.at_s > trio.current_time():
                await trio.sleep_until(step.at_s)
                self.looks.append(look(system))
            if is_met(system, step):
                faults.append(builder.fault(step))
                self.asked[id(faults[-1])] = number
                inject(system, faults[-1])
        await trio.sleep_until(self.case.end_s)
        self.looks.append(look(system))
        root.exit(SHUTDOWN)
        await trio.sleep(AFTERWARDS_S)
        self.looks.append(look(system))
        await trio.sleep(1.0)


def is_met(system: ActorSystem, step: Step) -> bool:
    """As `prediction` has it."""
    ref = system.whereis(step.name)
    if isinstance(step, Request):
        return step.what == "ensure" or (ref is not None and system.is_ready(step.name))
    if ref is None:
        return False
    above, boss = [], ref._cell.supervisor
    while boss is not None:
        above.append(boss)
        boss = boss._cell.supervisor
    is_starting = [each.statistics().state == "starting" for each in (ref, *above)]
    return is_starting[0] or len(above) == 1 or not any(is_starting)


def look(system: ActorSystem) -> Look:
    refs = sorted(system.actors(), key=lambda ref: ref.name or "")
    children: list[str] = []
    for ref in refs:
        supervisor = ref._actor
        if isinstance(supervisor, Supervisor | DynamicSupervisor):
            told = [f"{ref.name}/{i.id} {i.state} {i.restarts}" for i in supervisor.infos()]
            is_ordered = isinstance(supervisor, Supervisor)
            children += told if is_ordered else sorted(told)
    living = tuple(f"{plain(ref)} {ref.statistics().state}" for ref in refs)
    return Look(trio.current_time(), tuple(children), living)


WORDS = {
    "Started": "start", "Exited": "exit", "RestartScheduled": "scheduled", "Restarted": "restarted",
    "ChildRetired": "retired", "Escalated": "escalated", "ChildReady": "progress",
    "StartAttemptFailed": "failed", "UncleanShutdown": "unclean", "UncleanShutdowns": "unclean",
}  # fmt: skip


def line_of(entry: Entry, at_s: float, parents: dict[str, str]) -> Line | None:
    """An entry of the log in the reference's words; None if it has none for it."""
    word = WORDS.get(entry.kind)
    if word is None:
        return None
    told = [
        f"{value:.6f}" if isinstance(value, float) else str(value) for _, value in entry.details
    ]
    if word in ("start", "exit"):
        who = f"{entry.name}#{entry.incarnation}"
        return Line(at_s, parents[entry.name], " ".join([word, who, *told]))
    return Line(at_s, entry.name, " ".join([word, *told]))


def parents_of(case: Case) -> dict[str, str]:
    """By name, whose child somebody is."""
    parents = {case.root.id: ""}

    def walk(node: Branch | Crowd) -> Iterator[tuple[str, str]]:
        for child in node.children if isinstance(node, Branch) else node.kinds:
            yield child.id, node.id
            if not isinstance(child, Leaf):
                yield from walk(child)

    parents.update(walk(case.root))
    parents.update({s.leaf.id: s.name for s in case.steps if isinstance(s, Request) and s.leaf})
    return parents


def counted(seen: Seen) -> Counter[str]:
    """How many lines of each kind."""
    return Counter(line.what.split(" ", 1)[0] for line in seen.lines)
