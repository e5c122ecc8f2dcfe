"""Where pykka and OTP quarrel: what happens by default, and what each flag restores."""

from __future__ import annotations

import logging
from typing import Any

import pykka
import pytest
import trio

from actors.runtime import Actor, ActorDied, ActorSystem, PykkaActor, Ref
from actors.runtime.exits import Crash
from actors.testkit import Logs, Probe, capture_logs, settle
from tests.actors.runtime.support import AsyncPuppet, Puppet, puppet


class Oops(BaseException):
    pass


def test_pykkas_base_class_sets_every_flag() -> None:
    flags = {name for name in vars(PykkaActor) if not name.startswith("_")}
    assert flags == {
        "crash_on_ask_error", "pykka_registry", "pykka_names", "answers_unexpected_asks",
        "stop_behind_messages", "stopped_before_hooks", "stop_all_on_base_exception",
    }  # fmt: skip
    assert all(getattr(PykkaActor, flag) is not getattr(Actor, flag) for flag in flags)


# ---------------------------------------------------------------------- stop_behind_messages


@pytest.mark.parametrize("kind", [Puppet, AsyncPuppet])
async def test_an_actor_that_stops_itself_drops_what_waits(
    system: ActorSystem, kind: type[Actor]
) -> None:
    actor: Any = await puppet(system, kind)
    actor.ref.tell(lambda self: (self.ref.tell("waits"), self.stop()))
    await settle()
    assert (actor.got, actor.ref.is_alive()) == ([], False)


@pytest.mark.parametrize("kind", [Puppet, AsyncPuppet])
async def test_by_pykkas_rule_it_handles_what_waits_first(
    system: ActorSystem, kind: type[Actor]
) -> None:
    class Patient(kind):  # type: ignore[misc,valid-type]  # both kinds by turns
        stop_behind_messages = True

    actor = await puppet(system, Patient)
    actor.ref.tell(lambda self: (self.ref.tell("waits"), self.stop(), self.ref.tell("too late")))
    await settle()
    assert (actor.got, actor.ref.is_alive()) == (["waits"], False)


async def test_by_pykkas_rule_a_supervisor_still_goes_first(system: ActorSystem) -> None:
    class Patient(Puppet):
        stop_behind_messages = True

    actor = await puppet(system, Patient)
    actor.ref.tell("waits")
    await system.stop(actor.ref)
    assert actor.got == []


async def test_by_pykkas_rule_a_full_mailbox_does_not_keep_it_alive(system: ActorSystem) -> None:
    class Patient(Puppet):
        stop_behind_messages = True
        mailbox_max = 1

    actor = await puppet(system, Patient)
    actor.ref.tell(lambda self: (self.ref.tell("fills it"), self.stop()))
    await settle()
    assert (actor.got, actor.ref.is_alive()) == ([], False)


# ---------------------------------------------------------------------- stopped_before_hooks


class Watched(Puppet):
    """Notes what others see of it in its last hooks."""

    pykka_registry = True

    def __init__(self, seen: list[tuple[bool, bool]]) -> None:
        super().__init__()
        self.seen = seen

    def on_stop(self) -> None:
        self.seen.append((self.ref.is_alive(), self.ref in pykka.ActorRegistry.get_all()))

    def on_failure(self, *_error: Any) -> None:
        self.on_stop()


class WatchedByPykkasRule(Watched):
    stopped_before_hooks = True


@pytest.mark.parametrize(
    ("kind", "counts"), [(Watched, (True, True)), (WatchedByPykkasRule, (False, False))]
)
@pytest.mark.parametrize("ends", [lambda self: self.stop(), RuntimeError("x")])
@pytest.mark.crashes
async def test_whether_it_counts_as_alive_in_its_last_hooks(
    system: ActorSystem, kind: type[Watched], counts: tuple[bool, bool], ends: Any
) -> None:
    seen: list[tuple[bool, bool]] = []
    actor = system.spawn(kind, seen)
    actor.tell(ends)
    await actor.wait_exit()
    assert seen == [counts]
    assert actor not in pykka.ActorRegistry.get_all()


