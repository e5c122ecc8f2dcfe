"""PROTOCOL.md §2, account and devices: one story for each row."""

from __future__ import annotations

import pytest

from tests.e2e.wire import PASSWORD, Server, Wire


def test_register_logs_in(server: Server) -> None:
    wire = server.wire()
    answer = wire.ok("register", user="Dora.One", name="Dora", device="phone", **{"pass": PASSWORD})
    assert set(answer) == {"op", "id", "uid", "sid", "token", "exp"}
    assert answer["exp"] > wire.hello["now"]
    assert wire.ok("user.get", uids=[answer["uid"]])["users"] == [
        {"uid": answer["uid"], "user": "dora.one", "name": "Dora", "about": "", "avatar": ""}
    ]


@pytest.mark.parametrize("user", ["ab", "a" * 33, "with space", "ümlaut", ""])
def test_register_refuses_names_outside_the_rule(server: Server, user: str) -> None:
    answer = server.wire().request("register", user=user, **{"pass": PASSWORD})
    assert answer["code"] == "bad_request"
    assert "user" in answer["msg"]


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_register_refuses_passwords_outside_the_rule(server: Server, password: str) -> None:
    answer = server.wire().request("register", user="somebody", **{"pass": password})
    assert answer["code"] == "bad_request"
    assert "pass" in answer["msg"]


def test_a_name_is_taken_once_whatever_its_case(server: Server, alice: Wire) -> None:
    wire = server.wire()
    assert wire.refused("register", user=alice.user.upper(), **{"pass": PASSWORD}) == "name_taken"


def test_login_is_a_new_session(server: Server, alice: Wire) -> None:
    phone = server.device(alice)
    assert phone.sid != alice.sid
    assert alice.event("session", act="login")["sid"] == phone.sid


def test_unknown_user_and_wrong_password_answer_alike(server: Server, alice: Wire) -> None:
    wire = server.wire()
    wrong = wire.request("login", user=alice.user, **{"pass": "not the right one"})
    unknown = wire.request("login", user="nobody.at.all", **{"pass": PASSWORD})
    assert wrong["code"] == "bad_credentials"
    assert {**wrong, "id": 0} == {**unknown, "id": 0}


def test_auth_resumes_the_session_and_replaces_its_socket(server: Server, alice: Wire) -> None:
    wire = server.wire()
    answer = wire.ok("auth", token=alice.token)
    assert (answer["uid"], answer["sid"]) == (alice.uid, alice.sid)
    assert alice.closed() == 4007


def test_a_bad_token_is_refused_and_closed(server: Server) -> None:
    wire = server.wire()
    assert wire.refused("auth", token="no such token") == "token_invalid"
    assert wire.closed() == 4004
    assert wire.bye is not None
    assert wire.bye["code"] == 4004


def test_logout_revokes_and_closes(server: Server, alice: Wire) -> None:
    alice.ok("logout")
    assert alice.closed() == 4006
    assert server.wire().refused("auth", token=alice.token) == "token_invalid"


def test_a_new_password_ends_the_other_sessions(server: Server, alice: Wire) -> None:
    phone = server.device(alice)
    assert alice.refused("passwd", old="wrong wrong", new="another horse") == "bad_credentials"
    alice.ok("passwd", old=PASSWORD, new="another horse")
    assert phone.closed() == 4006
    wire = server.wire()
    assert wire.refused("login", user=alice.user, **{"pass": PASSWORD}) == "bad_credentials"
    wire.ok("login", user=alice.user, **{"pass": "another horse"})


def test_a_new_password_can_keep_the_other_sessions(server: Server, alice: Wire) -> None:
    phone = server.device(alice)
    alice.ok("passwd", old=PASSWORD, new="another horse", keep_others=True)
    phone.ok("session.list")


def test_sessions_are_listed(server: Server, alice: Wire) -> None:
    phone = server.wire()
    login = phone.ok("login", user=alice.user, device="phone", **{"pass": PASSWORD})
    sessions = {each["sid"]: each for each in alice.ok("session.list")["sessions"]}
    assert sessions[alice.sid]["current"] is True
    assert sessions[login["sid"]]["device"] == "phone"
    assert sessions[login["sid"]]["online"] is True
    assert set(sessions[login["sid"]]) == {"sid", "device", "created", "seen", "current", "online"}


def test_a_session_is_revoked_within_a_second(server: Server, alice: Wire) -> None:
    phone = server.device(alice)
    assert alice.ok("session.revoke", sid=phone.sid)["count"] == 1
    assert phone.closed() == 4006
    assert alice.event("session", act="revoke")["sid"] == phone.sid
    assert server.wire().refused("auth", token=phone.token) == "token_invalid"
    assert alice.refused("session.revoke", sid="s999999") == "not_found"


def test_a_revocation_meets_a_session_that_is_just_being_resumed(
    server: Server, alice: Wire
) -> None:
    for _ in range(20):
        token = server.device(alice).token
        wire = server.wire()
        revoking = alice.begin("session.revoke", sid="others")
        resuming = wire.begin("auth", token=token)
        alice.end(revoking)
        assert wire.end(resuming).get("code", "token_invalid") == "token_invalid"
        assert wire.closed() in {4004, 4006}


def test_all_others_are_revoked_at_once(server: Server, alice: Wire) -> None:
    others = [server.device(alice) for _ in range(2)]
    assert alice.ok("session.revoke", sid="others")["count"] == 2
    assert [other.closed() for other in others] == [4006, 4006]
    alice.ok("session.list")


def test_nobody_revokes_a_strangers_session(alice: Wire, bob: Wire) -> None:
    assert alice.refused("session.revoke", sid=bob.sid) == "not_found"
    bob.ok("session.list")


def test_unknown_users_are_left_out(alice: Wire, bob: Wire) -> None:
    users = alice.ok("user.get", uids=[bob.uid, "u999999", "nonsense"])["users"]
    assert [user["uid"] for user in users] == [bob.uid]
    assert alice.refused("user.get", uids=["u1"] * 101) == "limit"


def test_search_finds_prefixes_of_names(server: Server, alice: Wire) -> None:
    found = server.user("zelda.search", name="Grete Wald")
    for prefix in ("zelda.s", "ZELDA", "grete", "wald"):
        users = alice.ok("user.search", q=prefix)["users"]
        assert found.uid in [user["uid"] for user in users]
    assert alice.ok("user.search", q="elda")["users"] == []


def test_search_hides_those_who_block_the_caller(server: Server, alice: Wire) -> None:
    hider = server.user("hider.one")
    hider.ok("block", uid=alice.uid)
    assert alice.ok("user.search", q="hider.one")["users"] == []


def test_a_profile_is_set_and_shown_to_own_devices(server: Server, alice: Wire) -> None:
    phone = server.device(alice)
    alice.ok("profile.set", name="Alice W.", about="away")
    assert phone.event("profile")["name"] == "Alice W."
    (user,) = phone.ok("user.get", uids=[alice.uid])["users"]
    assert (user["name"], user["about"]) == ("Alice W.", "away")


def test_privacy_takes_three_values(alice: Wire) -> None:
    alice.ok("privacy.set", last_seen="nobody", receipts="contacts")
    assert alice.refused("privacy.set", last_seen="friends") == "bad_request"


@pytest.mark.parametrize(
    "op", ["totp.start", "totp.confirm", "account.export", "search", "nonsense"]
)
def test_what_this_version_does_not_have_is_unknown(alice: Wire, op: str) -> None:
    assert alice.refused(op) == "unknown_op"
