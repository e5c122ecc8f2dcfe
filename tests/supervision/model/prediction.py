"""What must be seen of a case: the reference from the first start to the last end."""

from __future__ import annotations

from tests.supervision.model.crowd import ensure
from tests.supervision.model.lives import SHUTDOWN, Life, Phase, World
from tests.supervision.model.reference import Supervisor
from tests.supervision.model.trees import Branch, Case, Hurt, Look, Request, Seen, Step

AFTERWARDS_S = 60.0
"""How long a case is looked at after its root was told to shut down: longer than it may take."""


class Prediction:
    """A case in the making: each step may be chosen by how the tree looks just then."""

    def __init__(self, root: Branch) -> None:
        self.root = root
        self.world = World()
        self.steps: list[Step] = []
        self._looks: list[Look] = []
        self._life = Supervisor(self.world, root, None)
        self._life.begin()

    def until(self, at_s: float) -> None:
        """Let time pass, and look."""
        self.world.timeline.run(at_s)
        self._looks.append(self.world.look())

    def do(self, step: Step) -> None:
        if not self.steps or step.at_s > self.steps[-1].at_s:
            self.until(step.at_s)
        _carry_out(self.world, len(self.steps), step)
        self.steps.append(step)

    def finish(self, end_s: float) -> Seen:
        """The root is told to shut down."""
        self.until(end_s)
        self._life.hear(SHUTDOWN)
        self.until(end_s + AFTERWARDS_S)
        return Seen(tuple(self.world.lines), tuple(self._looks), tuple(sorted(self.world.answers)))


def predict(case: Case) -> Seen:
    """What must be seen of a case."""
    prediction = Prediction(case.root)
    for step in case.steps:
        prediction.do(step)
    return prediction.finish(case.end_s)


def _carry_out(world: World, number: int, step: Step) -> None:
    if isinstance(step, Request) and step.what == "ensure":
        world.answer(number, ensure(world, step.name, step.child))
        return
    life = world.living.get(step.name)
    if life is None or not _is_met(life, step):
        return
    if isinstance(step, Hurt):
        life.hurt(step)
    else:
        life.request(number, step.what, step.child, step.leaf)


def _is_met(life: Life, step: Step) -> bool:
    """What happens to the children of a supervisor that is not ready, that one looks at in the
    instant in which it is. With several such, one below another, much would happen in one instant,
    in no order that anybody promises: so only the root's children are hurt that early."""
    if isinstance(step, Request):
        return life.phase is Phase.RUNNING
    above, boss = [], life.boss
    while boss is not None:
        above.append(boss)
        boss = boss.boss
    return (
        life.phase is Phase.STARTING
        or len(above) == 1
        or all(boss.phase is not Phase.STARTING for boss in above)
    )
