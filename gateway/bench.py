"""`run.py bench`: figures of this machine, beside references measured in the same run.

Each measurement is a program of `benchmarks/`, so this needs a checkout; `docs/benchmarks.md` says
what they show.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {
    "relay": ("relay", "durable messages through the whole server, on the stores named"),
    "stores": ("stores", "the same on each set-up of stores that this machine has"),
    "log": ("message_log", "pages of a long thread, and what a message takes on disk"),
    "idle": ("idle", "memory for each idle connection"),
    "actors": ("actor_systems", "the actor runtime beside pykka, thespian and Erlang"),
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="run.py bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:<8}{what}" for name, (_, what) in PROGRAMS.items()),
    )
    parser.add_argument("what", choices=PROGRAMS, help="what to measure; each has a --help")
    chosen = parser.parse_args(argv[:1]).what
    if not (ROOT / "benchmarks").is_dir():
        print("coppice: benchmarks need a checkout of the repository", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", f"benchmarks.{PROGRAMS[chosen][0]}", *argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603  (our own)
