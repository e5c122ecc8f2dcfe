"""Stories of a channel in trouble: what it was about to write, and whom it was about to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from actors.chat.channel import _Tick
from actors.chat.messages import Caller, Mark, SubmitMark, channel_name, session_name
from actors.chat.services import JOURNAL
from actors.runtime import SHUTDOWN, Custom
from persistence.errors import StoreUnavailable
from persistence.records import Append, Cursor, Failed, Outcome, Span
from tests.actors.chat.conftest import GROUP, ask, settled
from tests.actors.chat.model.phone import Phone
from tests.actors.chat.model.requests import Add, Send, Update
from tests.actors.chat.model.stage import Fault, Stage


def read(phone: Phone, seq: int) -> None:
    """`read` without an id, as clients send it."""
    assert phone.socket is not None
    phone.socket.ask(lambda caller: SubmitMark(caller, GROUP, None, seq, False), awaited=False)


async def cursor(stage: Stage, phone: Phone) -> Cursor | None:
    """What the store holds, whatever the channel says."""
    summaries = await stage.stores.log.summaries({GROUP: Span()}, {GROUP: (phone.uid,)})
    return summaries[GROUP].cursors.get(phone.uid)


async def epoch_of(stage: Stage) -> int:
    return (await stage.stores.log.summaries({GROUP: Span()}, {}))[GROUP].head.epoch


async def test_a_receipt_is_written_when_the_journal_is_back(stage: Stage) -> None:
    bob = stage.phones[1]
    stage.troubles.held["log.append"] = trio.Event()
    read(bob, 2)
    await stage.advance(1.1)
    stage.kill(JOURNAL)
    del stage.troubles.held["log.append"]
    await stage.advance(3.0)
    assert await cursor(stage, bob) == Cursor(2, 2, 1)


async def test_a_receipt_on_its_way_keeps_a_quiet_channel_up(stage: Stage) -> None:
    """Nobody would send it again: it has no id, and so no answer."""
    bob = stage.phones[1]
    channel = stage.system.whereis(channel_name(GROUP))
    assert channel is not None
    stage.clock.jump(121.0)
    channel.cast(Mark(Caller(bob.uid, 1, 0), None, 2, answered=False))
    channel.deliver_control(_Tick.IDLE)
    await stage.advance(2.0)
    assert await cursor(stage, bob) == Cursor(2, 2, 1)


async def test_a_journal_that_dies_after_its_commit_is_none_of_the_channels_business(
    stage: Stage,
) -> None:
    """The commit is durable and being projected: nothing is to be settled."""
    ann, _, cat = stage.phones
    epoch = await epoch_of(stage)
    stage.troubles.held["threads.project"] = held = trio.Event()
    tickets = [ask(ann, Add(GROUP, (cat.uid,))), ask(ann, Send(GROUP, "welcome", "c-2"))]
    await stage.advance(0.1)
    stage.kill(JOURNAL)
    await stage.advance(0.1)
    held.set()
    await settled(stage, *tickets)
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3, 4]
    assert await epoch_of(stage) == epoch


async def test_a_commit_that_hangs_is_settled(stage: Stage) -> None:
    """A store that never answers holds up nobody for longer than the deadline."""
    ann = stage.phones[0]
    stage.troubles.held["log.append"] = trio.Event()
    ticket = ask(ann, Send(GROUP, "anybody there?", "c-2"))
    await stage.advance(0.1)
    del stage.troubles.held["log.append"]
    await settled(stage, ticket)
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3]


async def test_a_read_that_hangs_does_not_hold_a_thread_up_for_ever(stage: Stage) -> None:
    ann = stage.phones[0]
    stage.troubles.held["threads.project"] = trio.Event()
    ticket = ask(ann, Update(GROUP, "grove"))
    await stage.advance(0.1)
    del stage.troubles.held["threads.project"]
    await stage.settle([ticket])
    await stage.advance(5.0)
    await settled(stage, ask(ann, Send(GROUP, "go on", "c-3")))


async def test_a_post_that_can_never_be_committed_does_not_go_round_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in what is written, not in the store: no claim makes it better."""
    claims = 0
    claim = stage.stores.log.claim

    async def broken(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("no such append can be written")

    async def counted(*args: Any) -> Any:
        nonlocal claims
        claims += 1
        return await claim(*args)

    monkeypatch.setattr(stage.stores.log, "append", broken)
    monkeypatch.setattr(stage.stores.log, "claim", counted)
    ticket = ask(stage.phones[0], Send(GROUP, "poison", "c-2"))
    assert await stage.settle([ticket])
    assert ticket.code == "timeout"
    assert claims < 20


async def test_what_was_committed_is_announced_after_a_long_outage_though_nobody_asks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel crashed until it was retired, and its sender is gone with all that knew of it."""
    ann, bob, _ = stage.phones
    claim = stage.stores.log.claim

    async def away(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("for a while")

    monkeypatch.setattr(stage.stores.log, "claim", away)
    stage.arm([Fault.LOST_ANSWER], GROUP, ann)
    stage.troubles.held_after["log.append"] = answered = trio.Event()
    ask(ann, Send(GROUP, "did it arrive?", "c-2"))
    await stage.advance(0.0)
    ann.disconnect()
    stage.kill(session_name(ann.uid))
    await stage.advance(0.1)
    answered.set()
    await stage.advance(8.0)
    assert bob.last(GROUP) == 2
    monkeypatch.setattr(stage.stores.log, "claim", claim)
    await stage.advance(6.0)
    assert bob.last(GROUP) == 3


async def test_receipts_are_written_before_an_orderly_end(stage: Stage) -> None:
    """A server that is told to stop loses none, though nobody awaits an answer to them."""
    bob = stage.phones[1]
    read(bob, 2)
    await stage.settle()
    root = stage.system.whereis("root")
    assert root is not None
    root.exit(SHUTDOWN)
    await stage.advance(1.0)
    assert not root.is_alive()
    assert await cursor(stage, bob) == Cursor(2, 2, 1)


async def test_a_store_that_is_away_does_not_keep_a_channel_from_ending(stage: Stage) -> None:
    stage.troubles.held["log.append"] = trio.Event()
    read(stage.phones[1], 2)
    await stage.settle()
    root = stage.system.whereis("root")
    assert root is not None
    root.exit(SHUTDOWN)
    await stage.advance(2.0)
    assert not root.is_alive()


async def test_a_channel_that_is_told_to_end_by_nobody_of_its_own_ends(stage: Stage) -> None:
    channel = stage.system.whereis(channel_name(GROUP))
    assert channel is not None
    channel.exit(Custom("because"))
    await stage.advance(1.0)
    assert channel.exit_reason == Custom("because")
    assert stage.system.whereis(channel_name(GROUP)) is not None


async def test_a_claim_that_hangs_is_made_again(stage: Stage) -> None:
    ann = stage.phones[0]
    stage.troubles.held["log.claim"] = trio.Event()
    stage.kill(channel_name(GROUP))
    await stage.advance(0.1)
    del stage.troubles.held["log.claim"]
    await settled(stage, ask(ann, Send(GROUP, "go on", "c-2")))


async def test_an_append_that_fails_alone_is_settled_by_a_claim(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that commits threads one by one tells of each; this one was written all the same."""
    ann, epoch, append = stage.phones[0], await epoch_of(stage), stage.stores.log.append

    async def lost_once(batch: Sequence[Append]) -> Sequence[Outcome]:
        monkeypatch.undo()
        await append(batch)
        return [Failed(False, "no answer")] * len(batch)

    monkeypatch.setattr(stage.stores.log, "append", lost_once)
    await settled(stage, ask(ann, Send(GROUP, "once", "c-2")))
    assert await epoch_of(stage) == epoch + 1
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3]


