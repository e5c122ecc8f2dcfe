"""Databases are brought up to date, or refused."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import trio

from persistence import migrations
from persistence.errors import Corrupt, StoreUnavailable
from persistence.postgres import migrate_postgres, open_postgres
from persistence.postgres_buckets import bucket_of
from tests.contracts.stores import account
from tests.servers.postgres import PostgresServer

DEPLOYMENT = Path(__file__).parents[2] / "docs/deployment.md"
APPLIED = "SELECT number, name FROM migrations ORDER BY number"


def name(url: str) -> str:
    return urlsplit(url).path[1:]


@pytest.fixture
def empty(postgres: PostgresServer) -> str:
    """A database without anything."""
    return postgres.create(1, "template0")[0]


async def test_new_database_gets_the_schema_once(postgres: PostgresServer, empty: str) -> None:
    await migrate_postgres([empty])
    await migrate_postgres([empty])
    shipped = [(each.number, each.name) for each in migrations.load("postgres")]
    assert postgres.execute(APPLIED, name(empty)) == shipped


async def test_many_servers_that_start_at_once_migrate_once(
    postgres: PostgresServer, empty: str
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(migrate_postgres, [empty])
    assert len(postgres.execute(APPLIED, name(empty))) == len(migrations.load("postgres"))


async def test_older_schema_is_brought_up_to_date(
    postgres: PostgresServer, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres([empty]) as stores:
        ann = await stores.accounts.create(account("ann"))
    later = migrations.Migration(2, "0002_later.sql", "CREATE TABLE later (x int)", "sum")
    shipped = migrations.load("postgres")
    monkeypatch.setattr(migrations, "load", lambda _: (*shipped, later))
    async with open_postgres([empty]) as stores:
        assert await stores.accounts.by_name("ann") == ann
    assert postgres.execute("SELECT * FROM later", name(empty)) == []


async def test_migration_that_fails_leaves_nothing(
    postgres: PostgresServer, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_postgres([empty])
    script = "CREATE TABLE later (x int); SELECT 1/0"
    broken = migrations.Migration(2, "0002_broken.sql", script, "sum")
    shipped = migrations.load("postgres")
    monkeypatch.setattr(migrations, "load", lambda _: (*shipped, broken))
    with pytest.raises(StoreUnavailable, match="cannot be migrated: division by zero"):
        await migrate_postgres([empty])
    assert postgres.execute("SELECT to_regclass('later')", name(empty)) == [(None,)]
    assert len(postgres.execute(APPLIED, name(empty))) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("INSERT INTO migrations VALUES (99, '0099_later.sql', 'x')",
         "the schema is newer than this program: it has 0099_later.sql"),
        ("UPDATE migrations SET checksum = 'x'",
         "0001_initial.sql was applied with other contents"),
    ],
)  # fmt: skip
async def test_schema_of_another_program_is_refused(
    postgres: PostgresServer, change: str, words: str
) -> None:
    (url,) = postgres.create()
    postgres.execute(change, name(url))
    with pytest.raises(Corrupt, match=f"/{name(url)}: {words}"):
        await migrate_postgres([url])


async def test_missing_or_foreign_database_of_several_is_refused(postgres: PostgresServer) -> None:
    a, b, c = postgres.create(3)
    await migrate_postgres([a, b])
    await migrate_postgres([b, a])
    with pytest.raises(Corrupt, match=r"bucket 2048 is in none of .*: is a database missing\?"):
        await migrate_postgres([a])
    with pytest.raises(Corrupt, match=f"{name(c)} has no buckets"):
        await migrate_postgres([a, b, c])
    with pytest.raises(Corrupt, match="bucket 0 is in"):
        await migrate_postgres([a, a, b])


async def test_role_without_rights_to_the_schema_may_serve(postgres: PostgresServer) -> None:
    (url,) = postgres.create()
    await migrate_postgres([url])
    postgres.execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain"
    postgres.execute(f"{rights}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO plain", name(url))
    as_plain = url.replace("postgres@", "plain@")
    assert as_plain != url
    async with open_postgres([as_plain]) as stores:
        assert (await stores.accounts.create(account("ann"))).uid == "u1"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:1/x", "127.0.0.1:1/x: .*refused"),
        ("postgresql://u:secret@no-such-host.invalid/x", "no-such-host.invalid"),
    ],
)
async def test_server_that_is_not_there_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(StoreUnavailable, match=words) as caught:
        await migrate_postgres([url])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "u1", "ß", "d:u1:u2"])
def test_bucket_of_a_key_in_sql(postgres: PostgresServer, key: str) -> None:
    """As docs/deployment.md has it, for whoever moves rows to another database."""
    bucket = "('x' || left(md5({}), 3))::bit(12)::int"
    text, binary = f"'{key}'", f"'\\x{key.encode().hex()}'::bytea"
    columns = f"{bucket.format(text)}, {bucket.format(binary)}"
    assert bucket.format("uid") in DEPLOYMENT.read_text()
    assert postgres.execute(f"SELECT {columns}") == [(bucket_of(key), bucket_of(key.encode()))]


def test_whoever_shares_the_server_takes_nothing_away(postgres: PostgresServer) -> None:
    """Of the tests themselves: each of their processes, and each benchmark they run, has a view of
    the server of its own, and drops what it made."""
    other = PostgresServer(postgres.url("postgres"))
    (theirs,) = other.create(1)
    (ours,) = postgres.create(1)
    other.close()
    assert postgres.execute("SELECT count(*) FROM accounts", name(ours)) == [(0,)]
    assert postgres.create(1), "its template is still there"
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        postgres.execute("SELECT 1", name(theirs))
