"""The terminal client, typed at and listened to through a terminal made of lists."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from gateway.chat import Chat
from gateway.chat_terminal import StdTerminal
from gateway.client import Client, Closed, connect
from tests.gateway.fake_server import FakeServer

SOON_S = 60.0


class ListTerminal:
    """Lines typed by a test; lines shown, kept."""

    def __init__(self) -> None:
        self.typed, self._lines = trio.open_memory_channel[str](100)
        self.shown: list[str] = []
        self._changed = trio.lowlevel.ParkingLot()

    async def read(self) -> str | None:
        try:
            return await self._lines.receive()
        except trio.EndOfChannel:
            return None

    def write(self, line: str) -> None:
        self.shown.extend(line.split("\n"))
        self._changed.unpark_all()

    async def type(self, *lines: str) -> None:
        for line in lines:
            await self.typed.send(line)

    async def see(self, text: str) -> str:
        """Wait for a line that contains this."""
        with trio.fail_after(SOON_S):
            while True:
                for line in self.shown:
                    if text in line:
                        return line
                await self._changed.park()


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


@asynccontextmanager
async def logged_in(server: FakeServer) -> AsyncIterator[Client]:
    with trio.fail_after(10 * SOON_S):
        rng = random.Random(3)
        async with connect(
            "ws://fake", open_stream=server.open_stream, start="now", rng=rng
        ) as client:
            await client.login("alice", "correct horse")
            yield client


@asynccontextmanager
async def chatting(server: FakeServer) -> AsyncIterator[ListTerminal]:
    """A running chat, which is left by the end of input."""
    async with logged_in(server) as client:
        terminal = ListTerminal()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Chat(client, terminal).run)
            await terminal.see("connected")
            yield terminal
            await terminal.typed.aclose()


async def test_a_typed_line_is_sent_and_shown_with_its_tick(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with chatting(server) as terminal:
        await terminal.type("/open @bob", "hello")
        line = await terminal.see("you: hello")
        assert line.endswith(" #1 you: hello ✓")
        assert server.asked("send")[0]["to"] == "u2"


async def test_ticks_follow_the_receipts(server: FakeServer, autojump_clock: MockClock) -> None:
    async with chatting(server) as terminal:
        await terminal.type("/open @bob", "hello")
        await terminal.see("you: hello")
        await server.link.push(e="cursor", thread="d:u1:u2", user="u2", recv=1)
        await terminal.see("#1 ✓✓ delivered")
        await server.link.push(e="cursor", thread="d:u1:u2", user="u2", read=1)
        await terminal.see("#1 ✓✓ read")


async def test_incoming_lines_show_author_and_time_and_are_marked_read(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    server.write("d:u1:u2", text="first", ts=0)
    async with chatting(server) as terminal:
        await terminal.type("/open 1")
        await terminal.see("#1 Bobby: first")
        await server.post("d:u1:u2", text="second")
        await terminal.see("#2 Bobby: second")
        await server.post("g1", text="elsewhere", **{"from": "u3"})
        assert (await terminal.see("elsewhere")).startswith("[Family] ")
        await trio.sleep(1)
        assert [frame["seq"] for frame in server.asked("read")] == [1, 2]


async def test_nothing_people_write_can_control_the_terminal(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with chatting(server) as terminal:
        await terminal.type("/open @carol")
        await server.post("d:u1:u3", text="a\x1b]0;x\x07\r\u202eb\x9bc\u2028", **{"from": "u3"})
        line = await terminal.see("Carol")
        line = await terminal.see("a]0;xbc")
        assert line.endswith("Carol[31m: a]0;xbc")
        assert all(character.isprintable() for shown in terminal.shown for character in shown)


async def test_a_group_is_made_and_filled(server: FakeServer, autojump_clock: MockClock) -> None:
    async with chatting(server) as terminal:
        await terminal.type("/new Summer Trip @bob", "/add @carol", "hi all", "/members")
        await terminal.see("── Summer Trip")
        await terminal.see("you: hi all")
        await terminal.see("Bobby (member)")
        assert server.asked("group.create")[0]["members"] == ["@bob"]
        assert server.asked("group.add")[0] == {
            "op": "group.add",
            "id": server.asked("group.add")[0]["id"],
            "thread": "g1",
            "users": ["@carol"],
        }


async def test_history_goes_back_page_by_page(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    for number in range(1, 31):
        server.write("d:u1:u2", text=f"line {number}.", ts=0)
    async with chatting(server) as terminal:
        await terminal.type("/open @bob")
        await terminal.see("(more: /history)")
        assert not any("line 10." in line for line in terminal.shown)
        await terminal.type("/history")
        await terminal.see("(this is the beginning)")
        assert any("line 1." in line for line in terminal.shown)


async def test_contacts_presence_and_list(server: FakeServer, autojump_clock: MockClock) -> None:
    server.write("d:u1:u2", text="x")
    async with chatting(server) as terminal:
        await terminal.type("/contacts", "/presence", "/list", "/add @carol")
        await terminal.see("Bobby @bob")
        await terminal.see("Bobby: online")
        await terminal.see("  1 Bobby")
        await terminal.see("Carol[31m is in your contacts")


async def test_mistakes_are_told_and_forgotten(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with chatting(server) as terminal:
        await terminal.type("hello?", "/dance", "/open @nobody", "/open 99", "/edit x", "/help")
        await terminal.see("! no chat is open")
        await terminal.see("! no such command")
        await terminal.see("! there is no user @nobody")
        await terminal.see("! there is no chat called 99")
        await terminal.see("! which message?")
        await terminal.see("/quit")


async def test_a_lost_connection_is_told_and_lines_typed_meanwhile_arrive(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with chatting(server) as terminal:
        await terminal.type("/open @bob")
        await terminal.see("── Bobby")
        server.refusing = True
        await server.link.cut()
        await terminal.see("disconnected")
        await terminal.type("one", "two", "//three")
        server.refusing = False
        await terminal.see("you: /three")
        assert [event["text"] for event in server.logs["d:u1:u2"]] == ["one", "two", "/three"]


async def test_at_the_end_of_input_what_was_typed_is_still_sent(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        terminal = ListTerminal()
        await terminal.type("/open @bob", *(f"line {number}" for number in range(20)))
        await terminal.typed.aclose()
        await Chat(client, terminal).run()
        assert len(server.logs["d:u1:u2"]) == 20


async def test_a_session_ended_by_the_server_ends_the_chat(
    server: FakeServer, autojump_clock: MockClock
) -> None:
    async with logged_in(server) as client:
        terminal = ListTerminal()
        server.nursery.start_soon(close_soon, server)
        with pytest.raises(Closed, match="revoked"):
            await Chat(client, terminal).run()


async def close_soon(server: FakeServer) -> None:
    await trio.sleep(5)
    await server.link.close(4006, "session revoked")


async def test_the_standard_terminal_reads_lines_from_a_pipe() -> None:
    source, sink = os.pipe()
    try:
        terminal = StdTerminal(source)
        assert terminal.interactive is False
        os.write(sink, "one\r\ntwo ✓\nlast".encode())
        os.close(sink)
        lines = [await terminal.read() for _ in range(5)]
        assert lines == ["one", "two ✓", "last", None, None]
    finally:
        os.close(source)
