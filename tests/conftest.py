"""What every test stands on: chance that repeats itself, nothing left to speed, other servers.

Examples are the same in every run, so that a change fails for its own sake.
`COPPICE_HYPOTHESIS=long` draws new ones, and more of them; what it finds becomes a test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import postgres as postgres_servers

_UNHURRIED = [HealthCheck.too_slow]

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=_UNHURRIED
)
settings.register_profile(
    "long", deadline=None, max_examples=1000, suppress_health_check=_UNHURRIED
)
settings.load_profile("long" if os.environ.get("COPPICE_HYPOTHESIS") == "long" else "default")


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_servers.PostgresServer]:
    """One for each process that runs tests. Without any, skips and says why."""
    reason = postgres_servers.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres_servers.running() as server:
        yield server


@pytest.fixture
def own_postgres(postgres: postgres_servers.PostgresServer) -> Iterator[postgres_servers.OwnServer]:
    """A PostgreSQL that may be stopped and frozen; runs again afterwards."""
    if not isinstance(postgres, postgres_servers.OwnServer):
        pytest.skip("the PostgreSQL named for the tests is not ours to stop")
    yield postgres
    postgres.ensure_running()
