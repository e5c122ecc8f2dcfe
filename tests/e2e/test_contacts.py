"""PROTOCOL.md §2, contacts and presence."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.e2e.wire import DEADLINE_S, Beating, Server, Wire
from tests.gateway.websocket_peer import HEAD, frame


def test_a_contact_is_added_once(alice: Wire, bob: Wire) -> None:
    first = alice.ok("contact.add", user=bob.user, alias="Bobby")
    assert first["contact"] == {
        "uid": bob.uid, "user": bob.user, "name": bob.user, "alias": "Bobby", "blocked": False,
    }  # fmt: skip
    assert "dup" not in first
    assert alice.ok("contact.add", uid=bob.uid)["dup"] is True
    assert alice.refused("contact.add", user="nobody.here") == "not_found"
    assert alice.refused("contact.add") == "bad_request"


def test_the_book_is_listed_and_has_a_version(alice: Wire, bob: Wire) -> None:
    alice.ok("contact.add", uid=bob.uid)
    listed = alice.ok("contact.list")
    assert [contact["uid"] for contact in listed["contacts"]] == [bob.uid]
    same = alice.ok("contact.list", v=listed["v"])
    assert (same["same"], same["v"]) == (True, listed["v"])
    alice.ok("contact.alias", uid=bob.uid, alias="B.")
    changed = alice.ok("contact.list", v=listed["v"])
    assert changed["contacts"][0]["alias"] == "B."


def test_the_book_is_another_when_somebody_takes_another_name(alice: Wire, bob: Wire) -> None:
    alice.ok("contact.add", uid=bob.uid)
    version = alice.ok("contact.list")["v"]
    bob.ok("profile.set", about="no name")
    assert alice.ok("contact.list", v=version)["same"] is True
    bob.ok("profile.set", name="Robert")
    changed = alice.ok("contact.list", v=version)
    assert changed["contacts"][0]["name"] == "Robert"
    assert changed["v"] != version


def test_aliases_and_removal(server: Server, alice: Wire, bob: Wire) -> None:
    phone = server.device(alice)
    alice.ok("contact.add", uid=bob.uid)
    assert phone.event("contact")["uid"] == bob.uid
    alice.ok("contact.remove", uid=bob.uid)
    assert alice.ok("contact.list")["contacts"] == []
    assert alice.refused("contact.remove", uid=bob.uid) == "not_found"
    assert alice.refused("contact.alias", uid=bob.uid, alias="x") == "not_found"


def test_a_block_stops_the_dm_both_ways_and_nothing_else(alice: Wire, bob: Wire) -> None:
    sent = alice.say(bob)
    group = alice.ok("group.create", name="G", members=[bob.uid])["thread"]
    alice.ok("block", uid=bob.uid)
    for one, other in ((alice, bob), (bob, alice)):
        assert one.refused("send", to=other.uid, text="x") == "blocked"
        assert one.refused("react", thread=sent["thread"], seq=1, emoji="x", on=True) == "blocked"
        assert one.refused("typing", thread=sent["thread"], on=True) == "blocked"
    assert alice.refused("edit", thread=sent["thread"], seq=1, text="x") == "blocked"
    bob.say(group)
    alice.ok("unblock", uid=bob.uid)
    bob.say(alice)


def test_typing_meets_a_block_at_once(alice: Wire, bob: Wire) -> None:
    thread = alice.say(bob)["thread"]
    for op, answer in (("block", "err"), ("unblock", "ok")) * 3:
        changing = alice.begin(op, uid=bob.uid)
        typing = alice.begin("typing", thread=thread, on=True)
        alice.end(changing)
        assert alice.end(typing)["op"] == answer


def test_a_blocked_stranger_is_in_the_list(alice: Wire, bob: Wire) -> None:
    alice.ok("block", uid=bob.uid)
    (contact,) = alice.ok("contact.list")["contacts"]
    assert (contact["uid"], contact["blocked"]) == (bob.uid, True)
    assert alice.refused("block", uid="u999999") == "not_found"


def test_a_poll_answers_all_then_changes(server: Server, alice: Wire, bob: Wire) -> None:
    first = alice.ok("presence", uids=[bob.uid, "u999999"])
    assert first["st"] == {bob.uid: {"on": True}}
    assert first["next_ms"] > 0
    assert alice.ok("presence", uids=[bob.uid, "u999999"], v=first["v"])["st"] == {}
    bob.ok("bye")
    bob.closed()
    changed = alice.ok("presence", uids=[bob.uid, "u999999"], v=first["v"])
    assert changed["st"][bob.uid]["on"] is False
    assert changed["st"][bob.uid]["last"] > 0
    other = alice.ok("presence", uids=[bob.uid], v=changed["v"])
    assert other["st"][bob.uid]["on"] is False


def test_presence_is_hidden_by_a_block_both_ways(alice: Wire, bob: Wire) -> None:
    alice.ok("block", uid=bob.uid)
    assert alice.ok("presence", uids=[bob.uid])["st"] == {bob.uid: {"on": False}}
    assert bob.ok("presence", uids=[alice.uid])["st"] == {alice.uid: {"on": False}}


def test_last_seen_is_private_and_reciprocal(server: Server, alice: Wire, bob: Wire) -> None:
    carol = server.user()
    carol.ok("bye")
    alice.ok("privacy.set", last_seen="nobody")
    assert alice.ok("presence", uids=[carol.uid])["st"] == {carol.uid: {"on": False}}
    alice.ok("bye")
    alice.closed()
    assert "last" not in bob.ok("presence", uids=[alice.uid])["st"][alice.uid]


def test_contacts_see_what_contacts_may_see(server: Server, alice: Wire, bob: Wire) -> None:
    alice.ok("privacy.set", last_seen="contacts")
    alice.ok("contact.add", uid=bob.uid)
    stranger = server.user()
    alice.ok("bye")
    alice.closed()
    assert "last" in bob.ok("presence", uids=[alice.uid])["st"][alice.uid]
    assert "last" not in stranger.ok("presence", uids=[alice.uid])["st"][alice.uid]


def test_online_until_a_minute_of_silence(special: Callable[..., Server]) -> None:
    server = special(COPPICE_OFFLINE_MS="800", COPPICE_HB_MS="200")
    alice, bob = server.user(), server.user()
    with Beating(alice):
        bob.socket.socket.close()  # an unclean end: no close frame
        assert alice.ok("presence", uids=[bob.uid])["st"][bob.uid]["on"] is True
        silent = server.user()
        assert silent.closed() == 4010
        assert alice.ok("presence", uids=[bob.uid])["st"][bob.uid]["on"] is False


def test_who_keeps_talking_stays_online_however_short_the_silence(
    special: Callable[..., Server],
) -> None:
    server = special(COPPICE_OFFLINE_MS="1000", COPPICE_HB_MS="200")
    alice, bob = server.user(), server.user()
    with Beating(alice, bob):
        polls_until = time.monotonic() + 2.5  # the registry looks at its leases once a second
        while time.monotonic() < polls_until:
            assert alice.ok("presence", uids=[bob.uid])["st"] == {bob.uid: {"on": True}}


def test_a_server_that_stood_still_hears_who_talked_meanwhile(
    special: Callable[..., Server],
) -> None:
    server = special(COPPICE_OFFLINE_MS="1500", COPPICE_HB_MS="200")
    alice, bob = server.user(), server.user()
    with Beating(alice, bob):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # longer than the silence that it would mistake this for
        server.process.send_signal(signal.SIGCONT)
        assert alice.ok("presence", uids=[bob.uid])["st"] == {bob.uid: {"on": True}}
        assert bob.ok("session.list")


@pytest.mark.parametrize("part", ["presence", "hub"])
def test_who_was_heard_of_late_is_online_though_a_part_dies(
    special: Callable[..., Server], part: str
) -> None:
    server = special(COPPICE_OFFLINE_MS="5000", COPPICE_HB_MS="1000")
    alice, bob = server.user(), server.user()
    bob.socket.socket.close()  # an unclean end: no close frame
    with suppress(OSError):  # the ops listener falls with the hub
        server.kill(part)
    if part == "hub":
        assert alice.closed() == 1006
        token, alice = alice.token, server.wire()
        alice.ok("auth", token=token)
    with Beating(alice):
        assert alice.ok("presence", uids=[bob.uid])["st"] == {bob.uid: {"on": True}}
        until(alice, bob.uid, on=False)


def mute(server: Server, **request: object) -> socket.socket:
    """A peer that makes one request, and never reads nor answers a close."""
    peer = socket.create_connection(("127.0.0.1", server.port))
    peer.sendall(HEAD + b"\r\n" + frame(json.dumps(request).encode()))
    return peer


def until(wire: Wire, uid: str, *, on: bool) -> float:
    """Poll until somebody is online or offline; how long that took."""
    began = time.monotonic()
    while wire.ok("presence", uids=[uid])["st"][uid]["on"] is not on:
        assert time.monotonic() < began + DEADLINE_S
    return time.monotonic() - began


def test_a_revoked_peer_that_hangs_is_offline_at_once(
    server: Server, alice: Wire, bob: Wire
) -> None:
    phone = server.device(bob)
    bob.ok("bye")
    bob.closed()
    with mute(server, op="auth", token=bob.token):
        while phone.ok("session.list")["sessions"][0]["online"] is not True:
            pass
        assert phone.ok("session.revoke", sid="others")["count"] == 1
        phone.ok("bye")
        phone.closed()
        assert until(alice, bob.uid, on=False) < 1


def test_a_silent_peer_that_hangs_is_offline_by_the_rule(special: Callable[..., Server]) -> None:
    server = special(COPPICE_OFFLINE_MS="400", COPPICE_HB_MS="100")
    alice, bob = server.user(), server.user()
    with Beating(alice), mute(server, op="auth", token=bob.token):
        assert bob.closed() == 4007
        assert until(alice, bob.uid, on=False) < 1


def test_two_devices_are_online_until_both_are_gone(server: Server, alice: Wire, bob: Wire) -> None:
    phone = server.device(bob)
    phone.ok("bye")
    phone.closed()
    assert alice.ok("presence", uids=[bob.uid])["st"][bob.uid]["on"] is True
    bob.close()
    assert alice.ok("presence", uids=[bob.uid])["st"][bob.uid]["on"] is False
