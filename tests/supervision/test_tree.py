"""The tree as values: while all is well, while children start, wait, are retired."""

from __future__ import annotations

import json

from actors.testkit import advance, settle
from supervision import SpawnerHandle, Strategy, TreeNode, admin, snapshot, to_dot, to_json, to_text
from tests.supervision.actors import Stage
from tests.supervision.test_dynamic import dynamic


def names(node: TreeNode) -> dict[str, str]:
    found = {node.name: node.state}
    for child in node.children:
        found |= names(child)
    return found


async def test_a_snapshot_shows_every_child_and_its_state(stage: Stage) -> None:
    inner = stage.nest("inner", stage.spec("b", name=None), strategy=Strategy.REST_FOR_ONE)
    sup = await stage.supervise("a", inner, "c", dynamic(stage, intensity=0))
    spawner = SpawnerHandle(stage.system, "dyn")
    spawner.ensure("x")
    spawner.ensure("y")
    await settle()
    stage.world.hold_next("a")
    await stage.crash("a")
    await stage.crash("y")
    await admin.terminate_child(sup, "c")
    await advance(0.02)
    tree = snapshot(stage.system, sup)
    assert names(tree) == {
        "sup": "running", "a": "starting", "inner": "running", "b": "running", "c": "stopped",
        "dyn": "running", "x": "running", "y": "retired",
    }  # fmt: skip
    inner_node = tree.children[1]
    assert (inner_node.kind, inner_node.strategy) == ("supervisor", "rest_for_one")
    assert inner_node.id == str(stage.ref("inner").id)


async def test_json_has_the_fields_the_service_promises(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await stage.crash("a")
    await advance(1.0)
    tree = json.loads(json.dumps(to_json(snapshot(stage.system, sup))))
    child = tree["children"][0]
    assert tree["strategy"] == "one_for_one"
    assert child == {
        "id": str(stage.ref("a").id), "name": "a", "kind": "worker", "class": "Worker",
        "state": "running", "restarts": 1, "age_s": child["age_s"], "mailbox": 0, "handled": 0,
        "children": [],
    }  # fmt: skip


async def test_text_draws_the_tree(stage: Stage) -> None:
    inner = stage.nest("inner", stage.spec("b"))
    sup = await stage.supervise("a", inner)
    assert to_text(snapshot(stage.system, sup)) == (
        "sup (Supervisor one_for_one running)\n"
        "├─ a (Worker running)\n"
        "└─ inner (Supervisor one_for_one running)\n"
        "   └─ b (Worker running)"
    )


async def test_a_crowd_is_cut_short_and_counted(stage: Stage) -> None:
    await stage.supervise(dynamic(stage))
    spawner = SpawnerHandle(stage.system, "dyn")
    for index in range(20):
        spawner.ensure(f"x{index}")
    tree = snapshot(stage.system, stage.ref("dyn"), children_max=5)
    assert (len(tree.children), tree.hidden) == (5, 15)
    assert to_json(tree)["hidden"] == 15
    assert to_text(tree).endswith("└─ … and 15 more")
    assert len(snapshot(stage.system, stage.ref("dyn"), children_max=None).children) == 20


async def test_a_name_cannot_break_out_of_the_graph(stage: Stage) -> None:
    sup = await stage.supervise('a"; evil [label="')
    dot = to_dot(snapshot(stage.system, sup))
    assert dot.startswith("digraph tree {")
    assert '"0" -> "0.0";' in dot
    assert '\\"; evil [label=\\"' in dot


async def test_a_dead_root_is_shown_as_stopped(stage: Stage) -> None:
    sup = await stage.supervise("a")
    await stage.system.stop(sup)
    tree = snapshot(stage.system, sup)
    assert (str(tree.state), tree.children) == ("stopped", ())
