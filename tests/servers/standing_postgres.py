"""A PostgreSQL on loopback that stands until it is stopped: for serving from, and for benchmarks.

Tests start one of their own (`postgres`), which trades durability for speed; this one does not.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import directory
from tests.servers.postgres import DURABLE, binaries, missing, unprivileged

NAMES = ("postgres",)
PORT = 54329
URL = f"postgresql://postgres@127.0.0.1:{PORT}/postgres"


def start(_name: str) -> str:
    """Make a new one and start it, unless it runs."""
    if url(_name) is None:
        why = missing()
        if why is not None:
            raise RuntimeError(why)
        home = _home()
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        shutil.chown(home, _user())
        _run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        options = (f"-p {PORT}", "-h 127.0.0.1", f"-k {home}", *(f"-c {word}" for word in DURABLE))
        _run("pg_ctl", "-w", "-l", str(home / "log"), "-o", " ".join(options), "start")
    return URL


def stop(_name: str) -> None:
    if (_home() / "data" / "postmaster.pid").exists():
        _run("pg_ctl", "-w", "-m", "fast", "stop")
    shutil.rmtree(_home(), ignore_errors=True)


def url(_name: str) -> str | None:
    try:
        psycopg.connect(URL, connect_timeout=2).close()
    except psycopg.OperationalError:
        return None
    return URL


def _home() -> Path:
    """As root it runs as somebody else, who must get there."""
    return Path("/var/tmp/coppice-postgres") if os.geteuid() == 0 else directory() / "postgres"


def _run(program: str, *words: str) -> None:
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": _user(), "group": pwd.getpwnam(_user()).pw_gid, "extra_groups": []}
    command = [str(binaries()[0] / program), "-D", str(_home() / "data"), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=_home(), **user)


def _user() -> str:
    name = unprivileged() if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    assert name is not None, "`missing` has told"
    return name
