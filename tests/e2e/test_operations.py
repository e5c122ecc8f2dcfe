"""What the operator of a running server sees: its numbers, its tree, its log."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.wire import DEADLINE_S, PASSWORD, Server, Wire

RECENT_EVENTS = 300
"""More than a channel keeps in memory, so that what came before is read from the store."""
NODE_KEYS = {
    "id", "name", "kind", "class", "state", "restarts", "age_s", "mailbox", "handled", "children"
}  # fmt: skip


def numbers(server: Server) -> dict[str, float]:
    """Every sample without labels."""
    text = server.look("/metrics").decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def story_of(server: Server, name: str) -> Generator[dict[str, Any]]:
    """What has happened to an actor, and then what does."""
    url = f"http://{server.ops}/events?recent=100"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                if name in (event["name"], event.get("child")):
                    yield event


def test_durations_are_measured(server: Server, alice: Wire, bob: Wire) -> None:
    before = numbers(server)
    for _ in range(5):
        alice.say(bob)
    after = numbers(server)
    for name in ("request_seconds", "commit_seconds", "commit_events"):
        assert after[f"coppice_{name}_count"] >= before[f"coppice_{name}_count"] + 5, name
        assert after[f"coppice_{name}_sum"] > before[f"coppice_{name}_sum"], name
    assert after["coppice_commit_events_sum"] >= before["coppice_commit_events_sum"] + 5


def test_the_tree_has_the_documented_shape(server: Server, alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    nodes: dict[str, dict[str, Any]] = {}

    def visit(node: dict[str, Any]) -> None:
        nodes[node["name"]] = node
        is_supervisor = node["kind"] == "supervisor"
        assert set(node) == NODE_KEYS | ({"strategy"} if is_supervisor else set())
        assert is_supervisor or (node["kind"] == "worker" and not node["children"])
        for child in node["children"]:
            visit(child)

    visit(json.loads(server.look("/tree")))
    assert nodes[f"session:{alice.uid}"]["class"] == "Session"
    assert nodes[f"channel:{thread}"]["state"] == "running"
    assert nodes["front"]["strategy"] == "one_for_all"


def test_events_tell_what_followed_from_a_kill(server: Server, alice: Wire, bob: Wire) -> None:
    channel = f"channel:{alice.say(bob)['thread']}"
    assert server.kill(channel, "because")
    alice.say(bob)  # answered by the next incarnation
    story = story_of(server, channel)
    begun, exited, planned, started, restarted = islice(story, 5)
    assert (begun["event"], exited["event"], exited["reason"]) == ("Started", "Exited", "because")
    assert (planned["event"], planned["name"]) == ("RestartScheduled", "channels")
    assert (started["event"], started["incarnation"]) == ("Started", 2)
    assert (restarted["event"], restarted["restarts"]) == ("Restarted", 1)
    story.close()


def test_no_secret_reaches_the_log(special: Callable[..., Server], tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = special(log=str(log))
    secrets = [PASSWORD, "quiet words", "wrong password!", "stolen-token"]
    alice, bob = server.user("alice"), server.user("bob")
    secrets += [alice.token, bob.token]
    thread = alice.say(bob, "quiet words")["thread"]
    for actor in ("journal", f"channel:{thread}", f"session:{bob.uid}", "accounts", "contacts"):
        pending = [
            alice.begin("send", to=bob.uid, text=f"quiet words {number}") for number in range(20)
        ]
        login = server.wire()
        login.begin("login", user="alice", **{"pass": PASSWORD})
        assert server.kill(actor)
        assert all(alice.end(number)["op"] == "ok" for number in pending)
        login.close()
    stranger = server.wire()
    stranger.send(f'{{"op":"login","user":"alice","pass":"{PASSWORD}"')
    stranger.send(f'{{"op":"login","user":"alice","pass":["{PASSWORD}"]}}')
    assert stranger.refused("login", user="alice", **{"pass": "wrong password!"})
    assert stranger.refused("auth", token="stolen-token")
    server.stop()
    written = log.read_text()
    assert '"actor": "journal"' in written
    assert [secret for secret in secrets if secret in written] == []


@pytest.mark.usefixtures("embedded_log")
def test_damage_is_told_to_the_operator(special: Callable[..., Server], tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = special(log=str(log))
    alice, bob = server.user(), server.user()
    thread = alice.say(bob, "quiet words")["thread"]
    later = [alice.begin("send", thread=thread, text="hello") for _ in range(RECENT_EVENTS)]
    assert all(alice.end(number)["op"] == "ok" for number in later)
    with closing(sqlite3.connect(tmp_path / "coppice.db")) as shell:
        shell.execute("UPDATE events SET body = replace(body, 'quiet', 'other') WHERE seq = 1")
        shell.commit()
    answer = bob.request("history", thread=thread, around=1)
    assert (answer["op"], answer["code"]) == ("err", "internal")
    alice.say(bob)  # everything else goes on
    server.stop()
    written = log.read_text()
    assert f"the store is damaged: event 1 of {thread}" in written
    assert "words" not in written
