"""`run.py bench`: figures of this machine, beside a reference measured in the same run.

`relay`: durable acknowledged messages between 500 users in pairs with two in flight each, beside a
bare trio-websocket echo under the same load. `idle`: memory per authenticated idle connection.
`actors`: the runtime beside other actor systems (`benchmarks/actor_systems`; `actors --help`).

Server, reference and load are three processes; rounds alternate between server and reference, and
medians are reported, because machines are noisy. Needs a checkout (`benchmarks/`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
USERS, ROUNDS, ROUND_S, WARM_UP_S = 500, 5, 3.0, 2.0
IDLE_CONNECTIONS = 5_000
GENEROUS = {
    "COPPICE_LIMIT_SEND_BURST": "1000000", "COPPICE_LIMIT_SEND_PER_S": "1000000",
    "COPPICE_LIMIT_REQUEST_BURST": "1000000", "COPPICE_LIMIT_REQUEST_PER_S": "1000000",
    "COPPICE_LIMIT_SOCKETS_PER_ADDRESS": "20000", "COPPICE_ARGON2_COST": "test",
    "COPPICE_OFFLINE_MS": "600000",
}  # fmt: skip
"""Rates off: they protect a service, and would be all that is measured."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("what", choices=("relay", "idle", "actors"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--users", type=int, help="connections (default 500 relay, 5000 idle)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    if not (ROOT / "benchmarks").is_dir():
        print("coppice: benchmarks need a checkout of the repository", file=sys.stderr)
        return 2
    if argv[:1] == ["actors"]:
        command = [sys.executable, "-m", "benchmarks.actor_systems", *argv[1:]]
        return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603  (our own)
    options = parser.parse_args(argv)
    if options.what == "relay":
        figures = relay(options.users or USERS, options.rounds)
        text = RELAY_TEXT
    else:
        figures = idle(options.users or IDLE_CONNECTIONS)
        text = IDLE_TEXT
    print(json.dumps(figures) if options.json else text.format(**figures))
    return 0


RELAY_TEXT = """\
relay, {users} users in pairs, 2 in flight each, SQLite, fsync before every ok
  durable acknowledged messages  {acked_per_s:>10,.0f} /s
  deliveries                     {deliveries_per_s:>10,.0f} /s
  latency of an ok               p50 {p50_ms} ms, p99 {p99_ms} ms
  server CPU per message         {cpu_us_per_message:>10.1f} us
reference: bare trio-websocket echo, same connections and load
  round trips                    {echo_per_s:>10,.0f} /s
ratio to echo                    {ratio_to_echo:>10.3f}"""

IDLE_TEXT = """\
idle, {connections} authenticated connections, each a user of its own
  resident memory per connection {bytes_per_connection:>10,.0f} bytes
  server before, with them       {before_mib:.1f} MiB, {after_mib:.1f} MiB"""


# ---------------------------------------------------------------------------- processes


class Server:
    """A server process that says where it listens."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(  # noqa: S603  (our own programs)
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {})
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if "http://" not in line:
            raise RuntimeError(f"the server did not start: {line!r}")
        self.address = line.rpartition("http://")[2]

    def cpu_s(self) -> float:
        """CPU time spent so far, in user and kernel mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


class LoadProcess:
    """`benchmarks/load.py`, told what to do line by line."""

    def __init__(self, kind: str, address: str, users: int) -> None:
        script = str(ROOT / "benchmarks" / "load.py")
        self.process = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, script, kind, address, str(users)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def run(self, seconds: float) -> dict[str, Any]:
        self._say(f"run {seconds}")
        return self._answer()

    def stop(self) -> None:
        self._say("quit")
        self.process.wait(15)

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the load process ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def coppice() -> Iterator[Server]:
    """Our server on a fresh data directory."""
    with tempfile.TemporaryDirectory(prefix="coppice-bench-", dir=ROOT) as data:
        command = [sys.executable, "run.py", "serve", "--port", "0", "--data", data]
        server = Server([*command, "--ops", "127.0.0.1:0"], GENEROUS)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def echo_server() -> Iterator[Server]:
    server = Server([sys.executable, "-m", "benchmarks.echo_server"])
    try:
        yield server
    finally:
        server.stop()


# ---------------------------------------------------------------------------- measurements


def relay(users: int, rounds: int) -> dict[str, Any]:
    """Rounds of relay and echo in turn; medians."""
    with ExitStack() as stack:
        ours = stack.enter_context(coppice())
        reference = stack.enter_context(echo_server())
        relaying = LoadProcess("relay", ours.address, users)
        stack.callback(relaying.stop)
        echoing = LoadProcess("echo", reference.address, users)
        stack.callback(echoing.stop)
        for load in (relaying, echoing):
            load.run(WARM_UP_S)
        results, echoes, cpu_us = [], [], []
        for _ in range(rounds):
            before_s = ours.cpu_s()
            result = relaying.run(ROUND_S)
            cpu_us.append((ours.cpu_s() - before_s) * 1e6 / max(1, result["acks"]))
            results.append(result)
            echo = echoing.run(ROUND_S)
            echoes.append(echo["acks"] / echo["seconds"])
    acked = [result["acks"] / result["seconds"] for result in results]
    ratios = [ours / theirs for ours, theirs in zip(acked, echoes, strict=True)]
    return {
        "users": users,
        "rounds": rounds,
        "acked_per_s": round(statistics.median(acked), 1),
        "deliveries_per_s": round(
            statistics.median(r["deliveries"] / r["seconds"] for r in results), 1
        ),
        "p50_ms": statistics.median(result["p50_ms"] for result in results),
        "p99_ms": statistics.median(result["p99_ms"] for result in results),
        "cpu_us_per_message": round(statistics.median(cpu_us), 1),
        "echo_per_s": round(statistics.median(echoes), 1),
        "ratio_to_echo": round(statistics.median(ratios), 3),
    }


def idle(connections: int) -> dict[str, Any]:
    """Resident memory before and with the connections; the load sits in its own process."""
    with coppice() as server:
        before = server.resident_bytes()
        load = LoadProcess("idle", server.address, connections)
        after = server.resident_bytes()
        load.stop()
    return {
        "connections": connections,
        "bytes_per_connection": round((after - before) / connections),
        "before_mib": round(before / 2**20, 1),
        "after_mib": round(after / 2**20, 1),
    }
