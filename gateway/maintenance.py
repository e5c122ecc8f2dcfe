"""`run.py backup` and `run.py migrate`: what an operator does to stored data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.config import EMBEDDED, SettingsError, load_one
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
    """Open the data directory and the databases, which applies what is missing, and close them
    again. 1 if that failed, 2 if the settings cannot be used."""
    import trio

    from persistence.sqlite import open_sqlite
    from persistence.sqlite_files import DATABASE

    parser = argparse.ArgumentParser(
        prog="run.py migrate",
        description="Bring the schema of a data directory, and of the databases of --sql, up to"
        " date, as serving from them does. A directory without a database gets a new one. No server"
        " may be using the directory; the databases may be in use.",
    )
    _add_data(parser)
    parser.add_argument(
        "--sql", metavar="URL", nargs="+", action="extend", help="databases (the server's)"
    )
    options = parser.parse_args(argv)

    async def run(data: Path, databases: Sequence[str]) -> None:
        async with open_sqlite(data):
            pass
        if databases:
            from persistence.postgres import migrate_postgres

            await migrate_postgres(databases)

    try:
        data: Path = load_one("data", options.data, options.config)
        sql: Sequence[str] = load_one("sql", options.sql, options.config)
        databases = [url for url in sql if not url.startswith(EMBEDDED)]
        is_new = not (data / DATABASE).exists()
        trio.run(run, data, databases)
    except (SettingsError, StoreError, OSError) as error:
        return _failed(error)
    if databases:
        print(f"databases up to date: {len(databases)}")
    print(f"{data} had no database; it has one now" if is_new else f"{data} is up to date")
    return 0


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the data directory (the server's)")
    parser.add_argument("--config", metavar="FILE", help="the TOML file of the server (none)")


def _failed(error: Exception) -> int:
    print(f"coppice: {in_one_line(error)}", file=sys.stderr)
    return 2 if isinstance(error, SettingsError) else 1
