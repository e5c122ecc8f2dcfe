"""The advertised numbers: their defaults, their floors and ceilings."""

from __future__ import annotations

import pytest

from gateway.wire.limits import LIMIT_NAMES, Limits, problems


def test_the_advertised_names_and_defaults() -> None:
    assert Limits().advertised() == {
        "frame_bytes": 64 * 1024,
        "text_chars": 4096,
        "group_members": 256,
        "history_events": 100,
        "sync_threads": 500,
        "sync_events": 2000,
        "presence_uids": 500,
        "presence_interval_ms": 5000,
        "sessions": 10,
        "send_burst": 60,
        "send_per_s": 10,
        "request_burst": 100,
        "request_per_s": 20,
        "login_failures_per_min": 5,
        "queue_frames": 256,
        "queue_bytes": 1024 * 1024,
        "sockets": 20_000,
        "sockets_per_address": 5_000,
    }
    assert tuple(Limits().advertised()) == LIMIT_NAMES


@pytest.mark.parametrize(
    ("name", "ceiling"), [("group_members", 1024), ("history_events", 100), ("presence_uids", 500)]
)
def test_a_setting_above_its_ceiling_is_refused(name: str, ceiling: int) -> None:
    assert getattr(Limits(**{name: ceiling}), name) == ceiling
    with pytest.raises(ValueError, match=name):
        Limits(**{name: ceiling + 1})


def test_every_problem_is_named_at_once() -> None:
    found = problems({"sessions": 0, "nonsense": 1, "queue_frames": True, "send_per_s": 5})
    assert [line.split(":")[0] for line in found] == ["sessions", "nonsense", "queue_frames"]
    assert problems({"presence_interval_ms": 0}) == ()
