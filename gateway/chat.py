"""The terminal client: `run.py chat`.

Plain lines, no screen library: what arrives is printed above the prompt, what is typed is sent to
the open chat or, when it begins with a slash, is a command. Works over a pipe as well: at the end
of input everything typed is sent before the program leaves.

Three tasks share a `Chat`: one shows events, one sends lines in their order (through lost
connections), one tells the others what was read. Commands run in the reading task, one by one.
"""

from __future__ import annotations

import argparse
import getpass
import io
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from gateway.chat_names import Names, best_name
from gateway.chat_terminal import StdTerminal, Terminal
from gateway.chat_view import (
    BOLD,
    DIM,
    HELP,
    PLAIN,
    chat_list,
    one_line,
    people_of,
    presence_line,
    sentence,
    ticks,
)
from gateway.client import Client, ClientError, Closed, Event, RequestError, connect

PAGE: Final = 20
"""Messages shown when a chat is opened."""
UNSENT_LINES_MAX: Final = 1_000
"""Lines typed ahead of a lost connection."""
LEAVE_S: Final = 10.0
"""At the end of input, how long unsent lines may still take."""


class Chat:
    """One user at one terminal. `run` returns when the user leaves; raises Closed when the server
    ends the session for good."""

    def __init__(self, client: Client, terminal: Terminal, *, colour: bool = False) -> None:
        self._client = client
        self._terminal = terminal
        self._colour = colour
        self._open: str | None = None
        self._shown: dict[str, int] = {}
        """Per thread, the oldest seq that is on the screen."""
        self._names = Names(client)
        self._recv: dict[str, dict[str, int]] = {}
        self._read: dict[str, dict[str, int]] = {}
        self._mine: dict[str, int] = {}
        self._ticks: dict[str, str] = {}
        self._to_read: dict[str, int] = {}
        self._reading = trio.lowlevel.ParkingLot()
        self._outbox, self._lines = trio.open_memory_channel[dict[str, Any]](UNSENT_LINES_MAX)
        self._sent = trio.Event()
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "list": self._list,
            "open": self._open_chat,
            "history": self._history,
            "new": self._new_group,
            "add": self._add,
            "members": self._members,
            "leave": self._leave,
            "reply": self._reply,
            "edit": self._edit,
            "delete": self._delete,
            "react": self._react,
            "contacts": self._contacts,
            "presence": self._presence,
            "block": self._block,
            "unblock": self._unblock,
            "help": self._help,
        }

    async def run(self, begin_in: str | None = None) -> None:
        """Read and obey until /quit or the end of input, beginning in a chat if one is named."""
        await self._names.refresh_contacts()
        await self._obey("/list")
        if begin_in is not None:
            await self._obey(f"/open {begin_in}")
        ended: Closed | None = None
        async with trio.open_nursery() as nursery:

            async def show_events() -> None:
                nonlocal ended
                try:
                    async for event in self._client.events():
                        await self._show_event(event)
                except Closed as closed:
                    ended = closed
                nursery.cancel_scope.cancel()

            nursery.start_soon(show_events)
            nursery.start_soon(self._send_lines)
            nursery.start_soon(self._tell_what_was_read)
            await self._read_lines()
            await self._outbox.aclose()
            with trio.move_on_after(LEAVE_S):
                await self._sent.wait()
            nursery.cancel_scope.cancel()
        if ended is not None:
            raise ended

    async def _read_lines(self) -> None:
        while (line := await self._terminal.read()) is not None:
            if line.strip() in ("/quit", "/exit"):
                return
            if line.strip():
                await self._obey(line)

    async def _obey(self, line: str) -> None:
        """Do one line; what goes wrong is told and forgotten."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                verb, _, rest = line[1:].partition(" ")
                command = self._commands.get(verb, self._unknown)
                await command(rest.strip())
            else:
                await self._say(line.removeprefix("/"))
        except RequestError as error:
            self._complain(f"{error.code}: {one_line(error.msg)}")
        except ClientError as error:
            self._complain(str(error))

    # ------------------------------------------------------------------------------------ output

    def _print(self, line: str, style: str = "") -> None:
        self._terminal.write(f"{style}{line}{PLAIN}" if style and self._colour else line)

    def _note(self, line: str) -> None:
        self._print(line, DIM)

    def _complain(self, line: str) -> None:
        self._print(f"! {line}")

    async def _show_event(self, event: Event) -> None:
        kind, thread = event["e"], event.get("thread", "")
        try:
            if "seq" in event and "ts" in event:
                await self._show_line(event)
            elif kind == "cursor":
                self._note_receipt(event)
            elif kind == "connection":
                self._show_connection(event)
            elif kind == "removed":
                await self._names.learn_thread(thread)
                self._note(f"you are no longer in {self._names.title_of(thread)}")
            elif kind == "notice":
                self._note(f"server: {one_line(event.get('msg', ''))}")
            elif kind == "contact":
                await self._names.refresh_contacts()
        except ClientError as error:
            self._complain(str(error))

    async def _show_line(self, event: Event) -> None:
        thread = event["thread"]
        await self._names.learn_people(people_of([event]))
        await self._names.learn_thread(thread)
        if event["e"] == "thread" and event.get("name"):
            self._names.call(thread, event["name"])
        line = sentence(event, self._names.name_of)
        if line is None:
            return
        mine = event.get("from") == self._client.uid
        if thread == self._open:
            self._print(f"{line} ✓" if mine and event["e"] == "msg" else line)
            self._shown.setdefault(thread, event["seq"])
            self._have_read(thread, event["seq"])
        elif not mine:
            self._print(f"[{self._names.title_of(thread)}] {line}")
        if mine and event["e"] == "msg":
            self._mine[thread], self._ticks[thread] = event["seq"], "✓"

    def _note_receipt(self, event: Event) -> None:
        """Tell when one's newest message of the open chat got further."""
        thread = event["thread"]
        self._got_to(thread, event["user"], event.get("recv") or 0, event.get("read") or 0)
        mine = self._mine.get(thread)
        if mine is None:
            return
        state = ticks(mine, self._recv.get(thread, {}), self._read.get(thread, {}))
        if state != self._ticks.get(thread):
            self._ticks[thread] = state
            if thread == self._open:
                self._note(f"      #{mine} {state}")

    def _got_to(self, thread: str, user: str, recv: int, read: int) -> None:
        if user == self._client.uid:
            return
        for table, seq in ((self._read, read), (self._recv, max(recv, read))):
            upto = table.setdefault(thread, {})
            upto[user] = max(upto.get(user, 0), seq)

    def _show_connection(self, event: Event) -> None:
        if event["state"] == "live":
            self._note("connected")
        else:
            why = f"{event.get('reason') or 'connection lost'}"
            self._note(f"disconnected ({one_line(why)}), trying again")

    # ----------------------------------------------------------------------------------- sending

    async def _say(self, text: str, **extra: Any) -> None:
        thread = self._current()
        target = {"to": self._names.peer(thread)} if thread.startswith("d:") else {"thread": thread}
        try:
            self._outbox.send_nowait({"text": text, **target, **extra})
        except trio.WouldBlock:
            self._complain("too many unsent lines; not taken")

    async def _send_lines(self) -> None:
        """Send what was typed, in order, however long that takes."""
        async for message in self._lines:
            try:
                await self._client.send(**message)
            except Closed:
                return
            except ClientError as error:
                self._complain(f"not sent: {one_line(message['text'], 40)}: {error}")
        self._sent.set()

    def _have_read(self, thread: str, seq: int) -> None:
        self._to_read[thread] = max(seq, self._to_read.get(thread, 0))
        self._reading.unpark_all()

    async def _tell_what_was_read(self) -> None:
        while True:
            while not self._to_read:
                await self._reading.park()
            thread, seq = self._to_read.popitem()
            try:
                await self._client.mark_read(thread, seq)
            except Closed:
                return
            except ClientError:
                continue  # a receipt is not worth a complaint

    def _current(self) -> str:
        if self._open is None:
            raise ClientError("no chat is open; /open @name")
        return self._open

    # ---------------------------------------------------------------------------------- commands

    async def _help(self, _: str) -> None:
        self._print(HELP)

    async def _unknown(self, _: str) -> None:
        self._complain("no such command; /help lists them")

    async def _list(self, _: str) -> None:
        threads = await self._names.list_threads()
        for line in chat_list(threads, self._names.title_of):
            self._print(line)

    async def _open_chat(self, word: str) -> None:
        thread = await self._names.resolve(word)
        await self._names.learn_thread(thread)
        self._open = thread
        self._shown.pop(thread, None)
        self._print(f"── {self._names.title_of(thread)}", BOLD)
        await self._learn_receipts(thread)
        await self._history("")

    async def _learn_receipts(self, thread: str) -> None:
        """How far the others were when nobody was looking, as far as the server says."""
        if thread.startswith("d:"):
            infos = [info for info in await self._client.list_threads() if info["thread"] == thread]
            uptos = [
                (self._names.peer(thread), i.get("peer_recv"), i.get("peer_read")) for i in infos
            ]
        else:
            members = await self._client.group_members(thread)
            uptos = [(m["uid"], m.get("recv"), m.get("read")) for m in members]
        for user, recv, read in uptos:
            self._got_to(thread, user, recv or 0, read or 0)

    async def _history(self, count: str) -> None:
        thread = self._current()
        before = self._shown.get(thread)
        bound = {} if before is None else {"before": before}
        limit = int(count) if count.isdecimal() else PAGE
        try:
            page = await self._client.history(thread, limit=limit, **bound)
        except RequestError as error:
            if error.code == "not_found" and thread.startswith("d:"):
                return self._note("nothing here yet: say something")
            raise
        events = [event for event in page["events"] if event["e"] not in ("edit", "del")]
        await self._names.learn_people(people_of(events))
        for event in events:
            self._print(self._with_ticks(event))
        if page["events"]:
            self._shown[thread] = page["events"][0]["seq"]
            self._have_read(thread, page["events"][-1]["seq"])
        return self._note("(more: /history)" if page["more"] else "(this is the beginning)")

    def _with_ticks(self, event: Event) -> str:
        line, thread = sentence(event, self._names.name_of) or "", event["thread"]
        if event["e"] != "msg" or event["from"] != self._client.uid:
            return line
        self._mine[thread] = max(event["seq"], self._mine.get(thread, 0))
        recv, read = self._recv.get(thread, {}), self._read.get(thread, {})
        return f"{line} {ticks(event['seq'], recv, read)}"

    async def _new_group(self, words: str) -> None:
        members = [word for word in words.split() if word.startswith("@")]
        name = " ".join(word for word in words.split() if not word.startswith("@"))
        if not name:
            raise ClientError("a group needs a name: /new NAME @a @b")
        thread = (await self._client.create_group(name, members))["thread"]
        self._names.call(thread, name)
        self._open = thread
        self._print(f"── {self._names.title_of(thread)}", BOLD)

    async def _add(self, words: str) -> None:
        users = words.split()
        if not users:
            raise ClientError("whom? /add @name")
        if self._open is not None and not self._open.startswith("d:"):
            await self._client.add_members(self._open, users)
            return
        for user in users:
            contact = (await self._client.add_contact(user=user.removeprefix("@")))["contact"]
            self._names.know(contact)
            self._note(f"{best_name(contact)} is in your contacts")

    async def _members(self, _: str) -> None:
        members = await self._client.group_members(self._current())
        await self._names.learn_people({member["uid"] for member in members})
        for member in members:
            self._print(f"    {self._names.name_of(member['uid'])} ({member['role']})")

    async def _leave(self, _: str) -> None:
        await self._client.leave_group(self._current())

    async def _reply(self, words: str) -> None:
        seq, text = self._numbered(words)
        await self._say(text, reply_to=seq)

    async def _edit(self, words: str) -> None:
        seq, text = self._numbered(words)
        await self._client.edit(self._current(), seq, text)

    async def _delete(self, words: str) -> None:
        seq, _ = self._numbered(f"{words} .")
        await self._client.delete(self._current(), [seq])

    async def _react(self, words: str) -> None:
        seq, emoji = self._numbered(words)
        await self._client.react(self._current(), seq, emoji)

    def _numbered(self, words: str) -> tuple[int, str]:
        number, _, rest = words.removeprefix("#").partition(" ")
        if not number.isdecimal() or not rest.strip():
            raise ClientError("which message? the number after # comes first")
        return int(number), rest.strip()

    async def _contacts(self, _: str) -> None:
        for contact in await self._client.contacts():
            blocked = " (blocked)" if contact.get("blocked") else ""
            self._print(f"    {best_name(contact)} @{one_line(contact['user'])}{blocked}")

    async def _presence(self, _: str) -> None:
        uids = await self._company()
        await self._names.learn_people(set(uids))
        states = await self._client.presence(uids)
        for uid in uids:
            self._print(f"    {presence_line(self._names.name_of(uid), states.get(uid))}")

    async def _company(self) -> list[str]:
        """The others in the open chat; without one, the contacts."""
        if self._open is None:
            return [contact["uid"] for contact in await self._client.contacts()]
        if self._open.startswith("d:"):
            return [self._names.peer(self._open)]
        members = await self._client.group_members(self._open)
        return [member["uid"] for member in members if member["uid"] != self._client.uid]

    async def _block(self, word: str) -> None:
        await self._client.block(await self._names.uid_of(word))

    async def _unblock(self, word: str) -> None:
        await self._client.unblock(await self._names.uid_of(word))


