"""A client against a server that misbehaves on request: what is sent arrives, and every way a
connection can begin and end is lived through."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.client import (
    ClientError,
    Closed,
    ConnectFailed,
    OutcomeUnknown,
    RequestError,
    TimedOut,
    connect,
)
from tests.gateway.client_stories import (
    SOON_S,
    always,
    connected,
    logged_in,
    seqs,
    take,
    until_live,
)
from tests.gateway.fake_server import Cut, FakeLink, FakeServer, Frame, Refusal


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


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


async def test_a_state_that_cannot_be_kept_is_told_and_everything_is_closed(
    server: FakeServer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    state = tmp_path / "folder" / "state.json"

    async def lose_the_folder() -> None:
        async with logged_in(server, state_path=str(state)) as client:
            await server.post("t")
            await take(client, 1)
            state.unlink()
            state.parent.rmdir()

    with pytest.raises(ClientError, match=r"state\.json: No such file"):
        await lose_the_folder()  # at the login, for there is no folder yet
    with pytest.raises(ClientError, match="Is a directory"):
        await connect("ws://127.0.0.1:1/ws", state_path=str(tmp_path)).__aenter__()
    state.parent.mkdir()
    with pytest.raises(ClientError, match=r"state\.json: No such file"):
        await lose_the_folder()
    assert not state.parent.exists()
    with pytest.raises(ZeroDivisionError):
        async with connected(server, state_path=str(state)):
            raise ZeroDivisionError


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
        server.write("left long ago")
    server.removed = ["left long ago"]
    async with logged_in(server, start="now") as client:
        await until_live(client)
        await server.post("t")
        await server.post("fresh")
        events = await take(client, 2)
        assert [(e["thread"], e["seq"]) for e in events] == [("t", 6), ("fresh", 1)]
        await server.link.cut()
        assert await until_live(client) == []


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
