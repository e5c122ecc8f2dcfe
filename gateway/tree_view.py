"""`run.py tree`: the supervision tree of a running server, as text.

It asks the ops port, which listens on loopback only.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

DEADLINE_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Print the tree; 1 if no server answers."""
    parser = argparse.ArgumentParser(prog="run.py tree", description=__doc__)
    parser.add_argument(
        "--ops", default="127.0.0.1:8081", help="the ops address (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the snapshot as the server gives it")
    options = parser.parse_args(argv)
    url = f"http://{options.ops}/tree"
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
            tree = json.load(response)
    except (urllib.error.URLError, OSError) as error:
        print(f"coppice: no server answers at {url}: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(tree, indent=2))
    else:
        print("\n".join(lines(tree)))
    return 0


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
