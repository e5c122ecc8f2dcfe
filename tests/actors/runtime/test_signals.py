"""Exit signals by OTP's table (X1 to X10 of its reference manual, *Processes*), links, monitors."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from actors.runtime import (
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    Crash,
    Custom,
    Down,
    Exit,
    ExitReason,
    Ref,
)
from actors.runtime.exits import Kill
from actors.testkit import Probe, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, Trapper, do, puppet

WHY = Custom("why")


async def send(sender: Any, target: Ref, reason: ExitReason | Kill) -> None:
    await do(sender, lambda self: target.exit(reason))
    await settle()


async def linked(system: ActorSystem, actor: type[Puppet]) -> tuple[Any, Any]:
    """Two linked actors; the second is of this class."""
    a, b = await puppet(system), await puppet(system, actor)
    await do(a, lambda self: self.link(b.ref))
    return a, b


# ---------------------------------------------------------------------- the table


@pytest.mark.otp("signals.X1", "signals.links_symmetric")
async def test_x1_a_signal_of_a_link_undone_is_dropped(system: ActorSystem) -> None:
    a, b = await linked(system, Trapper)
    await do(b, lambda self: self.unlink(a.ref))
    a.ref.exit(WHY)
    await settle()
    assert b.got == []
    assert b.ref.is_alive()


@pytest.mark.otp("signals.X1")
async def test_x1_also_when_the_signal_is_on_its_way(system: ActorSystem) -> None:
    """An end is carried to its links one after the other; the end of an earlier one may undo the
    link of a later one."""
    a, first, later = await puppet(system), await puppet(system), await puppet(system, Trapper)
    ref: Ref = a.ref
    for other in (first, later):
        await do(other, lambda self: self.link(ref))
    first.ref.on_exit(lambda _ref, _reason: later.unlink(ref))
    ref.exit(WHY)
    await settle()
    assert first.ref.exit_reason == WHY
    assert later.got == []


@pytest.mark.otp("signals.X2")
async def test_x2_normal_from_another_is_dropped(system: ActorSystem) -> None:
    a, b = await puppet(system), await puppet(system)
    await send(a, b.ref, NORMAL)
    assert b.ref.is_alive()


@pytest.mark.otp("signals.X2")
async def test_x2_normal_from_no_actor_is_dropped(system: ActorSystem) -> None:
    b = await puppet(system)
    b.ref.exit(NORMAL)
    await settle()
    assert b.ref.is_alive()


@pytest.mark.otp("signals.X2")
async def test_x2_a_normal_end_leaves_the_linked_alone(system: ActorSystem) -> None:
    a, b = await linked(system, Puppet)
    await do(a, lambda self: self.stop())
    await settle()
    assert not a.ref.is_alive()
    assert b.ref.is_alive()


@pytest.mark.otp("signals.X3")
async def test_x3_normal_is_a_message_to_who_traps(system: ActorSystem) -> None:
    a, b = await puppet(system), Probe(system)
    await send(a, b.ref, NORMAL)
    assert b.messages == [Exit(a.ref, NORMAL)]


@pytest.mark.otp("signals.X4")
async def test_x4_normal_to_itself_ends(system: ActorSystem) -> None:
    a = await puppet(system)
    a.ref.tell(lambda self: self.ref.exit(NORMAL))
    assert await a.ref.wait_exit() == NORMAL


@pytest.mark.otp("signals.X4")
async def test_x4_also_from_a_task_of_its_own(system: ActorSystem) -> None:
    a = await puppet(system)

    async def work(ref: Ref) -> None:
        ref.exit(NORMAL)

    await do(a, lambda self: self.run_task(work, self.ref, on_done=print) and None)
    assert await a.ref.wait_exit() == NORMAL


@pytest.mark.otp("signals.X5", "gen_server.when_on_stop_runs")
@pytest.mark.parametrize("actor", [Puppet, Trapper, AsyncPuppet])
async def test_x5_kill_ends_anybody_and_reads_killed(system: ActorSystem, actor: type[Any]) -> None:
    a, b = await puppet(system), await puppet(system, actor)
    await send(a, b.ref, KILL)
    assert b.ref.exit_reason == KILLED


@pytest.mark.otp("signals.X6")
async def test_x6_killed_through_a_link_ends_with_the_same(system: ActorSystem) -> None:
    a, b = await linked(system, Puppet)
    a.ref.exit(KILL)
    assert await b.ref.wait_exit() == KILLED


@pytest.mark.otp("signals.X7", "signals.killed_is_trappable")
async def test_x7_killed_through_a_link_can_be_trapped(system: ActorSystem) -> None:
    ref, probe = system.spawn(Puppet), Probe(system)
    probe.link(ref)
    ref.exit(KILL)
    await probe.expect_exit(ref, KILLED)


@pytest.mark.otp("signals.X8")
@pytest.mark.parametrize("reason", [WHY, SHUTDOWN, NOPROC, KILLED, Crash("E", "m")])
async def test_x8_other_reasons_end_with_themselves(
    system: ActorSystem, reason: ExitReason
) -> None:
    a, b = await puppet(system), await puppet(system)
    await send(a, b.ref, reason)
    assert b.ref.exit_reason == reason


@pytest.mark.otp("signals.X8")
async def test_x8_through_a_link(system: ActorSystem) -> None:
    a, b = await linked(system, Puppet)
    a.ref.exit(WHY)
    assert await b.ref.wait_exit() == WHY


@pytest.mark.otp("signals.X9")
@pytest.mark.parametrize("reason", [WHY, SHUTDOWN, NOPROC, KILLED])
async def test_x9_other_reasons_are_messages_to_who_traps(
    system: ActorSystem, reason: ExitReason
) -> None:
    a, b = await puppet(system), Probe(system)
    await send(a, b.ref, reason)
    assert b.messages == [Exit(a.ref, reason)]


@pytest.mark.otp("signals.X10")
async def test_x10_linking_to_the_dead_is_a_signal_noproc(system: ActorSystem) -> None:
    dead, plain = await puppet(system), await puppet(system)
    trapper = Probe(system)
    dead_ref = dead.ref
    dead_ref.exit(WHY)
    trapper.link(dead_ref)
    await trapper.expect_exit(dead_ref, NOPROC)
    plain.ref.tell(lambda self: self.link(dead_ref))
    assert await plain.ref.wait_exit() == NOPROC


# ---------------------------------------------------------------------- who is the parent


@pytest.mark.otp("signals.X9", "gen_server.when_on_stop_runs")
async def test_a_parents_signal_ends_a_trapping_child_in_order(system: ActorSystem) -> None:
    stopped: list[str] = []

    class Child(Trapper):
        def on_stop(self) -> None:
            stopped.append("on_stop")

    parent = await puppet(system)
    child = await puppet(system, Child, supervisor=parent.ref, link_to=parent.ref)
    await send(parent, child.ref, SHUTDOWN)
    assert (stopped, child.got, child.ref.exit_reason) == (["on_stop"], [], SHUTDOWN)


@pytest.mark.otp("signals.X9", "gen_server.when_on_stop_runs")
async def test_a_parents_end_ends_a_trapping_child_in_order(system: ActorSystem) -> None:
    parent = await puppet(system)
    child = await puppet(system, Trapper, supervisor=parent.ref, link_to=parent.ref)
    parent.ref.exit(WHY)
    await settle()
    assert child.ref.exit_reason == WHY


async def test_without_a_supervisor_the_program_is_the_parent(system: ActorSystem) -> None:
    child = await puppet(system, Trapper)
    child.ref.exit(SHUTDOWN)
    assert await child.ref.wait_exit() == SHUTDOWN
    assert child.got == []


# ---------------------------------------------------------------------- links


@pytest.mark.otp("signals.links_symmetric")
async def test_linking_twice_is_one_link(system: ActorSystem) -> None:
    a, b = await puppet(system), Probe(system)
    ref = a.ref
    await do(a, lambda self: self.link(b.ref))
    b.link(ref)
    ref.exit(WHY)
    await b.expect_exit(ref, WHY)
    await b.expect_nothing()


@pytest.mark.otp("signals.links_symmetric")
async def test_a_link_binds_both_ways(system: ActorSystem) -> None:
    a, b = await linked(system, Puppet)
    b.ref.exit(WHY)
    assert await a.ref.wait_exit() == WHY


async def test_a_chain_of_any_length_ends(system: ActorSystem) -> None:
    """Ends are carried out one after the other: nested, this would exhaust the stack."""
    refs = [system.spawn(Puppet) for _ in range(3000)]
    for a, b in itertools.pairwise(refs):
        system.links.link(a.id, b.id)
    refs[0].exit(WHY)
    assert {ref.exit_reason for ref in refs} == {WHY}
    assert len(system.links) == 0


@pytest.mark.otp("signals.spawn_atomic", "gen_server_SUITE.start")
@pytest.mark.crashes
async def test_a_child_is_linked_before_it_can_end(system: ActorSystem) -> None:
    class Stillborn(Puppet):
        def on_start(self) -> None:
            raise ValueError

    parent = Probe(system)
    ref = system.spawn(Stillborn, link_to=parent.ref, monitor_by=parent.ref)
    await parent.expect_down(ref, Crash)
    await parent.expect_exit(ref, Crash)


@pytest.mark.otp("signals.spawn_atomic")
async def test_a_child_of_a_dead_parent_does_not_live(system: ActorSystem) -> None:
    parent = await puppet(system)
    ref = parent.ref
    ref.exit(KILL)
    child = system.spawn(Puppet, link_to=ref, monitor_by=ref)
    assert await child.wait_exit() == NOPROC
    assert len(system.links) == 0


# ---------------------------------------------------------------------- monitors


@pytest.mark.otp("signals.monitors_stack", "signals.monitor_by_name")
async def test_monitors_stack(system: ActorSystem) -> None:
    a, ref = Probe(system), system.spawn(Puppet, name="b")
    made = [a.watch(ref) for _ in range(3)]
    ref.exit(WHY)
    await settle()
    assert a.messages == [Down(monitor, ref, "b", WHY) for monitor in made]


@pytest.mark.otp("signals.monitors_stack")
async def test_a_monitor_does_not_bind(system: ActorSystem) -> None:
    a, b = await puppet(system), await puppet(system)
    await do(a, lambda self: self.monitor(b.ref))
    a.ref.exit(WHY)
    await settle()
    assert b.ref.is_alive()
    assert len(system.links) == 0


@pytest.mark.otp("signals.monitor_dead")
async def test_monitoring_the_dead_answers_noproc_at_once(system: ActorSystem) -> None:
    a, ref = Probe(system), system.spawn(Puppet)
    ref.exit(WHY)
    await a.expect(Down(a.watch(ref), ref, None, NOPROC), within_s=0)


@pytest.mark.otp("signals.demonitor")
async def test_after_demonitor_nothing_is_heard_even_of_what_was_on_its_way(
    system: ActorSystem,
) -> None:
    a, b = await puppet(system), await puppet(system)
    keep, drop = await do(a, lambda self: (self.monitor(b.ref), self.monitor(b.ref)))

    def end_it_and_look_away(self: Puppet) -> None:
        b.ref.exit(WHY)
        self.demonitor(drop)
        self.demonitor(drop)

    await do(a, end_it_and_look_away)
    await settle()
    assert [down.monitor for down in a.got] == [keep]


@pytest.mark.otp("signals.demonitor_owner")
async def test_a_monitor_is_ended_only_by_its_owner(system: ActorSystem) -> None:
    a, b, c = await puppet(system), await puppet(system), await puppet(system)
    monitor = await do(a, lambda self: self.monitor(b.ref))
    with pytest.raises(AssertionError):
        c.demonitor(monitor)
