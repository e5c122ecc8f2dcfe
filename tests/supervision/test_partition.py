"""Stories of partitions: what belongs where, and what happens to whom. Many are those of Elixir's
`PartitionSupervisor`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import KILL, SHUTDOWN, Actor, ActorDied, DeadlineExceeded, NameUp, Ref
from actors.testkit import advance, settle
from supervision import (
    ChildSpec,
    ChildState,
    Counts,
    Done,
    DynamicSupervisor,
    InvalidSpec,
    Partitions,
    PartitionSupervisor,
    Refusal,
    Strategy,
    Supervisor,
    SupervisorSpec,
    Tasks,
    TaskSupervisor,
    admin,
    partition_of,
    snapshot,
    to_text,
)
from tests.supervision.actors import SOON, Stage

SHARDS = "shards"


class Shard(Actor):
    """Says what it was made with. Waits for a second before its second life."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.args = args
        self.messages: list[Any] = []

    async def on_start(self) -> None:  # type: ignore[override]  # pykka declares it sync
        if self.incarnation > 1:
            await trio.sleep(1)

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("told to crash")
        self.messages.append(message)
        return self.args


def shard(*args: Any, **options: Any) -> ChildSpec:
    return ChildSpec("shard", Shard, args, backoff=SOON, **options)


def numbered(args: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    return (*args, index)


async def start(
    stage: Stage, child: ChildSpec | None = None, partitions: int = 3, **options: Any
) -> Partitions:
    """Partitions under a supervisor of their own, which is a child."""
    given = {"with_arguments": numbered} | options
    spec = ChildSpec(
        SHARDS, PartitionSupervisor, (child or shard("x"), partitions), given,
        name=SHARDS, kind="supervisor", backoff=SOON,
    )  # fmt: skip
    await stage.supervise(spec)
    return Partitions(stage.system, SHARDS)


# ---------------------------------------------------------------------- where a key belongs


KEYS: st.SearchStrategy[Any] = st.recursive(
    st.integers() | st.text() | st.binary() | st.booleans() | st.none(),
    lambda keys: st.lists(keys, max_size=3).map(tuple),
    max_leaves=5,
)


@given(KEYS, st.integers(1, 100))
def test_every_key_belongs_somewhere(key: Any, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.integers(), st.integers(1, 100))
def test_integers_go_by_their_absolute_value(key: int, partitions: int) -> None:
    assert partition_of(key, partitions) == partition_of(-key, partitions) == abs(key) % partitions


def test_where_keys_belong_does_not_change() -> None:
    """Whoever wrote something by it finds it again: these numbers are a promise."""
    keys = ("user:1", "", b"user:1", None, True, False, ("user", 1), (), (("a",), "b"), "ä\ud800")
    assert [partition_of(key, 1_000_000) for key in keys] == [
        980576,
        150580,
        377262,
        701592,
        548245,
        474548,
        883111,
        335878,
        278647,
        616638,
    ]


LOOKALIKES = (
    ("1", b"1", True, None, ("1",), (b"1",)),
    (("a", "b"), ("ab", ""), ("ab",), (("a",), "b"), (("a", "b"),)),
    ((1,), ("1",), (True,), (-1,), (11,), (1, 1)),
)


@pytest.mark.parametrize("keys", LOOKALIKES)
def test_keys_that_look_alike_are_different(keys: tuple[Any, ...]) -> None:
    assert len({partition_of(key, 2**62) for key in keys}) == len(keys)


def test_keys_are_spread() -> None:
    for keys in ([f"user:{n}" for n in range(8_000)], [("user", n) for n in range(8_000)]):
        sizes = Counter(partition_of(key, 8) for key in keys).values()
        assert len(sizes) == 8
        assert max(sizes) < 1.15 * 1_000


@pytest.mark.parametrize("key", [1.5, object(), ["a"], ("a", {})])
def test_key_without_a_stable_form_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=r"key: a (float|object|list|dict) has no stable hash"):
        partition_of(key, 3)


# ---------------------------------------------------------------------- copies


async def test_each_copy_is_made_for_its_index(stage: Stage) -> None:
    partitions = await start(stage)
    found = [await partitions.call(key, "hello") for key in (0, 1, 2, 3, -1)]
    assert found == [("x", 0), ("x", 1), ("x", 2), ("x", 0), ("x", 1)]
    assert partitions.count == 3
    assert partitions.names() == ["shards:0", "shards:1", "shards:2"]
    assert partitions.refs() == [stage.ref(name) for name in partitions.names()]


