"""A thread's events on their way from a session to its devices: what the user deleted for
themselves stays away from them.

**Problem.** An `edit` carries the text of a message that its user may have deleted. What they
deleted is in the thread tables, and to read it before a thread's first event would cost every login
a read for each of its threads.

**Rule.** Only an edit asks for it, and only where the session has not read it yet. Until it is read
the edit and what follows in its thread wait, so that order stays; the other threads go on. If it
cannot be read, devices are told of a `gap` instead and ask for the history, which waits for the
store. An `ok` is given in any case: it has no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from actors.chat.channel_delivery import gap_event
from actors.chat.channel_state import masked
from actors.chat.messages import Device, Published
from persistence.records import EventKind, Membership, ThreadId

HELD_EVENTS_MAX = 256
"""Events of a thread that wait, as many as a socket's queue takes; with more they are skipped."""

_EDIT: Final = EventKind.EDIT


class Delivery:
    """Between the session that has the events and its `devices`, which come and go."""

    def __init__(self, devices: Mapping[int, Device]) -> None:
        self._devices = devices
        self._held: dict[ThreadId, list[Published]] = {}

    def take(self, events: Sequence[Published], views: Mapping[ThreadId, Membership]) -> bool:
        """Give the next events of one thread to the devices as soon as may be. False: now the
        user's view of the thread is to be looked up, for `release`, or `skip` if it fails."""
        thread = events[0].thread
        if thread in self._held:
            self._held[thread].extend(events)
            if len(self._held[thread]) > HELD_EVENTS_MAX:
                self.skip(thread)
        elif not _carry_edit(events):
            self._give(events)
        elif thread in views:
            self._give(shown(events, views[thread].hidden))
        elif self._devices:
            self._held[thread] = list(events)
            return False
        return True

    def holds(self, thread: ThreadId) -> bool:
        return thread in self._held

    def release(self, thread: ThreadId, hidden: frozenset[int]) -> None:
        """Give the devices what waited, without the texts of what is `hidden`."""
        self._give(shown(self._held.pop(thread), hidden))

    def skip(self, thread: ThreadId) -> None:
        """Tell the devices that they were not given what waited."""
        events = self._held.pop(thread)
        gap = gap_event(thread, events[0].seq - 1, events[-1].seq)
        for number, device in self._devices.items():
            device.show(("gap", thread), gap)
            for event in events:
                if event.origin == number and event.answer is not None:
                    device.answer(event.request, event.answer)

    def _give(self, events: Sequence[Published]) -> None:
        for number, device in self._devices.items():
            for event in events:
                if event.origin != number:
                    device.deliver(event)
                elif event.answer is not None and not device.answer(event.request, event.answer):
                    device.deliver(event)  # its request was given up on meanwhile


def _carry_edit(events: Sequence[Published]) -> bool:
    for event in events:  # noqa: SIM110  (every delivery passes here, and a generator costs more)
        if event.kind is _EDIT:
            return True
    return False


def shown(events: Sequence[Published], hidden: frozenset[int]) -> Sequence[Published]:
    """The events as they are shown to someone who deleted `hidden` for themselves."""
    if not hidden:
        return events
    bodies = masked([(event.seq, event.body) for event in events], hidden)
    return [
        event if body is event.body else event.with_body(body)
        for event, body in zip(events, bodies, strict=True)
    ]
