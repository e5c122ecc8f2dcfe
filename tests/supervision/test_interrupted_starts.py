"""Starts that are cut short: by a kill, by a terminate, by the end of the supervisor. Found by the
reference (`tests/supervision/model`)."""

from __future__ import annotations

from actors.runtime import KILL
from supervision import Supervisor, SupervisorSpec
from tests.supervision.actors import TEMPORARY, Polite, Stage, settle


async def test_children_of_a_supervisor_killed_before_it_was_ready_end(stage: Stage) -> None:
    stage.world.hold_next("b")
    inner = stage.nest("inner", stage.spec("a", Polite), stage.spec("b"), restart=TEMPORARY)
    stage.system.spawn(Supervisor, SupervisorSpec(children=(inner,)), name="sup")
    await settle()
    polite = stage.ref("a")
    stage.ref("inner").exit(KILL)
    await settle()
    assert not polite.is_alive(), "it traps exits, and heard of the end all the same"
