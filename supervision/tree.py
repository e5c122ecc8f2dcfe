"""The supervision tree as values: snapshot, JSON, text, DOT.

Supervisors are asked synchronously, in the loop: a snapshot shows one instant, also while children
start or wait for a restart, and costs no message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actors.runtime import ActorSystem, Ref
from supervision.dynamic import DynamicSupervisor
from supervision.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One actor. `state`: starting, running, restarting, stopped; `mailbox` waiting, `handled` since
    its start; `restarts` under this id since its supervisor started."""

    id: str
    name: str | None
    kind: str
    cls: str
    state: str
    restarts: int
    age_s: float
    mailbox: int
    handled: int
    strategy: str | None = None
    children: tuple[TreeNode, ...] = ()


def snapshot(system: ActorSystem, root: Ref) -> TreeNode:
    """The tree below `root`, at this instant."""
    return _node(system, root, root.name or str(root.id), 0)


def _node(system: ActorSystem, ref: Ref, id_: str, restarts: int) -> TreeNode:
    statistics = ref.statistics()
    actor = ref._actor
    children: tuple[TreeNode, ...] = ()
    strategy = None
    if isinstance(actor, Supervisor):
        strategy = actor.spec.strategy.value
        children = tuple(_static_children(system, actor))
    elif isinstance(actor, DynamicSupervisor):
        strategy = "one_for_one"
        children = tuple(
            _node(system, child, str(child.id), count) for child, count in actor.children().values()
        )
    return TreeNode(
        id=id_, name=ref.name, kind="worker" if strategy is None else "supervisor",
        cls=ref.actor_class.__name__, state=statistics.state, restarts=restarts,
        age_s=round(statistics.age_s, 3), mailbox=statistics.mailbox, handled=statistics.handled,
        strategy=strategy, children=children,
    )  # fmt: skip


def _static_children(system: ActorSystem, supervisor: Supervisor) -> Iterator[TreeNode]:
    for info in supervisor.infos():
        if info.ref is not None and info.ref.is_alive():
            yield _node(system, info.ref, str(info.ref.id), info.restarts)
        else:
            yield TreeNode(info.id, info.id, info.kind, "", info.state, info.restarts, 0.0, 0, 0)


def to_json(node: TreeNode) -> dict[str, Any]:
    """As `/tree` shows it."""
    fields: dict[str, Any] = {
        "id": node.id, "name": node.name, "kind": node.kind, "class": node.cls,
        "state": node.state, "restarts": node.restarts, "age_s": node.age_s,
        "mailbox": node.mailbox, "handled": node.handled,
    }  # fmt: skip
    if node.strategy is not None:
        fields["strategy"] = node.strategy
    fields["children"] = [to_json(child) for child in node.children]
    return fields


def to_text(node: TreeNode, indent: str = "") -> str:
    """One line for each actor, indented."""
    strategy = f" {node.strategy}" if node.strategy else ""
    line = f"{indent}{node.name or node.id} ({node.cls}{strategy}) {node.state}"
    return "\n".join([line, *(to_text(child, indent + "  ") for child in node.children)])


def to_dot(node: TreeNode) -> str:
    """A graph for Graphviz."""
    lines = ["digraph tree {", "  node [shape=box];"]

    def walk(current: TreeNode, path: str) -> None:
        label = f"{current.name or current.id}\\n{current.cls} {current.state}"
        lines.append(f'  "{path}" [label="{label}"];')
        for index, child in enumerate(current.children):
            lines.append(f'  "{path}" -> "{path}.{index}";')
            walk(child, f"{path}.{index}")

    walk(node, "0")
    return "\n".join([*lines, "}"])
