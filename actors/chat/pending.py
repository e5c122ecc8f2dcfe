"""What a session has passed to channels and not yet seen answered.

**Problem.** A channel may crash with a post in its mailbox, in a commit, or just after the commit.
The client must get one answer, and posts of one thread must stay in order.

**Rule.** Per thread the session keeps what it sent, in order, until the answer. When the channel's
next incarnation is up everything is sent again, in the same order, with the same cids; the log
recognises what it has. A post that was in flight at two crashes is answered with an error instead
of a third try, and so is one whose deadline passed. Nothing here waits or sends: `Outstanding` is
the bookkeeping, the session acts on what it returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.chat.answers import Code, Refused
from actors.chat.messages import (
    Caller,
    History,
    Mark,
    Post,
    ReadPage,
    Typing,
)
from actors.runtime import Ref
from persistence.records import ThreadId

CRASHES_MAX = 2
"""In flight at this many crashes, a request is given up (DESIGN.md §7)."""

Passed = Post | Mark | Typing | ReadPage
Key = tuple[int, int]
"""Device and request; device 0 for messages that nobody awaits an answer to."""


@dataclass(slots=True)
class Entry:
    """One message for a channel: whether it was sent, how often a channel died with it, and until
    when (loop time) it may take."""

    message: Passed
    deadline_s: float
    sent: bool = False
    crashes: int = 0

    @property
    def caller(self) -> Caller:
        return caller_of(self.message)

    def refusal(self) -> Refused:
        """The answer when it is given up: unknown if a channel ever had it."""
        if self.sent or self.crashes:
            return Refused(Code.TIMEOUT, "no answer from the thread; retry with the same cid", 1000)
        return Refused(Code.UNAVAILABLE, "the thread is not available now", 1000)


def caller_of(message: Passed | History) -> Caller:
    return message.request.caller if isinstance(message, ReadPage) else message.caller


def is_awaited(message: Passed) -> bool:
    """Whether an answer will come for it."""
    return isinstance(message, (Post, ReadPage)) or message.answered


@dataclass(slots=True)
class Link:
    """A session's connection to one thread's channel: the incarnation in use, and what it owes."""

    thread: ThreadId
    ref: Ref | None = None
    entries: dict[Key, Entry] = field(default_factory=dict)
    """In the order in which they came, which is that in which they are sent."""
    unsent: deque[Key] = field(default_factory=deque)
    """The last of them, not sent yet; keys of entries that were dropped may still stand here."""


class Outstanding:
    """All links of one session. A link without a channel and without entries is forgotten."""

    def __init__(self) -> None:
        self.links: dict[ThreadId, Link] = {}
        self._threads: dict[Key, ThreadId] = {}
        self._unasked = 0

    def __len__(self) -> int:
        return len(self._threads)

    def add(self, thread: ThreadId, message: Passed, deadline_s: float) -> Link:
        """Note a message for a thread, to be sent after those of the thread that wait already."""
        link = self.links.get(thread)
        if link is None:
            link = self.links[thread] = Link(thread)
        caller = caller_of(message)
        key = (caller.device, caller.request)
        if not is_awaited(message):
            self._unasked -= 1
            key = (0, self._unasked)
        link.entries[key] = Entry(message, deadline_s)
        link.unsent.append(key)
        self._threads[key] = thread
        return link

    def next_unsent(self, link: Link) -> Entry | None:
        """What is to be sent next, if anything waits."""
        while link.unsent:
            entry = link.entries.get(link.unsent[0])
            if entry is not None:
                return entry
            link.unsent.popleft()
        return None

    def sent(self, link: Link) -> None:
        """The channel has what `next_unsent` gave; what nobody awaits is thereby done."""
        key = link.unsent.popleft()
        entry = link.entries[key]
        entry.sent = True
        if not is_awaited(entry.message):
            self._drop(key)

    def settle(self, device: int, request: int) -> Entry | None:
        """An answer came: forget the entry."""
        return self._drop((device, request))

    def crashed(self, thread: ThreadId, *, abnormal: bool) -> list[Entry]:
        """The channel is gone: everything waits unsent again. Returns what is given up."""
        link = self.links[thread]
        given_up = []
        for key, entry in list(link.entries.items()):
            if entry.sent:
                entry.sent = False
                entry.crashes += abnormal
            if entry.crashes >= CRASHES_MAX:
                self._drop(key)
                given_up.append(entry)
        link.ref, link.unsent = None, deque(link.entries)
        self._tidy(link)
        return given_up

    def expired(self, now_s: float) -> list[Entry]:
        """Forget and return what is past its deadline."""
        late = [
            (key, entry)
            for link in self.links.values()
            for key, entry in link.entries.items()
            if entry.deadline_s <= now_s
        ]
        for key, _ in late:
            self._drop(key)
        return [entry for _, entry in late]

    def stalled(self) -> Iterator[Link]:
        """Links with something to send: without a channel, or with one that refused."""
        return (link for link in self.links.values() if self.next_unsent(link) is not None)

    def forget_device(self, device: int) -> None:
        """The device is gone. Its posts go on; reads nobody can receive do not."""
        for link in list(self.links.values()):
            for key, entry in list(link.entries.items()):
                if key[0] == device and not isinstance(entry.message, Post):
                    self._drop(key)

    def _drop(self, key: Key) -> Entry | None:
        thread = self._threads.pop(key, None)
        if thread is None:
            return None
        link = self.links[thread]
        entry = link.entries.pop(key)
        self._tidy(link)
        return entry

    def _tidy(self, link: Link) -> None:
        if link.ref is None and not link.entries:
            del self.links[link.thread]
