"""The documents are true: their code runs, their conversations happen, their commands and paths
exist. One server answers all of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from gateway.chat import arguments as chat_arguments
from gateway.cli import main
from gateway.config import load_settings
from gateway.maintenance import copy_arguments
from tests.docs import reading
from tests.e2e.wire import DEADLINE_S, ROOT, Server, Wire, serving
from tests.servers.postgres import PostgresServer
from tests.supervision.model.__main__ import main as model_main

DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/actors.md",
    "docs/benchmarks.md",
    "docs/conformance.md",
    "docs/deployment.md",
    "docs/events.md",
    "docs/operations.md",
    "docs/protocol.md",
    "docs/pykka.md",
    "docs/replay.md",
    "docs/supervision.md",
    "docs/testing.md",
)
HAPPENING = ("README.md", "docs/protocol.md")
PEOPLE_BEFORE = {"docs/protocol.md": ("bob",)}
"""Who has registered before the document's conversation, as it says."""
FOLDERS = frozenset(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
OPS = "127.0.0.1:8081"


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_document_is_read() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}
    assert found | {path.name for path in ROOT.glob("*.md")} == set(DOCUMENTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    with serving(data) as server:
        yield server


@pytest.fixture(scope="module")
def sql_server(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Users and threads on PostgreSQL."""
    (url,) = postgres.create()
    with serving(tmp_path_factory.mktemp("documents"), COPPICE_SQL=url) as server:
        yield server


# --------------------------------------------------------------------------------------- code

EXAMPLES = [
    pytest.param(block.text, printed.text, id=f"{name}-{number}")
    for name in DOCUMENTS
    for number, (block, printed) in enumerate(pairwise(reading.blocks(text_of(name))))
    if (block.language, printed.language) == ("python", "text")
]


def test_every_example_says_what_it_prints() -> None:
    """README's excepted: it needs a server, and has a test of its own."""
    snippets = [b for name in DOCUMENTS for b in reading.blocks(text_of(name))]
    assert len([b for b in snippets if b.language == "python"]) == len(EXAMPLES) + 1


@pytest.mark.parametrize(("example", "printed"), EXAMPLES)
def test_examples_print_what_stands_below_them(example: str, printed: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example)
    ended = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=30,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (ended.stdout, ended.returncode) == (printed, 0), ended.stderr


def test_the_first_client_program_runs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = (b.text for b in reading.blocks(text_of("README.md")) if b.language == "python")
    names: dict[str, object] = {"__name__": "program"}
    exec(compile(program, "README.md", "exec"), names)
    main = names["main"]
    assert callable(main)

    async def run() -> None:
        with trio.fail_after(DEADLINE_S):
            await main(f"ws://{server.address}/ws")

    trio.run(run)
    assert capsys.readouterr().out == "a note to myself\n"


# ------------------------------------------------------------------------------ conversations


def renamed(frame: str, suffix: str) -> str:
    """The frame with people of this document alone, for all documents share a server."""
    return re.sub(r'"(@?)(alice|bob)"', rf'"\1\2.{suffix}"', frame)


def replay(block: reading.Block, wire: Wire, suffix: str) -> list[str]:
    """Say what the block says; where the answers are not as it says, in words."""
    wrong: list[str] = []
    for line in reading.transcript(block):
        if line.is_sent:
            wire.send(renamed(line.frame, suffix))
        else:
            expected = reading.pattern(line.frame)
            wrong += reading.differences(expected, wire.hello or wire.receive())
            wire.hello = {}
    return wrong


@pytest.mark.parametrize("name", HAPPENING)
def test_conversations_happen_as_written(name: str, server: Server) -> None:
    document, suffix = text_of(name), re.sub(r"\W", "", name.lower())
    conversations = [block for block in reading.blocks(document) if reading.transcript(block)]
    pushes = [text for text in reading.quoted(document) if text.startswith('{"op":"ev","e":"msg",')]
    assert conversations
    with ExitStack() as stack:
        for person in PEOPLE_BEFORE.get(name, ()):
            server.user(f"{person}.{suffix}").close()
        wires = [stack.enter_context(closing(server.wire())) for _ in conversations]
        for wire, block in zip(wires, conversations, strict=True):
            assert replay(block, wire, suffix) == []
        # What a document says that somebody else has read, its first terminal has read.
        for push in pushes:
            event = wires[0].event("msg")
            assert reading.differences(reading.pattern(push), event) == []


# ----------------------------------------------------------------------------------- commands


def shell_commands() -> Iterator[tuple[str, list[str]]]:
    """Every line of a shell block, and what is quoted in prose and begins like a command."""
    for name in DOCUMENTS:
        for block in reading.blocks(text_of(name)):
            if block.language == "sh":
                yield from ((name, words) for words in reading.commands(block))
        for text in reading.quoted(text_of(name)):
            if text.startswith(("python run.py", "make ")):
                yield name, text.split()


COMMANDS = [
    pytest.param(words, id=f"{name}: {' '.join(words)}") for name, words in shell_commands()
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_work(
    words: list[str],
    request: pytest.FixtureRequest,
    server: Server,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    match words:
        case ["make", target]:
            assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE)
        case ["curl", *arguments]:
            assert curl(arguments, server)
        case ["python", "run.py", "serve", *arguments]:
            assert load_settings(arguments, {})
        case ["python", "run.py", "copy", *arguments]:
            assert copy_arguments(arguments)
        case ["python", "run.py", "chat", *arguments]:
            assert chat_arguments(arguments)
        case ["python", "run.py", "bench", what]:
            assert what in ("relay", "idle")
        case [assignment, "python", "run.py", "serve"] if "=" in assignment:
            variable, _, value = assignment.partition("=")
            assert load_settings([], {variable: value}) != load_settings([], {})
        case ["psql", _, "-v", "ON_ERROR_STOP=1", "-f", script]:
            assert (ROOT / script).exists()
        case ["python", "run.py", "migrate", "--sql", _]:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            assert main([*words[2:4], *postgres.create(), "--data", str(tmp_path)]) == 0
        case ["python", "run.py", ("tree" | "backup" | "migrate") as command, *arguments]:
            place = tmp_path / "data" if command == "migrate" else data
            monkeypatch.setenv("COPPICE_OPS", server.ops)
            monkeypatch.setenv("COPPICE_DATA", str(place))
            monkeypatch.chdir(tmp_path)
            assert main([command, *arguments]) == 0
            assert capsys.readouterr().out
        case ["python", "-m", "tests.supervision.model", *arguments]:
            assert model_main([*arguments, "--trees", "3"]) == 0
        case _:
            pytest.fail(f"nobody knows how to try {words}")


def curl(arguments: list[str], server: Server) -> bytes:
    """The beginning of what curl would get; of `-X METHOD`, `-d BODY` and a URL."""
    method, body, url = None, None, ""
    words = iter(arguments)
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-d":
                body = next(words).encode()
            case _:
                assert not url
                assert word.startswith(OPS)
                url = f"http://{server.ops}{word.removeprefix(OPS)}"
    request = urllib.request.Request(url, body, method=method)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
        return bytes(response.readline())


def test_settings_work_under_the_names_in_the_table() -> None:
    """Every row of the table of settings names a flag, a variable and a key that work."""
    rows = re.findall(
        r"^\| `(--[\w-]+)` \| `(COPPICE_\w+)` \| `(\w+)` \|",
        text_of("docs/operations.md"),
        re.MULTILINE,
    )
    assert len(rows) == 14
    for flag, variable, key in rows:
        assert flag == f"--{key.replace('_', '-')}"
        value = {"data": "d", "ops": "off", "node": "n", "host": "h"}.get(key, "1")
        value = "https://a.example" if key == "origins" else value
        value = "10.0.0.0/8" if key == "proxies" else value
        value = {"sql": "postgresql://h/d", "log": "cql://h/k"}.get(key, value)
        value = "5000" if key.endswith("_ms") else value
        given = getattr(load_settings([flag, value], {}), key)
        assert given == getattr(load_settings([], {variable: value}), key)
        assert given != getattr(load_settings([], {}), key)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_metrics_exist(name: str, request: pytest.FixtureRequest, server: Server) -> None:
    exposed = server.look("/metrics").decode()
    if name == "docs/deployment.md":
        exposed += request.getfixturevalue("sql_server").look("/metrics").decode()
    for metric in re.findall(r"`(coppice_\w+)`", text_of(name)):
        assert f"\n{metric} " in exposed


# -------------------------------------------------------------------------- paths and links


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in reading.links(text_of(name)):
        path, _, fragment = link.partition("#")
        target = ((ROOT / name).parent / path) if path else ROOT / name
        assert target.exists(), link
        assert not fragment or fragment in reading.anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name: str) -> None:
    files = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for path in reading.paths(text_of(name), FOLDERS):
        found = (ROOT / path).exists() or ("/" not in path and path in files)
        assert found, f"{name} speaks of {path}"
