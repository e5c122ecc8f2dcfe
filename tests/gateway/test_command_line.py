"""The commands as an operator meets them: what they print, their exit status, and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from gateway import serving
from gateway.cli import BROKEN_PIPE, main
from gateway.failures import in_one_line
from persistence.sqlite_files import DATABASE
from tests import servers
from tests.servers import cassandra
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NODE = {
    "id": "1", "name": "root", "class": "Supervisor", "state": "running", "restarts": 0,
    "mailbox": 0, "strategy": "one_for_one", "children": [],
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the environment, no data lands in the checkout, and the logs of this
    process stay as they are."""
    for name in list(os.environ):
        if name.startswith("COPPICE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "configure_logs", lambda: None)


def start(data: Path, before: str = "pass") -> subprocess.Popen[str]:
    """A server process on a free port, which does as `before` says first."""
    code = f"import sys; from gateway import cli, serving; {before}; sys.exit(cli.main())"
    arguments = ["serve", "--port", "0", "--data", str(data), "--ops", "off"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file", "/x"), "/x: No such file"),
        (OSError(98, "Address already in use"), "Address already in use"),
        (ValueError("two\nlines"), "two lines"),
        (ExceptionGroup("g", [ExceptionGroup("h", [ValueError("a"), OSError("b")])]), "a"),
    ],
)
def test_an_error_is_told_in_one_line(error: Exception, text: str) -> None:
    assert in_one_line(error) == text


def test_a_taken_address_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["serve", "--data", str(tmp_path / "data")]
        assert main([*arguments, "--port", address.partition(":")[2]]) == 2
        assert main([*arguments, "--port", "0", "--ops", address]) == 2
    complaints = capsys.readouterr().err.splitlines()
    assert complaints == [f"coppice: {address}: cannot listen: Address already in use"] * 2


@pytest.mark.parametrize("flag", ["--host", "--ops"])
def test_a_name_that_means_nothing_is_named(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "nobody.invalid" if flag == "--host" else "nobody.invalid:0"
    assert main(["serve", "--port", "0", "--data", str(tmp_path), flag, value]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("coppice: nobody.invalid:0: cannot listen: ")


def test_data_that_is_no_directory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["serve", "--port", "0", "--data", str(file)]) == 2
    assert capsys.readouterr().err == f"coppice: {file}: File exists\n"


def test_a_python_without_what_is_needed_is_told_what_to_do() -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "run.py"), "chat"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith("coppice: No module named 'trio'; ")
    assert "make run" in ended.stderr
    assert ended.stderr.count("\n") == 1


# -------------------------------------------------------------------------- backup and migrate