async def test_by_either_rule_monitors_hear_after_the_last_hook(system: ActorSystem) -> None:
    class Slow(Puppet):
        stopped_before_hooks = True

        async def on_stop(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep(1)

    slow, watcher = await puppet(system, Slow), Probe(system)
    slow.ref.tell(lambda self: self.stop())
    await settle()
    ref = slow.ref
    watcher.watch(ref)
    await watcher.expect_nothing()
    assert (ref.is_alive(), ref.exit_reason) == (False, None)
    await watcher.expect_down(ref, within_s=1.0)


# ---------------------------------------------------------------------- the others


@pytest.mark.crashes
async def test_by_pykkas_rule_the_failure_of_an_ask_is_the_askers(system: ActorSystem) -> None:
    class Tolerant(Puppet):
        crash_on_ask_error = False

    tolerant, strict = await puppet(system, Tolerant), await puppet(system)
    with pytest.raises(LookupError), capture_logs(level=logging.INFO) as logs:
        await tolerant.ref.call(LookupError())
    assert logs.messages == [f"Exception returned from {tolerant.ref} to caller:"]
    with pytest.raises(ActorDied):
        await strict.ref.call(LookupError())
    assert (tolerant.ref.is_alive(), strict.ref.is_alive()) == (True, False)


@pytest.mark.crashes
async def test_what_is_no_exception_ends_one_actor_or_by_pykkas_rule_all(
    system: ActorSystem,
) -> None:
    class Listed(Puppet):
        pykka_registry = True

    class Drastic(Listed):
        stop_all_on_base_exception = True
        stopped = False

        def on_stop(self) -> None:
            type(self).stopped = True

    def fail(_self: Any) -> None:
        raise Oops

    bystander = await puppet(system, Listed)
    contained, drastic = await puppet(system, Listed), await puppet(system, Drastic)
    contained.ref.tell(fail)
    await settle()
    assert (contained.ref.is_alive(), bystander.ref.is_alive()) == (False, True)
    drastic.ref.tell(fail)
    await settle()
    assert not bystander.ref.is_alive()
    assert Drastic.stopped
    assert isinstance(drastic.ref.exit_reason, Crash)


async def test_by_pykkas_rule_it_is_named_by_its_urn(system: ActorSystem) -> None:
    class Named(Puppet):
        pykka_names = True

    ours, theirs = await puppet(system, name="n"), await puppet(system, Named, name="m")
    assert (str(ours.ref), str(theirs.ref)) == ("Puppet n#1", f"Named ({theirs.actor_urn})")
    assert repr(theirs.ref) == f"<ActorRef for Named ({theirs.actor_urn})>"


@pytest.mark.crashes
async def test_by_pykkas_rule_an_unexpected_ask_is_answered_none(
    system: ActorSystem, logs: Logs
) -> None:
    class Mild(Actor):
        answers_unexpected_asks = True

    mild, strict = system.spawn(Mild), system.spawn(Actor)
    assert await mild.call("x") is None
    logs.expect("Unexpected message received by Mild 1: str")
    with pytest.raises(ActorDied):
        await strict.call("x")


async def test_by_pykkas_rule_a_crash_is_logged_in_its_words(
    system: ActorSystem, logs: Logs
) -> None:
    class Named(Puppet):
        pykka_names = True

    actor = await puppet(system, Named)
    actor.ref.tell(LookupError("x"))
    await settle()
    logs.expect(f"Unhandled exception in {actor.ref}:")


async def test_a_urn_is_made_once_and_differs(system: ActorSystem) -> None:
    refs = [system.spawn(Puppet) for _ in range(2)]
    assert refs[0].actor_urn == refs[0].actor_urn == refs[0]._actor.actor_urn
    assert refs[0].actor_urn != refs[1].actor_urn
    never_started = Puppet()
    assert never_started.actor_urn in str(never_started)


async def test_an_error_to_the_dead_names_them(system: ActorSystem) -> None:
    ref: Ref = (await puppet(system)).ref
    await system.stop(ref)
    with pytest.raises(ActorDied, match=f"{ref} not found"):
        ref.tell("x")