async def test_all_copies_are_the_same_unless_told_otherwise(stage: Stage) -> None:
    partitions = await start(stage, with_arguments=None)
    assert [await partitions.call(key, "hello") for key in range(3)] == [("x",)] * 3


async def test_messages_go_where_their_key_belongs(stage: Stage) -> None:
    partitions = await start(stage)
    for key in ("a", "b", ("c", 1), 7):
        partitions.tell(key, key)
        assert partitions.cast(key, key)
    await settle()
    for key in ("a", "b", ("c", 1), 7):
        ref = partitions.ref_for(key)
        assert ref is not None
        assert ref.name == partitions.name_for(key) == f"shards:{partition_of(key, 3)}"
        assert ref._actor.messages.count(key) == 2


async def test_which_and_count(stage: Stage) -> None:
    partitions = await start(stage)
    supervisor = stage.ref(SHARDS)
    infos = await admin.which_children(supervisor)
    assert [(info.id, info.ref, info.kind) for info in infos] == [
        (str(index), partitions.ref_for(index), "worker") for index in range(3)
    ]
    assert await admin.count_children(supervisor) == Counts(3, 3, 0, 3)


async def test_partitions_of_supervisors(stage: Stage) -> None:
    """Elixir's first example: many children, each under the partition of its key."""
    child = ChildSpec("dyn", DynamicSupervisor, (stage.spec,), kind="supervisor")
    partitions = await start(stage, child, 4, with_arguments=None)
    assert await admin.count_children(stage.ref(SHARDS)) == Counts(4, 4, 4, 0)
    names = [f"child:{number}" for number in range(40)]
    for name in names:
        above = partitions.ref_for(name)
        assert above is not None
        await admin.start_child(above, stage.spec(name))
    found = [await admin.which_children(ref) for ref in partitions.refs() if ref is not None]
    assert sorted(info.id for infos in found for info in infos) == sorted(names)
    assert all(
        partition_of(info.id, 4) == index for index, infos in enumerate(found) for info in infos
    )


async def test_partitions_of_task_supervisors(stage: Stage) -> None:
    async def double(number: int) -> int:
        return 2 * number

    child = ChildSpec("tasks", TaskSupervisor, (), kind="supervisor")
    partitions = await start(stage, child, 2, with_arguments=None)
    tasks = Tasks(stage.system, partitions.name_for("me"))
    assert await tasks.async_(double, 21).result() == 42


async def test_it_is_in_the_tree(stage: Stage) -> None:
    await start(stage, partitions=2, strategy=Strategy.REST_FOR_ONE)
    await settle()
    assert to_text(snapshot(stage.system, stage.ref("sup"))).splitlines()[1:] == [
        "└─ shards (PartitionSupervisor rest_for_one running)",
        "   ├─ shards:0 (Shard running)",
        "   └─ shards:1 (Shard running)",
    ]


async def test_partitions_below_partitions(stage: Stage) -> None:
    inner = ChildSpec("inner", PartitionSupervisor, (shard(), 2), kind="supervisor")
    await start(stage, inner, 2, with_arguments=None)
    assert Partitions(stage.system, "shards:1").names() == ["shards:1:0", "shards:1:1"]
    assert stage.ref("shards:1:0").is_alive()


# ---------------------------------------------------------------------- ends and restarts


async def test_partition_that_fails_leaves_the_others_alone(stage: Stage) -> None:
    partitions = await start(stage)
    others = [partitions.ref_for(0), partitions.ref_for(2)]
    partitions.tell(1, "crash")
    await advance(2)
    assert [ref and ref.incarnation for ref in partitions.refs()] == [1, 2, 1]
    assert [partitions.ref_for(0), partitions.ref_for(2)] == others


async def test_nobody_is_there_while_a_partition_waits_for_its_restart(stage: Stage) -> None:
    partitions = await start(stage)
    partitions.tell(1, "crash")
    await settle()
    assert partitions.ref_for(1) is None
    assert partitions.ref_for(0) is not None
    assert not partitions.cast(1, "hello")
    with pytest.raises(ActorDied, match="the partition is not there: shards:1"):
        partitions.tell(1, "hello")


async def test_call_waits_for_a_partition_that_restarts(stage: Stage) -> None:
    partitions = await start(stage)
    partitions.tell(1, "crash")
    await settle()
    assert partitions.ref_for(1) is None
    assert await partitions.call(1, "hello") == ("x", 1)
    ref = partitions.ref_for(1)
    assert ref is not None
    assert (ref.incarnation, ref._actor.messages) == (2, ["hello"])


