"""The server of the tests themselves: it lives as long as they do."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.servers.postgres import OwnServer


def test_a_server_outlives_the_thread_that_started_it(own_postgres: OwnServer) -> None:
    """Linux tells a process of its parent's death when the thread ends that made it."""
    own_postgres.stop()
    starter = threading.Thread(target=own_postgres.start)
    starter.start()
    task = Path(f"/proc/self/task/{starter.native_id}")
    starter.join()
    while task.exists():  # the system is later than Python
        own_postgres.execute("SELECT 1")
    assert own_postgres.execute("SELECT pg_sleep(0.1)::text") == [("",)]
