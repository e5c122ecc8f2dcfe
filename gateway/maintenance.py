"""`run.py backup`, `migrate` and `copy`: what an operator does to stored data."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.config import CQL, Settings, SettingsError, load_one
from gateway.failures import in_one_line
from persistence import cql_settings
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


def copy(argv: Sequence[str]) -> int:
    """Copy a data directory into databases. 1 if that failed or the copy differs, 2 if the call was
    wrong."""
    import trio

    try:
        differences = trio.run(_copy, *copy_arguments(argv))
    except (SettingsError, StoreError, OSError) as error:
        return _failed(error)
    for difference in differences:
        print(f"coppice: {difference}", file=sys.stderr)
    return 1 if differences else 0


def copy_arguments(argv: Sequence[str]) -> tuple[Path, Sequence[str], str | None]:
    """Source, databases, and the log's keyspace. What is wrong is said without the URL, which may
    hold a password. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog="run.py copy",
        description="Copy an embedded server's data: users and threads to PostgreSQL, the message"
        " log to ScyllaDB or Cassandra, or one of the two. No server may be using the directory;"
        " the databases must be empty. Killed, it goes on when it is run again. Nothing is served"
        " from the databases before all of it was read back and compared.",
    )
    parser.add_argument("--from", dest="source", required=True, type=Path, metavar="DIRECTORY")
    parser.add_argument(
        "--to", required=True, nargs="+", action="extend", metavar="URL",
        help="postgresql://… once or, for shards, more often; cql://… once",
    )  # fmt: skip
    options = parser.parse_args(argv)
    databases = [url for url in options.to if url.startswith(("postgresql:", "postgres:"))]
    logs = [url for url in options.to if url.startswith(CQL)]
    if len(databases) + len(logs) < len(options.to):
        raise SettingsError("--to: a URL begins with postgresql:// or cql://")
    if len(set(databases)) < len(databases) or len(logs) > 1:
        raise SettingsError("--to: each database once, and one cql:// URL at most")
    try:
        for log in logs:
            cql_settings.parse(log)
    except ValueError as error:
        raise SettingsError(f"--to: {error}") from None
    return options.source, databases, logs[0] if logs else None


async def _copy(source: Path, databases: Sequence[str], log: str | None) -> list[str]:
    """Differences that were found, each a line."""
    from persistence import transfer
    from persistence.sqlite_transfer import open_source

    differences: list[str] = []

    def settle(what: str, target: object, copied: transfer.Copied) -> None:
        differences.extend(copied.differences)
        if copied.differing:
            differences.append(f"{what}: {copied.differing} differences in {target}")
        else:
            how = "was there already" if copied.was_there else "copied"
            print(f"{what} {how}: {copied.rows} rows in {target}, checksums agree", flush=True)

    async with open_source(source) as opened:
        if log is not None:  # first: what is damaged, if anything, is found in it
            from persistence import cql_transfer

            async with cql_transfer.open_target(log) as cql:
                settle("message log", cql, await transfer.copy_log(opened, cql, _progress))
        if databases:
            from persistence import postgres_transfer

            async with postgres_transfer.open_target(databases) as sql:
                settle("users and threads", sql, await transfer.copy_tables(opened, sql, _progress))
    return differences


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_OF_SERVER = "as the server has it (the server's)"


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the data directory (the server's)")
    parser.add_argument("--config", metavar="FILE", help="the TOML file of the server (none)")


def _failed(error: Exception) -> int:
    print(f"coppice: {in_one_line(error)}", file=sys.stderr)
    return 2 if isinstance(error, SettingsError) else 1
