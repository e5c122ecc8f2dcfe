"""Start, stop and list the servers: see the package."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType


def known() -> dict[str, ModuleType]:
    """Every server by name, with the module that knows how."""
    folder = Path(__file__).parent
    names = sorted(found.name for found in pkgutil.iter_modules([str(folder)]))
    modules = [importlib.import_module(f"tests.servers.{name}") for name in names]
    return {name: module for module in modules for name in getattr(module, "NAMES", ())}


def main(arguments: list[str]) -> int:
    servers = known()
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(servers)}; all by default")
    parsed = parser.parse_args(arguments)
    unknown = set(parsed.names) - set(servers)
    if unknown:
        parser.error(f"names: no such server: {', '.join(sorted(unknown))}")
    for name in parsed.names or servers:
        if parsed.action == "start":
            print(f"{name:<12} {servers[name].start(name)}", flush=True)
        elif parsed.action == "stop":
            servers[name].stop(name)
        else:
            print(f"{name:<12} {servers[name].url(name) or 'does not run'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
