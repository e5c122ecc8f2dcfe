"""Users and threads on PostgreSQL, as somebody outside sees it: outages above all.

The other modules run on PostgreSQL too, with `COPPICE_TEST_SQL`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.wire import DEADLINE_S, PASSWORD, ROOT, Server
from tests.servers.postgres import OwnServer, PostgresServer


def test_outage_is_told_apart_and_passes(
    own_postgres: OwnServer, special: Callable[..., Server]
) -> None:
    """Who talks goes on talking: the log is another store. What needs the database is refused as
    something that passes, and works again, without a restart, when the database does."""
    server = special(COPPICE_SQL=",".join(own_postgres.create(2)))
    ann, bob = server.user(), server.user()
    ann.say(bob, "before")
    assert server.ready() == (200, {"ready": True, "state": "serving", "missing": [],
                                   "stores": {"sql": "ok", "log": "ok"}})  # fmt: skip
    assert server.metric("coppice_healthy_sql") == 1
    own_postgres.stop()
    details = server.becomes(503)
    assert details["state"] == "store unavailable"
    assert details["stores"]["log"] == "ok"
    assert "password" not in details["stores"]["sql"]
    assert server.metric("coppice_healthy_sql") == 0
    assert server.metric("coppice_healthy_log") == 1
    ann.say(bob, "during")
    assert bob.event("msg", text="during")
    assert server.wire().refused("login", user=ann.user, **{"pass": PASSWORD}) == "unavailable"
    own_postgres.start()
    assert server.device(ann).uid == ann.uid
    server.becomes(200)
    ann.say(bob, "after")
    assert bob.event("msg", text="after")
    assert server.metric("coppice_sql_lost_total") > 0


def test_groups_go_on_while_the_database_is_away(
    own_postgres: OwnServer, special: Callable[..., Server]
) -> None:
    """What is in the log is done, and told to the database when it is back; who would have to be
    found there is not added. No channel crashes of it."""
    server = special(COPPICE_SQL=",".join(own_postgres.create(2)))
    ann, bob, cat = server.user(), server.user(), server.user()
    thread = ann.ok("group.create", name="wood", members=[bob.uid])["thread"]
    assert bob.event("thread", thread=thread)
    own_postgres.stop()
    server.becomes(503)
    assert ann.refused("group.add", thread=thread, users=[cat.uid]) == "unavailable"
    create = ann.begin("group.create", name="glade", members=[])
    ann.say(thread, "during")
    ann.ok("group.update", thread=thread, name="grove")
    bob.ok("group.leave", thread=thread)
    assert ann.event("member", thread=thread, act="leave")
    ann.say(thread, "not for bob")
    assert ann.end(create)["code"] == "unavailable"
    own_postgres.start()
    server.becomes(200)
    assert ann.ok("group.info", thread=thread)["info"]["name"] == "grove"
    (line,) = bob.ok("thread.list")["threads"]
    assert line["last"]["text"] == "during"
    ann.ok("group.add", thread=thread, users=[cat.uid])
    assert cat.event("member", thread=thread, act="add")
    (channel,) = (
        node for supervisor in json.loads(server.look("/tree"))["children"]
        for node in supervisor["children"] if node["name"] == f"channel:{thread}"
    )  # fmt: skip
    assert channel["restarts"] == 0


def test_users_and_groups_outlive_the_server(
    postgres: PostgresServer, special: Callable[..., Server]
) -> None:
    settings = {"COPPICE_SQL": ",".join(postgres.create(3))}
    server = special(**settings)
    ann, bob = server.user(), server.user()
    thread = ann.ok("group.create", name="wood", members=[bob.uid])["thread"]
    ann.say(thread, "hello")
    assert server.stop() == 0
    server = special(**settings)
    again = server.device(bob)
    assert [line["thread"] for line in again.ok("thread.list")["threads"]] == [thread]


def test_schema_that_goes_under_a_server_is_an_outage_that_passes(
    postgres: PostgresServer, special: Callable[..., Server]
) -> None:
    """As during a restore: an older schema, then none."""
    (url,) = postgres.create()
    database = urlsplit(url).path[1:]
    server = special(COPPICE_SQL=url)
    ann, bob = server.user(), server.user()
    ann.say(bob, "before")
    for gone, back, words in (
        (
            "UPDATE migrations SET number = number - 1000",
            "UPDATE migrations SET number = number + 1000",
            "its schema is older than this program",
        ),
        (
            "ALTER SCHEMA public RENAME TO away",
            "ALTER SCHEMA away RENAME TO public",
            'relation "migrations" does not exist',
        ),
    ):
        postgres.execute(gone, database)
        assert words in server.becomes(503)["stores"]["sql"]
        assert server.metric("coppice_healthy_sql") == 0
        ann.say(bob, "during")
        postgres.execute(back, database)
        server.becomes(200)
        assert server.device(ann).uid == ann.uid


def test_schema_of_a_newer_program_stops_the_start(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    (url,) = postgres.create()
    newer = "INSERT INTO migrations VALUES (99, '0099_later.sql', '')"
    postgres.execute(newer, urlsplit(url).path[1:])
    ended = subprocess.run(
        [sys.executable, "run.py", "serve", "--port", "0", "--data", str(tmp_path)],
        cwd=ROOT, env=os.environ | {"COPPICE_SQL": url},
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "the schema is newer than this program: it has 0099_later.sql" in ended.stderr
    assert "Traceback" not in ended.stderr
