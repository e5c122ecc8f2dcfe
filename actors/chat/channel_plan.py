"""What planning a post can come to, and what a post's events are answered with.

The same cid answers the same thing for the life of the message (PROTOCOL.md §4.4): `digest_of`
tells a repeat from a conflict even after the text is gone, `answer_for` builds the `ok` from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.chat.answers import Code, Done, Refused
from actors.chat.commands import Command, CreateGroup, Edit, Send
from actors.chat.messages import Post
from persistence.records import Event, ThreadId

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of PROTOCOL.md §5 that concern one thread."""

    group_members: int = 256


@dataclass(frozen=True, slots=True)
class Written:
    """The post's events stand in the draft from index `first` to `last`; `answer` is its `ok`."""

    post: Post
    first: int
    last: int
    answer: Done


@dataclass(frozen=True, slots=True)
class Settled:
    """The post needs no event: a repeat, a refusal, or nothing left to do."""

    post: Post
    result: Done | Refused


@dataclass(frozen=True, slots=True)
class NeedEvents:
    """Plan the post again with these messages and all that refers to them at hand."""

    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaybeRepeat:
    """Refuse the post, unless the log already holds its (sender, cid)."""

    refused: Refused


Planned = Written | Settled | NeedEvents | MaybeRepeat


def if_unwritten(planned: Written | Settled, head: int, refused: Refused) -> Done | Refused:
    """What a post is told whose draft was not written after all: that it was refused, unless it
    only repeats what is in the log, which ends at `head`. Whatever else was planned may stand on
    the draft's own events."""
    if isinstance(planned, Settled) and isinstance(planned.result, Done):
        seq = planned.result.fields.get("seq")
        if seq is not None and seq <= head:
            return planned.result
    return refused


def digest_of(command: Command) -> bytes:
    """Identifies a command's content: the same cid with another digest is a `conflict`."""
    if isinstance(command, Send):
        content = _encode((command.text, command.reply_to, command.mentions))
    else:
        content = _encode(command)
    kind = type(command).__name__.encode()
    return hashlib.blake2b(kind + content, digest_size=8).digest()


def answer_for(command: Command, thread: ThreadId, event: Event, *, dup: bool = False) -> Done:
    """The `ok` for a command whose last event is `event` (PROTOCOL.md §2)."""
    fields: dict[str, Any] = {"seq": event.seq}
    match command:
        case Send():
            fields = {"thread": thread, "seq": event.seq, "n": event.n, "ts": event.ts_ms}
        case Edit():
            fields["ts"] = event.ts_ms
        case CreateGroup():
            fields = {"thread": thread, "seq": event.seq, "ts": event.ts_ms}
        case _:
            return Done(fields)
    if dup:
        fields["dup"] = True
    return Done(fields)


def repeat_of(post: Post, thread: ThreadId, known: Event) -> Done | Refused:
    """The answer to a post whose cid the log already knows."""
    if known.digest != digest_of(post.command):
        return Refused(Code.CONFLICT, "cid: already used for other content")
    return answer_for(post.command, thread, known, dup=True)
