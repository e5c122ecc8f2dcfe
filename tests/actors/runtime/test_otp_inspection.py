"""sys(3) on every actor: looked into, held still, listened to, without its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import (
    KILL,
    NOPROC,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    CallbackFailed,
    CallError,
    CallingSelf,
    CallTimeout,
    Custom,
    inspection,
    open_system,
)
from actors.runtime.watch import Direction, Seen
from actors.testkit import Logs, advance, run_virtual, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

KINDS = [Puppet, AsyncPuppet]


async def sleep(_actor: Any) -> None:
    await trio.sleep(3.0)


# ---------------------------------------------------------------------- status


@pytest.mark.parametrize("kind", KINDS)
async def test_a_status_tells_who_it_is_and_what_it_does(
    system: ActorSystem, kind: type[Any]
) -> None:
    parent = await puppet(system, name="parent")
    actor = await puppet(system, kind, name="n", supervisor=parent.ref, link_to=parent.ref)
    actor.set_label("counting")
    status = await inspection.get_status("n")
    assert status.ref is actor.ref
    assert status.initial_call == f"tests.actors.runtime.support.{kind.__name__}"
    assert status.ancestors == ("Puppet parent#1",)
    assert (status.label, status.links, status.is_suspended) == ("counting", (parent.ref,), False)
    assert status.statistics.state == "running"
    assert status.view.state == {"got": "list"}, "types only, unless format_status says more"


@pytest.mark.otp("names.local_unknown")
async def test_nobody_home(system: ActorSystem) -> None:
    ref = system.spawn(Puppet)
    ref.exit(KILL)
    for target in (ref, "nobody"):
        with pytest.raises(ActorDied) as failed:
            await inspection.get_status(target)
        assert failed.value.reason == NOPROC


async def test_an_actor_that_ends_meanwhile_answers_with_its_end(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    ref = actor.ref
    ref.tell(sleep)
    await settle()
    errors: list[Any] = []

    async def look() -> None:
        with pytest.raises(ActorDied) as failed:
            await inspection.get_state(ref)
        errors.append(failed.value.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await settle()
        ref.exit(Custom("why"))
    assert errors == [Custom("why")]


async def test_a_busy_actor_answers_too_late(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    actor.ref.tell(sleep)
    await settle()
    with pytest.raises(CallTimeout):
        await inspection.get_state(actor.ref, timeout_s=1.0)
    assert await inspection.get_state(actor.ref) == {"got": []}


@pytest.mark.crashes
async def test_an_actor_does_not_inspect_itself(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    with pytest.raises(CallError) as failed:
        await actor.ref.call(lambda self: inspection.get_state(self.ref))
    assert isinstance(failed.value, CallingSelf) or "calling_self" in str(failed.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_status_counts_what_was_handled_and_not_the_looking(
    system: ActorSystem, kind: type[Any], is_watched: bool
) -> None:
    actor = await puppet(system, kind)
    if is_watched:
        await inspection.keep_log(actor.ref)
    assert (await inspection.get_status(actor.ref)).statistics.handled == 0
    for n in range(5):
        actor.ref.tell(n)
    assert (await inspection.get_status(actor.ref)).statistics.handled == 0, "it goes before"
    await settle()
    assert (await inspection.get_status(actor.ref)).statistics.handled == 5


# ---------------------------------------------------------------------- state


@pytest.mark.otp("gen_server_SUITE.get_state", "gen_server_SUITE.replace_state")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_suspended", [True, False])
async def test_a_state_is_read_and_replaced(
    system: ActorSystem, kind: type[Any], is_suspended: bool
) -> None:
    actor = await puppet(system, kind)
    await actor.ref.call("a")
    if is_suspended:
        await inspection.suspend(actor.ref)
    assert await inspection.get_state(actor.ref) == {"got": ["a"]}
    changed = await inspection.replace_state(actor.ref, lambda state: {"got": [*state["got"], "b"]})
    assert changed == {"got": ["a", "b"]} == await inspection.get_state(actor.ref)
    await inspection.resume(actor.ref)
    assert await actor.ref.call("c") == "c"
    assert actor.got == ["a", "b", "c"]


@pytest.mark.otp("gen_server_SUITE.replace_state", "sys_SUITE.special_process")
async def test_a_failing_change_leaves_the_state(system: ActorSystem) -> None:
    actor = await puppet(system)
    await actor.ref.call("a")

    def change(state: dict[str, Any]) -> Any:
        state["got"] = "half done"
        raise KeyError("no")

    with pytest.raises(CallbackFailed, match="KeyError"):
        await inspection.replace_state(actor.ref, change)
    with pytest.raises(CallbackFailed, match="TypeError"):
        await inspection.replace_state(actor.ref, lambda _state: 17)
    assert await inspection.get_state(actor.ref) == {"got": ["a"]}


@pytest.mark.otp("gen_server_SUITE.replace_state")
async def test_a_failing_change_works_on_a_copy(system: ActorSystem) -> None:
    class Sharing(Puppet):
        def __init__(self) -> None:
            super().__init__()
            self.data = {"a": 1}

        def get_state(self) -> dict[str, int]:
            return self.data

    def change(state: dict[str, int]) -> Any:
        state.clear()
        raise KeyError("no")

    actor = await puppet(system, Sharing)
    with pytest.raises(CallbackFailed):
        await inspection.replace_state(actor.ref, change)
    assert actor.data == {"a": 1}


@pytest.mark.otp("sys_SUITE.special_process")
async def test_an_actor_may_keep_its_state_elsewhere(system: ActorSystem) -> None:
    """The protocol is `get_state` and `set_state`; that they fail is contained."""

    class Special(Puppet):
        total = 1

        def get_state(self) -> int:
            if self.total < 0:
                raise ValueError("broken")
            return self.total

        def set_state(self, state: int) -> None:
            if state > 100:
                raise ValueError("too much")
            self.total = state

    actor = await puppet(system, Special)
    assert await inspection.replace_state(actor.ref, lambda total: total + 1) == 2
    with pytest.raises(CallbackFailed, match="ValueError"):
        await inspection.replace_state(actor.ref, lambda _total: 101)
    assert await inspection.get_state(actor.ref) == 2
    actor.total = -1
    with pytest.raises(CallbackFailed):
        await inspection.get_state(actor.ref)
    with pytest.raises(CallbackFailed):
        await inspection.get_status(actor.ref)
    assert await actor.ref.call("still here") == "still here"


# ---------------------------------------------------------------------- suspended


@pytest.mark.otp("sys_SUITE.suspend")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_suspended_actor_answers_when_it_goes_on(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    for _ in range(2):
        await inspection.suspend(actor.ref)
    with pytest.raises(CallTimeout):
        await actor.ref.call("first", timeout_s=1.0)
    waiting = [actor.ref.ask(n, block=False) for n in range(3)]
    actor.send_after(0.5, "tick")
    await advance(1.0)
    assert (await inspection.get_status(actor.ref)).is_suspended
    assert actor.got == []
    for _ in range(2):
        await inspection.resume(actor.ref)
    assert [await future for future in waiting] == [0, 1, 2]
    assert actor.got == ["tick", "first", 0, 1, 2]
    assert not (await inspection.get_status(actor.ref)).is_suspended
    assert system.late_replies == 1


@pytest.mark.otp("sys_SUITE.suspend")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_suspended_actor_still_ends(system: ActorSystem, kind: type[Any]) -> None:
    stopped, killed = await puppet(system, kind), await puppet(system, kind)
    for actor in (stopped, killed):
        await inspection.suspend(actor.ref)
        actor.ref.tell("waiting")
    refs = (stopped.ref, killed.ref)
    refs[1].exit(Custom("why"))
    await inspection.stop(refs[0], SHUTDOWN)
    assert [ref.exit_reason for ref in refs] == [SHUTDOWN, Custom("why")]
    assert system.dead_letters == 2


# ---------------------------------------------------------------------- observed


@pytest.mark.otp("sys_SUITE.stats")
@pytest.mark.parametrize("kind", KINDS)
async def test_statistics_count_while_they_are_on(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    assert await inspection.get_statistics(actor.ref) is None
    await actor.ref.call("before")
    begun_s = trio.current_time()
    await inspection.count_messages(actor.ref)
    actor.ref.tell("told")
    await actor.ref.call("asked")
    await advance(2.0)
    counted = await inspection.get_statistics(actor.ref)
    assert counted is not None
    assert (counted.messages_in, counted.messages_out) == (2, 1)
    assert counted.reductions >= 2
    assert counted.started_s == pytest.approx(begun_s)
    assert counted.now_s == pytest.approx(begun_s + 2.0)
    await inspection.count_messages(actor.ref, is_on=False)
    assert await inspection.get_statistics(actor.ref) is None
    assert actor.ref._cell.is_plain == (kind is Puppet), "and it costs nothing any more"


@pytest.mark.otp("sys_SUITE.log")
@pytest.mark.parametrize("kind", KINDS)
async def test_the_last_events_are_kept(system: ActorSystem, kind: type[Any]) -> None:
    actor = await puppet(system, kind)
    await inspection.keep_log(actor.ref, 3)
    for n in range(3):
        await actor.ref.call(n)
    log = await inspection.get_log(actor.ref)
    assert [(seen.direction, seen.message) for seen in log] == [
        (Direction.OUT, 1),
        (Direction.IN, 2),
        (Direction.OUT, 2),
    ]
    await inspection.keep_log(actor.ref, is_on=False)
    assert await inspection.get_log(actor.ref) == ()


@pytest.mark.otp("sys_SUITE.trace", "sys_SUITE.log_to_file")
async def test_a_trace_is_written_live_and_without_contents(
    system: ActorSystem, tmp_path: Path
) -> None:
    actor = await puppet(system, name="n")
    with (tmp_path / "trace").open("w+", encoding="utf-8") as file:
        await inspection.trace(actor.ref, file.write)
        await actor.ref.call("a secret")
        file.seek(0)
        lines = [line.split(" ", 1)[1] for line in file]
        assert lines == ["Puppet n#1 in str\n", "Puppet n#1 out str\n"]
        await inspection.trace(actor.ref, None)
    written: list[str] = []
    await inspection.trace(actor.ref, written.append, show=repr)
    actor.ref.tell("no secret")
    await settle()
    assert written[0].endswith("in 'no secret'\n")


@pytest.mark.otp("sys_SUITE.install")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_installed_function_carries_its_state(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    states: list[int] = []

    def count(state: int, seen: Seen) -> int:
        states.append(state)
        return state + (seen.direction is Direction.IN)

    for state in (0, 100):
        await inspection.install(actor.ref, "count", count, state)
    actor.ref.tell("a")
    await actor.ref.call("b")
    assert states == [0, 1, 2], "added twice is once"
    assert (await inspection.get_status(actor.ref)).debug == ("function count",)
    await inspection.remove(actor.ref, "count")
    await inspection.remove(actor.ref, "unknown")
    await actor.ref.call("c")
    assert len(states) == 3


@pytest.mark.otp("sys_SUITE.install")
async def test_a_function_ends_itself_or_by_failing(system: ActorSystem, logs: Logs) -> None:
    actor = await puppet(system)
    calls: list[str] = []

    def once(_state: Any, _seen: Seen) -> Any:
        calls.append("once")
        return inspection.DONE

    def failing(_state: Any, _seen: Seen) -> Any:
        calls.append("failing")
        raise ValueError("an observer hurts nobody")

    await inspection.install(actor.ref, "once", once)
    await inspection.install(actor.ref, "failing", failing)
    for n in range(3):
        assert await actor.ref.call(n) == n
    assert calls == ["once", "failing"]
    logs.expect("an observer of Puppet 1 failed and was removed")
    assert actor.ref._cell.is_plain


async def test_everything_that_observes_ends_at_once(system: ActorSystem) -> None:
    actor = await puppet(system)
    await inspection.count_messages(actor.ref)
    await inspection.keep_log(actor.ref)
    await inspection.no_debug(actor.ref)
    assert (await inspection.get_status(actor.ref)).debug == ()
    assert actor.ref._cell.is_plain


async def test_an_answer_given_later_is_seen(system: ActorSystem) -> None:
    actor = await puppet(system)
    await inspection.keep_log(actor.ref)
    slots: list[Any] = []
    asked = actor.ref.ask(lambda self: slots.append(self.defer_reply()), block=False)
    await settle()
    slots[0].set("later")
    assert await asked == "later"
    log = await inspection.get_log(actor.ref)
    assert [seen.message for seen in log if seen.direction is Direction.OUT] == ["later"]


async def test_an_ask_that_was_put_aside_is_answered_once(system: ActorSystem) -> None:
    class Postponing(Puppet):
        def on_receive(self, message: Any) -> Any:
            if message == "open":
                return self.unstash()
            return self.stash(message) if not self.got else super().on_receive(message)

    actor = await puppet(system, Postponing)
    await inspection.keep_log(actor.ref)
    asked = actor.ref.ask("x", block=False)
    await settle()
    actor.got.append("it may answer now")
    await actor.ref.call("open")
    assert await asked == "x"
    log = await inspection.get_log(actor.ref)
    assert [seen.message for seen in log if seen.direction is Direction.OUT] == [1, "x"]


@pytest.mark.crashes
async def test_a_crash_under_watch_is_a_crash(system: ActorSystem) -> None:
    actor = await puppet(system)
    ref = actor.ref
    await inspection.keep_log(ref)
    with pytest.raises(ActorDied):
        await ref.call(ValueError("boom"))
    assert ref.exit_reason is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watched_actor_leaves_room_for_others(system: ActorSystem, kind: type[Any]) -> None:
    """Its turns are as long as anybody's."""
    actor, other = await puppet(system, kind), await puppet(system)
    await inspection.keep_log(actor.ref)
    for n in range(100):
        actor.ref.tell(n)
    seen = await do(other, lambda _self: [len(actor.got)])
    assert seen[0] < 100
    await settle()
    assert actor.got == list(range(100))


