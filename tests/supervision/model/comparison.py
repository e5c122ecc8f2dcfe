"""Holding what is seen against what was predicted, and making a disagreement small.

The order of a supervisor's affairs is compared; that of different supervisors in one instant is
nobody's promise. Nor is the order in which children end that are ended together: those of a dead
supervisor, and those of a dynamic one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby, zip_longest

from tests.supervision.model.prediction import predict
from tests.supervision.model.stage import Stage
from tests.supervision.model.trees import (
    AnyNode,
    Branch,
    Case,
    Crowd,
    Leaf,
    Line,
    Seen,
    Step,
)

DIGITS = 6
"""Of a time: sums of the same numbers in another order differ in the last places."""

TOGETHER = (" killed", " InjectedCrash: injected")
"""Why those end whose supervisor died."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that is not as predicted."""

    where: str
    predicted: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}\n  predicted: {self.predicted}\n  seen:      {self.seen}"


def disagreement(case: Case, seed: int) -> tuple[Difference | None, Seen]:
    """Run both sides of a case."""
    seen = Stage(case, seed).run()
    return difference(case, predict(case), seen), seen


def difference(case: Case, predicted: Seen, seen: Seen) -> Difference | None:
    """The first, by time; None if both agree."""
    crowds = frozenset(crowds_of(case.root))
    pairs = list(_lines(predicted.lines, seen.lines, crowds))
    pairs += list(_answers(predicted.answers, seen.answers))
    for one, other in zip(predicted.looks, seen.looks, strict=True):
        for part in ("children", "living"):
            pairs += [
                (one.at_s, f"look at {part}", a, b)
                for a, b in zip_longest(getattr(one, part), getattr(other, part))
            ]
    found = [pair for pair in pairs if pair[2] != pair[3]]
    if not found:
        return None
    at_s, what, a, b = min(found, key=lambda pair: pair[0])
    return Difference(f"at {at_s:.6f} s, {what}", str(a), str(b))


def crowds_of(branch: Branch) -> Iterator[str]:
    for child in branch.children:
        if isinstance(child, Crowd):
            yield child.id
        elif isinstance(child, Branch):
            yield from crowds_of(child)


Pair = tuple[float, str, str | None, str | None]
Answer = tuple[int, float, str]


def _lines(
    predicted: Sequence[Line], seen: Sequence[Line], crowds: frozenset[str]
) -> Iterator[Pair]:
    groups = {line.group for line in (*predicted, *seen)}
    for group in sorted(groups):
        one = _settled([line for line in predicted if line.group == group], group in crowds)
        other = _settled([line for line in seen if line.group == group], group in crowds)
        for a, b in zip_longest(one, other):
            at_s = min(pair[0] for pair in (a, b) if pair is not None)
            yield (
                at_s, f"below {group or 'nobody'}",
                None if a is None else f"{a[0]:.6f} {a[1]}",
                None if b is None else f"{b[0]:.6f} {b[1]}",
            )  # fmt: skip


def _settled(lines: Sequence[Line], is_crowd: bool) -> list[tuple[float, str]]:
    """Times rounded, and what happens together in one order."""
    told = _at_once([(round(line.at_s, DIGITS), line.what) for line in lines])
    if is_crowd:
        return sorted(told)
    settled: list[tuple[float, str]] = []
    for _, instant in groupby(told, key=lambda one: one[0]):
        happened = list(instant)
        settled += sorted(one for one in happened if _ends(one[1]))
        settled += [one for one in happened if not _ends(one[1])]
    return settled


def _at_once(told: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Whoever ends in the instant in which it becomes ready: its supervisor may see it ready, and
    start the next, or not."""
    for at_s, what in [one for one in told if one[1].startswith("start ")]:
        who = what.removeprefix("start ")
        end = next((o for o in told if o[0] == at_s and o[1].startswith(f"exit {who} ")), None)
        if end is not None:
            told.remove(end)
            told.insert(told.index((at_s, what)) + 1, end)
            progress = f"progress {who.partition('#')[0]} "
            told = [o for o in told if o[0] != at_s or not o[1].startswith(progress)]
    return told


def _ends(what: str) -> bool:
    return what.startswith("exit ") and what.endswith(TOGETHER)


def _answers(predicted: Sequence[Answer], seen: Sequence[Answer]) -> Iterator[Pair]:
    one = {step: (at_s, f"{at_s:.6f} {what}") for step, at_s, what in predicted}
    other = {step: (at_s, f"{at_s:.6f} {what}") for step, at_s, what in seen}
    for step in sorted({*one, *other}):
        a, b = one.get(step), other.get(step)
        at_s = min(answer[0] for answer in (a, b) if answer is not None)
        yield at_s, f"answer to step {step}", a and a[1], b and b[1]


# ---------------------------------------------------------------------- smaller


def smallest(case: Case, seed: int) -> Case:
    """The same disagreement, or another, with as little as possible."""
    tried = True
    while tried:
        tried = False
        for smaller in _smaller(case):
            if disagreement(smaller, seed)[0] is not None:
                case, tried = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    steps = case.steps
    for size in (len(steps) // 2, len(steps) // 4, 1):
        for at in range(0, len(steps), size) if size else ():
            yield replace(case, steps=steps[:at] + steps[at + size :])
    for root in _pruned(case.root):
        yield replace(case, root=root)


def _pruned(branch: Branch) -> Iterator[Branch]:
    """With one child less, anywhere."""
    for at, child in enumerate(branch.children):
        before, after = branch.children[:at], branch.children[at + 1 :]
        yield replace(branch, children=before + after)
        if isinstance(child, Branch):
            for smaller in _pruned(child):
                yield replace(branch, children=(*before, smaller, *after))


def story(case: Case) -> str:
    """A case to read: the tree, and what is done to it. What is not said is the default."""
    steps = [f"at {step.at_s:.6f} s: {_fields(step)}" for step in case.steps]
    return "\n".join([*_told(case.root, ""), *steps, f"at {case.end_s:.6f} s: the end"])


def _told(node: AnyNode, indent: str) -> Iterator[str]:
    yield f"{indent}{_fields(node)}"
    if not isinstance(node, Leaf):
        for child in node.children if isinstance(node, Branch) else node.kinds:
            yield from _told(child, indent + "  ")


def _fields(value: AnyNode | Step) -> str:
    told = [
        f"{field.name}={_worded(getattr(value, field.name))}"
        for field in fields(value)
        if field.name not in ("id", "at_s", "children", "kinds")
        and getattr(value, field.name) != field.default
    ]
    return " ".join([type(value).__name__, getattr(value, "id", ""), *told])


def _worded(value: object) -> str:
    if isinstance(value, Leaf):
        return f"({_fields(value)})"
    if isinstance(value, tuple):
        return "/".join(map(_worded, value))
    return f"{value:.6g}" if isinstance(value, float) else str(getattr(value, "value", value))
