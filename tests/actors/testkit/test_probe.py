"""A probe tells what came, in which order, and fails with words that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import trio

from actors.runtime import KILL, KILLED, NOPROC, NORMAL, Actor, ActorDied, ActorSystem, Crash, Down
from actors.testkit import Logs, Probe, ScriptedCrash, settle


@dataclass(frozen=True)
class Order:
    dish: str
    table: int


class Waiter(Actor):
    """Tells the kitchen, after a second each time."""

    def __init__(self, kitchen: Any) -> None:
        super().__init__()
        self.kitchen = kitchen

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise message
        self.send_after(1.0, message, to=self.kitchen)


async def test_the_next_message_is_expected_by_type_value_predicate_or_fields(
    system: ActorSystem,
) -> None:
    probe = Probe(system)
    for message in ("soup", 3, 2.5, 7, Order("pie", 3)):
        probe.ref.tell(message)
    assert await probe.expect(str) == "soup"
    assert await probe.expect(3) == 3
    assert await probe.expect(int | float) == 2.5
    assert await probe.expect(lambda message: message > 5) == 7
    assert (await probe.expect(Order, table=3, dish=str)).dish == "pie"
    await probe.expect_nothing()


async def test_anything_will_do(system: ActorSystem) -> None:
    probe = Probe(system)
    probe.ref.tell(None)
    assert await probe.expect() is None


async def test_waiting_takes_loop_time_and_no_other(system: ActorSystem) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    waiter.tell("soup")
    assert await probe.expect("soup", within_s=1.0) == "soup"
    assert trio.current_time() == 1.0
    waiter.tell("pie")
    with pytest.raises(AssertionError, match=r"within 0\.9 s, and got nothing more"):
        await probe.expect("pie", within_s=0.9)
    assert await probe.expect("pie", within_s=0.2) == "pie"
    await probe.expect_nothing(for_s=1000.0)
    assert trio.current_time() == pytest.approx(1002.0)


async def test_within_no_time_comes_what_needs_none(system: ActorSystem) -> None:
    probe = Probe(system)
    probe.ref.tell("soup")
    assert await probe.expect(within_s=0) == "soup"
    with pytest.raises(AssertionError, match="nothing more"):
        await probe.expect(within_s=0)


async def test_a_failure_shows_everything_that_arrived(system: ActorSystem) -> None:
    probe = Probe(system, name="kitchen")
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    probe.ref.tell("soup")
    waiter.tell(Order("pie", 3))
    await probe.expect("soup")
    with pytest.raises(AssertionError) as failed:
        await probe.expect(Order, table=4)
    order = f"Order {Order('pie', 3)!r}"
    assert str(failed.value).splitlines() == [
        f"ProbeActor kitchen#1 expected Order(table=int 4), and got {order}",
        "arrived, in order:",
        "       0.000 s  str 'soup'",
        f">      1.000 s  {order}",
    ]


async def test_a_failure_says_if_the_probe_is_dead(system: ActorSystem) -> None:
    probe = Probe(system)
    probe.ref.exit(KILL)
    with pytest.raises(AssertionError, match=r"itself has ended: Killed\(\)\nnothing has arrived"):
        await probe.expect(str)


async def test_a_misspelt_field_is_no_mismatch(system: ActorSystem) -> None:
    probe = Probe(system)
    probe.ref.tell(Order("pie", 3))
    with pytest.raises(AttributeError, match="tabel"):
        await probe.expect(Order, tabel=3)


async def test_what_comes_unexpectedly_is_shown(system: ActorSystem) -> None:
    probe = Probe(system)
    probe.ref.tell("soup")
    with pytest.raises(AssertionError, match=r"expected nothing for 0\.0 s, and got str 'soup'"):
        await probe.expect_nothing()
    await probe.expect_nothing()


async def test_fishing_passes_over_what_is_not_wanted(system: ActorSystem) -> None:
    probe = Probe(system)
    for message in ("soup", "bread", 3, "pie"):
        probe.ref.tell(message)
    assert await probe.fish(int) == 3
    assert await probe.expect() == "pie"
    assert probe.messages == ["soup", "bread", 3, "pie"]


async def test_fishing_ends_at_its_time_however_much_comes(system: ActorSystem) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    waiter._actor.send_every(1.0, "soup")
    with pytest.raises(AssertionError, match=r"to fish int within 4\.5 s"):
        await probe.fish(int, within_s=4.5)
    assert (trio.current_time(), probe.messages) == (4.5, ["soup"] * 3)


async def test_an_ask_is_answered_by_the_test(system: ActorSystem) -> None:
    probe = Probe(system)
    answers: list[Any] = []

    async def ask(question: str) -> None:
        try:
            answers.append(await probe.ref.call(question))
        except LookupError as error:
            answers.append(error.args)

    async with trio.open_nursery() as nursery:
        for question in ("soup?", "pie?"):
            nursery.start_soon(ask, question)
            await probe.expect(question)
            if question == "soup?":
                probe.reply("yes")
            else:
                probe.reply_error(LookupError("none left"))
            await settle()
    assert answers == ["yes", ("none left",)]


async def test_only_an_ask_is_answered(system: ActorSystem) -> None:
    probe = Probe(system)
    with pytest.raises(AssertionError, match="expected an ask to answer, and got nothing"):
        probe.reply("yes")
    probe.ref.tell("soup")
    await probe.expect()
    with pytest.raises(AssertionError, match="an ask to answer, and got str 'soup'"):
        probe.reply("yes")


async def test_an_ask_nobody_answers_ends_with_the_probe(system: ActorSystem) -> None:
    probe = Probe(system)
    asked = probe.ref.ask("soup?", block=False)
    await probe.expect("soup?")
    probe.ref.exit(KILL)
    with pytest.raises(ActorDied):
        await asked


async def test_ends_are_expected_of_an_actor_or_a_monitor(system: ActorSystem, logs: Logs) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    first, second = probe.watch(waiter), probe.watch(waiter)
    waiter.tell(ScriptedCrash("told to"))
    assert await probe.expect_down(first) == await probe.expect_down(second, Crash)
    probe.watch(waiter)
    assert await probe.expect_down(waiter, NOPROC) == NOPROC
    logs.expect("crashed")


async def test_an_end_for_another_reason_is_not_the_expected_one(system: ActorSystem) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    probe.watch(waiter)
    waiter.exit(KILL)
    with pytest.raises(AssertionError, match=r"expected Down\(ref=.*reason=Normal .*got Down"):
        await probe.expect_down(waiter, NORMAL)


async def test_linked_ends_are_exits(system: ActorSystem) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    probe.link(waiter)
    waiter.exit(KILL)
    assert await probe.expect_exit(waiter) == KILLED
    assert probe.ref.is_alive()


async def test_ends_go_before_traffic_as_in_any_mailbox(system: ActorSystem) -> None:
    probe = Probe(system)
    waiter = await system.start(Waiter, probe.ref)
    assert waiter is not None
    probe.watch(waiter)
    probe.ref.tell("soup")
    waiter.exit(KILL)
    await settle()
    assert [type(message) for message in probe.messages] == [Down, str]