def bound(act: Callable[[Any, int], Any], n: int) -> Callable[[Any], Any]:
    return lambda self: act(self, n)


steps = st.lists(
    st.tuples(
        st.sampled_from(["tell", "ask", "later", "stash", "unstash", "continue", "stop", "crash"]),
        st.integers(0, 9),
    ),
    max_size=15,
)


@pytest.mark.otp("sys_SUITE.trace")
@pytest.mark.parametrize("kind", KINDS)
@given(wanted=steps)
@pytest.mark.crashes
def test_an_actor_that_is_watched_does_the_same(
    kind: type[Any], wanted: list[tuple[str, int]]
) -> None:
    """Its messages take another way through the runtime; nobody can tell by what it does."""

    class Busy(kind):  # type: ignore[misc]  # one of two known classes
        def on_continue(self, message: Any) -> None:
            self.got.append(("continued", message))

    acts: dict[str, Callable[[Any, int], Any]] = {
        "later": lambda self, n: self.send_after(n + 1.0, ("later", n)) and None,
        "stash": lambda self, n: self.stash(("stashed", n)),
        "unstash": lambda self, n: self.unstash(n),
        "continue": lambda self, n: self.continue_with(n),
        "stop": lambda self, n: self.stop(Custom(n)),
    }

    async def story(is_watched: bool) -> Any:
        async with open_system() as system:
            actor = await puppet(system, Busy)
            ref, answers = actor.ref, []
            if is_watched:
                await inspection.keep_log(ref)
            for what, n in wanted:
                if what == "ask":
                    answers.append(ref.ask(n, block=False))
                elif what == "crash":
                    ref.cast(ValueError(n))
                elif what in acts:
                    ref.cast(bound(acts[what], n))
                else:
                    ref.cast(n)
            await advance(20.0)
            errors = [repr(answer.error) for answer in answers]
            return actor.got, ref.exit_reason, errors, system.dead_letters

    plain, watched = (run_virtual(story, is_watched) for is_watched in (False, True))
    assert plain == watched
