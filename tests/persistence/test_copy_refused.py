"""What is not copied, what is not right afterwards, and how an operator hears of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import main
from persistence import (
    postgres_transfer,
    sqlite_log,
)
from persistence.cql_transfer import open_target as open_cql
from persistence.errors import Corrupt, DataDirectoryInUse, NotEmpty, StoreUnavailable
from persistence.postgres_transfer import PostgresTarget
from persistence.records import Span
from persistence.sqlite import open_sqlite
from persistence.sqlite_files import DATABASE
from persistence.sqlite_transfer import open_source
from persistence.transfer import copy_log, copy_tables
from persistence.transfer_rows import TABLES, Checksum
from tests.contracts.stores import DM, GROUP, OTHER, account, event, filled
from tests.persistence.copying import (
    Killed,
    dying_after,
    dying_at,
    served,
    served_log,
    silent,
    to_cql,
    to_postgres,
)
from tests.persistence.whole_store import (
    BUCKET_EVENTS,
    CLAIMED,
    LONG,
)
from tests.servers.postgres import PostgresServer

# ---------------------------------------------------------------------------- refused


async def test_a_copy_that_is_there_is_only_compared(
    source: Path, postgres: PostgresServer, keyspace: str
) -> None:
    urls = postgres.emptied(3)
    assert not (await to_postgres(source, urls)).was_there
    assert not (await to_cql(source, keyspace)).was_there
    assert (await to_postgres(source, urls)).was_there
    assert (await to_cql(source, keyspace)).was_there


def test_databases_with_other_data_are_left_as_they_are(
    source: Path, databases: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    async def register() -> None:
        async with served(databases) as stores:
            await stores.accounts.create(account("somebody"))

    async def look() -> list[str]:
        async with served(databases) as stores:
            return [found.user for found in await stores.accounts.search("", 9)]

    trio.run(register)
    assert main(["copy", "--from", str(source), "--to", *databases]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("coppice: ")
    assert " has other data (accounts: 1 rows " in said
    assert trio.run(look) == ["somebody"]


async def test_a_keyspace_with_other_data_is_left_as_it_is(source: Path, keyspace: str) -> None:
    async with served_log(keyspace) as stores:
        await filled(stores.log, DM, event(1))
    with pytest.raises(NotEmpty, match=r"has other data \(thread d:u1:u2: 2 rows"):
        await to_cql(source, keyspace)
    async with served_log(keyspace) as stores:
        assert (await stores.log.claim(DM, 9)).recent == (event(1),)


async def test_a_source_that_has_changed_is_not_mixed_in(
    source: Path, postgres: PostgresServer, keyspace: str
) -> None:
    urls = postgres.emptied(1)
    async with open_source(source) as opened:
        async with postgres_transfer.open_target(urls) as target:
            with pytest.raises(Killed):
                await copy_tables(opened, dying_after(target, 4), silent)
        async with open_cql(keyspace, bucket_events=BUCKET_EVENTS) as log:
            with pytest.raises(Killed):
                await copy_log(opened, dying_after(log, 1), silent)
    async with open_sqlite(source) as stores:
        await stores.accounts.create(account("late"))
        await stores.log.claim(DM, 0)
    with pytest.raises(NotEmpty, match="part of another copy: begin again with empty databases"):
        await to_postgres(source, urls)
    with pytest.raises(NotEmpty, match="part of another copy: begin again with a new keyspace"):
        await to_cql(source, keyspace)


def test_a_source_that_is_served_from_is_refused(source: Path, databases: tuple[str, ...]) -> None:
    async def run() -> None:
        async with open_sqlite(source):
            await to_postgres(source, databases)

    with pytest.raises(DataDirectoryInUse):
        trio.run(run)


def test_a_damaged_event_is_named_before_anything_is_written(
    source: Path,
    keyspace: str,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def look() -> None:
        async with served(urls) as stores, served_log(keyspace) as log:
            assert not await stores.accounts.search("", 9)
            assert not await log.log.read(DM, Span(), 9)

    monkeypatch.setattr(sqlite_log, "CHECKED_EVENTS", 1)  # or the opening finds it
    urls = postgres.emptied(1)
    connection = sqlite3.connect(source / DATABASE)
    connection.execute(
        "UPDATE events SET body = replace(body, 'hi', 'ho')"
        " WHERE seq = 6 AND thread = (SELECT key FROM heads WHERE thread = ?)", (LONG,)
    )  # fmt: skip
    connection.commit()
    connection.close()
    assert main(["copy", "--from", str(source), "--to", keyspace, *urls]) == 1
    said = capsys.readouterr().err
    assert said == f"coppice: event 6 of {LONG} does not match its checksums\n"
    trio.run(look)


async def test_a_role_that_may_make_no_table_is_told(
    source: Path, postgres: PostgresServer
) -> None:
    """Or nothing would tell the servers that the copy has not ended."""
    (url,) = postgres.create()
    database = urlsplit(url).path[1:]
    postgres.execute("CREATE ROLE copier LOGIN")
    try:
        rights = "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO copier;"
        postgres.execute(
            f"{rights} GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO copier", database
        )
        postgres.execute("INSERT INTO placement VALUES (0, 4096)", database)
        with pytest.raises(StoreUnavailable, match="permission denied for schema"):
            await to_postgres(source, (url.replace("postgres@", "copier@"),))
    finally:
        postgres.execute("DROP OWNED BY copier", database)
        postgres.execute("DROP ROLE copier")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("DELETE FROM events WHERE seq = 6", "has gaps above 0"),
        ("DELETE FROM events WHERE seq > 20", "ends at 20, its head says 26"),
    ],
)
async def test_a_source_without_an_event_is_no_source(lost: str, said: str, source: Path) -> None:
    """Whether or not there is a server to copy to."""
    async with open_source(source) as opened:
        connection = sqlite3.connect(source / DATABASE)
        connection.execute(f"{lost} AND thread = (SELECT key FROM heads WHERE thread = 'g7')")
        connection.commit()
        connection.close()
        with pytest.raises(Corrupt, match=f"the log of g7 {said}"):
            await opened.checksums([LONG])


# ---------------------------------------------------------------------------- differences


async def test_what_is_lost_on_the_way_to_postgres_is_named(
    source: Path, postgres: PostgresServer
) -> None:
    """And nobody serves from it."""
    urls = postgres.emptied(1)
    database = urlsplit(urls[0]).path[1:]
    async with open_source(source) as opened, postgres_transfer.open_target(urls) as target:
        with pytest.raises(Killed):
            await copy_tables(opened, dying_at(target, "finish"), silent)
        postgres.execute(
            "DELETE FROM hidden WHERE seq = 2; UPDATE words SET word = 'andy' WHERE word = 'ann';"
            " DELETE FROM tokens WHERE uid = 'u2'; SELECT nextval('session_numbers')",
            database,
        )
        copied = await copy_tables(opened, target, silent)
    assert copied.differing == 3
    assert [words.partition(":")[0] for words in copied.differences] == [
        "words",
        "tokens",
        "hidden",
    ]
    with pytest.raises(Corrupt, match="has not ended"):
        async with served(urls):
            pass


HARM = {
    DM: "UPDATE events SET epoch = 9 WHERE thread = 'd:u1:u2' AND bucket = 0",
    GROUP: "DELETE FROM targets WHERE thread = 'g1' AND bucket = 0 AND target = 1",
    OTHER: "DELETE FROM cids WHERE thread = 'g2' AND sender = 'u2' AND cid = 'c1'",
    LONG: "UPDATE events SET body = 0x41 WHERE thread = 'g7' AND bucket = 1 AND seq = 12",
    CLAIMED: "INSERT INTO cursors (thread, uid, recv) VALUES ('g9', 'u3', 1)",
}


async def test_what_is_not_right_on_cql_is_named(
    source: Path, keyspace: str, own_keyspace: tuple[str, Any]
) -> None:
    async with (
        open_source(source) as opened,
        open_cql(keyspace, bucket_events=BUCKET_EVENTS) as target,
    ):
        with pytest.raises(Killed):
            await copy_log(opened, dying_at(target, "finish"), silent)
        for harm in (*HARM.values(), "UPDATE events SET epoch = 1 WHERE thread='x' AND bucket=0"):
            own_keyspace[1].execute(harm)
        copied = await copy_log(opened, target, silent)
    assert copied.differing == len(HARM) + 1
    named = {difference.split(": ")[0] for difference in copied.differences[:-1]}
    assert named == {f"thread {thread}" for thread in HARM}
    assert copied.differences[-1] == "threads: 6, not 5"
    with pytest.raises(Corrupt, match="a copy into it has not ended"):
        async with served_log(keyspace):
            pass


def test_differences_end_the_program_with_1(
    source: Path,
    postgres: PostgresServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def losing(self: PostgresTarget, table: Any, page: Any) -> None:
        await write(self, table, page[1:])

    write = PostgresTarget.write
    monkeypatch.setattr(PostgresTarget, "write", losing)
    urls = postgres.emptied(1)
    assert main(["copy", "--from", str(source), "--to", *urls]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("coppice: ")]
    assert said[0].startswith("coppice: accounts: 3 rows ")
    assert said[-1].startswith(f"coppice: users and threads: {len(TABLES)} differences in ")


@given(
    rows=st.lists(
        st.tuples(st.text(max_size=3), st.integers(-9, 9), st.none() | st.binary()), max_size=5
    ),
    data=st.data(),
)
def test_a_checksum_is_of_what_there_is_in_any_order_and_share(
    rows: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    whole, shares = Checksum(), Checksum()
    whole.add(rows)
    for share in (data.draw(st.permutations(rows[cut:])), rows[:cut]):
        shares.add(share)
    assert whole == shares
    if rows:
        shares.add([data.draw(st.sampled_from(rows))])
        assert whole.total != shares.total


def test_a_checksum_is_also_of_how_often() -> None:
    twice, other = Checksum(), Checksum()
    twice.add([("a",), ("a",)])
    other.add([("b",), ("b",)])
    assert twice != other


# ---------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (["mysql://u:secret@h/db"], "--to: a URL begins with postgresql:// or cql://"),
        (["cql://a/x", "cql://b/x"], "--to: each database once, and one cql:// URL at most"),
        (["postgresql://h/a"] * 2, "--to: each database once, and one cql:// URL at most"),
        (["cql://u:secret@h/Bad"], "--to: keyspace 'Bad': letters, digits and _ of lower"),
    ],
)
def test_a_target_that_cannot_be_is_one_clear_line(
    urls: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", "--from", str(tmp_path), "--to", *urls]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"coppice: {words}")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_source_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert main(["copy", "--from", str(nowhere), "--to", "postgresql://127.0.0.1:1/x"]) == 1
    assert capsys.readouterr().err == f"coppice: {nowhere / DATABASE}: there is no database\n"
    assert not nowhere.exists()
