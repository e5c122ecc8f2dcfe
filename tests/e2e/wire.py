"""A client that is not ours: the `websockets` distribution, JSON by hand.

`Wire` asks and waits for the answer, keeps events in order, and waits for an event with a deadline.
Quiet is established by a round trip (`hb`), never by sleeping.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse"
DEADLINE_S = 10.0
GENEROUS = {
    "COPPICE_ARGON2_COST": "test",
    "COPPICE_LAB": "1",
    "COPPICE_LIMIT_SEND_BURST": "100000",
    "COPPICE_LIMIT_SEND_PER_S": "100000",
    "COPPICE_LIMIT_REQUEST_BURST": "100000",
    "COPPICE_LIMIT_REQUEST_PER_S": "100000",
    "COPPICE_LIMIT_PRESENCE_INTERVAL_MS": "0",
    "COPPICE_LIMIT_LOGIN_FAILURES_PER_MIN": "1000",
}
_names = itertools.count(1)

engines: Callable[[Path], dict[str, str]] = lambda _: {}  # noqa: E731
"""Settings that give the server of a data directory its stores; set where others are wanted."""

Frame = dict[str, Any]


class Server:
    """A server process on a data directory."""

    def __init__(
        self, data: Path, /, port: str = "0", log: str = os.devnull, **settings: str
    ) -> None:
        """`log`: a file for what it writes to stderr."""
        command = [sys.executable, "run.py", "serve", "--port", port, "--data", str(data)]
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                [*command, "--ops", "127.0.0.1:0"],
                cwd=ROOT, env=os.environ | GENEROUS | engines(data) | settings,
                stdout=subprocess.PIPE, text=True, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://"), line
        self.address = line.strip().rpartition("http://")[2]
        self.ops = self.process.stdout.readline().strip().rpartition("http://")[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def wire(self, **options: Any) -> Wire:
        return Wire(self, **options)

    def user(self, login: str | None = None, **fields: Any) -> Wire:
        """A freshly registered user on a socket of their own."""
        wire = self.wire()
        login = login or f"user{next(_names)}.{os.getpid()}"
        answer = wire.ok("register", user=login, **{"pass": PASSWORD}, **fields)
        wire.user, wire.uid, wire.sid, wire.token = (
            login,
            answer["uid"],
            answer["sid"],
            answer["token"],
        )
        return wire

    def device(self, of: Wire) -> Wire:
        """Another device of a user."""
        wire = self.wire()
        answer = wire.ok("login", user=of.user, **{"pass": PASSWORD})
        wire.user, wire.uid, wire.sid, wire.token = of.user, of.uid, answer["sid"], answer["token"]
        return wire

    def look(self, path: str) -> bytes:
        """What the ops port answers."""
        with urllib.request.urlopen(f"http://{self.ops}{path}", timeout=DEADLINE_S) as response:
            body: bytes = response.read()
            return body

    def ready(self) -> tuple[int, dict[str, Any]]:
        """The status of `/ready`, and what it says."""
        try:
            return 200, json.loads(self.look("/ready"))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def becomes(self, status: int) -> dict[str, Any]:
        """What `/ready` says once it has this status; an answer may be a second old."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            found, details = self.ready()
            if found == status:
                return details
            assert time.monotonic() < deadline_s, details

    def metric(self, name: str) -> float:
        """A sample without labels."""
        lines = self.look("/metrics").decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    def kill(self, actor: str, reason: str = "kill") -> bool:
        """End an actor through the lab; False when there is none of this name now."""
        body = json.dumps({"actor": actor, "reason": reason}).encode()
        request = urllib.request.Request(f"http://{self.ops}/lab/kill", body)
        try:
            urllib.request.urlopen(request, timeout=DEADLINE_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return False
        return True

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


class Wire:
    """One WebSocket: requests, answers, events."""

    def __init__(self, server: Server, *, hello: bool = True, **options: Any) -> None:
        self.socket: ClientConnection = connect(
            f"ws://{server.address}/ws", legacy=True, compression=None, ping_interval=None,
            max_queue=None, **options,
        )  # fmt: skip
        self.events: list[Frame] = []
        self.errors: list[Frame] = []
        self.bye: Frame | None = None
        self.user = self.uid = self.sid = self.token = ""
        self._ids = itertools.count(1)
        self._answers: dict[object, Frame] = {}
        self.hello: Frame = self.receive() if hello else {}

    def send(self, frame: Frame | str | bytes) -> None:
        self.socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    def receive(self, timeout_s: float = DEADLINE_S) -> Frame:
        frame: Frame = json.loads(self.socket.recv(timeout=timeout_s))
        if frame["op"] == "ev":
            self.events.append(frame)
        elif frame["op"] == "bye":
            self.bye = frame
        elif frame["op"] == "err" and "id" not in frame:
            self.errors.append(frame)
        return frame

    def begin(self, op: str, **fields: Any) -> int:
        """Send a request without waiting; its id."""
        number = next(self._ids)
        self.send({"op": op, "id": number} | {key.rstrip("_"): v for key, v in fields.items()})
        return number

    def end(self, number: int) -> Frame:
        """Wait for the answer to a request; replies may overtake each other."""
        while number not in self._answers:
            frame = self.receive()
            if "id" in frame:
                self._answers[frame["id"]] = frame
        return self._answers.pop(number)

    def request(self, op: str, **fields: Any) -> Frame:
        return self.end(self.begin(op, **fields))

    def ok(self, op: str, **fields: Any) -> Frame:
        answer = self.request(op, **fields)
        assert answer["op"] == "ok", answer
        return answer

    def refused(self, op: str, **fields: Any) -> str:
        """The code of the error that answers a request."""
        answer = self.request(op, **fields)
        assert answer["op"] == "err", answer
        assert answer["msg"]
        return str(answer["code"])

    def quiet(self) -> list[Frame]:
        """Everything pushed until now; forgets it."""
        self.send({"op": "hb"})
        while self.receive()["op"] != "hb":
            pass
        events, self.events = self.events, []
        return events

    def event(self, kind: str, **match: Any) -> Frame:
        """The next event of a kind (with these fields), taken out of those that came."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for event in self.events:
                if event["e"] == kind and match.items() <= event.items():
                    self.events.remove(event)
                    return event
            assert time.monotonic() < deadline, f"no {kind} {match}; there are {self.events}"
            self.receive(deadline - time.monotonic())

    def error(self) -> Frame:
        """The next error without an `id`. It may come after later answers."""
        while not self.errors:
            self.receive()
        return self.errors.pop(0)

    def closed(self) -> int:
        """Read until the server closes; the close code."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.receive()
        code = self.socket.protocol.close_rcvd
        return 1006 if code is None else code.code

    def say(self, to: Wire | str, text: str = "hello", **fields: Any) -> Frame:
        """Send a message to a user, or into a thread."""
        where = {"to": to.uid} if isinstance(to, Wire) else {"thread": to}
        return self.ok("send", text=text, **where, **fields)

    def close(self) -> None:
        self.socket.close()


class Beating:
    """Heartbeats for sockets that must stay online while a test waits."""

    def __init__(self, *wires: Wire, every_s: float = 0.1) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(wires, every_s), daemon=True)

    def _beat(self, wires: tuple[Wire, ...], every_s: float) -> None:
        while not self._stop.wait(every_s):
            for wire in wires:
                with contextlib.suppress(ConnectionClosed):
                    wire.send({"op": "hb"})

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def serving(data: Path, /, log: str = os.devnull, **settings: str) -> Iterator[Server]:
    server = Server(data, log=log, **settings)
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)
