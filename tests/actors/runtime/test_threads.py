"""Sending and asking from other threads. Real time: a thread's work does not count as waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest
import trio

from actors.runtime import (
    KILL,
    KILLED,
    ActorSystem,
    MailboxFull,
    Ref,
    ReplySlot,
    open_system,
)
from tests.actors.runtime.support import AsyncPuppet, Puppet

TIMEOUT_S = 20.0
"""For what should take no time."""


def in_real_time(story: Callable[[ActorSystem], Any]) -> None:
    async def run() -> None:
        with trio.fail_after(TIMEOUT_S):
            async with open_system() as system:
                await story(system)

    trio.run(run)


async def start(system: ActorSystem, kind: type[Any] = Puppet, **options: Any) -> Ref:
    ref = await system.start(kind, **options)
    assert ref is not None
    return ref


def test_messages_of_a_thread_arrive_all_and_in_order() -> None:
    async def story(system: ActorSystem) -> None:
        for kind in (Puppet, AsyncPuppet):
            ref = await start(system, kind)

            def send(ref: Ref = ref) -> None:
                for number in range(500):
                    ref.tell(number)

            await trio.to_thread.run_sync(send)
            await ref.call("end")
            assert ref._actor.got == [*range(500), "end"]

    in_real_time(story)


def test_many_threads_at_once_lose_nothing() -> None:
    async def story(system: ActorSystem) -> None:
        ref = await start(system)

        def send(thread: int) -> None:
            for number in range(200):
                assert ref.cast((thread, number))

        async with trio.open_nursery() as nursery:
            for thread in range(4):
                nursery.start_soon(trio.to_thread.run_sync, send, thread)
        await ref.call("end")
        got = [message for message in ref._actor.got if message != "end"]
        for thread in range(4):
            assert [n for t, n in got if t == thread] == list(range(200))

    in_real_time(story)


def test_a_message_from_a_thread_wakes_the_parked_loop() -> None:
    async def story(system: ActorSystem) -> None:
        ref, came = await start(system), trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        assert system.dispatcher.is_parked
        thread = threading.Thread(target=lambda: ref.tell(lambda _self: came.set()))
        thread.start()
        await came.wait()
        thread.join()

    in_real_time(story)


def test_a_thread_may_ask_and_stop_blocking() -> None:
    async def story(system: ActorSystem) -> None:
        ref = await start(system)

        def work() -> list[Any]:
            return [ref.ask("x"), ref.proxy().got.get(), ref.stop(), ref.stop()]

        assert await trio.to_thread.run_sync(work) == ["x", ["x"], True, False]

    in_real_time(story)


def test_a_thread_hears_of_the_dead_and_the_full() -> None:
    class Full(Puppet):
        mailbox_max = 1

        async def on_start(self) -> None:  # type: ignore[override]  # pykka: sync
            await trio.sleep_forever()

    async def story(system: ActorSystem) -> None:
        dead, full = await start(system), system.spawn(Full)
        dead.exit(KILL)
        full.tell("fills it")

        def work() -> None:
            with pytest.raises(pykka.ActorDeadError):
                dead.ask("x")
            with pytest.raises(MailboxFull):
                full.ask("x")
            with pytest.raises(pykka.Timeout):
                system_ref.ask(lambda self: self.defer_reply(), timeout=0.01)

        system_ref = await start(system)
        await trio.to_thread.run_sync(work)

    in_real_time(story)


def test_a_slot_may_be_answered_from_a_thread() -> None:
    async def story(system: ActorSystem) -> None:
        ref = await start(system)

        def act(self: Puppet) -> None:
            slot: ReplySlot = self.defer_reply()
            threading.Thread(target=slot.set, args=("from a thread",)).start()

        assert await ref.call(act) == "from a thread"
        assert await ref.ask(act, block=False) == "from a thread"

    in_real_time(story)


def test_a_thread_may_end_an_actor() -> None:
    async def story(system: ActorSystem) -> None:
        ref = await start(system)
        await trio.to_thread.run_sync(ref.exit, KILL)
        assert await ref.wait_exit() == KILLED

    in_real_time(story)


def test_after_the_loop_threads_are_told_and_do_not_hang() -> None:
    refs: queue.Queue[Ref] = queue.Queue()

    async def story(system: ActorSystem) -> None:
        refs.put(await start(system))

    in_real_time(story)
    ref = refs.get()
    answers: list[Any] = []

    def work() -> None:
        answers.append(ref.cast("into the void"))
        for send in (ref.tell, ref.ask):
            try:
                send("x")
            except pykka.ActorDeadError as error:
                answers.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(TIMEOUT_S)
    assert answers == [False, f"{ref} not found", f"{ref} not found"]