async def test_call_waits_for_the_supervisor_that_restarts(stage: Stage) -> None:
    partitions = await start(stage)
    stage.ref(SHARDS).exit(KILL)
    await settle()
    assert partitions.ref_for(1) is None
    assert (partitions.count, partitions.refs()) == (0, [])
    with pytest.raises(ActorDied, match="no partition supervisor shards"):
        partitions.name_for(1)
    assert await partitions.call(1, "hello") == ("x", 1)
    assert [ref and ref.incarnation for ref in partitions.refs()] == [2, 2, 2]


async def test_call_has_one_deadline_for_all(stage: Stage) -> None:
    partitions = await start(stage)
    partitions.tell(1, "crash")
    await settle()
    begun_s = trio.current_time()
    with pytest.raises(DeadlineExceeded):
        await partitions.call(1, "hello", timeout_s=0.5)
    assert trio.current_time() - begun_s == pytest.approx(0.5)


async def test_call_does_not_ask_twice(stage: Stage) -> None:
    partitions = await start(stage)
    with pytest.raises(ActorDied):
        await partitions.call(1, "crash")
    await advance(2)
    ref = partitions.ref_for(1)
    assert ref is not None
    assert (ref.incarnation, ref._actor.messages) == (2, [])


async def test_actor_watches_the_name_of_a_partition(stage: Stage) -> None:
    partitions = await start(stage)
    watcher = stage.system.spawn(Shard)
    partitions.tell("key", "crash")
    await settle()
    stage.system.watch_name(partitions.name_for("key"), watcher)
    await advance(2)
    ref = partitions.ref_for("key")
    assert ref is not None
    assert watcher._actor.messages == [NameUp(partitions.name_for("key"), ref)]


async def test_terminated_partition_stays_away_until_restarted(stage: Stage) -> None:
    partitions = await start(stage)
    supervisor = stage.ref(SHARDS)
    assert await admin.terminate_child(supervisor, "1") == Done()
    assert partitions.ref_for(1) is None
    assert [info.state for info in await admin.which_children(supervisor)] == [
        ChildState.RUNNING, ChildState.STOPPED, ChildState.RUNNING,
    ]  # fmt: skip
    await admin.restart_child(supervisor, "1")
    assert await partitions.call(1, "hello") == ("x", 1)


async def test_their_number_does_not_change(stage: Stage) -> None:
    await start(stage)
    supervisor = stage.ref(SHARDS)
    await admin.terminate_child(supervisor, "2")
    answers = [
        await admin.start_child(supervisor, shard()),
        await admin.delete_child(supervisor, "2"),
        await admin.update_spec(supervisor, SupervisorSpec()),
    ]
    assert answers == [Refusal.UNKNOWN] * 3
    assert (await admin.count_children(supervisor)).specs == 3


async def test_end_of_the_supervisor_ends_all(stage: Stage) -> None:
    partitions = await start(stage)
    refs = partitions.refs()
    stage.ref("sup").exit(SHUTDOWN)
    await stage.ref("sup").wait_exit()
    assert [ref and ref.exit_reason for ref in refs] == [SHUTDOWN] * 3


# ---------------------------------------------------------------------- what makes no sense


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ((shard(), 0), {}, "supervisor.partitions: 0 is not a positive count"),
        ((shard(), True), {}, "supervisor.partitions: True is not a positive count"),
        ((shard(), 2.0), {}, "supervisor.partitions: 2.0 is not a positive count"),
        ((shard(name="x"), 2), {}, "supervisor.shard.name: each copy has a name of its own"),
        ((shard(), 2), {"name": None}, "supervisor.name: a partition supervisor is found by"),
        (({"id": "x"}, 2), {}, "supervisor.x: the actor is missing"),
        ((shard(significant=True), 2), {}, "supervisor.shard.significant: "),
        ((shard(), 2), {"intensity": -1}, "supervisor.intensity: -1 is not a count"),
        ((shard(), 2), {"with_arguments": 5}, "supervisor.with_arguments: 5 is no function"),
        ((shard(), 2), {"with_arguments": lambda args, n: [n]}, "supervisor.0.args: are no"),
    ],
)
async def test_bad_arguments_are_named(
    stage: Stage, arguments: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidSpec) as invalid:
        stage.system.spawn(PartitionSupervisor, *arguments, **{"name": SHARDS, **options})
    assert problem in str(invalid.value)


async def test_name_of_something_else_is_refused(stage: Stage) -> None:
    ref: Ref = stage.system.spawn(Supervisor, SupervisorSpec(), name=SHARDS)
    with pytest.raises(TypeError, match="supervisor: shards is a Supervisor"):
        Partitions(stage.system, SHARDS).ref_for(1)
    await stage.system.stop(ref)