# ---------------------------------------------------------------------------------- command line


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options of the command line; argparse ends the program when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="run.py chat",
        description="Talk from a terminal; /help lists what can be done there. A password in"
        " COPPICE_PASSWORD is not asked for.",
    )
    parser.add_argument("--url", default="ws://127.0.0.1:8080/ws", help="the server")
    parser.add_argument("--user", help="who you are; asked for when absent")
    parser.add_argument("--register", action="store_true", help="make a new account")
    parser.add_argument("--name", help="the name others see, when registering")
    parser.add_argument("--open", help="begin in this chat: @name or a group's name")
    parser.add_argument(
        "--state", help="a file to stay logged in with, and to go on where you were"
    )
    return parser.parse_args(argv)


async def _ask(terminal: StdTerminal, question: str) -> str:
    if terminal.interactive:
        terminal.write(question)
    return await terminal.read() or ""


async def _password(terminal: StdTerminal) -> str:
    if (given := os.environ.get("COPPICE_PASSWORD")) is not None:
        return given
    if terminal.interactive:
        return await trio.to_thread.run_sync(getpass.getpass, "Password: ")
    return await terminal.read() or ""


async def _log_in(client: Client, terminal: StdTerminal, options: argparse.Namespace) -> None:
    user = options.user or await _ask(terminal, "User:")
    password = await _password(terminal)
    if not options.register:
        try:
            await client.login(user, password, device="terminal")
        except RequestError as error:
            if error.code != "bad_credentials" or not terminal.interactive:
                raise
        else:
            return
        answer = await _ask(terminal, "Unknown user or wrong password. New account? [y/N]")
        if answer.strip().casefold() not in ("y", "yes"):
            raise ClientError("not logged in")
    await client.register(user, password, name=options.name, device="terminal")


async def _session(options: argparse.Namespace) -> None:
    terminal = StdTerminal()
    async with connect(options.url, state_path=options.state, start="now") as client:
        resumed = client.token is not None
        if resumed:
            await client.auth()
        else:
            await _log_in(client, terminal, options)
        colour = terminal.interactive and "NO_COLOR" not in os.environ
        chat = Chat(client, terminal, colour=colour)
        await chat.run(options.open)
        if options.state is None:
            # Nobody could come back to this session: do not leave it among the user's devices.
            with trio.move_on_after(LEAVE_S):
                await client.logout()


def main(argv: Sequence[str]) -> int:
    """Run the terminal client; returns the exit status."""
    options, status = arguments(argv), 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        trio.run(_session, options)
    except* (ClientError, ValueError) as group:
        for error in group.exceptions:
            sys.stderr.write(f"{error}\n")
        status = 1
    except* KeyboardInterrupt:
        status = 130
    return status
