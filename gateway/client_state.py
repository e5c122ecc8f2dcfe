"""What a client knows of each thread, and the rules that keep its events exactly once, in order.

No loop, no clock, no socket. `Timeline` holds, per thread, the last event applied and the
newest one heard of. The rule is the protocol's: apply `last + 1`, drop what is not newer, and on
a jump ask. An event that arrives ahead of its turn is held back, so that asking often turns out
to be needless (the missing event may be an answer still on its way). A page fetched from the
server speaks with authority: where it begins later than `last + 1`, nothing readable lies between
(a member who returned reads from their new join).

`SavedState` is what survives a restart of the client.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.wire.codes import Reconnect, reconnect_advice

Event = dict[str, Any]
"""An event object as pushed, without `op`; or a notice of the client's own (`reset`, ...)."""

DURABLE: Final = frozenset({"msg", "edit", "del", "react", "member", "thread"})
"""Event kinds that have a seq and come exactly once."""

HELD_MAX: Final = 256
"""Events held back per thread. More would only delay the page that brings them anyway."""

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0


@dataclass(slots=True)
class Track:
    """One thread: `last` applied, `head` heard of, events held back until their turn."""

    last: int = 0
    head: int = 0
    removed: bool = False
    held: dict[int, Event] = field(default_factory=dict)


class Timeline:
    """Every thread of one user. Methods return the events that became deliverable, in order."""

    __slots__ = ("_behind", "_tracks", "uid")

    def __init__(
        self, uid: str = "", cursors: Mapping[str, int] | None = None, removed: Iterable[str] = ()
    ) -> None:
        self.uid = uid
        """Whose timeline this is; tells one's own removal from others'."""
        self._behind: dict[str, None] = {}
        self._tracks = {thread: Track(seq, seq) for thread, seq in (cursors or {}).items()}
        for thread in removed:
            self._track(thread).removed = True

    def _track(self, thread: str) -> Track:
        return self._tracks.setdefault(thread, Track())

    def last(self, thread: str) -> int:
        """The seq of the last event applied; 0 for a thread never heard of."""
        track = self._tracks.get(thread)
        return track.last if track else 0

    def cursors(self) -> dict[str, int]:
        """What `sync` takes. A thread without events is left out and starts at the join."""
        return {thread: track.last for thread, track in self._tracks.items() if track.last}

    def head(self, thread: str) -> int:
        """The newest seq heard of."""
        track = self._tracks.get(thread)
        return track.head if track else 0

    def behind(self) -> list[str]:
        """Threads with events that were heard of and are still missing, longest first."""
        return list(self._behind)

    def live(self, event: Event) -> list[Event]:
        """A durable event was pushed, or made from the answer to one's own request."""
        thread, seq = event["thread"], event["seq"]
        track = self._track(thread)
        applied: list[Event] = []
        if seq == track.last + 1:
            applied = [self._apply(track, event), *self._release(track)]
        elif seq > track.last and len(track.held) < HELD_MAX:
            track.held[seq] = event
        self._heard(thread, track, seq)
        return applied

    def page(self, thread: str, events: Iterable[Event]) -> list[Event]:
        """Events fetched from just after `last`, ascending."""
        track = self._track(thread)
        applied = [self._apply(track, event) for event in events if event["seq"] > track.last]
        applied += self._release(track)
        self._heard(thread, track, track.last)
        return applied

    def heard(self, thread: str, head: int) -> None:
        """Somebody said that the thread reaches up to `head`."""
        self._heard(thread, self._track(thread), head)

    def settle(self, thread: str) -> None:
        """There is nothing more to read, whatever was heard."""
        track = self._track(thread)
        track.head = track.last
        track.held.clear()
        self._behind.pop(thread, None)

    def begin_at(self, thread: str, seq: int) -> None:
        """Skip everything up to `seq`, if less was applied so far."""
        track = self._track(thread)
        track.last = max(track.last, seq)
        self._heard(thread, track, seq)

    def reset(self, thread: str, events: list[Event]) -> list[Event]:
        """The cursor was beyond the log: forget it and go on with the newest page.

        The first event returned is the notice `{"e":"reset"}`, whose `seq` is where the thread
        now goes on after.
        """
        base = events[0]["seq"] - 1 if events else 0
        self._tracks[thread] = Track(base, base, self._track(thread).removed)
        notice: Event = {"e": "reset", "thread": thread, "seq": base}
        return [notice, *self.page(thread, events)]

    def remove(self, thread: str) -> list[Event]:
        """`sync` says that the user is no longer in there: one notice, the first time."""
        track = self._track(thread)
        if track.removed:
            return []
        track.removed = True
        return [{"e": "removed", "thread": thread}]

    def _apply(self, track: Track, event: Event) -> Event:
        track.last = event["seq"]
        member = membership_after(event, self.uid)
        if member is not None:
            track.removed = not member
        return event

    def _heard(self, thread: str, track: Track, seq: int) -> None:
        track.head = max(track.head, seq, track.last)
        if track.head > track.last:
            self._behind[thread] = None
        else:
            self._behind.pop(thread, None)

    def _release(self, track: Track) -> list[Event]:
        """Apply what was held back and has its turn now; drop what is past."""
        released: list[Event] = []
        while (event := track.held.pop(track.last + 1, None)) is not None:
            released.append(self._apply(track, event))
        for seq in [seq for seq in track.held if seq <= track.last]:
            del track.held[seq]
        return released


