"""The outbox: what a change means to other keys, told to them once it is committed.

**Problem.** A new member has to appear in a thread's rows and in the user's, a new account under
its uid, its name and its words: rows of different keys, and so perhaps of different databases,
which no transaction spans.

**Rule.** The change and an entry that names its targets are committed together, at the source. Then
the targets are told, and then the entry is deleted. Telling is idempotent and knows no order: it
makes a row that never goes away again, or carries a version. Whoever made the change does the
telling at once, so that it can be read when they are answered; if they cannot, the relay of some
node does it later, again and again until it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from persistence.errors import StoreError, StoreUnavailable
from persistence.postgres_connection import TrioConnection
from persistence.postgres_pool import Database
from persistence.postgres_shards import SqlShards
from persistence.postgres_statements import ADD_ENTRY, DELETE_ENTRY, OLD_ENTRIES

RELAY_PERIOD_S: Final = 2.0
"""How often each node looks for entries that somebody left; finding none costs one index probe."""
RELAY_AGE_S: Final = 5.0
"""A younger entry is still being dealt with by whoever wrote it."""
RELAY_ENTRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """`targets` of `source` that have to hear of a change of kind `topic`."""

    source: str
    number: int
    topic: str
    targets: Sequence[str]


Tell = Callable[[str, Sequence[str]], Awaitable[None]]
"""Tells all targets of a source. Idempotent; raises `StoreError` if one could not be told."""


class Outbox:
    """Entries of all sources, and how each topic is told."""

    def __init__(self, shards: SqlShards, topics: Mapping[str, Tell]) -> None:
        self._shards = shards
        self._topics = topics
        self._relayed = self._failed = 0

    async def add(
        self, connection: TrioConnection, source: str, topic: str, targets: Sequence[str]
    ) -> Entry:
        """Write an entry in the transaction of the change."""
        ((number,),) = await connection.fetch(
            ADD_ENTRY, {"source": source, "topic": topic, "targets": list(targets)}
        )
        return Entry(source, number, topic, targets)

    async def deliver(self, entry: Entry) -> None:
        """Tell the targets and delete the entry. Raises `StoreError`; the relay then goes on."""
        tell = self._topics.get(entry.topic)
        if tell is None:  # while servers are brought up to date one after the other
            raise StoreUnavailable(f"a newer program will tell of {entry.topic!r}")
        await tell(entry.source, entry.targets)
        await self._shards.of(entry.source).write(
            DELETE_ENTRY, {"source": entry.source, "number": entry.number}
        )

    async def deliver_or_leave(self, entry: Entry) -> None:
        """As `deliver`, where it is enough that the targets will hear of it."""
        try:
            await self.deliver(entry)
        except StoreError:
            self._failed += 1

    async def run_relay(self) -> None:
        """Deliver what was left behind, for ever."""
        while True:
            for database in self._shards.databases:
                try:
                    await self.relay(database)
                except StoreError:
                    self._failed += 1
            await trio.sleep(RELAY_PERIOD_S)

    async def relay(self, database: Database, older_than_s: float = RELAY_AGE_S) -> None:
        """Deliver the entries of a database once, oldest first. One whose target is out of reach
        does not hold up the others. Raises `StoreError` if the entries cannot be read."""
        last: tuple[object, str, int] = ("-infinity", "", 0)
        while True:
            rows = await database.read(
                OLD_ENTRIES,
                {"age_s": older_than_s, "after": last[0], "source": last[1], "number": last[2],
                 "limit": RELAY_ENTRIES},
            )  # fmt: skip
            for source, number, topic, targets, created_at in rows:
                last = (created_at, source, number)
                try:
                    await self.deliver(Entry(source, number, topic, targets))
                    self._relayed += 1
                except StoreError:
                    self._failed += 1
            if len(rows) < RELAY_ENTRIES:
                return

    def statistics(self) -> dict[str, int]:
        return {"outbox_relayed_total": self._relayed, "outbox_failed_total": self._failed}
