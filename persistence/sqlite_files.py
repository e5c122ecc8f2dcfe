"""The data directory: its lock, its one database file, connections to it, copies of it.

One process has a directory at a time. Its writer connection is the only one anywhere that writes or
checkpoints; every other connection, a backup's from another process too, is read-only. That keeps
clear of the race between two checkpointing connections that SQLite had until 3.51.3, and means that
a transaction waits for no lock.

The durability rule is `synchronous=FULL`: with group commit it costs almost nothing over less.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from persistence import migrations
from persistence.errors import Corrupt, DataDirectoryInUse, StoreError, StoreUnavailable
from persistence.migrations import Applied

DATABASE = "coppice.db"
LOCK = "lock"

APPLICATION_ID = 0x436F7070
"""In the file's header: a database of this program (`Copp`)."""

SQLITE_VERSION_MIN = (3, 37, 0)
"""STRICT tables. JSON functions are needed too; they are optional before 3.38."""

BUSY_TIMEOUT_MS = 5_000
"""How long to wait for somebody with a database shell, the only one who may be in the way."""

WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "foreign_keys=ON",
    "wal_autocheckpoint=0",  # the writer checkpoints between commits, see `sqlite_writer`
    "trusted_schema=OFF",
    "temp_store=MEMORY",
    "cache_size=-65536",  # KiB
)
READER_PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "query_only=ON",
    "trusted_schema=OFF",
    "temp_store=MEMORY",
    "cache_size=-8192",
)

STATEMENTS_MAX = 256
"""Prepared statements kept for each connection; the program has fewer different ones."""

T = TypeVar("T")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a data directory, made if need be, for this process. Raises `DataDirectoryInUse`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            who = f"process {holder}" if holder else "another process"
            raise DataDirectoryInUse(f"{directory} is in use by {who}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------- connections


def connect_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes; the schema is brought up to date. Raises `Corrupt`."""
    _check_engine()
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_MAX
    )
    try:
        _check_ours(connection, path)
        for pragma in WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        _migrate(connection)
        _sync(path.parent)  # a file is not safe before its name is
        with suppress(PermissionError):  # a directory that somebody else made, and so synced
            _sync(path.absolute().parent.parent)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, in this process or another. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_MAX,
    )
    for pragma in READER_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _check_engine() -> None:
    try:
        with sqlite3.connect(":memory:") as probe:
            probe.execute("SELECT json_group_array(value) FROM json_each('[1]')").fetchall()
        probe.close()
        has_json = True
    except sqlite3.OperationalError:
        has_json = False
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN or not has_json:
        wanted = ".".join(map(str, SQLITE_VERSION_MIN))
        found = f"{sqlite3.sqlite_version}{'' if has_json else ' without JSON functions'}"
        raise StoreUnavailable(f"SQLite {wanted} with JSON functions is needed, this is {found}")


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == APPLICATION_ID:
        return
    if application or tables:
        raise Corrupt(f"{path} is not a database of this program")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT"
    )
    rows = connection.execute("SELECT number, name, checksum FROM migrations").fetchall()
    for migration in migrations.pending(migrations.load("sqlite"), [Applied(*r) for r in rows]):
        # A script commits what is open when it starts, so it has to open its transaction itself.
        connection.executescript(f"BEGIN IMMEDIATE;\n{migration.script}")
        connection.execute(
            "INSERT INTO migrations VALUES (?, ?, ?)",
            (migration.number, migration.name, migration.checksum),
        )
        connection.execute("COMMIT")


# ---------------------------------------------------------------------------- queries


def fetch_json(
    connection: sqlite3.Connection,
    decoder: msgspec.json.Decoder[T],
    statement: str,
    parameters: tuple[Any, ...],
) -> T:
    """The one JSON value that `statement` answers.

    Rows come as one aggregate because sqlite3 gives the interpreter lock up and takes it back for
    every row it fetches, and each time a busy main thread may keep it waiting.
    """
    (text,) = connection.execute(statement, parameters).fetchone()
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise Corrupt(f"a stored value cannot be read: {error}") from error


def as_json(value: object) -> str:
    """`value` as the text that `json_each` takes apart."""
    return msgspec.json.encode(value).decode()


def translated(error: sqlite3.Error, path: Path) -> StoreError:
    """What an error of the engine means when it surely left nothing behind."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    unreadable = "could not decode" in str(error).lower()
    if unreadable or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(f"{path}: {error}")
    return StoreUnavailable(f"{path}: {error}")


# ---------------------------------------------------------------------------- copies


def copy_database(source: Path, target: Path) -> None:
    """Copy a database into a new file, from any process, while a server writes to it.

    The copy is consistent, checked, readable by its owner only, and on disk when this returns;
    until then nothing is at `target`. Raises `FileExistsError`, `FileNotFoundError`, `StoreError`.
    """
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no database", str(source))
    if target.exists():
        raise FileExistsError(errno.EEXIST, "the file exists already", str(target))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        try:
            _copy(source, partial)
        except sqlite3.Error as error:
            raise translated(error, source) from error
        _sync(partial)
        os.link(partial, target)  # unlike a rename, this refuses a file that has appeared since
    finally:
        partial.unlink()
    _sync(target.absolute().parent)


def _copy(source: Path, partial: Path) -> None:
    reader = connect_reader(source)
    copy = sqlite3.connect(partial)
    try:
        if reader.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise Corrupt(f"{source} is not a database of this program")
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file, whole in itself
        found = copy.execute("PRAGMA quick_check(1)").fetchall()
        if found != [("ok",)]:
            raise Corrupt(f"{source}: {found[0][0]}")
    finally:
        copy.close()
        reader.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
