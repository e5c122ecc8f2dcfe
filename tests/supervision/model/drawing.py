"""Trees and schedules of faults made up from a seed.

Times are drawn from a continuum, so that two of them hardly ever meet: what happens in one instant
then has one cause, and its order is decided.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.supervision.model.crowd import NAMES_MAX
from tests.supervision.model.trees import (
    BRUTAL,
    AnyNode,
    AutoShutdown,
    Branch,
    Case,
    Crowd,
    Harm,
    Hurt,
    Leaf,
    Manner,
    OnError,
    Request,
    Start,
    Step,
)

DEPTH_MAX = 3
CHILDREN_MAX = 4
STEPS_MAX = 40
PAUSES_S = (0.003, 0.1, 0.7, 3.0)
"""Longest pauses between steps: some fall into a backoff, or a slow stop."""

AUTO_SHUTDOWNS: tuple[AutoShutdown, ...] = (
    "never", "never", "never", "never", "any_significant", "all_significant",
)  # fmt: skip
ON_ERROR: tuple[OnError, ...] = ("resume", "restart", "stop", "escalate")
FAILING = (Start.FAIL, Start.FAIL, Start.HANG, Start.UNMAKEABLE, Start.IGNORE)


class Drawer:
    """Draws one case."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.nodes: list[AnyNode] = []
        """All there are, with those that are started by hand."""
        self._count = 0
        self._added: dict[str, list[Leaf]] = {}
        """By supervisor, leaves it is asked to start beside its own."""

    def case(self) -> Case:
        return self.with_steps(self.root(), self.rng.randint(4, STEPS_MAX))

    def root(self) -> Branch:
        rng = self.rng
        root = replace(self.branch(1), id="root")
        if rng.random() < 0.25:  # all about one dynamic supervisor
            root = replace(root, children=(self.crowd(may_matter=False),), auto_shutdown="never")
        if rng.random() < 0.7:  # it should not be over too soon
            root = replace(root, intensity=rng.choice((5, 1000)))
        self.nodes = list(_nodes(root))
        return root

    def with_steps(self, root: Branch, count: int) -> Case:
        nodes = self.nodes
        steps: list[Step] = []
        at_s = 0.0
        for _ in range(count):
            at_s += self.rng.random() * self.rng.choice(PAUSES_S)
            if self.rng.random() < 0.1:
                steps += [Hurt(at_s, node.id, Harm.KILL) for node in self._two(nodes)]
            else:
                steps.append(self.step(at_s, nodes))
        return Case(root, tuple(steps), at_s + self.rng.random() * self.rng.choice((1.0, 30.0)))

    # ------------------------------------------------------------------ trees

    def _id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def branch(self, depth: int) -> Branch:
        rng = self.rng
        auto: AutoShutdown = rng.choice(AUTO_SHUTDOWNS)
        many = rng.randint(1, CHILDREN_MAX)
        children = tuple(self.node(depth + 1, may_matter=auto != "never") for _ in range(many))
        return Branch(
            self._id("s"), strategy=rng.choice(("one_for_one", "one_for_all", "rest_for_one")),
            intensity=rng.choice((0, 1, 2, 3, 5, 10)), period_s=rng.uniform(0.5, 8.0),
            auto_shutdown=auto, children=children,
            **self.common(is_supervisor=True, may_matter=False),
        )  # fmt: skip

    def node(self, depth: int, *, may_matter: bool) -> AnyNode:
        draw = self.rng.random()
        if depth <= DEPTH_MAX and draw < 0.3:
            matter = self.common(is_supervisor=True, may_matter=may_matter)
            return replace(self.branch(depth), **matter)
        if depth <= DEPTH_MAX and draw < 0.4:
            return self.crowd(may_matter=may_matter)
        return self.leaf(may_matter=may_matter)

    def common(self, *, is_supervisor: bool, may_matter: bool) -> dict[str, Any]:
        rng = self.rng
        restart = rng.choice(("permanent", "permanent", "transient", "temporary"))
        limits: tuple[float | None, ...] = (None, None, None, BRUTAL, rng.uniform(0.3, 4.0))
        if not is_supervisor:
            limits = (5.0, BRUTAL, rng.uniform(0.1, 2.0))
        shortest_s = rng.uniform(0.01, 0.3)
        return {
            "restart": restart,
            "significant": may_matter and restart != "permanent" and rng.random() < 0.6,
            "shutdown_s": rng.choice(limits),
            "backoff_s": (shortest_s, shortest_s * rng.choice((1.0, 3.0, 20.0))),
        }

    def leaf(self, *, may_matter: bool = False) -> Leaf:
        rng = self.rng
        manner = rng.choice(
            (Manner.PLAIN, Manner.PLAIN, Manner.ASYNC, Manner.POLITE, Manner.POLITE, Manner.DEAF)
        )
        starts = tuple(
            rng.choice(FAILING) if rng.random() < 0.3 else Start.READY
            for _ in range(rng.choice((0, 0, 4)))
        )
        # Most trees should get as far as to be hurt.
        if starts and rng.random() < 0.8:
            starts = (Start.READY, *starts)
        is_plain = manner is Manner.PLAIN
        if is_plain:
            starts = tuple(Start.FAIL if start is Start.HANG else start for start in starts)
        common = self.common(is_supervisor=False, may_matter=may_matter)
        on_error = rng.choice(ON_ERROR) if rng.random() < 0.4 else ""
        if on_error == "restart" and common["restart"] == "temporary":
            on_error = ""  # a spec that says both is refused
        return Leaf(
            self._id("w"), on_error=on_error, manner=manner, starts=starts,
            start_s=0.0 if is_plain else rng.choice((0.0, rng.uniform(0.0, 0.8))),
            stop_s=rng.uniform(0.0, 1.5), start_limit_s=rng.uniform(0.9, 2.0),
            **common,
        )  # fmt: skip

    def crowd(self, *, may_matter: bool) -> Crowd:
        rng = self.rng
        kinds = tuple(self.leaf() for _ in range(rng.randint(1, NAMES_MAX)))
        return Crowd(
            self._id("d"), kinds=kinds, intensity=rng.choice((0, 1, 2, 3)),
            period_s=rng.uniform(0.5, 8.0), retire_s=rng.uniform(0.5, 5.0),
            max_children=rng.choice((1, 2, float("inf"))),
            **self.common(is_supervisor=True, may_matter=may_matter),
        )  # fmt: skip

    # ------------------------------------------------------------------ steps

    def _two(self, nodes: Sequence[AnyNode]) -> Sequence[AnyNode]:
        """Siblings, killed in one instant before anybody can react to the first. Not under
        one_for_one: of which of two children it hears first if one of them starts is not said."""
        found = [
            node.kinds if isinstance(node, Crowd) else node.children
            for node in nodes
            if isinstance(node, Crowd)
            or (isinstance(node, Branch) and node.strategy != "one_for_one")
        ]
        present: Sequence[AnyNode] = self.rng.choice(found) if found else nodes[-1:]
        return self.rng.sample(present, min(len(present), 2))

    def step(self, at_s: float, nodes: list[AnyNode]) -> Step:
        rng = self.rng
        crowds = [node for node in nodes if isinstance(node, Crowd)]
        if crowds and rng.random() < 0.3:
            crowd = rng.choice(crowds)
            return Request(at_s, crowd.id, "ensure", rng.choice(crowd.kinds).id)
        if rng.random() < 0.25:
            return self.request(at_s, nodes)
        harm = rng.choice((Harm.KILL, Harm.KILL, Harm.CRASH, Harm.CRASH, Harm.EXIT, Harm.HANG))
        leaves = [node for node in nodes if isinstance(node, Leaf)]
        node = rng.choice(leaves if leaves and rng.random() < 0.7 else nodes)
        if node is nodes[0] and rng.random() < 0.9:
            node = nodes[-1]  # with the root dead there is nothing more to hurt
        return Hurt(at_s, node.id, harm, rng.choice(("normal", "shutdown", "done")))

    def request(self, at_s: float, nodes: list[AnyNode]) -> Request:
        """A leaf that is started by hand may be hurt, and asked for, from then on."""
        rng = self.rng
        supervisor = rng.choice([node for node in nodes if not isinstance(node, Leaf)])
        present = supervisor.kinds if isinstance(supervisor, Crowd) else supervisor.children
        known = [*present, *self._added.get(supervisor.id, ())]
        what: Any = rng.choice(("start", "terminate", "terminate", "restart", "restart", "delete"))
        if what != "start":
            child = rng.choice(known).id if known and rng.random() < 0.95 else "nobody"
            return Request(at_s, supervisor.id, what, child)
        leaves = [node for node in known if isinstance(node, Leaf)]
        if leaves and (isinstance(supervisor, Crowd) or rng.random() < 0.3):
            leaf = rng.choice(leaves)
        else:
            may_matter = isinstance(supervisor, Branch) and supervisor.auto_shutdown != "never"
            leaf = self.leaf(may_matter=may_matter)
            self._added.setdefault(supervisor.id, []).append(leaf)
            nodes.append(leaf)
        return Request(at_s, supervisor.id, "start", leaf.id, leaf)


def _nodes(node: AnyNode) -> Iterator[AnyNode]:
    yield node
    if isinstance(node, Branch):
        for child in node.children:
            yield from _nodes(child)
    elif isinstance(node, Crowd):
        yield from node.kinds


def drawn(seed: int) -> Case:
    """The case of a seed."""
    return Drawer(random.Random(seed)).case()
