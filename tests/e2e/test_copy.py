"""A server that was moved from one machine to databases, as its users see it: nothing happened."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import main
from persistence import cql_session, cql_settings
from tests import servers
from tests.e2e.wire import Frame, Wire, serving
from tests.servers import cassandra
from tests.servers.postgres import PostgresServer

EMBEDDED = {"COPPICE_SQL": "", "COPPICE_LOG": ""}
"""Whatever the other modules run on."""


@pytest.fixture
def left_behind(tmp_path: Path) -> tuple[Path, dict[str, Frame]]:
    """The data directory of a server that people have chatted on, and what each of them was told,
    by token."""
    data = tmp_path / "data"
    with serving(data, **EMBEDDED) as server:
        ann, bob, cid = (server.user(name, name=name.title()) for name in ("ann", "bob", "cid"))
        chat(ann, bob, cid)
        told = {person.token: everything(person) for person in (ann, bob, cid)}
        for person in (ann, bob, cid):
            person.close()
        assert server.stop(signal.SIGTERM) == 0
    return data, told


def chat(ann: Wire, bob: Wire, cid: Wire) -> None:
    """Something of everything that is kept."""
    dm = ann.say(bob, "first")["thread"]
    for number in range(30):
        (ann if number % 3 else bob).say(dm, f"number {number}", cid=f"c{number}")
    ann.ok("edit", thread=dm, seq=3, text="edited")
    bob.ok("react", thread=dm, seq=3, emoji="+1", on=True)
    bob.ok("delete", thread=dm, seqs=[4], for_="me")
    ann.ok("delete", thread=dm, seqs=[6], for_="all")
    bob.ok("read", thread=dm, seq=20)
    group = ann.ok("group.create", name="Group", members=[bob.uid, cid.uid], cid="g")["thread"]
    cid.say(group, "in the group")
    ann.ok("group.remove", thread=group, user=cid.uid)
    ann.say(group, "without cid")
    bob.ok("thread.set", thread=group, pinned=True)
    bob.ok("contact.add", uid=ann.uid, alias="Annie")
    bob.ok("block", uid=cid.uid)
    for person in (ann, bob, cid):
        person.quiet()


def everything(person: Wire) -> Frame:
    """What a device that has nothing yet is told."""
    synced = person.ok("sync", cursors={}, limit=100)
    told = {
        "sync": synced,
        "threads": person.ok("thread.list"),
        "contacts": person.ok("contact.list"),
        "users": person.ok("user.search", q="b"),
        **{
            thread: person.ok("history", thread=thread, limit=100, around=15)
            for thread in synced["events"]
        },
    }
    for frame in told.values():
        del frame["id"]
    return told


def test_on_postgres_everybody_goes_on_where_they_were(
    left_behind: tuple[Path, dict[str, Frame]], postgres: PostgresServer
) -> None:
    """Logged in as before, with the same answers; what was sent is known as sent."""
    data, told = left_behind
    urls = postgres.create(2)
    assert main(["copy", "--from", str(data), "--to", *urls]) == 0
    (data / "coppice.db").rename(data / "before")  # users and threads can be in no other place
    keep_log_only(data)
    with serving(data, **EMBEDDED | {"COPPICE_SQL": ",".join(urls)}) as server:
        for token, before in told.items():
            person = server.wire()
            person.uid = person.ok("auth", token=token)["uid"]
            assert everything(person) == before
        again = person.ok("group.create", name="Next", members=[])
        assert again["thread"] == "g2"
        assert server.user("dan").uid == "u4"


def keep_log_only(data: Path) -> None:
    """A database that has the log of the one before and nothing else."""
    connection = sqlite3.connect(data / "before")
    connection.execute("VACUUM INTO ?", (str(data / "coppice.db"),))
    connection.close()
    connection = sqlite3.connect(data / "coppice.db")
    for table in ("hidden", "members", "threads", "reservations", "contacts", "books"):
        connection.execute(f"DELETE FROM {table}")
    for table in ("sessions", "account_words", "accounts"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()


def test_past_one_machine_everybody_goes_on_where_they_were(
    left_behind: tuple[Path, dict[str, Frame]], postgres: PostgresServer, keyspace: str
) -> None:
    """Also who owns a thread: its next post is numbered, and fenced, as after a restart."""
    data, told = left_behind
    (url,) = postgres.create()
    assert main(["copy", "--from", str(data), "--to", url, keyspace]) == 0
    with serving(data / "unused", COPPICE_SQL=url, COPPICE_LOG=keyspace) as server:
        for token, before in told.items():
            person = server.wire()
            person.ok("auth", token=token)
            assert everything(person) == before
        ann = server.wire()
        ann.ok("auth", token=next(iter(told)))
        dm = next(thread for thread in told[next(iter(told))] if thread.startswith("d:"))
        repeated = ann.ok("send", thread=dm, text="number 29", cid="c29")
        assert repeated["dup"]
        assert ann.say(dm, "more")["seq"] == ann.ok("history", thread=dm)["head"]


@pytest.fixture
def keyspace() -> Iterator[str]:
    """The address of one that is not there yet."""
    if cassandra.url("cassandra-1") is None:
        pytest.skip(f"cassandra-1 does not run: {servers.HINT}")
    url = f"cql://127.0.0.1:9042/copy_e2e_{os.getpid()}?replication=1"
    yield url
    settings = cql_settings.parse(url)
    cluster = cql_session.connect(settings, cql_session.Suspects())
    cluster.connect().execute(f"DROP KEYSPACE IF EXISTS {settings.keyspace}", timeout=60)
    cluster.shutdown()
