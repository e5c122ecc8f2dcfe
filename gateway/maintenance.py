"""`run.py backup` and `run.py migrate`: what an operator does to a data directory."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from persistence.errors import StoreError


def backup(argv: Sequence[str]) -> int:
    """Copy the data into one file, while the server serves or not. 1 if that failed."""
    from persistence.sqlite import backup_directory

    parser = argparse.ArgumentParser(
        prog="run.py backup",
        description="Copy a data directory into FILE. Safe while a server is serving from it. To"
        " restore, put FILE into an empty data directory as coppice.db.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a file that does not exist yet")
    _add_data(parser)
    options = parser.parse_args(argv)
    try:
        backup_directory(options.data, options.file)
    except (StoreError, OSError) as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 1
    print(f"backed up {options.data} to {options.file} ({options.file.stat().st_size} bytes)")
    return 0


def migrate(argv: Sequence[str]) -> int:
    """Open the data directory, which applies what is missing, and close it again."""
    import trio

    from persistence.sqlite import open_sqlite

    parser = argparse.ArgumentParser(prog="run.py migrate", description=migrate.__doc__)
    _add_data(parser)
    options = parser.parse_args(argv)

    async def run() -> None:
        async with open_sqlite(options.data):
            pass

    try:
        trio.run(run)
    except (StoreError, OSError) as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 1
    print(f"{options.data} is up to date")
    return 0


def _add_data(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("COPPICE_DATA", "./data")
    parser.add_argument(
        "--data", type=Path, default=Path(default), help="the data directory (default %(default)s)"
    )
