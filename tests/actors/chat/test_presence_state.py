"""Who is online: leases, transitions, and answers that hold only changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.presence_state import PresenceState, View, changed_since, next_poll_ms
from persistence.records import UserId

A, B, C = UserId("u1"), UserId("u2"), UserId("u3")
ALL = View()


def state() -> PresenceState:
    made = PresenceState(version=1000)
    made.lease("g", (), now_s=0.0)
    made.lease("h", (), now_s=0.0)
    return made


def test_unknown_until_a_gateway_reports() -> None:
    assert not PresenceState(version=1).is_known
    made = PresenceState(version=1)
    made.lease("g", (A,), 0.0)
    assert made.is_known
    assert made.status((A,), None, ALL) == {A: {"on": True}}


def test_online_on_any_gateway_is_online() -> None:
    made = state()
    assert made.up("g", A)
    assert not made.up("h", A)
    assert not made.down("g", A, 500)
    assert made.status((A,), None, ALL) == {A: {"on": True}}
    assert made.down("h", A, 700)
    assert made.status((A,), None, ALL) == {A: {"on": False, "last": 700}}


def test_a_late_down_of_a_gateway_that_does_not_hold_the_user_changes_nothing() -> None:
    made = state()
    made.up("g", A)
    assert not made.down("old", A, 900)
    assert made.status((A,), None, ALL) == {A: {"on": True}}


def test_a_silent_gateway_takes_its_users_offline() -> None:
    made = state()
    made.up("g", A)
    made.up("g", B)
    made.lease("h", (B,), now_s=50.0)
    assert made.expire(now_s=60.0, silence_s=60.0, now_ms=99) == [A]
    assert made.status((A, B), None, ALL) == {A: {"on": False, "last": 99}, B: {"on": True}}


def test_a_gateway_without_a_lease_holds_nobody() -> None:
    """Nothing would ever take them offline again; its next lease names them all."""
    made = state()
    made.expire(now_s=60.0, silence_s=60.0, now_ms=99)
    assert not made.up("g", A)
    assert made.status((A,), None, ALL)[A]["on"] is False
    assert made.lease("g", (A,), now_s=61.0) == [A]
    assert made.expire(now_s=121.0, silence_s=60.0, now_ms=100) == [A]


def test_whom_a_restarted_gateway_does_not_hold_goes_by_the_silence_rule() -> None:
    """Their sockets ended with the gateway, which is no clean end."""
    made = state()
    made.up("g", A)
    made.up("g", B)
    assert made.lease("g", (C,), now_s=10.0) == [C]
    assert made.lease("g", (C,), now_s=40.0) == [], "restarting again gives nobody more time"
    assert made.expire(now_s=69.0, silence_s=60.0, now_ms=69_000) == []
    assert made.status((A,), None, ALL) == {A: {"on": True}}
    assert set(made.expire(now_s=70.5, silence_s=60.0, now_ms=70_500)) == {A, B}
    assert made.status((A, C), None, ALL) == {A: {"on": False, "last": 10_000}, C: {"on": True}}


def test_who_came_back_to_a_restarted_gateway_is_held_as_anybody() -> None:
    made = state()
    made.up("g", A)
    made.up("g", B)
    made.lease("g", (), now_s=1.0)
    made.up("g", A)
    made.up("g", B)
    assert made.down("g", B, 2_000), "at once"
    made.lease("g", None, now_s=61.0)
    assert made.expire(now_s=61.0, silence_s=60.0, now_ms=61_000) == []
    assert made.status((A,), None, ALL) == {A: {"on": True}}


def test_only_changes_since_the_version() -> None:
    made = state()
    made.up("g", A)
    version = made.version
    assert made.status((A, B), version, ALL) == {}
    made.up("g", B)
    assert made.status((A, B), version, ALL) == {B: {"on": True}}


def test_what_a_viewer_may_not_see() -> None:
    made = state()
    made.up("g", A)
    made.up("g", B)
    made.down("g", B, 700)
    view = View(unknown=frozenset({C}), hidden=frozenset({A}), timeless=frozenset({B}))
    assert made.status((A, B, C), None, view) == {A: {"on": False}, B: {"on": False}}


def test_the_interval_stretches_under_load() -> None:
    assert next_poll_ms(0) == next_poll_ms(1000) == 10_000
    assert next_poll_ms(4000) == 20_000
    assert next_poll_ms(1e9) == 60_000


def test_privacy_changes_are_found_by_epoch() -> None:
    assert changed_since({A: 3}, 2, (A, B))
    assert not changed_since({A: 3}, 3, (A, B))


USERS = st.sampled_from([A, B, C])
GATEWAYS = st.sampled_from(["g", "h"])
MOVES = st.lists(st.tuples(st.sampled_from(["up", "down"]), GATEWAYS, USERS), max_size=60)


@given(MOVES, st.integers(0, 60), st.sampled_from([1, 2, 100]))
def test_changes_since_a_version_bring_an_old_answer_up_to_date(
    moves: list[tuple[str, str, UserId]], split: int, remembered: int
) -> None:
    """A client that merges what it is told always knows what a fresh poll would say, however few
    changes are remembered."""
    made = state()
    made.changes_max = remembered
    known = made.status((A, B, C), None, ALL)
    version = made.version
    for index, (move, gateway, uid) in enumerate(moves):
        if move == "up":
            made.up(gateway, uid)
        else:
            made.down(gateway, uid, 1)
        if index == split:
            known |= made.status((A, B, C), version, ALL)
            version = made.version
        assert len(made.changed) <= remembered
    known |= made.status((A, B, C), version, ALL)
    assert known == made.status((A, B, C), None, ALL)
