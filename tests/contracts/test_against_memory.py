"""Every durable adapter answers what the reference answers, whatever is asked in whatever order.

A run is a list of calls over small domains, so that they meet. Both stores get each call; answers,
refusals included, must be equal. Now and then the durable one is closed and opened again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from persistence.batching import check_append
from persistence.errors import StoreError
from persistence.memory import MemoryStores
from persistence.postgres import open_postgres
from persistence.records import (
    AccountChange,
    Append,
    Audience,
    ClientId,
    Cursor,
    Event,
    EventKind,
    Member,
    Projection,
    Rewrite,
    Role,
    SessionId,
    Span,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    ThreadView,
    UserId,
)
from persistence.sqlite import open_sqlite
from tests.contracts.cql import CqlStores, cql_log, fresh_prefix, needs
from tests.contracts.stores import Directories, Stores, account, session
from tests.servers.postgres import PostgresServer


@dataclass(frozen=True)
class Call:
    port: str
    method: str
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    async def on(self, stores: Stores) -> Any:
        method: Callable[..., Awaitable[Any]] = getattr(getattr(stores, self.port), self.method)
        try:
            return await method(*self.arguments, **dict(self.keywords))
        except StoreError as error:
            return type(error)


REOPEN = Call("", "reopen", ())

uids = st.sampled_from([UserId(f"u{number}") for number in range(1, 5)])
sids = st.sampled_from([SessionId(f"s{number}") for number in range(1, 5)])
threads = st.sampled_from([ThreadId("g1"), ThreadId("g2"), ThreadId("d:u1:u2")])
cids = st.sampled_from([ClientId("a"), ClientId("b"), ClientId("c")])
maybe_cid = st.none() | cids
small = st.integers(0, 8)
text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
) | st.sampled_from(["ann", "Ann Bee", 'b"\\', "ßtraße Ö", "%"])
names = st.sampled_from(["ann", "bob", "anna"])
audiences = st.sampled_from(Audience)
some_uids = st.lists(uids, max_size=4)
seqs = st.lists(small, max_size=4)


def token(number: int) -> bytes:
    """The token hash of the session that call `number` of a run adds; no two are ever equal."""
    return b"%032d" % number


def calls(port: str, method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.builds(Call, st.just(port), st.just(method), st.tuples(*arguments))


account_calls = st.one_of(
    calls(
        "accounts",
        "create",
        st.builds(account, names, text, about=text, seen_ms=st.none() | small),
    ),
    calls("accounts", "by_name", names),
    calls("accounts", "by_ids", some_uids),
    calls("accounts", "search", text | st.sampled_from(["a", "AN", "b", ""]), small),
    calls(
        "accounts",
        "update",
        uids,
        st.builds(
            AccountChange, st.none() | text, st.none() | text, st.none() | text, st.none() | text,
            st.none() | audiences, st.none() | audiences, st.none() | small,
        ),
    ),
)  # fmt: skip

session_calls = st.one_of(
    calls(
        "sessions",
        "add",
        st.builds(session, uids, st.just(b""), small, st.sampled_from([3, 6, 99])),
        st.integers(1, 3),
    ),
    calls("sessions", "by_token", st.integers(0, 30).map(token)),
    calls("sessions", "of_user", uids),
    calls("sessions", "revoke", uids, st.lists(sids, max_size=3)),
    calls("sessions", "touch", uids, sids, small, small),
)

contact_calls = st.one_of(
    calls("contacts", "put", uids, uids, st.none() | text),
    calls("contacts", "remove", uids, uids),
    st.builds(
        Call,
        st.just("contacts"),
        st.just("set_block"),
        st.tuples(uids, uids),
        st.tuples(st.tuples(st.just("blocked"), st.booleans())),
    ),
    calls("contacts", "book", uids),
    calls("contacts", "relations", uids, some_uids),
    calls("contacts", "blocked_by", uids, some_uids),
)

metas = st.builds(
    ThreadMeta, threads, st.sampled_from(ThreadKind), text, text, text, small, st.booleans(), small
)
members = st.builds(Member, uids, st.sampled_from(Role), small, st.none() | small)
thread_calls = st.one_of(
    calls("threads", "reserve", uids, maybe_cid, st.binary(max_size=3), small),
    calls("threads", "load", threads),
    calls(
        "threads",
        "project",
        st.builds(
            Projection,
            metas,
            st.lists(members, max_size=3, unique_by=lambda member: member.uid).map(tuple),
        ),
    ),
    calls("threads", "memberships", uids, st.none() | st.lists(threads, max_size=3)),
    calls(
        "threads",
        "set_view",
        uids,
        threads,
        st.builds(ThreadView, st.none() | small, st.booleans(), st.booleans()),
    ),
    calls("threads", "hide", uids, threads, seqs),
)


@st.composite
def appends(draw: st.DrawFn, thread: ThreadId) -> Append:
    expected = draw(st.integers(0, 4))
    events = tuple(
        Event(
            expected + 1 + index,
            draw(small),
            draw(st.sampled_from(EventKind)),
            draw(uids),
            draw(small),
            draw(text).encode(),
            draw(maybe_cid),
            draw(st.binary(max_size=3)),
            draw(st.none() | small),
        )
        for index in range(draw(st.integers(0, 3)))
    )
    last = expected + len(events)
    rewrites = tuple(
        Rewrite(seq, draw(text).encode())
        for seq in (draw(st.lists(st.integers(1, last), max_size=2)) if last else ())
    )
    cursors = draw(st.dictionaries(uids, st.builds(Cursor, small, small, small), max_size=2))
    epoch, meta_seq = draw(st.sampled_from([0, 0, 0, 1, 2])), draw(st.none() | small)
    return Append(thread, epoch, expected, events, rewrites, cursors, meta_seq)


async def aligned(model: MemoryStores, batch: tuple[Append, ...]) -> list[Append]:
    """`batch` with the appends of epoch 0 moved to where their threads stand, so that many fit."""
    heads = await model.log.summaries({append.thread: Span() for append in batch}, {})
    moved = []
    for drawn in batch:
        append = drawn
        if drawn.epoch == 0 and drawn.thread in heads:
            head = heads[drawn.thread].head
            step = head.seq - drawn.expected_seq
            append = replace(
                drawn,
                epoch=head.epoch,
                expected_seq=head.seq,
                events=tuple(replace(event, seq=event.seq + step) for event in drawn.events),
                rewrites=tuple(
                    replace(rewrite, seq=max(rewrite.seq + step, 1)) for rewrite in drawn.rewrites
                )
                if head.seq
                else (),
            )
        moved.append(append)
    return moved


def well_formed(batch: tuple[Append, ...]) -> bool:
    try:
        for append in batch:
            check_append(append)
    except AssertionError:
        return False
    return True


batches = (
    st.lists(threads, max_size=3, unique=True)
    .flatmap(lambda named: st.tuples(*(appends(thread) for thread in named)))
    .filter(well_formed)
)
spans = st.builds(Span, small, st.none() | small)
bounds = st.sampled_from(["", "after", "before"]).flatmap(
    lambda name: st.tuples(st.tuples(st.just(name), small)) if name else st.just(())
)
log_calls = st.one_of(
    calls("log", "claim", threads, small),
    calls("log", "append", batches),
    calls("log", "append", batches),
    st.builds(Call, st.just("log"), st.just("read"), st.tuples(threads, spans, small), bounds),
    calls("log", "related", threads, seqs),
    calls("log", "find", threads, uids, cids),
    calls(
        "log",
        "summaries",
        st.dictionaries(threads, spans, max_size=3),
        st.dictionaries(threads, some_uids, max_size=3),
    ),
)


Opening = Callable[[], AbstractAsyncContextManager[Stores]]


@asynccontextmanager
async def sqlite() -> AsyncIterator[Opening]:
    with TemporaryDirectory() as name:
        yield lambda: open_sqlite(Path(name))


@asynccontextmanager
async def cassandra() -> AsyncIterator[Opening]:
    prefix = fresh_prefix()
    yield lambda: nullcontext(CqlStores(cql_log("cassandra-1", prefix, bucket_events=4)))


@asynccontextmanager
async def postgres_at(urls: Sequence[str]) -> AsyncIterator[Opening]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Stores]:
        async with open_postgres(urls) as stores:
            yield Directories(stores)

    yield opened


async def compare(run: list[Call], adapter: AbstractAsyncContextManager[Opening]) -> None:
    model = MemoryStores()
    async with adapter as opened:
        remaining = list(reversed(run))
        while remaining:
            async with opened() as stores:
                while remaining and (call := remaining.pop()) != REOPEN:
                    if call.method == "add":
                        draft, *rest = call.arguments
                        draft = replace(draft, token_hash=token(len(run) - len(remaining)))
                        call = replace(call, arguments=(draft, *rest))
                    if call.method == "append":
                        call = replace(call, arguments=(await aligned(model, *call.arguments),))
                    assert await call.on(stores) == await call.on(model), call


def runs(of: st.SearchStrategy[Call]) -> st.SearchStrategy[list[Call]]:
    return st.lists(
        st.one_of(of, of, of, of, of, of, of, of, st.just(REOPEN)), min_size=10, max_size=30
    )


CLAIMS = [Call("log", "claim", (ThreadId(thread), 0)) for thread in ("g1", "g2")]


@settings(max_examples=40, deadline=None)
@given(runs(log_calls))
async def test_message_log_answers_as_the_reference(run: list[Call]) -> None:
    await compare(CLAIMS + run, sqlite())


@settings(max_examples=10, phases=[Phase.generate])  # nothing to shrink by in minutes
@needs("cassandra-1")
@given(runs(log_calls))
async def test_message_log_past_one_machine_answers_as_the_reference(run: list[Call]) -> None:
    await compare(CLAIMS + run, cassandra())


directory_calls = st.one_of(account_calls, session_calls, contact_calls, thread_calls)


@settings(max_examples=40, deadline=None)
@given(runs(directory_calls))
async def test_other_stores_answer_as_the_reference(run: list[Call]) -> None:
    await compare(run, sqlite())


@pytest.mark.parametrize("databases", [1, 3])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=runs(directory_calls))
async def test_postgres_answers_as_the_reference(
    postgres: PostgresServer, databases: int, run: list[Call]
) -> None:
    await compare(run, postgres_at(postgres.emptied(databases)))