def membership_after(event: Event, uid: str) -> bool | None:
    """Whether `uid` is in the thread after this event; None when the event does not say."""
    kind = event["e"]
    if kind == "removed" or (kind == "thread" and event.get("deleted")):
        return False
    if kind == "member" and event.get("user") == uid:
        return event.get("act") not in ("remove", "leave")
    return None


def own_event(op: str, fields: Mapping[str, Any], reply: Mapping[str, Any], uid: str) -> Event:
    """The event that the `ok` to one's own `send` or `edit` stands for."""
    if op == "edit":
        kept = {"target": fields["seq"], "text": fields["text"]}
    else:
        names = ("text", "reply_to", "mentions", "file", "cid")
        kept = {name: fields[name] for name in names if fields.get(name) is not None}
        kept["n"] = reply["n"]
    return {
        "e": "edit" if op == "edit" else "msg",
        "thread": reply.get("thread") or fields["thread"],
        "seq": reply["seq"],
        "ts": reply["ts"],
        "from": uid,
        **kept,
    }


# ---------------------------------------------------------------------------------- reconnecting


def backoff_s(attempt: int, rng: random.Random) -> float:
    """Full jitter over 0.5, 1, 2, 4 … 30 s; `attempt` counts from 0."""
    return rng.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(attempt, 10)))


def reconnect_after_s(
    code: int | None, retry_ms: int, attempt: int, rng: random.Random
) -> float | None:
    """How long to wait after a connection ended with this close code; None: do not come back."""
    advice = reconnect_advice(code)
    if advice is Reconnect.NO:
        return None
    if advice is Reconnect.AFTER_RETRY and retry_ms > 0:
        return retry_ms / 1000 * rng.uniform(1.0, 1.5)
    return backoff_s(attempt, rng)


# ------------------------------------------------------------------------------------ saved state


class SavedState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client writes to its file: who it is, and how far its user has read the events."""

    v: int = 1
    uid: str = ""
    token: str | None = None
    cursors: dict[str, int] = msgspec.field(default_factory=dict)
    removed: list[str] = msgspec.field(default_factory=list)


def load_state(path: str) -> SavedState:
    """What `save_state` wrote; nothing when there is no such file.

    Raises msgspec.MsgspecError when the file holds something else.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=SavedState)
    except FileNotFoundError:
        return SavedState()


def save_state(path: str, state: SavedState) -> None:
    """Replace the file in one step, readable by its owner alone: it holds the token.

    Not fsynced: after a power cut an older file may come back, and its events come again.
    """
    fresh = f"{path}.new"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:
        file.write(msgspec.json.encode(state))
    os.replace(fresh, path)
