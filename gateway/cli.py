"""The command line: `python run.py …` and the console script `coppice` are this program.

Every subcommand imports what it needs when it runs, so `serve` does not pay for the benchmarks and
the terminal client does not open a store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

COMMANDS = {
    "serve": "run the server (the default)",
    "backup": "copy the data of a running or stopped server into one file",
    "migrate": "bring the schema of a data directory up to date",
    "copy": "move the data of a stopped server to PostgreSQL and ScyllaDB or Cassandra",
    "tree": "print the supervision tree of a running server",
    "chat": "chat in the terminal",
    "bench": "measure: relay, stores, log, idle, actors",
}

INTERRUPTED, BROKEN_PIPE = 130, 141
"""As a shell reports a program that SIGINT or SIGPIPE has ended."""

USAGE = "usage: run.py [COMMAND] [OPTIONS]\n\ncommands:\n" + "".join(
    f"  {name:<9}{text}\n" for name, text in COMMANDS.items()
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. 2 means that the call itself was wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    problem = misplaced_packages()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 2
    command = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "serve"
    if command == "serve" and arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
    if command == "serve" and arguments and not arguments[0].startswith("-"):
        print(f"run.py: there is no command {arguments[0]!r}\n{USAGE}", end="", file=sys.stderr)
        return 2
    return _run(command, arguments)


def _run(command: str, arguments: list[str]) -> int:
    run: Callable[[Sequence[str]], int]
    match command:
        case "serve":
            from gateway import serving

            run = serving.main
        case "backup" | "migrate" | "copy":
            from gateway import maintenance

            run = getattr(maintenance, command)
        case "tree":
            from gateway import tree_view

            run = tree_view.main
        case "chat":
            from gateway import chat

            run = chat.main
        case _:
            from gateway import bench

            run = bench.main
    try:
        status = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough, as in `tree | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def misplaced_packages() -> str | None:
    """Our four package names are generic: another distribution may carry one of them too. One line
    if they do not all come from one directory."""
    places = {}
    for name in ("actors", "gateway", "persistence", "supervision"):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            return f"coppice: the package {name!r} is missing; reinstall coppice"
        places[name] = Path(spec.origin).resolve().parent.parent
    if len(set(places.values())) > 1:
        listed = ", ".join(f"{name} from {place}" for name, place in places.items())
        return f"coppice: another distribution shadows one of its packages: {listed}"
    return None
