"""A copy of a whole store into another engine: checked, carried on after a crash, proved.

**Problem.** Moving takes long and is done once, by somebody who cannot look into every row. It may
be killed at any moment, and a copy that is nearly whole looks like a whole one.

**Rule.** Three passes. The source is read to its end first, which finds what is damaged before
anything is written, and gives the checksums. Then pages are written in an order that is always the
same, and after each the target notes how far it got; what is written twice is the same twice. Then
everything is read back from the target, as its stores read it, and checksums are compared.

From the first page until the checksums agree the target is marked, and no server serves from it. A
target that is not marked and holds something is only compared, never written to: it is either this
copy already, or other data.

Whoever copies has the source for themselves (`sqlite_transfer`). Nothing here is engine-specific.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from persistence.errors import Corrupt, NotEmpty
from persistence.records import Event, ThreadId
from persistence.transfer_rows import (
    TABLES,
    Checksum,
    Row,
    Rows,
    Table,
    ThreadState,
    event_rows,
    state_rows,
)

T = TypeVar("T")

PAGE_ROWS: Final = 1_000
PAGE_THREADS: Final = 32
"""Threads written or checked at the same time."""
PAGE_EVENTS: Final = 100
"""Of one thread. With the longest texts a page has 1.6 MB, so all that are held at a time 50 MB."""
SAY_PAGES: Final = 10
"""Pages to a line of progress."""
DIFFERENCES_MAX: Final = 20
"""Named; the others are only counted."""

Say = Callable[[str], None]
"""Takes a line of progress."""


class Pages(Generic[T]):
    """What `fetch` returns, until it is empty. Unlike a generator it need not be closed."""

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[T]]]) -> None:
        self._fetch = fetch

    def __aiter__(self) -> Pages[T]:
        return self

    async def __anext__(self) -> Sequence[T]:
        page = await self._fetch()
        if not page:
            raise StopAsyncIteration
        return page


class Target(Protocol):
    """What both kinds of target do. `str` names it, without secrets."""

    async def begin(self, identity: str) -> int | None:
        """Mark an empty target with the source's identity: 0. One that has this mark already: how
        much was noted. One that holds something without a mark: None.

        Raises `NotEmpty` for the mark of another source."""

    async def note(self, done: int) -> None:
        """Remember that so much is durable."""

    async def finish(self) -> None:
        """Take the mark away."""


class Tables(Protocol):
    """Users and threads, to be read whole."""

    def pages(self, table: Table) -> Pages[Row]: ...

    async def numbers(self) -> Rows:
        """(name, last number) for each of `NUMBERS`."""


class TablesSource(Tables, Protocol):
    def pages(self, table: Table, skip: int = 0) -> Pages[Row]:
        """Always in the same order; from row `skip` on."""


class TablesTarget(Tables, Target, Protocol):
    async def write(self, table: Table, page: Rows) -> None:
        """Durable on return. Rows that are there already stay."""

    async def set_numbers(self, numbers: Rows) -> None: ...


class Logs(Protocol):
    """The message log, to be read whole."""

    async def state(self, thread: ThreadId) -> ThreadState | None: ...

    async def events(self, thread: ThreadId, after: int, limit: int) -> Sequence[Event]:
        """The first `limit` events above `after`, ascending."""

    async def pointers(self, thread: ThreadId, events: Sequence[Event]) -> Rows:
        """As `pointer_rows`, from where the engine keeps them."""

    async def checksums(self, threads: Sequence[ThreadId]) -> Sequence[Checksum]:
        """The `thread_checksum` of each."""


class LogsSource(Logs, Protocol):
    def threads(self, skip: int = 0) -> Pages[ThreadId]:
        """Pages of up to `PAGE_THREADS`, always in the same order, from thread `skip` on."""


class LogsTarget(Logs, Target, Protocol):
    async def write(self, threads: Sequence[ThreadId], source: LogsSource) -> None:
        """The whole logs of these threads. Durable on return. May be repeated."""

    async def count(self) -> int:
        """How many threads there are."""


@dataclass(slots=True)
class Copied:
    """What became of a copy: rows or threads and events compared, and where they differ."""

    rows: int = 0
    was_there: bool = False
    """Nothing was written: it was all there before."""
    differences: list[str] = field(default_factory=list)
    differing: int = 0

    def differs(self, what: str) -> None:
        self.differing += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(what)


# ---------------------------------------------------------------------------- users and threads


async def copy_tables(source: TablesSource, target: TablesTarget, say: Say) -> Copied:
    """Raises `StoreError`; `NotEmpty` if the target holds something else, or a damaged source's
    `Corrupt`. Then, or killed, it may be called again and goes on."""
    wanted = {}
    for table in TABLES:
        wanted[table.name] = await _checksum(source, table)
        say(f"read {table.name}: {wanted[table.name].rows} rows")
    numbers = await source.numbers()
    done = await target.begin(_identity([(name, str(sum_)) for name, sum_ in wanted.items()]))
    if done is not None:
        await _write_tables(source, target, wanted, done, say)
        await target.set_numbers(numbers)
    copied = Copied(was_there=done is None)
    for table in TABLES:
        found = await _checksum(target, table)
        copied.rows += found.rows
        if found != wanted[table.name]:
            copied.differs(f"{table.name}: {found}, not {wanted[table.name]}")
        say(f"compared {table.name}: {found.rows} rows")
    there: dict[str, int] = dict(await target.numbers())
    for name, last in numbers:
        if there[name] != last:
            copied.differs(f"{name}: {there[name]}, not {last}")
    return await _settled(copied, target)


async def _write_tables(
    source: TablesSource, target: TablesTarget, wanted: dict[str, Checksum], done: int, say: Say
) -> None:
    """From row `done` on, counted over all tables."""
    before = 0
    for table in TABLES:
        end = before + wanted[table.name].rows
        if done < end:
            progress = _Progress(say, f"copied {table.name}", end - before, "rows")
            async for page in source.pages(table, skip=done - before):
                await target.write(table, page)
                done += len(page)
                await target.note(done)
                progress.at(done - before)
        before = end


async def _checksum(tables: Tables, table: Table) -> Checksum:
    checksum = Checksum()
    async for page in tables.pages(table):
        checksum.add(page)
    return checksum


# ---------------------------------------------------------------------------- the message log


async def copy_log(source: LogsSource, target: LogsTarget, say: Say) -> Copied:
    """As `copy_tables`. A difference names its thread."""
    threads, whole = 0, Checksum()
    async for page in source.threads():
        sums = await source.checksums(page)
        whole.add(_named(page, sums))
        threads += len(page)
    say(f"read the log: {threads} threads")
    done = await target.begin(_identity([("log", str(whole))]))
    if done is not None:
        progress = _Progress(say, "copied the log", threads, "threads")
        async for page in source.threads(skip=done):
            await target.write(page, source)
            done += len(page)
            await target.note(done)
            progress.at(done)
    copied = Copied(was_there=done is None)
    compared, progress = 0, _Progress(say, "compared the log", threads, "threads")
    async for page in source.threads():
        both = zip(page, await target.checksums(page), await source.checksums(page), strict=True)
        for thread, found, wanted in both:
            copied.rows += found.rows
            if found != wanted:
                copied.differs(f"thread {thread}: {found}, not {wanted}")
        compared += len(page)
        progress.at(compared)
    there = await target.count()
    if there != threads:
        copied.differs(f"threads: {there}, not {threads}")
    return await _settled(copied, target)


async def thread_checksum(logs: Logs, thread: ThreadId, *, is_source: bool) -> Checksum:
    """Of everything the log has of a thread. A source whose events do not reach from 1 to its head
    raises `Corrupt`."""
    checksum = Checksum()
    state = await logs.state(thread)
    if state is None:
        return checksum
    checksum.add(state_rows(thread, state))
    last = 0
    while events := await logs.events(thread, last, PAGE_EVENTS):
        if is_source and [event.seq for event in events] != _following(last, len(events)):
            raise Corrupt(f"the log of {thread} has gaps above {last}")
        checksum.add(event_rows(thread, events))
        checksum.add(await logs.pointers(thread, events))
        last = events[-1].seq
    if is_source and last != state.head.seq:
        raise Corrupt(f"the log of {thread} ends at {last}, its head says {state.head.seq}")
    return checksum


def _following(last: int, count: int) -> list[int]:
    return list(range(last + 1, last + 1 + count))


def _named(threads: Sequence[ThreadId], checksums: Sequence[Checksum]) -> list[Row]:
    return [(thread, str(sum_)) for thread, sum_ in zip(threads, checksums, strict=True)]


# ---------------------------------------------------------------------------- both


class _Progress:
    def __init__(self, say: Say, what: str, total: int, unit: str) -> None:
        self._say = say
        self._what = what
        self._total = total
        self._unit = unit
        self._pages = 0

    def at(self, done: int) -> None:
        """Another page is done."""
        self._pages += 1
        if done == self._total or self._pages % SAY_PAGES == 0:
            self._say(f"{self._what}: {done} of {self._total} {self._unit}")


def _identity(rows: Rows) -> str:
    """What a resumed copy must find again: of a source that has changed it is another."""
    checksum = Checksum()
    checksum.add(rows)
    return str(checksum)


async def _settled(copied: Copied, target: Target) -> Copied:
    if copied.was_there and copied.differing:
        raise NotEmpty(f"{target} has other data ({copied.differences[0]})")
    if not copied.differing:
        await target.finish()
    return copied
