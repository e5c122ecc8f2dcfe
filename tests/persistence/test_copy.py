"""A copy into another engine answers as its source, whatever happened on the way."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.cli import main
from persistence import (
    cql_buckets,
    cql_transfer,
    postgres_transfer,
    sqlite_transfer,
    transfer,
)
from persistence.cql_transfer import open_target as open_cql
from persistence.errors import Corrupt
from persistence.postgres_transfer import PostgresTarget
from persistence.records import Committed, Rewrite
from persistence.sqlite import open_sqlite
from persistence.sqlite_files import DATABASE
from persistence.sqlite_transfer import open_source
from persistence.transfer import Copied, copy_log, copy_tables
from tests.contracts.stores import GROUP, append, event
from tests.persistence.copying import (
    Killed,
    dying_after,
    empty,
    served,
    served_log,
    silent,
    to_cql,
    to_postgres,
)
from tests.persistence.whole_store import (
    BUCKET_EVENTS,
    LONG,
    directory_answers,
    log_answers,
    new_ids,
)
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


async def compare_directories(source: Path, urls: tuple[str, ...]) -> None:
    async with open_sqlite(source) as stores, served(urls) as copied:
        assert await directory_answers(copied) == await directory_answers(stores)
        assert await new_ids(copied) == await new_ids(stores)


async def compare_logs(source: Path, url: str, bucket_events: int = BUCKET_EVENTS) -> None:
    async with open_sqlite(source) as stores, served_log(url, bucket_events) as copied:
        wanted = await log_answers(stores)
        assert await log_answers(copied) == wanted
        for name, thread in (("full", GROUP), ("long", LONG)):
            head = wanted[f"claim {thread}"][0]
            more = append(thread, head.epoch, head.seq, event(head.seq + 1, cid=name))
            assert await copied.log.append([more]) == await stores.log.append([more])
        assert await log_answers(copied) == await log_answers(stores)


# ---------------------------------------------------------------------------- the same answers


async def test_users_and_threads_are_the_same_on_postgres(
    source: Path, databases: tuple[str, ...]
) -> None:
    copied = await to_postgres(source, databases)
    assert copied.rows > 60
    assert not copied.differences
    await compare_directories(source, databases)


async def test_the_log_is_the_same_on_cql(source: Path, keyspace: str) -> None:
    """Also where it stands, for whoever claims a thread and writes on."""
    copied = await to_cql(source, keyspace)
    assert copied.rows > 100
    assert not copied.differences
    await compare_logs(source, keyspace)


async def test_a_request_of_the_copy_that_is_late_changes_nothing(
    source: Path, keyspace: str
) -> None:
    """A killed copy's last requests may be carried out when a server writes already."""
    await to_cql(source, keyspace)
    async with served_log(keyspace) as served_from:
        head = (await served_from.log.claim(LONG, 0)).head
        gone = (Rewrite(3, b"{}"), Rewrite(head.seq, b"{}"))
        more = append(LONG, head.epoch, head.seq, event(head.seq + 1), rewrites=gone)
        assert await served_from.log.append([more]) == [Committed()]
        wanted = await log_answers(served_from)
        opening = open_cql(keyspace, bucket_events=BUCKET_EVENTS)
        async with open_source(source) as opened, opening as target:
            await target.write([LONG], opened)
        found = await log_answers(served_from)
        for name, answer in wanted.items():
            if not name.startswith(("claim", "summaries")):
                assert found[name] == answer
        epoch = wanted[f"claim {LONG}"][0].epoch
        assert found[f"claim {LONG}"][0].epoch == epoch + 1


async def test_a_source_without_anything_is_a_copy_of_nothing(
    tmp_path: Path, postgres: PostgresServer, keyspace: str
) -> None:
    async with open_sqlite(tmp_path):
        pass
    urls = postgres.emptied(1)
    assert await to_postgres(tmp_path, urls) == Copied()
    assert await to_cql(tmp_path, keyspace) == Copied()
    async with served(urls) as copied:
        assert await new_ids(copied) == ["u1", "s1", "g1"]


async def test_pages_of_any_size_are_all_copied(
    source: Path, postgres: PostgresServer, keyspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transfer, "PAGE_ROWS", 2)
    monkeypatch.setattr(sqlite_transfer, "PAGE_THREADS", 2)
    monkeypatch.setattr(postgres_transfer, "PAGE_ROWS", 3)
    monkeypatch.setattr(transfer, "PAGE_EVENTS", 3)
    monkeypatch.setattr(cql_transfer, "PAGE_EVENTS", 5)
    monkeypatch.setattr(cql_transfer, "BATCH_BYTES_MAX", 60)
    urls = postgres.emptied(1)
    assert not (await to_postgres(source, urls)).differences
    assert not (await to_cql(source, keyspace)).differences
    await compare_directories(source, urls)
    await compare_logs(source, keyspace)


