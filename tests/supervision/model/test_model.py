"""The real supervisors do what the reference says: any tree, any faults, at any time.

`COPPICE_HYPOTHESIS=long` runs many more and longer examples, `python -m tests.supervision.model` as
many random trees as wanted. A failure shows the first difference, and the tree and steps.
"""

from __future__ import annotations

import logging
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.supervision.model.__main__ import main
from tests.supervision.model.comparison import difference, disagreement, story
from tests.supervision.model.drawing import Drawer, drawn
from tests.supervision.model.lives import Life, Phase
from tests.supervision.model.prediction import Prediction
from tests.supervision.model.stage import Stage
from tests.supervision.model.trees import Case, Crowd, Harm, Hurt, Request

LONG = os.environ.get("COPPICE_HYPOTHESIS") == "long"
EXAMPLES, STEPS = (1500, 60) if LONG else (40, 30)
TREES = range(60)
REFERENCE = ("prediction", "reference", "crowd", "lives", "timeline", "trees")

PAUSES_S = st.sampled_from([0.002, 0.05, 0.5, 3.0])
PICKS = st.integers(0, 1_000)
"""Which of those there are."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Crashes are the point here: nobody needs their tracebacks."""
    before = logging.root.manager.disable
    logging.disable()
    yield
    logging.disable(before)


class Tree(RuleBasedStateMachine):
    """A tree that is hurt and administered, chosen by how the reference looks just then. At the
    end the real one goes through the same."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Prediction | None = None

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.drawer = Drawer(random.Random(seed))
        self.made = Prediction(self.drawer.root())

    @property
    def it(self) -> Prediction:
        assert self.made is not None
        return self.made

    def _later(self, pause_s: float) -> float:
        """No two things happen at once."""
        at_s = self.it.world.now_s + pause_s * (0.5 + self.rng.random())
        self.it.world.timeline.run(at_s)
        return at_s

    def _lives(self, *phases: Phase) -> list[Life]:
        living = sorted(self.it.world.living.values(), key=lambda life: life.name)
        return [life for life in living if life.phase in phases]

    @rule(
        pause_s=PAUSES_S, pick=PICKS, harm=st.sampled_from(Harm),
        why=st.sampled_from(["normal", "shutdown", "done"]),
    )  # fmt: skip
    def hurt(self, pause_s: float, pick: int, harm: Harm, why: Any) -> None:
        at_s = self._later(pause_s)
        if lives := self._lives(Phase.RUNNING):
            self.it.do(Hurt(at_s, lives[pick % len(lives)].name, harm, why))

    @precondition(lambda self: self.made and self._lives(Phase.STARTING, Phase.STOPPING))
    @rule(pick=PICKS)
    def kill_in_between(self, pick: int) -> None:
        """One that starts or stops."""
        at_s = self._later(0.001)
        if lives := self._lives(Phase.STARTING, Phase.STOPPING):
            self.it.do(Hurt(at_s, lives[pick % len(lives)].name, Harm.KILL))

    @rule(
        pause_s=PAUSES_S, pick=PICKS, child=PICKS,
        what=st.sampled_from(["terminate", "terminate", "restart", "delete", "start"]),
    )  # fmt: skip
    def ask(self, pause_s: float, pick: int, child: int, what: Any) -> None:
        at_s = self._later(pause_s)
        supervisors = [life for life in self._lives(Phase.RUNNING) if list(life.told())]
        if not supervisors:
            return
        supervisor = supervisors[pick % len(supervisors)]
        known = [told.split()[0] for told in supervisor.told()]
        leaf = None
        if what == "start" and isinstance(supervisor.node, Crowd):
            leaf = supervisor.node.kinds[child % len(supervisor.node.kinds)]
        elif what == "start":
            leaf = self.drawer.leaf()
        id_ = known[child % len(known)] if leaf is None else leaf.id
        self.it.do(Request(at_s, supervisor.name, what, id_, leaf))

    @precondition(lambda self: self.made and self.crowds)
    @rule(pause_s=PAUSES_S, pick=PICKS, child=PICKS)
    def ensure(self, pause_s: float, pick: int, child: int) -> None:
        at_s = self._later(pause_s)
        crowd = self.crowds[pick % len(self.crowds)]
        name = crowd.kinds[child % len(crowd.kinds)].id
        self.it.do(Request(at_s, crowd.id, "ensure", name))

    @property
    def crowds(self) -> list[Crowd]:
        return [node for node in self.drawer.nodes if isinstance(node, Crowd)]

    @rule()
    def rest(self) -> None:
        self._later(10.0)

    def teardown(self) -> None:
        if self.made is None or sys.exc_info()[0] is not None:
            return
        end_s = self.it.world.now_s + self.rng.random()
        case = Case(self.it.root, tuple(self.it.steps), end_s)
        predicted = self.it.finish(end_s)
        found = difference(case, predicted, Stage(case, self.seed).run())
        assert found is None, f"{found}\n{story(case)}"


def test_the_tree_does_what_the_reference_says() -> None:
    profile = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    run_state_machine_as_test(Tree, settings=profile)


@pytest.mark.parametrize("seed", TREES)
def test_a_random_tree_under_random_faults_agrees(seed: int) -> None:
    """Under whatever schedule of tasks: the reference knows of none."""
    case = drawn(seed)
    for schedule in (seed, -seed - 1):
        found, _ = disagreement(case, schedule)
        assert found is None, f"{found}\n{story(case)}"


@pytest.mark.parametrize(
    "module", ["reference", "crowd", "lives", "timeline", "trees", "prediction"]
)
def test_the_reference_shares_nothing_with_what_it_judges(module: str) -> None:
    text = Path(__file__).with_name(f"{module}.py").read_text()
    imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", text, re.MULTILINE)
    ours = [name for name in imported if not name.startswith("tests.supervision.model.")]
    assert set(ours) <= {"__future__", *sys.stdlib_module_names, "collections.abc"}


def test_the_command_counts_what_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trees", "20", "--seed", "7"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("20 trees, ")
    assert last.endswith(": all agree")
