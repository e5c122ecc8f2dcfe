"""`run.py tree`: the supervision tree of a running server, as text.

It asks the ops port, where the server's settings say that it is unless told otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.error import URLError

from gateway.config import SettingsError, http_url, load_one
from gateway.failures import in_one_line

DEADLINE_S = 5.0
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""To a terminal: go home, forget what was there."""


def main(argv: Sequence[str]) -> int:
    """Print the tree; 1 if no server answers, 2 if the settings cannot be used.

    With `--watch` again and again until Ctrl-C, also while the server restarts."""
    parser = argparse.ArgumentParser(
        prog="run.py tree", description="Print the supervision tree of a running server."
    )
    parser.add_argument("--ops", metavar="HOST:PORT", help="the ops port (the server's)")
    parser.add_argument("--config", metavar="FILE", help="the TOML file of the server (none)")
    parser.add_argument("--json", action="store_true", help="the snapshot as the server gives it")
    parser.add_argument(
        "--watch", nargs="?", type=seconds, const=1.0, metavar="SECONDS",
        help="show it again every so many seconds (1), until Ctrl-C",
    )  # fmt: skip
    options = parser.parse_args(argv)
    try:
        ops: tuple[str, int] | None = load_one("ops", options.ops, options.config)
    except SettingsError as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 2
    if ops is None:
        print("coppice: the ops port is off, so nobody can be asked", file=sys.stderr)
        return 2
    url = f"{http_url(ops)}/tree"
    if options.watch is None:
        return show(url, as_json=options.json)
    try:
        while True:
            if sys.stdout.isatty():
                print(CLEAR, end="")
            show(url, as_json=options.json)
            sys.stdout.flush()
            time.sleep(options.watch)
    except KeyboardInterrupt:
        return 0


def seconds(text: str) -> float:
    """A time to wait. Raises `ValueError`."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def show(url: str, *, as_json: bool) -> int:
    """Ask once and print the answer, or why there is none: 0 or 1."""
    try:
        tree = fetch(url)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        text = in_one_line(reason) if isinstance(reason, Exception) else reason
        print(f"coppice: no server answers at {url}: {text}", file=sys.stderr)
        return 1
    print(json.dumps(tree, indent=2) if as_json else "\n".join(lines(tree)))
    return 0


def fetch(url: str) -> dict[str, Any]:
    """The tree at `url`, asked directly, whatever proxies the environment names. Raises OSError,
    ValueError if it is no tree."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=DEADLINE_S) as response:
        tree = json.load(response)
    if not isinstance(tree, dict) or "class" not in tree:
        raise ValueError("what answers there has no supervision tree")
    return tree


def lines(
    node: dict[str, Any], prefix: str = "", *, last: bool = True, top: bool = True
) -> Iterator[str]:
    """One line for each node, drawn as a tree."""
    branch = "" if top else ("└─ " if last else "├─ ")
    strategy = f" {node['strategy']}" if node.get("strategy") else ""
    details = f"{node['class']}{strategy}, {node['state']}, restarts {node['restarts']}"
    label = node.get("name") or node["id"]
    yield f"{prefix}{branch}{label}  ({details}, mailbox {node['mailbox']})"
    deeper = prefix if top else prefix + ("   " if last else "│  ")
    children = node.get("children", [])
    for index, child in enumerate(children):
        yield from lines(child, deeper, last=index == len(children) - 1, top=False)