@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_backup_and_migrate_take_the_data_of_the_server(
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, copy = tmp_path / "kept here", tmp_path / "copy.db"
    arguments: list[str] = []
    if source == "flag":
        arguments = ["--data", str(data)]
    elif source == "environment":
        monkeypatch.setenv("COPPICE_DATA", str(data))
    else:
        file = tmp_path / "coppice.toml"
        file.write_text(f"data = {json.dumps(str(data))}\nport = 1\n")
        arguments = ["--config", str(file)]
    assert main(["migrate", *arguments]) == 0
    assert capsys.readouterr().out == f"{data} had no database; it has one now\n"
    assert main(["migrate", *arguments]) == 0
    assert capsys.readouterr().out == f"{data} is up to date\n"
    assert main(["backup", str(copy), *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"backed up {data} to {copy} (")
    assert copy.exists()
    assert (data / DATABASE).exists()


def test_migrate_brings_every_database_up_to_date(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = postgres.create(2, "template0")
    assert main(["migrate", "--data", str(tmp_path), "--sql", *urls]) == 0
    assert capsys.readouterr().out.startswith("databases up to date: 2\n")
    for url in urls:
        database = urlsplit(url).path[1:]
        assert postgres.execute("SELECT high - low FROM placement", database) == [(2048,)]


def test_migrate_makes_the_tables_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = cassandra.url("cassandra-1") or pytest.skip(f"cassandra-1 does not run: {servers.HINT}")
    assert main(["migrate", "--data", str(tmp_path), "--log", url]) == 0
    assert capsys.readouterr().out.startswith("the message log is up to date\n")


def test_log_that_cannot_be_reached_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "cql://ann:secret@127.0.0.1:1/chat"
    assert main(["serve", "--data", str(tmp_path), "--log", url]) != 0
    said = capsys.readouterr().err
    assert said.startswith("coppice: cql://127.0.0.1:1/chat cannot be used: ")
    assert said.count("\n") == 1
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", "127.0.0.1:1/db: "),
        ("postgresql://u:secret@h/db?nonsense=1", "the URL of database 1 cannot be read"),
        ("mysql://u:secret@h/db", "--sql: scheme 'mysql' is not supported"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_cannot_be_used_is_one_clear_line(
    command: str, url: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--data", str(tmp_path), "--sql", url]) != 0
    said = capsys.readouterr().err
    assert said.startswith(f"coppice: {words}")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_backup_of_nothing_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path / "copy.db")]) == 1
    assert capsys.readouterr().err == f"coppice: data/{DATABASE}: there is no database\n"
    assert main(["backup", str(tmp_path / "copy.db"), "--config", "none.toml"]) == 2
    assert capsys.readouterr().err == "coppice: none.toml: No such file or directory\n"


# ---------------------------------------------------------------------------------------- tree


@pytest.fixture
def answers() -> Iterator[dict[str, object]]:
    """An HTTP server that answers everything with what is under `answer`."""
    given: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(given["answer"]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        given["ops"] = f"127.0.0.1:{server.server_port}"
        yield given
        server.shutdown()
        thread.join()


def test_the_tree_is_asked_of_the_server_in_the_settings(
    answers: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers["answer"] = NODE
    monkeypatch.setenv("COPPICE_OPS", str(answers["ops"]))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert main(["tree"]) == 0
    drawn = "root  (Supervisor one_for_one, running, restarts 0, mailbox 0)\n"
    assert capsys.readouterr().out == drawn
    assert main(["tree", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == NODE


def test_without_a_tree_the_reason_is_told(
    answers: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    answers["answer"] = {}
    assert main(["tree", "--ops", str(answers["ops"])]) == 1
    assert "no supervision tree" in capsys.readouterr().err
    assert main(["tree", "--ops", "127.0.0.1:1"]) == 1
    assert "http://127.0.0.1:1/tree: Connection refused\n" in capsys.readouterr().err
    assert main(["tree", "--ops", "off"]) == 2
    assert main(["tree", "--ops", "nowhere"]) == 2
    assert "--ops: 'nowhere' is not HOST:PORT" in capsys.readouterr().err


def test_a_watched_tree_is_drawn_again_until_somebody_has_seen_enough(
    answers: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers["answer"] = NODE
    then: Iterator[object] = iter([NODE | {"restarts": 3}, {}, NODE])
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        try:
            answers["answer"] = next(then)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(time, "sleep", wait)
    assert main(["tree", "--ops", str(answers["ops"]), "--watch", "0.5"]) == 0
    shown = capsys.readouterr()
    assert [line.partition("restarts ")[2][0] for line in shown.out.splitlines()] == ["0", "3", "0"]
    assert "no supervision tree" in shown.err, "and goes on while there is nothing to see"
    assert waited == [0.5] * 4


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_time_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tree", f"--watch={seconds}"])
    assert "argument --watch" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(answers: dict[str, object]) -> None:
    answers["answer"] = NODE
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        command = [sys.executable, str(ROOT / "run.py"), "tree", "--ops", str(answers["ops"])]
        ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (BROKEN_PIPE, b"")


# ---------------------------------------------------------------------------------------- logs

LOGGING = """
import logging, structlog
from gateway.serving import configure_logs
configure_logs()
logging.getLogger("chat").info("too quiet")
for logger in (logging.getLogger("chat"), structlog.get_logger("app")):
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("it failed")
"""


def test_a_log_has_one_json_object_a_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOGGING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    library, ours = [json.loads(line) for line in ended.stderr.splitlines()]
    assert library.pop("logger") == "chat"
    for line in (library, ours):
        assert set(line) == {"event", "level", "timestamp", "exception"}
        assert (line["event"], line["level"]) == ("it failed", "error")
        assert line["exception"].endswith("ZeroDivisionError: division by zero")


# ------------------------------------------------------------------------------------- signals


def test_a_second_signal_does_not_break_the_drain(tmp_path: Path) -> None:
    process = start(tmp_path / "data")
    assert process.stdout is not None
    address = process.stdout.readline().strip().removeprefix("listening on http://")
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stubborn:
        stubborn.sendall(HANDSHAKE)
        received = b""
        for number, answer in ((0, b'"hello"'), (signal.SIGTERM, b'"bye"')):
            process.send_signal(number)
            while answer not in received:
                received += stubborn.recv(4096)
        # It does not answer the close, so the server is waiting for it now.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    assert process.wait(10) == 0
    took_s = phases(process.communicate()[1], "SIGTERM")
    assert list(took_s) == ["stop_accepting", "goodbye", "stop_tree"]
    assert took_s["goodbye"] > 0.2, "that is where it was waited for"


def phases(log: str, reason: str) -> dict[str, float]:
    """How long each phase of a shutdown for this reason took; all of them went well."""
    lines = [json.loads(line) for line in log.splitlines()]
    ended = [line for line in lines if line["event"] == "shutdown_phase"]
    for line in ended:
        assert (line["reason"], line["failed"], line["late"]) == (reason, {}, [])
    return {line["phase"]: line["took_s"] for line in ended}


GIVING_UP = """
import trio
from actors.runtime import KILL
from gateway import app
tree = app.tree
def brief(*args):
    trio.lowlevel.spawn_system_task(end_the_root, args[1])
    return tree(*args)
async def end_the_root(services):
    root = await services.channels._system.wait_name("root", 60)
    root.exit(KILL)
app.tree = brief
"""


def test_a_tree_that_gave_up_ends_the_process_through_the_same_phases(tmp_path: Path) -> None:
    process = start(tmp_path / "data", f"exec({GIVING_UP!r})")
    assert process.stdout is not None
    process.stdout.readline()
    assert process.wait(10) == 1
    _, log = process.communicate()
    assert '"event": "tree_gave_up"' in log
    assert list(phases(log, "the tree gave up")) == ["stop_accepting", "goodbye", "stop_tree"]


TELLING = """
from persistence.sqlite_directory import SqliteAccounts
serving.EXIT_DEADLINE_S, serving.LAST_RESORT_S = 0.1, 0.2
create = SqliteAccounts.create
async def telling(*args):
    print("writing", flush=True)
    return await create(*args)
SqliteAccounts.create = telling
"""


def test_a_write_that_does_not_return_does_not_keep_the_process(tmp_path: Path) -> None:
    process = start(tmp_path / "data", f"exec({TELLING!r})")
    assert process.stdout is not None
    address = process.stdout.readline().strip().removeprefix("listening on ")
    register = json.dumps({"op": "register", "user": "alice", "pass": "correct horse"})
    with (
        closing(sqlite3.connect(tmp_path / "data" / DATABASE, isolation_level=None)) as shell,
        connect(f"{address.replace('http', 'ws')}/ws", legacy=True) as client,
    ):
        shell.execute("BEGIN IMMEDIATE")  # nobody else can write now, and waits five seconds
        client.recv()
        client.send(register)
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(4) == 1
    _, log = process.communicate()
    assert json.loads(log.splitlines()[-1])["event"] == "exit_forced"
