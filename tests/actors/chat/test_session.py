"""Stories of a session in trouble: what its devices are told then, and what they are not."""

from __future__ import annotations

import pytest
import trio

from actors.chat import commands
from actors.chat.channel import Channel
from actors.chat.messages import (
    HideMine,
    History,
    SubmitPost,
    ViewChanged,
    channel_name,
    dm_thread,
    session_name,
)
from actors.chat.session import Session
from persistence.errors import StoreUnavailable
from persistence.records import ClientId, ThreadId
from tests.actors.chat.conftest import GROUP, ask, settled
from tests.actors.chat.model.phone import Phone, Ticket
from tests.actors.chat.model.requests import Send
from tests.actors.chat.model.stage import Stage


def history(phone: Phone) -> Ticket:
    assert phone.socket is not None
    return phone.socket.ask(lambda caller: History(caller, GROUP, 100), lambda _: None)


async def test_posts_a_full_channel_refuses_wait_their_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = stage.phones[0]
    await stage.advance(125.0)  # the channel goes
    monkeypatch.setattr(Channel, "mailbox_max", 2)
    stage.troubles.held["log.claim"] = held = trio.Event()
    tickets = [ask(ann, Send(GROUP, str(number), f"c-{number}")) for number in range(2, 8)]
    await stage.advance(1.0)
    held.set()
    await stage.advance(1.0)
    tickets.append(ask(ann, Send(GROUP, "8", "c-8")))
    await settled(stage, *tickets)
    texts = [event.get("text") for event in await stage.log(GROUP)]
    assert texts[2:] == ["2", "3", "4", "5", "6", "7", "8"]


def send_to(phone: Phone, text: str, *, thread: str | None = None, person: str = "") -> Ticket:
    assert phone.socket is not None
    people = (person,) if person else ()
    return phone.socket.ask(
        lambda caller: SubmitPost(
            caller,
            ClientId(text),
            None if thread is None else ThreadId(thread),
            commands.Send(text),
            people,
        )
    )


async def test_a_look_up_holds_up_nothing_of_another_thread(stage: Stage) -> None:
    """Whom a name stands for is not known yet: somebody with a direct thread, but no group."""
    ann, bob, _ = stage.phones
    direct = dm_thread(ann.uid, bob.uid)
    await settled(stage, send_to(ann, "first", person=bob.uid))
    stage.troubles.held["accounts.by_name"] = held = trio.Event()
    tickets = [
        send_to(ann, "second", person="@bob"),
        send_to(ann, "third", thread=direct),
        send_to(ann, "aside", thread=GROUP),
    ]
    await stage.advance(1.0)
    assert [ticket.is_over for ticket in tickets] == [False, False, True]
    held.set()
    await settled(stage, *tickets)
    assert [event["text"] for event in await stage.log(direct)] == ["first", "second", "third"]


async def test_a_thread_that_is_looked_up_keeps_its_order(stage: Stage) -> None:
    """Also when it is known before those that wait have been passed on."""
    ann, bob, _ = stage.phones
    stage.kill(session_name(ann.uid))
    stage.kill(channel_name(GROUP))
    await stage.advance(130.0)
    stage.troubles.held["accounts.by_name"] = held = trio.Event()
    tickets = [
        send_to(ann, "elsewhere", person="@bob"),
        send_to(ann, "one", thread=GROUP),
        ask(bob, Send(GROUP, "of bob", "c-9")),
    ]
    await stage.advance(1.0)
    tickets.append(send_to(ann, "two", thread=GROUP))
    await stage.advance(1.0)
    assert [ticket.is_over for ticket in tickets] == [False, False, True, False]
    held.set()
    await settled(stage, *tickets)
    texts = [event.get("text") for event in await stage.log(GROUP)]
    assert texts[2:] == ["of bob", "one", "two"]


