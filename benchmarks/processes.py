"""The processes of a benchmark: servers, and workers that are told what to do line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 15.0
GENEROUS = {
    "COPPICE_LIMIT_SEND_BURST": "1000000", "COPPICE_LIMIT_SEND_PER_S": "1000000",
    "COPPICE_LIMIT_REQUEST_BURST": "1000000", "COPPICE_LIMIT_REQUEST_PER_S": "1000000",
    "COPPICE_LIMIT_SOCKETS_PER_ADDRESS": "20000", "COPPICE_ARGON2_COST": "test",
    "COPPICE_OFFLINE_MS": "600000",
}  # fmt: skip
"""Rates off: they protect a service, and would be all that is measured."""


class Server:
    """A server process that says where it listens, one address a line."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, addresses: int = 1
    ) -> None:
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {})
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().strip() for _ in range(addresses)]
        if not all("http://" in line for line in lines):
            self.stop()
            raise RuntimeError(f"the server did not start: {lines}")
        self.address, *others = (line.rpartition("http://")[2] for line in lines)
        self._ops = others[0] if others else None

    def cpu_s(self) -> float:
        return cpu_s(self.process.pid)

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def metrics(self) -> dict[str, float]:
        """What it says on its second address; those without labels."""
        with urllib.request.urlopen(f"http://{self._ops}/metrics", timeout=STOP_S) as answer:
            lines = answer.read().decode().splitlines()
        pairs = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
        return {name: float(value) for name, value in pairs}

    def stop(self) -> None:
        with self.process:
            self.process.terminate()
            self.process.wait(STOP_S)


def cpu_s(pid: int) -> float:
    """CPU time that a process has spent so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A program of ours that says when it is ready and answers each line with one of JSON."""

    def __init__(self, *command: str) -> None:
        self._name = " ".join(command[:2])
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self._answer()
        except BaseException:
            self.stop()
            raise

    def run(self, seconds: float, *arguments: float) -> dict[str, Any]:
        self._say(" ".join(map(str, ("run", seconds, *arguments))))
        return self._answer()

    def stop(self) -> None:
        with suppress(BrokenPipeError), self.process:  # it may have ended by itself
            self._say("quit")
            self.process.wait(STOP_S)

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def coppice(sql: Sequence[str] = (), log: str = "") -> Iterator[Server]:
    """Our server, on a fresh data directory and on the stores that are not in it."""
    with tempfile.TemporaryDirectory(prefix="coppice-bench-", dir=ROOT) as data:
        command = [sys.executable, "run.py", "serve", "--port", "0", "--data", data]
        stores = {"COPPICE_SQL": ",".join(sql), "COPPICE_LOG": log}
        server = Server([*command, "--ops", "127.0.0.1:0"], GENEROUS | stores, addresses=2)
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


@contextmanager
def worker(*command: str) -> Iterator[Worker]:
    started = Worker(*command)
    try:
        yield started
    finally:
        started.stop()