def test_no_request_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cql_transfer, "BATCH_BYTES_MAX", 2 * len(event(1).body))
    events = [event(1), event(2), event(3), event(4, text="long" * 20), event(5)]
    assert [len(share) for share in cql_transfer.shares(events)] == [2, 1, 1, 1]


def test_no_statement_of_the_source_sorts(source: Path) -> None:
    """Or memory would grow with the data."""
    connection = sqlite3.connect(source / DATABASE)
    for statement in (*sqlite_transfer.STATEMENTS.values(), sqlite_transfer.THREADS):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        assert not [line for *_, line in plan if "TEMP B-TREE" in line], statement
    connection.close()


# ---------------------------------------------------------------------------- stopped on the way


async def test_a_copy_to_postgres_goes_on_wherever_it_was_stopped(
    source: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transfer, "PAGE_ROWS", 5)
    urls = postgres.emptied(3)
    async with open_source(source) as opened, postgres_transfer.open_target(urls) as target:
        steps = 1_000
        counting = dying_after(target, steps)
        await copy_tables(opened, counting, silent)
        steps -= counting.left
        assert steps > 30
        for done in (0, 1, 2, 3, steps // 2, steps - 3, steps - 2, steps - 1):
            postgres.emptied(3)
            with pytest.raises(Killed):
                await copy_tables(opened, dying_after(target, done), silent)
            assert not (await copy_tables(opened, target, silent)).differences
    await compare_directories(source, urls)


async def test_a_copy_to_cql_goes_on_wherever_it_was_stopped(
    source: Path, own_keyspace: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transfer, "PAGE_THREADS", 2)
    url, session = own_keyspace
    for steps in (2, 3, 7):
        empty(session)
        async with (
            open_source(source) as opened,
            open_cql(url, bucket_events=BUCKET_EVENTS) as target,
        ):
            with pytest.raises(Killed):
                await copy_log(opened, dying_after(target, steps), silent)
            assert not (await copy_log(opened, target, silent)).differences
    await compare_logs(source, url)


async def test_resuming_writes_only_what_was_not_noted(
    source: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transfer, "PAGE_ROWS", 1)
    urls = postgres.emptied(1)
    written: list[int] = []

    async def counting(self: PostgresTarget, table: Any, page: Any) -> None:
        written.append(len(page))
        await original(self, table, page)

    original = PostgresTarget.write
    monkeypatch.setattr(PostgresTarget, "write", counting)
    async with open_source(source) as opened, postgres_transfer.open_target(urls) as target:
        with pytest.raises(Killed):
            await copy_tables(opened, dying_after(target, 2 * 20), silent)
        copied = await copy_tables(opened, target, silent)
    assert sum(written) == copied.rows + 1  # the page that was written and not noted


KILLED = """
import os, signal, sys
from gateway.cli import main
from persistence import sqlite_transfer
from persistence.{module} import {target} as Target

sqlite_transfer.PAGE_ROWS = sqlite_transfer.PAGE_THREADS = 2
method, calls = getattr(Target, "{method}"), 0

async def dying(*arguments):
    global calls
    calls += 1
    if calls == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)
    return await method(*arguments)

setattr(Target, "{method}", dying)
sys.exit(main(sys.argv[1:]))
"""


def killed(arguments: list[str], **where: Any) -> None:
    """Run the program until it comes to that call, and kill -9 it there."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED.format(**where), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize(("method", "calls"), [("note", 7), ("finish", 1)])
def test_kill_9_in_a_copy_to_postgres(
    method: str,
    calls: int,
    source: Path,
    postgres: PostgresServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def serve() -> None:
        async with served(urls):
            pass

    urls = postgres.emptied(3)
    arguments = ["copy", "--from", str(source), "--to", *urls]
    killed(
        arguments, module="postgres_transfer", target="PostgresTarget", method=method, calls=calls
    )
    with pytest.raises(Corrupt, match="a copy into it has not ended"):
        trio.run(serve)
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("users and threads copied: ")
    trio.run(compare_directories, source, urls)


def test_kill_9_in_a_copy_to_cql(
    source: Path, keyspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["copy", "--from", str(source), "--to", keyspace]
    killed(arguments, module="cql_transfer", target="CqlTarget", method="_write_state", calls=3)
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("message log copied: ")
    trio.run(compare_logs, source, keyspace, cql_buckets.BUCKET_EVENTS)