async def test_an_event_whose_request_was_given_up_is_delivered_like_any_other(
    stage: Stage,
) -> None:
    """The client was told that nobody knows; without the event it would never learn."""
    ann = stage.phones[0]
    stage.troubles.held["log.append"] = held = trio.Event()
    ticket = ask(ann, Send(GROUP, "late", "c-2"))
    await stage.advance(9.0)
    assert ticket.code == "timeout"
    held.set()
    await stage.advance(1.0)
    assert [event["seq"] for event in await stage.log(GROUP)] == [1, 2, 3]
    assert ann.applied[GROUP][-1].seq == 3
    assert ann.applied[GROUP][-1].is_pushed


async def test_what_a_user_deleted_for_themselves_stays_away_whatever_else_changes(
    stage: Stage,
) -> None:
    """A change of membership may come between a request for history and its page."""
    bob = stage.phones[1]
    assert bob.socket is not None
    hide = bob.socket.ask(lambda caller: HideMine(caller, GROUP, (2,)), lambda _: None)
    await settled(stage, hide)
    await settled(stage, history(bob))
    session = stage.system.whereis(session_name(bob.uid))
    assert session is not None
    page = history(bob)
    session.cast(ViewChanged(GROUP))
    await settled(stage, page)
    assert page.fields is not None
    assert page.fields["events"][1]["deleted"] is True


async def test_what_a_user_deleted_is_not_forgotten_by_a_look_up_under_way(stage: Stage) -> None:
    bob = stage.phones[1]
    assert bob.socket is not None
    stage.kill(session_name(bob.uid))
    await stage.advance(1.0)
    stage.troubles.held_after["threads.memberships"] = held = trio.Event()
    page = history(bob)
    await stage.advance(0.01)
    del stage.troubles.held_after["threads.memberships"]
    await stage.stores.threads.hide(bob.uid, GROUP, (2,))
    session = stage.system.whereis(session_name(bob.uid))
    assert session is not None
    session.cast(ViewChanged(GROUP))
    await stage.advance(0.01)
    held.set()
    await settled(stage, page)
    page = history(bob)
    await settled(stage, page)
    assert page.fields is not None
    assert page.fields["events"][1]["deleted"] is True


async def test_devices_hear_what_they_missed_when_the_store_is_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = stage.phones[1]
    memberships = stage.stores.threads.memberships

    async def away(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("for a while")

    monkeypatch.setattr(stage.stores.threads, "memberships", away)
    stage.kill(session_name(bob.uid))
    await stage.advance(2.5)
    bob.heads.clear()
    monkeypatch.setattr(stage.stores.threads, "memberships", memberships)
    await stage.advance(1.5)
    session = stage.system.whereis(session_name(bob.uid))
    assert session is not None
    assert session.incarnation == 2, "a store that is away is no fault of the session's"
    assert [(head["thread"], head["seq"]) for head in bob.heads] == [(GROUP, 2)]


async def test_a_look_up_that_hangs_holds_up_its_device_no_longer_than_a_post_may_take(
    stage: Stage,
) -> None:
    bob = stage.phones[1]
    stage.kill(session_name(bob.uid))
    await stage.advance(1.0)
    stage.troubles.held["threads.memberships"] = trio.Event()
    page = history(bob)
    await stage.advance(0.1)
    del stage.troubles.held["threads.memberships"]
    await stage.advance(9.0)
    assert page.code == "timeout"
    await settled(stage, history(bob))


async def test_a_session_that_cannot_keep_up_starts_over_and_makes_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event it had no room for would be missed by every device, and by nobody noticed."""
    bob = stage.phones[1]
    name = session_name(bob.uid)
    monkeypatch.setattr(Session, "mailbox_max", 20)
    stage.kill(name)
    await stage.advance(1.0)
    session = stage.system.whereis(name)
    assert session is not None
    bob.heads.clear()
    for _ in range(21):
        session.cast(ViewChanged(GROUP))
    await stage.advance(1.0)
    assert [(head["thread"], head["seq"]) for head in bob.heads] == [(GROUP, 2)]
