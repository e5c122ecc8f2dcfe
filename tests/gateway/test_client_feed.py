"""What arrives: every event once and in order, through jumps, losses, resets and reconnects."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.client import (
    Client,
    Closed,
    Event,
)
from gateway.client_feed import GRACE_S
from tests.gateway.client_stories import logged_in, seqs, take, until_live
from tests.gateway.fake_server import Cut, FakeLink, FakeServer, Frame, Refusal


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


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
        while True:  # tail safety: sooner or later everybody hears the heads
            await trio.sleep(1)
            for thread in list(server.logs) if server.links else []:
                seq = len(server.logs[thread])
                await server.link.push(e="head", thread=thread, seq=seq, n=seq, epoch=1)

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
        nursery.cancel_scope.cancel()