async def test_an_append_that_surely_failed_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, epoch = stage.phones[0], await epoch_of(stage)

    async def refuse(batch: Sequence[Append]) -> Sequence[Outcome]:
        return [Failed(True, "no quorum")] * len(batch)

    monkeypatch.setattr(stage.stores.log, "append", refuse)
    ticket = ask(ann, Send(GROUP, "never", "c-2"))
    assert await stage.settle([ticket])
    assert ticket.code == "unavailable"
    assert await epoch_of(stage) == epoch


async def test_old_repeats_of_more_than_one_draft_are_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each draft meets one repeat that the channel no longer remembers. Forgetting the one before
    it, the channel would plan that as new, and go round for ever."""
    monkeypatch.setattr("actors.chat.channel.BATCH_EVENTS_MAX", 1)
    monkeypatch.setattr("actors.chat.channel_state.RECENT_EVENTS_MAX", 2)
    ann, *_ = stage.phones
    for number in range(6):
        await settled(stage, ask(ann, Send(GROUP, f"text {number}", f"m-{number}")))
    written = await stage.log(GROUP)
    append, appends = stage.stores.log.append, 0

    async def counted(batch: Sequence[Append]) -> Sequence[Outcome]:
        nonlocal appends
        appends += 1
        if appends > 20:
            await trio.sleep_forever()
        return await append(batch)

    monkeypatch.setattr(stage.stores.log, "append", counted)
    held = stage.troubles.held["log.append"] = trio.Event()
    tickets = [ask(ann, Send(GROUP, "new", "c-new"))]
    tickets += [ask(ann, Send(GROUP, f"text {number}", f"m-{number}")) for number in range(3)]
    await stage.advance(0.1)
    del stage.troubles.held["log.append"]
    held.set()
    await settled(stage, *tickets)
    assert [event["text"] for event in (await stage.log(GROUP))[len(written) :]] == ["new"]


async def test_a_repeat_stays_one_though_what_was_planned_with_it_is_refused(stage: Stage) -> None:
    ann, bob, _ = stage.phones
    stage.troubles.held_after["log.append"] = held = trio.Event()
    first = ask(ann, Send(GROUP, "go", "c-2"))
    await stage.advance(0.1)
    repeat = ask(ann, Send(GROUP, "hello", "c-1"))
    new = ask(bob, Send(GROUP, "on", "c-3"))
    await stage.advance(0.1)
    stage.troubles.waiting = [Fault.REFUSED]
    del stage.troubles.held_after["log.append"]
    held.set()
    assert await stage.settle([first, repeat, new])
    assert (new.fields, new.code) == (None, "unavailable")
    assert repeat.fields is not None
    assert (repeat.fields["seq"], repeat.fields["dup"]) == (2, True)
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3]
