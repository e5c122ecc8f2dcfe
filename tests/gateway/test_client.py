"""The client against a server that misbehaves on request: what is sent arrives, what was posted
is delivered once and in order, and every way a connection can end is lived through."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.client import (
    Client,
    ClientError,
    Closed,
    ConnectFailed,
    Event,
    OutcomeUnknown,
    RequestError,
    TimedOut,
    connect,
)
from gateway.client_feed import GRACE_S
from tests.gateway.fake_server import Cut, FakeLink, FakeServer, Frame, Handler, Refusal

URL = "ws://fake/ws"
SOON_S = 120.0
"""Virtual: every test is over by then."""


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


@asynccontextmanager
async def logged_in(server: FakeServer, **options: Any) -> AsyncIterator[Client]:
    with trio.fail_after(SOON_S):
        async with connected(server, **options) as client:
            await client.login("alice", "correct horse")
            yield client


def connected(server: FakeServer, **options: Any) -> Client:
    options.setdefault("rng", random.Random(7))
    return connect(URL, open_stream=server.open_stream, **options)


async def take(client: Client, count: int, *kinds: str) -> list[Event]:
    """The next events of these kinds (or of those with a seq)."""
    taken: list[Event] = []
    async for event in client.events():
        if event["e"] in kinds or (not kinds and "seq" in event):
            taken.append(event)
            if len(taken) == count:
                break
    return taken


async def until_live(client: Client) -> list[Event]:
    """Wait for the connection; the other events that came before."""
    others: list[Event] = []
    async for event in client.events():
        if event["e"] != "connection":
            others.append(event)
        elif event["state"] == "live":
            break
    return others


def always(answer: Frame) -> Handler:
    return lambda link, frame: answer


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events]


# --------------------------------------------------------------------------------------- sending


async def test_the_ok_to_a_send_is_its_delivery(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        reply = await client.send("hi", to="u2")
        assert (reply["thread"], reply["seq"]) == ("d:u1:u2", 1)
        [event] = await take(client, 1)
        assert event == server.logs["d:u1:u2"][0]


async def test_a_send_is_repeated_with_its_cid_until_answered(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    def written_but_cut(link: FakeLink, frame: Frame) -> Frame:
        server.do_send(link, frame)
        raise Cut

    def cut(link: FakeLink, frame: Frame) -> Frame:
        raise Cut

    server.on["send"].extend([cut, written_but_cut, cut])
    async with logged_in(server) as client:
        reply = await client.send("hi", thread="t")
        assert reply["dup"] is True
        await client.send("again", thread="t")
        events = await take(client, 2)
        assert [event["text"] for event in events] == ["hi", "again"]
        assert len({frame["cid"] for frame in server.asked("send")[:4]}) == 1
        assert len(server.logs["t"]) == 2


async def test_a_temporary_refusal_is_waited_out(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    def slow_down(link: FakeLink, frame: Frame) -> Frame:
        raise Refusal("rate_limited", temporary=True, retry_ms=700)

    server.on["send"].append(slow_down)
    async with logged_in(server) as client:
        began_s = trio.current_time()
        await client.send("hi", thread="t")
        assert trio.current_time() - began_s >= 0.7


async def test_a_lasting_refusal_is_raised(server: FakeServer, autojump_clock: MockClock) -> None:
    def blocked(link: FakeLink, frame: Frame) -> Frame:
        raise Refusal("blocked")

    server.on["send"].append(blocked)
    async with logged_in(server) as client:
        with pytest.raises(RequestError) as caught:
            await client.send("hi", to="u2")
        assert (caught.value.code, caught.value.temporary) == ("blocked", False)


async def test_an_answer_that_comes_too_late_still_delivers(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server, reply_s=1.0) as client:
        server.on["send"].append(lambda link, frame: None)
        with pytest.raises(TimedOut):
            await client.send("hi", thread="t", cid="c1", timeout_s=0.5)
        request = server.asked("send")[-1]
        await server.link.send(
            {"op": "ok", "id": request["id"], **server.do_send(server.link, request)}
        )
        [event] = await take(client, 1)
        assert event["cid"] == "c1"
        assert (await client.send("hi", thread="t", cid="c1"))["dup"] is True


async def test_what_must_not_be_done_twice_is_not_repeated(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    def cut(link: FakeLink, frame: Frame) -> Frame:
        raise Cut

    server.on["group.add"].append(cut)
    async with logged_in(server) as client:
        with pytest.raises(OutcomeUnknown):
            await client.add_members("t", ["u2"])
        assert len(server.asked("group.add")) == 1


# ------------------------------------------------------------------------------------ the feed


async def test_pushed_events_come_in_order_and_once(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        first = await server.post("t", text="1")
        await server.link.push(**first)
        await server.post("t", text="2")
        assert seqs(await take(client, 2)) == [1, 2]
        assert server.asked("history") == []


async def test_a_jump_is_filled_from_history_page_by_page(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        for _ in range(250):
            server.write("t")
        await server.post("t")
        assert seqs(await take(client, 251)) == list(range(1, 252))
        assert [frame["after"] for frame in server.asked("history")] == [0, 100, 200]


@pytest.mark.parametrize("notice", ["head", "gap"])
async def test_being_told_of_a_newer_head_is_enough(
    server: FakeServer, notice: str, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        server.write("t")
        server.write("t")
        fields = {"seq": 2, "n": 2, "epoch": 4} if notice == "head" else {"have": 0, "head": 2}
        await server.link.push(e=notice, thread="t", **fields)
        assert seqs(await take(client, 2)) == [1, 2]


async def test_an_answer_overtaken_by_the_next_event_costs_no_fetch(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        kept: list[Frame] = []

        def later(link: FakeLink, frame: Frame) -> None:
            kept.append({"op": "ok", "id": frame["id"], **server.do_send(link, frame)})

        server.on["send"].append(later)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await client.send("mine", thread="t")

            await trio.sleep(GRACE_S / 4)
            await server.post("t", text="theirs")
            await trio.sleep(GRACE_S / 4)
            await server.link.send(kept[0])
        assert [event["text"] for event in await take(client, 2)] == ["mine", "theirs"]
        assert server.asked("history") == []


async def test_a_gap_beside_an_unanswered_request_is_filled_after_a_grace(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        server.on["send"].append(lambda link, frame: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.request("send", thread="t", text="?", retry=True))
            await trio.sleep(0.1)
            server.write("t")
            await server.post("t")
            assert seqs(await take(client, 2)) == [1, 2]
            nursery.cancel_scope.cancel()


async def test_what_a_request_wrote_beyond_a_message_is_read_from_the_log(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await client.send("hi", thread="t")
        await client.react("t", 1, "+1")
        events = await take(client, 2)
        assert events == server.logs["t"]


async def test_a_head_that_is_not_in_the_log_is_given_up_on(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await server.link.push(e="head", thread="t", seq=9, n=9, epoch=1)
        await trio.sleep(60)
        assert client.statistics()["threads_behind"] == 0


async def test_state_events_pass_through(server: FakeServer, autojump_clock: MockClock) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        await server.link.push(e="cursor", thread="t", user="u2", read=3)
        assert await take(client, 1, "cursor") == [
            {"e": "cursor", "thread": "t", "user": "u2", "read": 3}
        ]


async def test_an_application_that_does_not_listen_loses_nothing(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server, queue_events=10) as client:
        await until_live(client)
        for _ in range(100):
            await server.post("t")
        await trio.sleep(1)
        assert client.statistics()["queued_events"] <= 10
        for _ in range(3):
            await client.send("mine", thread="t")
        assert seqs(await take(client, 103)) == list(range(1, 104))


async def test_messages_handed_over_are_acknowledged_once_per_thread(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        for _ in range(5):
            await server.post("t")
        await client.send("mine", thread="t")
        await take(client, 6)
        with trio.move_on_after(2):
            await take(client, 1)
        assert [(f["thread"], f["seq"]) for f in server.asked("recv")] == [("t", 5)]


# --------------------------------------------------------------------------------- reconnecting


async def test_after_a_cut_sync_brings_what_was_missed(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    server.sync_page = 10
    async with logged_in(server) as client:
        await server.post("a")
        assert seqs(await take(client, 1)) == [1]
        await server.link.cut()
        for _ in range(25):
            server.write("a")
            server.write("b")
        events = await take(client, 50)
        assert seqs([e for e in events if e["thread"] == "a"]) == list(range(2, 27))
        assert seqs([e for e in events if e["thread"] == "b"]) == list(range(1, 26))
        assert server.asked("auth")[0]["token"] == "t1"
        assert server.asked("sync")[1]["cursors"] == {"a": 1}
        assert server.opened == 2


async def test_events_pushed_during_the_sync_fall_under_the_same_rule(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await server.post("t")
        await take(client, 1)
        server.write("t")

        def meanwhile(link: FakeLink, frame: Frame) -> Frame:
            reply = server.do_sync(link, frame)
            server.nursery.start_soon(server.post, "t")
            return reply

        server.on["sync"].append(meanwhile)
        await server.link.cut()
        assert seqs(await take(client, 2)) == [2, 3]


async def test_a_log_shorter_than_the_cursor_is_reset(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        for _ in range(5):
            await server.post("t")
        await take(client, 5)
        del server.logs["t"][4:]
        await server.link.cut()
        events = await take(client, 4)
        assert [(e["e"], e["seq"]) for e in events] == [
            ("reset", 1),
            ("msg", 2),
            ("msg", 3),
            ("msg", 4),
        ]
        await server.post("t")
        assert seqs(await take(client, 1)) == [5]


async def test_removal_found_out_by_sync_is_told_once(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await server.post("t")
        await take(client, 1)
        server.removed = ["t"]
        notices: list[Event] = []
        for _ in range(2):
            await server.link.cut()
            notices += await until_live(client)
        await server.post("z")
        assert (await take(client, 1))[0]["thread"] == "z"
        assert notices == [{"e": "removed", "thread": "t"}]


async def test_the_way_of_a_connection_is_told(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        [live] = await take(client, 1, "connection")
        await server.link.close(4009, "slow consumer")
        lost, back = await take(client, 2, "connection")
        assert (live["state"], lost["state"], back["state"]) == ("live", "lost", "live")
        assert lost["code"] == 4009


async def test_a_draining_server_is_left_alone_for_a_while(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        await server.link.close(4012, "drain", retry_ms=3000)
        began_s = trio.current_time()
        lost, _live = await take(client, 2, "connection")
        assert lost["code"] == 4012
        assert 3.0 <= trio.current_time() - began_s <= 4.6


@pytest.mark.parametrize("code", [4002, 4006, 4007, 4014])
async def test_a_close_for_good_ends_the_client(
    server: FakeServer, code: int, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        await server.link.close(code, "enough")
        with pytest.raises(Closed) as caught:
            await take(client, 1)
        assert caught.value.code == code
        with pytest.raises(Closed):
            await client.contacts()
        assert server.opened == 1


async def test_a_revoked_token_ends_the_client_at_reconnect(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)

        def revoked(link: FakeLink, frame: Frame) -> Frame:
            raise Refusal("token_invalid")

        server.on["auth"].append(revoked)
        await server.link.cut()
        with pytest.raises(Closed) as caught:
            await take(client, 1)
        assert caught.value.code == 4004
        assert client.token is None


async def test_heartbeats_are_sent_at_the_pace_of_hello(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await trio.sleep(60)
        assert client.live
        assert 15 <= len(server.asked("hb")) <= 20
        assert server.opened == 1


async def test_a_server_that_falls_silent_is_given_up(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        server.link.silent = True
        lost, _live = await take(client, 2, "connection")
        assert lost["code"] is None
        assert server.opened == 2


async def test_a_server_that_is_away_is_awaited(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await until_live(client)
        server.refusing = True
        await server.link.cut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.send("hi", thread="t"))
            await trio.sleep(40)
            server.refusing = False
        assert [event["text"] for event in await take(client, 1)] == ["hi"]


# ------------------------------------------------------------------------ beginning and ending


async def test_a_first_connection_that_fails_is_raised(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    server.refusing = True
    with pytest.raises(ConnectFailed, match="nobody is listening"):
        async with connected(server):
            pass


async def test_a_patient_client_waits_for_its_server(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    server.refusing = True

    async def come_up() -> None:
        await trio.sleep(20)
        server.refusing = False

    server.nursery.start_soon(come_up)
    with trio.fail_after(SOON_S):
        async with connected(server, patient=True) as client:
            await client.login("alice", "correct horse")
    assert trio.current_time() >= 20


async def test_an_exception_of_the_application_comes_out_as_it_is(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with logged_in(server):
            raise ZeroDivisionError


async def test_nobody_logged_in_means_no_reconnecting_until_somebody_asks(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with connected(server) as client:
        await trio.testing.wait_all_tasks_blocked()
        await server.link.close(4003, "not authenticated in time")
        await trio.sleep(60)
        assert server.opened == 1
        await client.login("alice", "correct horse")
        assert server.opened == 2


async def test_logging_out_ends_the_events_quietly(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        await client.logout()
        async for _ in client.events():
            pass
        assert client.token is None
        with pytest.raises(Closed):
            await client.contacts()


async def test_a_client_restarted_with_its_state_goes_on_where_it_was(
    server: FakeServer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    state = str(tmp_path / "state.json")
    async with logged_in(server, state_path=state) as client:
        for _ in range(5):
            await server.post("t")
        assert seqs(await take(client, 3)) == [1, 2, 3]
    async with connected(server, state_path=state) as client:
        assert await client.auth() == "u1"
        assert seqs(await take(client, 2)) == [4, 5]
    assert len(server.asked("login")) == 1


async def test_an_event_whose_handling_failed_comes_again_after_the_restart(
    server: FakeServer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    state = str(tmp_path / "state.json")

    async def fail_at_the_second() -> None:
        async with logged_in(server, state_path=state) as client:
            await server.post("t")
            await server.post("t")
            await take(client, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_at_the_second()
    async with connected(server, state_path=state) as client:
        assert seqs(await take(client, 1)) == [2]


async def test_a_new_device_may_begin_with_what_comes(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    for _ in range(5):
        server.write("t")
    async with logged_in(server, start="now") as client:
        await until_live(client)
        await server.post("t")
        await server.post("fresh")
        events = await take(client, 2)
        assert [(e["thread"], e["seq"]) for e in events] == [("t", 6), ("fresh", 1)]
        assert server.asked("sync") == []


async def test_presence_is_polled_no_sooner_than_the_server_wishes(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    answers: list[Frame] = [
        {"st": {"u2": {"on": True}, "u3": {"on": False, "last": 5}}, "v": 1, "next_ms": 10000},
        {"st": {"u2": {"on": False, "last": 9}}, "v": 2, "next_ms": 10000},
    ]
    for answer in answers:
        server.on["presence"].append(always(answer))
    async with logged_in(server) as client:
        first = await client.presence(["u2", "u3"])
        assert await client.presence(["u3", "u2"]) == first
        await trio.sleep(10)
        second = await client.presence(["u2", "u3"])
        assert second == {"u2": {"on": False, "last": 9}, "u3": {"on": False, "last": 5}}
        assert [frame.get("v") for frame in server.asked("presence")] == [None, 1]


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not the URL"):
        connect("ftp://x")


async def test_auth_without_a_token_is_refused(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with connected(server) as client:
        with pytest.raises(ClientError, match="no token"):
            await client.auth()


# ---------------------------------------------------------------------------------- everything


@pytest.mark.parametrize("seed", range(6))
async def test_through_cuts_losses_and_repeats_everything_comes_once_in_order(
    server: FakeServer, seed: int, autojump_clock: MockClock
) -> None:
    """Three threads, pushes lost and repeated, links cut before and after answers."""
    rng = random.Random(seed)
    server.sync_page = 7
    total = 120

    async def misbehave() -> None:
        for _ in range(total):
            thread = rng.choice("abc")
            fate = rng.random()
            if fate < 0.3:
                server.write(thread)
            else:
                event = await server.post(thread)
                if fate < 0.45 and server.links:
                    await server.link.push(**event)
            if rng.random() < 0.06 and server.links:
                await server.link.cut()
            await trio.sleep(rng.random() / 5)

    def cut(link: FakeLink, frame: Frame) -> Frame:
        if rng.random() < 0.5:
            server.do_send(link, frame)
        raise Cut

    async def chatter(client: Client) -> None:
        for number in range(30):
            if rng.random() < 0.3:
                server.on["send"].append(cut)
            await client.send(f"mine {number}", thread=rng.choice("abc"))

    async with logged_in(server, rng=rng) as client, trio.open_nursery() as nursery:
        nursery.start_soon(misbehave)
        nursery.start_soon(chatter, client)
        events = await take(client, total + 30, "msg")
        for thread in "abc":
            assert [e for e in events if e["thread"] == thread] == server.logs[thread]
