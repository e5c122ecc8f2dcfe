"""The supervision tree as values: snapshot, JSON, text, DOT.

Supervisors are asked synchronously, in the loop: a snapshot shows one instant, also while children
start or wait for a restart, and costs no message. With a hundred thousand children it would keep
the loop from its sockets for the better part of a second, so it shows at most `CHILDREN_MAX` of
each supervisor unless told otherwise, and says how many it left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from actors.runtime import ActorSystem, Isolated, Ref
from supervision.admin import ChildInfo, ChildState
from supervision.dynamic import DynamicSupervisor
from supervision.supervisor import Supervisor

CHILDREN_MAX = 2_000
"""Some 20 ms of the loop's time for each supervisor that has so many."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One actor, or a child that is not there now.

    `id` is the living actor's id in its system, or else the child's under its supervisor; `name`
    its registered name, or else its id under its supervisor. `state` is one of `ChildState`.
    `mailbox` counts messages waiting, `handled` those since it started, `restarts` those of this
    child since its supervisor started, `hidden` the children left out; `pid` is the process of an
    isolated actor.
    """

    id: str
    name: str
    kind: str
    cls: str
    state: str
    restarts: int
    age_s: float
    mailbox: int
    handled: int
    strategy: str | None = None
    children: tuple[TreeNode, ...] = ()
    hidden: int = 0
    pid: int | None = None


def snapshot(
    system: ActorSystem, root: Ref, *, children_max: int | None = CHILDREN_MAX
) -> TreeNode:
    """The tree below `root`, at this instant. `children_max` None shows all."""
    assert not root.is_alive() or system.find(root.id) is root, "a tree is of one system"
    running = ChildState.RUNNING if root.is_alive() else ChildState.STOPPED
    info = ChildInfo(root.name or str(root.id), root, "worker", running, 0)
    return _node(info, children_max)


def _node(info: ChildInfo, children_max: int | None) -> TreeNode:
    ref = info.ref
    if ref is None:
        return TreeNode(info.id, info.id, info.kind, "", info.state, info.restarts, 0.0, 0, 0)
    statistics = ref.statistics()
    actor = ref._actor
    strategy: str | None = None
    infos: Iterator[ChildInfo] = iter(())
    if isinstance(actor, Supervisor):
        strategy, infos = actor.spec.strategy.value, actor.infos()
    elif isinstance(actor, DynamicSupervisor):
        strategy, infos = "one_for_one", actor.infos()
    children = tuple(_node(child, children_max) for child in islice(infos, children_max))
    hidden = sum(1 for _ in infos)
    return TreeNode(
        id=str(ref.id), name=ref.name or info.id,
        kind="supervisor" if strategy is not None else info.kind,
        cls=ref.actor_class.__name__, state=_state(info, statistics.state),
        restarts=info.restarts, age_s=round(statistics.age_s, 3), mailbox=statistics.mailbox,
        handled=statistics.handled, strategy=strategy, children=children, hidden=hidden,
        pid=actor.pid if isinstance(actor, Isolated) else None,
    )  # fmt: skip


def _state(info: ChildInfo, own: str) -> str:
    """What its supervisor says of a child, unless the actor itself is past it."""
    if info.state is not ChildState.RUNNING:
        return info.state
    match own:
        case "new" | "starting" | "initialising":
            return ChildState.STARTING
        case "stopping":
            return ChildState.STOPPING
        case "dead":
            return ChildState.ENDED
        case _:
            return ChildState.RUNNING


def to_json(node: TreeNode) -> dict[str, Any]:
    """As `/tree` shows it: values that `json.dumps` takes."""
    fields: dict[str, Any] = {
        "id": node.id, "name": node.name, "kind": node.kind, "class": node.cls,
        "state": str(node.state), "restarts": node.restarts, "age_s": node.age_s,
        "mailbox": node.mailbox, "handled": node.handled,
    }  # fmt: skip
    if node.strategy is not None:
        fields["strategy"] = node.strategy
    if node.pid is not None:
        fields["pid"] = node.pid
    if node.hidden:
        fields["hidden"] = node.hidden
    fields["children"] = [to_json(child) for child in node.children]
    return fields


def to_text(node: TreeNode) -> str:
    """One line for each actor, drawn as a tree."""
    return "\n".join(_lines(node, "", ""))


def _lines(node: TreeNode, first: str, rest: str) -> Iterator[str]:
    details = " ".join(part for part in (node.cls, node.strategy, node.state) if part)
    if node.restarts:
        details += f", {node.restarts} restarts"
    if node.pid is not None:
        details += f", pid {node.pid}"
    yield f"{first}{node.name} ({details})"
    last = len(node.children) - 1
    for index, child in enumerate(node.children):
        is_last = index == last and not node.hidden
        yield from _lines(
            child, rest + ("└─ " if is_last else "├─ "), rest + ("   " if is_last else "│  ")
        )
    if node.hidden:
        yield f"{rest}└─ … and {node.hidden} more"


def to_dot(node: TreeNode) -> str:
    """A graph for Graphviz."""
    lines = ["digraph tree {", "  node [shape=box];"]

    def walk(current: TreeNode, path: str) -> None:
        words = (current.name, current.cls, current.strategy, current.state)
        label = "\\n".join(_escaped(word) for word in words if word)
        lines.append(f'  "{path}" [label="{label}"];')
        for index, child in enumerate(current.children):
            lines.append(f'  "{path}" -> "{path}.{index}";')
            walk(child, f"{path}.{index}")

    walk(node, "0")
    return "\n".join([*lines, "}"])


def _escaped(text: str) -> str:
    """User ids come from outside; a quote must not end the label."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
