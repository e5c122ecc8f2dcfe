"""Requests, sets of them, calls to many, and the synchronous stop: outcomes are values, late ones
are nobody's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from outcome import Error, Value

from actors.runtime import (
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    CallError,
    CallingSelf,
    CallTimeout,
    Crash,
    Custom,
    ProcessGroups,
    Ref,
    RequestSet,
    Shutdown,
    abcast,
    inspection,
    multicall,
    send_request,
)
from actors.testkit import advance, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, do, puppet

KINDS = [Puppet, AsyncPuppet]


def after(delay_s: float, value: Any) -> Any:
    async def act(_actor: Any) -> Any:
        await trio.sleep(delay_s)
        return value

    return act


async def sleepers(system: ActorSystem, *delays_s: float) -> RequestSet:
    """A set of requests, each answered with its label after its delay."""
    requests = RequestSet()
    for delay_s in delays_s:
        actor = await puppet(system, AsyncPuppet)
        requests.send(actor.ref, after(delay_s, delay_s), delay_s)
    return requests


def reason_of(outcome: Any) -> Any:
    assert isinstance(outcome, Error)
    assert isinstance(outcome.error, CallError)
    return outcome.error.reason


# ---------------------------------------------------------------------- one


@pytest.mark.otp("gen_server_SUITE.send_request")
async def test_a_request_can_be_waited_for_again(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    request = send_request(actor.ref, after(2.0, "it"))
    assert await request.wait(0.0) is None
    assert await request.wait(1.0) is None
    assert await request.wait(5.0) == Value("it")
    assert await request.wait(0.0) == await request.receive(0.0) == Value("it")
    assert system.late_replies == 0


@pytest.mark.otp("gen_server_SUITE.send_request")
async def test_what_is_not_received_in_time_is_abandoned(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    request = send_request(actor.ref, after(2.0, "it"))
    assert reason_of(await request.receive(1.0)) == Custom("timeout")
    await advance(2.0)
    assert request.outcome is None
    assert system.late_replies == 1


@pytest.mark.otp("gen_server_SUITE.send_request")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.crashes
async def test_a_failure_is_an_outcome(system: ActorSystem, kind: type[Any]) -> None:
    actor, dead = await puppet(system, kind), system.spawn(Puppet)
    dead.exit(KILL)
    assert reason_of(await send_request(dead, 1).wait()) == NOPROC
    crashing = send_request(actor.ref, ValueError("boom"))
    assert isinstance(reason_of(await crashing.wait()), Crash)


async def test_a_cancelled_wait_leaves_the_request(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    request = send_request(actor.ref, after(2.0, "it"))
    with trio.move_on_after(1.0):
        await request.wait()
    assert await request.wait() == Value("it")


# ---------------------------------------------------------------------- sets


@pytest.mark.otp(
    "gen_server_SUITE.send_request_wait_reqid_collection",
    "gen_server_SUITE.send_request_check_reqid_collection",
)
async def test_outcomes_come_in_the_order_they_are_there(system: ActorSystem) -> None:
    requests = await sleepers(system, 3.0, 1.0, 2.0)
    assert (len(requests), requests.labels()) == (3, [3.0, 1.0, 2.0])
    assert [await requests.wait() for _ in range(3)] == [
        (1.0, Value(1.0)),
        (2.0, Value(2.0)),
        (3.0, Value(3.0)),
    ]
    assert len(requests) == 0
    assert await requests.wait() is None


@pytest.mark.otp("gen_server_SUITE.send_request_wait_reqid_collection")
async def test_waiting_too_short_keeps_the_requests(system: ActorSystem) -> None:
    requests = await sleepers(system, 1.0, 3.0)
    assert await requests.wait() == (1.0, Value(1.0))
    assert await requests.wait(1.0) is None
    assert len(requests) == 1
    assert await requests.wait() == (3.0, Value(3.0))
    assert system.late_replies == 0


@pytest.mark.otp("gen_server_SUITE.send_request_receive_reqid_collection")
async def test_receiving_too_late_abandons_the_requests(system: ActorSystem) -> None:
    requests = await sleepers(system, 1.0, 3.0, 4.0)
    assert await requests.receive() == (1.0, Value(1.0))
    assert await requests.receive(1.0) is None
    assert len(requests) == 0
    await advance(5.0)
    assert system.late_replies == 2


@pytest.mark.otp(
    "gen_server_SUITE.send_request_receive_reqid_collection",
    "gen_server_SUITE.send_request_wait_reqid_collection",
    "gen_server_SUITE.send_request_check_reqid_collection",
)
async def test_adding_twice_is_an_error(system: ActorSystem) -> None:
    actor = await puppet(system)
    request = send_request(actor.ref, "x")
    requests = RequestSet()
    requests.add(request, "label")
    with pytest.raises(ValueError, match="already"):
        requests.add(request, "other")
    assert await requests.wait() == ("label", Value("x"))
    requests.add(request, "answered already")
    assert await requests.wait(0.0) == ("answered already", Value("x"))


async def test_all_results_share_one_deadline(system: ActorSystem) -> None:
    requests = await sleepers(system, 1.0, 2.0, 4.0)
    assert [label async for label, _ in requests.results(3.0)] == [1.0, 2.0]
    assert requests.labels() == [4.0]


# ---------------------------------------------------------------------- many


@pytest.mark.otp("gen_server_SUITE.multicall", "gen_server_SUITE.multicall_down")
async def test_a_call_to_many_tells_who_answered_and_who_did_not(system: ActorSystem) -> None:
    groups = ProcessGroups(system)
    actors = [await puppet(system) for _ in range(3)]
    refs = [actor.ref for actor in actors]
    groups.join("all", refs)
    answers, bad = await multicall(groups.members("all"), "x")
    assert (answers, bad) == (dict.fromkeys(refs, "x"), {})
    refs[1].exit(KILL)
    answers, bad = await multicall(refs, "y")
    assert list(answers) == [refs[0], refs[2]]
    assert [(ref, error.reason) for ref, error in bad.items()] == [(refs[1], NOPROC)]  # type: ignore[attr-defined]  # a CallError


@pytest.mark.otp("gen_server_SUITE.multicall_remote")
@pytest.mark.crashes
async def test_a_call_to_many_has_one_deadline_and_no_late_answers(system: ActorSystem) -> None:
    crashing, suspended = await puppet(system), await puppet(system)
    slow, dead = await puppet(system, AsyncPuppet), system.spawn(Puppet)
    await inspection.suspend(suspended.ref)
    dead.exit(KILL)
    client = await puppet(system, AsyncPuppet)

    async def act(actor: Any) -> None:
        begun_s = trio.current_time()
        refs = [crashing.ref, suspended.ref, slow.ref, dead]
        actor.results = await multicall(refs, after(5.0, "late"), timeout_s=0.1)
        actor.took_s = trio.current_time() - begun_s

    await client.ref.call(act)
    answers, bad = client.results
    assert (answers, len(bad)) == ({}, 4)
    assert client.took_s == pytest.approx(0.1)
    await inspection.resume(suspended.ref)
    await advance(10.0)
    assert client.got == []


@pytest.mark.otp("gen_server_SUITE.cast", "gen_server_SUITE.abcast")
async def test_casts_reach_whoever_is_there(system: ActorSystem) -> None:
    actors = [await puppet(system) for _ in range(3)]
    refs = [actor.ref for actor in actors]
    refs[1].exit(KILL)
    abcast(refs, "x")
    assert refs[0].cast("y") is True
    assert refs[1].cast("y") is False
    await settle()
    assert [actors[0].got, actors[2].got] == [["x", "y"], ["x"]]


@pytest.mark.otp(
    "gen_server_SUITE.call_with_huge_message_queue",
    "gen_server_SUITE.multicall_recv_opt_success",
    "gen_server_SUITE.multicall_recv_opt_timeout",
)
async def test_an_answer_does_not_queue_behind_what_its_asker_has_waiting(
    system: ActorSystem,
) -> None:
    """OTP times it. Here answers are never in the mailbox, so there is nothing to be searched."""

    class Busy(AsyncPuppet):
        mailbox_max = 50_000

    client, server = await puppet(system, Busy), await puppet(system)
    slow = await puppet(system, AsyncPuppet)

    async def act(actor: Any) -> list[int]:
        for _ in range(Busy.mailbox_max):
            actor.ref.tell("waiting")
        for n in range(100):
            assert await server.ref.call(n) == n
        answers, bad = await multicall([server.ref], "x")
        assert (answers, bad) == ({server.ref: "x"}, {})
        _, bad = await multicall([slow.ref], after(5.0, None), timeout_s=0.1)
        assert len(bad) == 1
        return [len(actor.ref._cell.mailbox), len(actor.got)]

    assert await client.ref.call(act) == [Busy.mailbox_max, 0]


# ---------------------------------------------------------------------- to itself


@pytest.mark.otp("gen_server_SUITE.calling_self")
async def test_a_call_to_itself_fails_at_once(system: ActorSystem) -> None:
    actor = await puppet(system, AsyncPuppet)
    seen: list[Any] = []

    async def act(self: Any) -> None:
        for attempt in (self.ref.call("me"), inspection.stop(self.ref)):
            with pytest.raises(CallingSelf) as failed:
                await attempt
            seen.append(failed.value.reason)

    begun_s = trio.current_time()
    await actor.ref.call(act)
    assert seen == [Custom("calling_self")] * 2
    assert trio.current_time() == begun_s


# ---------------------------------------------------------------------- the synchronous stop


@pytest.mark.otp(
    "gen_server_SUITE.stop1",
    "gen_server_SUITE.stop2",
    "gen_server_SUITE.stop3",
    "gen_server_SUITE.stop5",
    "proc_lib_SUITE.stop",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), Custom("why")])
@pytest.mark.parametrize("is_by_name", [True, False])
async def test_a_stop_waits_for_the_end_with_its_reason(
    system: ActorSystem, kind: type[Any], reason: Any, is_by_name: bool
) -> None:
    stopped: list[str] = []

    class Stopping(kind):  # type: ignore[misc]  # one of two known classes
        async def on_stop(self) -> None:
            await trio.sleep(1.0)
            stopped.append("on_stop")

    actor = await puppet(system, Stopping, name="n")
    ref: Ref = actor.ref
    target = "n" if is_by_name else ref
    ref.tell("waiting traffic")
    await inspection.stop(target, reason)
    assert (ref.exit_reason, stopped, system.whereis("n")) == (reason, ["on_stop"], None)
    with pytest.raises(ActorDied) as failed:
        await inspection.stop(target, reason)
    assert failed.value.reason == NOPROC
    assert (await puppet(system, name="n")).incarnation == 2


@pytest.mark.otp("gen_server_SUITE.stop4")
@pytest.mark.parametrize("timeout_s", [-1.0, math.nan])
async def test_a_stop_with_an_invalid_deadline_leaves_it_alive(
    system: ActorSystem, timeout_s: float
) -> None:
    actor = await puppet(system)
    with pytest.raises(ValueError, match="deadline"):
        await inspection.stop(actor.ref, NORMAL, timeout_s)
    assert await actor.ref.call("still here") == "still here"


@pytest.mark.otp("proc_lib_SUITE.stop")
@pytest.mark.crashes
async def test_an_end_for_another_reason_is_told(system: ActorSystem) -> None:
    class Failing(Puppet):
        def on_stop(self) -> None:
            raise KeyError("in the end")

    class Slow(Puppet):
        async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep(3.0)

    failing, slow = await puppet(system, Failing), await puppet(system, Slow)
    with pytest.raises(ActorDied) as failed:
        await inspection.stop(failing.ref)
    assert isinstance(failed.value.reason, Crash)
    ref = slow.ref
    with pytest.raises(CallTimeout):
        await inspection.stop(ref, timeout_s=1.0)
    assert ref.is_alive(), "it is not killed"
    system.timers.call_after(1.0, lambda: ref.exit(KILL))
    with pytest.raises(ActorDied) as failed:
        await inspection.stop(ref)
    assert failed.value.reason == KILLED


# ---------------------------------------------------------------------- information


@pytest.mark.otp("gen_server_SUITE.info")
@pytest.mark.parametrize("kind", KINDS)
async def test_plain_messages_arrive_also_later_and_may_stop(
    system: ActorSystem, kind: type[Any]
) -> None:
    actor = await puppet(system, kind)
    ref = actor.ref
    ref.tell("info")
    await do(actor, lambda self: self.send_after(1.0, "later"))
    await advance(1.1)
    assert actor.got == ["info", "later"]
    ref.tell(lambda self: self.stop(Custom("from info")))
    assert await ref.wait_exit() == Custom("from info")
