"""Starts that fail, in every way, however they were asked for: nothing is left of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    Crash,
    Custom,
    Down,
    Ignore,
    Ref,
    StartFailed,
    Stop,
    inspection,
)
from actors.runtime.unwinding import UNWIND_S
from actors.testkit import Probe, advance
from tests.actors.runtime.support import Puppet, do, puppet

Hook = Callable[[Puppet], Any]


def raising(error: BaseException) -> Hook:
    def hook(_self: Puppet) -> None:
        raise error

    return hook


async def hanging(_self: Puppet) -> None:
    await trio.sleep_forever()


FAILURES: dict[str, tuple[Hook, Any]] = {
    "stop": (raising(Stop(Custom("stopped"))), Custom("stopped")),
    "shutdown": (raising(Stop(SHUTDOWN)), SHUTDOWN),
    "fail": (raising(StartFailed(Custom("no room"))), Custom("no room")),
    "raise": (raising(ValueError("boom")), "ValueError"),
    "stop itself": (lambda self: self.stop(Custom("changed")), Custom("changed")),
    "kill itself": (lambda self: self.ref.exit(KILL), KILLED),
    "bad return": (lambda self: self.not_there(), "AttributeError"),  # type: ignore[attr-defined]  # the point
    "hang": (hanging, Custom("timeout")),
    "ignore": (raising(Ignore()), None),
}


class Starting(Puppet):
    """Does this at its start."""

    def __init__(self, hook: Hook) -> None:
        super().__init__()
        self.hook = hook

    def on_start(self) -> Any:
        self.send_after(1.0, "a timer to be left behind")
        return self.hook(self)


async def start(system: ActorSystem, hook: Hook, **options: Any) -> Any:
    """The reason of a failed start; None if it was not needed."""
    try:
        ref = await system.start(Starting, hook, timeout_s=1.0, **options)
    except StartFailed as failed:
        reason = failed.reason
        return reason.error if isinstance(reason, Crash) else reason
    assert ref is None
    return None


def left(system: ActorSystem) -> tuple[int, ...]:
    statistics = system.statistics()
    return (statistics.actors, statistics.named, statistics.timers, statistics.monitors)


@pytest.mark.otp("gen_server_SUITE.loop_start_fail", "proc_lib_SUITE.init_dont_hang")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["n", None])
@pytest.mark.parametrize("bound", ["", "link_to", "monitor_by"])
@pytest.mark.crashes
async def test_a_failing_start_tells_why_and_leaves_nothing(
    system: ActorSystem, failure: str, name: str | None, bound: str
) -> None:
    hook, expected = FAILURES[failure]
    parent = Probe(system)
    options = {bound: parent.ref} if bound else {}
    before = left(system)
    for _ in range(5):
        assert await start(system, hook, name=name, **options) == expected
        assert system.whereis("n") is None
        if failure == "hang":
            await advance(UNWIND_S)  # dead, but the system looks once whether its code has ended
        assert left(system) == before, "nothing is left when the result is there"
        if bound == "monitor_by":
            await parent.expect(Down)
        await parent.expect_nothing()  # told once; and a link's end is told by the start


@pytest.mark.otp("gen_server_SUITE.otp_7669")
@pytest.mark.parametrize("failure", ["ignore", "stop", "stop itself"])
async def test_a_name_is_not_seen_after_a_start_that_came_to_nothing(
    system: ActorSystem, failure: str
) -> None:
    hook, expected = FAILURES[failure]
    for _ in range(100):
        assert await start(system, hook, name="n") == expected
        assert system.whereis("n") is None


@pytest.mark.otp("proc_lib_SUITE.sync_start_link")
async def test_a_linked_start_waits_until_it_is_ready(system: ActorSystem) -> None:
    gate, parent, log = trio.Event(), await puppet(system), list[Any]()

    async def starting(self: Puppet) -> None:
        await gate.wait()
        log.append(system.links.is_linked(self.ref.id, parent.ref.id))

    async def starter() -> None:
        ref = await system.start(Starting, starting, link_to=parent.ref)
        log.append(ref)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(starter)
        await advance(10.0)
        assert log == []
        gate.set()
    assert log[0] is True
    assert isinstance(log[1], Ref)
    log[1].exit(Custom("why"))
    assert await parent.ref.wait_exit() == Custom("why")


@pytest.mark.otp("proc_lib_SUITE.otp_6345", "gen_server_SUITE.undef_init")
async def test_an_option_nobody_knows_starts_nothing(system: ActorSystem) -> None:
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: system.start(Puppet, link=True, monitor=True),
        lambda: system.start(Starting),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError):
            await attempt()
        assert left(system) == (0, 0, 0, 0)


@pytest.mark.otp("proc_lib_SUITE.spawn_opt")
async def test_what_an_actor_began_as_is_known(system: ActorSystem) -> None:
    parent = await puppet(system)
    plain = system.spawn(Puppet)
    bound = system.spawn(Puppet, link_to=parent.ref, monitor_by=parent.ref, name="n")
    child = await do(parent, lambda self: [Puppet.start()])
    for ref in (plain, bound, *child):
        status = await inspection.get_status(ref)
        assert status.initial_call == "tests.actors.runtime.support.Puppet"


@pytest.mark.otp("gen_server_SUITE.start", "names.local_release")
async def test_a_call_to_one_that_was_stopped_is_noproc(system: ActorSystem) -> None:
    actor = await puppet(system, name="n")
    ref = actor.ref
    ref.tell(lambda self: self.stop())
    assert await ref.wait_exit() == NORMAL
    assert system.whereis("n") is None
    with pytest.raises(ActorDied, match="noproc"):
        await ref.call("x")


@pytest.mark.otp("gen_server_SUITE.call")
async def test_another_may_give_the_answer(system: ActorSystem) -> None:
    front, back = await puppet(system), await puppet(system)

    def hand_on(self: Puppet) -> None:
        slot = self.defer_reply()
        back.ref.tell(lambda _self: slot.set("from the back"))

    assert await front.ref.call(hand_on) == "from the back"
