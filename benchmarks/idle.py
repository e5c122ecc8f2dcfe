"""`run.py bench idle`: what an authenticated idle connection costs: memory, and its heartbeats."""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.processes import coppice, worker

CONNECTIONS = 5_000
ROUND_S = 3.0
TEXT = """\
idle, {connections} authenticated connections, each a user of its own
  resident memory per connection {bytes_per_connection:>10,.0f} bytes
  server before, with them       {before_mib:.1f} MiB, {after_mib:.1f} MiB
  server CPU per heartbeat       {cpu_us_per_heartbeat:>10.1f} us"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench idle", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--users", type=int, default=CONNECTIONS, help="default %(default)s")
    options = parser.parse_args()
    figures = measure(options.users)
    print(json.dumps(figures) if options.json else TEXT.format(**figures))


def measure(connections: int) -> dict[str, Any]:
    """Memory before and with the connections; the load sits in its own process. Then each of them
    sends a heartbeat whenever the last one is answered."""
    with coppice() as server:
        before = server.resident_bytes()
        with worker("benchmarks.load", "idle", server.address, str(connections)) as load:
            after = server.resident_bytes()
            quiet_s = server.cpu_s()
            heartbeats = load.run(ROUND_S)["acks"]
            busy_s = server.cpu_s()
    return {
        "connections": connections,
        "bytes_per_connection": round((after - before) / connections),
        "before_mib": round(before / 2**20, 1),
        "after_mib": round(after / 2**20, 1),
        "cpu_us_per_heartbeat": round((busy_s - quiet_s) * 1e6 / max(1, heartbeats), 1),
    }


if __name__ == "__main__":
    main()
