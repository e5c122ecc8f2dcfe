"""A pytest plugin for pykka's own tests: their `runtime` becomes ours.

The tests stay in pytest's thread; our system runs in another (`background_system`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from actors.runtime import Future, PykkaActor, background_system

ID = "coppice"


@pytest.fixture(scope="session", params=[ID])
def runtime() -> Iterator[Any]:
    """What pykka's conftest describes as a `Runtime`."""
    kind = import_module("tests.types").Runtime
    with background_system():
        yield kind(
            name=ID, actor_class=PykkaActor, event_class=threading.Event, future_class=Future,
            sleep_func=time.sleep,
        )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Put ours in the place of theirs, before pytest looks for fixtures."""
    theirs = [
        plugin
        for plugin in session.config.pluginmanager.get_plugins()
        if hasattr(plugin, "RUNTIMES")
    ]
    assert len(theirs) == 1, "pykka's conftest declares its runtimes"
    theirs[0].runtime = runtime
