"""How the terminal client words things: pure text, safe to print.

Whatever other people wrote passes through `clean` before it reaches a terminal: a message can
hold any character, and some of them move the cursor, rename the window or turn the line around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from gateway.client_state import Event

NameOf = Callable[[str], str]

LAST_CHARS: Final = 40
"""How much of the newest message the chat list shows."""
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")
"""Formatting characters that emoji and several scripts are written with."""

BOLD, DIM, BLUE, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[34m", "\x1b[0m"
CLEAR_LINE: Final = "\r\x1b[K"

HELP: Final = """\
/list                    your chats, newest first
/open @name|group|number go into a chat and show its last messages
/history [count]         earlier messages of this chat
/new NAME @a @b …        create a group and go there
/add @a @b …             in a group: add members; elsewhere: add to your contacts
/members  /leave         of this group
/reply N TEXT            answer message #N;  /edit N TEXT  /delete N  /react N EMOJI
/contacts                your contact book
/presence                who of this chat, or of your contacts, is online
/block @name  /unblock @name
/quit                    good-bye
Any other line is sent to the open chat; begin it with // for a message that starts with /."""


def clean(text: str) -> str:
    """The text without characters that could do anything but be read; line breaks indented."""
    spaced = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(
        "\n        " if character == "\n" else character
        for character in spaced
        if character == "\n"
        or character in _JOINERS
        or unicodedata.category(character) not in _UNPRINTABLE
    )


def one_line(text: str, chars_max: int | None = None) -> str:
    """The same on a single line, cut short where it would grow too long."""
    line = " ".join(clean(text).split())
    return line if chars_max is None or len(line) <= chars_max else line[: chars_max - 1] + "…"


def clock(ts_ms: int, zone: tzinfo | None = None) -> str:
    """Hours and minutes, in local time unless a zone is given."""
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).astimezone(zone).strftime("%H:%M")


def sentence(event: Event, name_of: NameOf, zone: tzinfo | None = None) -> str | None:
    """A durable event as one line of the conversation; None for kinds unknown to us."""
    wording = _WORDINGS.get(event["e"])
    if wording is None:
        return None
    return f"{clock(event['ts'], zone)} #{event['seq']} {wording(event, name_of)}"


def _message(event: Event, name_of: NameOf) -> str:
    author = name_of(event["from"])
    if event.get("deleted") or "text" not in event:
        return f"{author}: (deleted)"
    reply = f"(to #{event['reply_to']}) " if event.get("reply_to") else ""
    edited = " (edited)" if event.get("edited") else ""
    return f"{author}: {reply}{clean(event['text'])}{edited}"


def _edit(event: Event, name_of: NameOf) -> str:
    text = clean(event["text"]) if "text" in event else "(deleted)"
    return f"{name_of(event['from'])} edited #{event['target']}: {text}"


def _deletion(event: Event, name_of: NameOf) -> str:
    return f"{name_of(event['from'])} deleted #{event['target']}"


def _reaction(event: Event, name_of: NameOf) -> str:
    verb = "reacted" if event.get("on", True) else "took back"
    return f"{name_of(event['from'])} {verb} {one_line(event['emoji'], 16)} to #{event['target']}"


def _membership(event: Event, name_of: NameOf) -> str:
    user, by = name_of(event["user"]), name_of(event.get("by") or event["user"])
    match event["act"]:
        case "add":
            return f"— {by} added {user}"
        case "remove":
            return f"— {by} removed {user}"
        case "leave":
            return f"— {user} left"
        case "join":
            return f"— {user} joined"
        case _:
            verb = "are" if user == "you" else "is"
            return f"— {user} {verb} now {one_line(str(event.get('role', 'member')), 16)}"


def _thread(event: Event, name_of: NameOf) -> str:
    by = name_of(event["by"])
    if event.get("deleted"):
        return f"— {by} deleted the group"
    name = one_line(event["name"]) if event.get("name") else None
    if event["seq"] == 1:
        return f"— {by} created the group {name or ''}".rstrip()
    return f"— {by} renamed the group to {name}" if name else f"— {by} changed the group"


_WORDINGS: Final[Mapping[str, Callable[[Event, NameOf], str]]] = {
    "msg": _message,
    "edit": _edit,
    "del": _deletion,
    "react": _reaction,
    "member": _membership,
    "thread": _thread,
}


def people_of(events: Iterable[Event]) -> set[str]:
    """Everybody whose name is needed to show these events."""
    uids: set[str] = set()
    for event in events:
        uids.update(event[key] for key in ("from", "user", "by") if event.get(key))
    return uids


def ticks(seq: int, recv: Mapping[str, int], read: Mapping[str, int]) -> str:
    """What became of one's own message: sent, delivered to, read by how many of the others."""
    readers = sum(upto >= seq for upto in read.values())
    receivers = sum(upto >= seq for upto in recv.values())
    if readers:
        return "✓✓ read" if readers == 1 else f"✓✓ read by {readers}"
    if receivers:
        return "✓✓ delivered" if receivers == 1 else f"✓✓ delivered to {receivers}"
    return "✓"


def chat_list(threads: Sequence[Mapping[str, Any]], title_of: NameOf) -> list[str]:
    """The chats with their numbers, unread counts and newest messages."""
    lines: list[str] = []
    for number, thread in enumerate(threads, start=1):
        last = thread.get("last") or {}
        unread = f" ({thread['unread']} new)" if thread.get("unread") else ""
        text = f" — {one_line(last['text'], LAST_CHARS)}" if last.get("text") else ""
        lines.append(f"{number:3} {title_of(thread['thread'])}{unread}{text}")
    return lines or ["no chats yet: /open @name begins one"]


def presence_line(name: str, state: Mapping[str, Any] | None, zone: tzinfo | None = None) -> str:
    """One person's presence; None when the server does not say."""
    if state is None:
        return f"{name}: unknown"
    if state.get("on"):
        return f"{name}: online"
    last = state.get("last")
    return f"{name}: offline" + (f", last seen {clock(last, zone)}" if last else "")
