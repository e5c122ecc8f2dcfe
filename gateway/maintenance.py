"""`run.py backup` and `run.py migrate`: what an operator does to stored data."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.config import CQL, Settings, SettingsError, load_one
from gateway.failures import in_one_line
from persistence.errors import StoreError


def backup(argv: Sequence[str]) -> int:
    """Copy the data into one file, while the server serves or not. 1 if that failed, 2 if the
    settings cannot be used."""
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
        data: Path = load_one("data", options.data, options.config)
        backup_directory(data, options.file)
    except (SettingsError, StoreError, OSError) as error:
        return _failed(error)
    print(f"backed up {data} to {options.file} ({options.file.stat().st_size} bytes)")
    return 0


def migrate(argv: Sequence[str]) -> int:
    """Open every store, which applies what is missing, and close it again. 1 if that failed, 2 if
    the settings cannot be used."""
    import trio

    from gateway.stores import databases, open_stores
    from persistence.sqlite_files import DATABASE

    parser = argparse.ArgumentParser(
        prog="run.py migrate",
        description="Bring the schemas of all stores up to date, as serving from them does. A data"
        " directory without a database gets a new one. No server may be using the directory;"
        " the databases of --sql and the cluster of --log may be in use.",
    )
    _add_data(parser)
    parser.add_argument("--sql", metavar="URL", nargs="+", action="extend", help=_OF_SERVER)
    parser.add_argument("--log", metavar="URL", help=_OF_SERVER)
    options = parser.parse_args(argv)

    async def run(settings: Settings) -> None:
        async with open_stores(settings, random.Random()):
            pass

    try:
        names = ("data", "sql", "log")
        given = {name: load_one(name, getattr(options, name), options.config) for name in names}
        settings = Settings(**given)
        data, count = settings.data, len(databases(settings.sql))
        is_new = not (data / DATABASE).exists()
        trio.run(run, settings)
    except (SettingsError, StoreError, OSError) as error:
        return _failed(error)
    on_cql = settings.log.startswith(CQL)
    if count:
        print(f"databases up to date: {count}")
    if on_cql:
        print("the message log is up to date")
    if not count or not on_cql:
        print(f"{data} had no database; it has one now" if is_new else f"{data} is up to date")
    return 0


_OF_SERVER = "as the server has it (the server's)"


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the data directory (the server's)")
    parser.add_argument("--config", metavar="FILE", help="the TOML file of the server (none)")


def _failed(error: Exception) -> int:
    print(f"coppice: {in_one_line(error)}", file=sys.stderr)
    return 2 if isinstance(error, SettingsError) else 1
