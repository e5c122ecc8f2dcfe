"""Users and threads on PostgreSQL, as somebody outside sees it: outages above all.

The other modules run on PostgreSQL too, with `COPPICE_TEST_SQL`.
"""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Callable
from typing import Any

from tests.e2e.wire import DEADLINE_S, PASSWORD, Server
from tests.servers.postgres import OwnServer, PostgresServer


def ready(server: Server) -> tuple[int, dict[str, Any]]:
    try:
        return 200, json.loads(server.look("/ready"))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def becomes(server: Server, status: int) -> dict[str, Any]:
    """What `/ready` says with this status; an answer may be a second old."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        found, details = ready(server)
        if found == status:
            return details
        assert time.monotonic() < deadline_s, details


def metric(server: Server, name: str) -> float:
    lines = server.look("/metrics").decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_outage_is_told_apart_and_passes(
    own_postgres: OwnServer, special: Callable[..., Server]
) -> None:
    """Who talks goes on talking: the log is another store. What needs the database is refused as
    something that passes, and works again, without a restart, when the database does."""
    server = special(COPPICE_SQL=",".join(own_postgres.create(2)))
    ann, bob = server.user(), server.user()
    ann.say(bob, "before")
    assert ready(server) == (200, {"ready": True, "state": "serving", "missing": [],
                                   "stores": {"sql": "ok", "log": "ok"}})  # fmt: skip
    assert metric(server, "coppice_healthy_sql") == 1
    own_postgres.stop()
    details = becomes(server, 503)
    assert details["state"] == "store unavailable"
    assert details["stores"]["log"] == "ok"
    assert "password" not in details["stores"]["sql"]
    assert metric(server, "coppice_healthy_sql") == 0
    assert metric(server, "coppice_healthy_log") == 1
    ann.say(bob, "during")
    assert bob.event("msg", text="during")
    assert server.wire().refused("login", user=ann.user, **{"pass": PASSWORD}) == "unavailable"
    own_postgres.start()
    assert server.device(ann).uid == ann.uid
    becomes(server, 200)
    ann.say(bob, "after")
    assert bob.event("msg", text="after")
    assert metric(server, "coppice_sql_lost_total") > 0


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
