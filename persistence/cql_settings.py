"""What a `cql://` address says. Pure.

```
cql://[user:password@]host[:port][,host…]/keyspace[?replication=3][&dc=datacenter1][&scylla=1]
```

`replication` is the number of copies in the data centre `dc`, used when the keyspace is made.
`scylla=1` makes it with ScyllaDB's own options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 9042
KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
DATA_CENTRE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class CqlSettings:
    """Where the log is kept, and how its keyspace is made. One port for all hosts."""

    hosts: tuple[str, ...]
    port: int = PORT
    keyspace: str = "coppice"
    user: str | None = None
    password: str = field(default="", repr=False)
    data_centre: str = "datacenter1"
    replication: int = 3
    scylla: bool = False

    def __str__(self) -> str:
        return f"cql://{','.join(self.hosts)}:{self.port}/{self.keyspace}"


def parse(url: str) -> CqlSettings:
    """Raises `ValueError`, which names the part that is wrong and never repeats a password."""
    parts = urlsplit(url)
    if parts.scheme != "cql":
        raise ValueError("the address begins with cql://")
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts, port = _places(places)
    keyspace = parts.path.strip("/") or "coppice"
    if not KEYSPACE.fullmatch(keyspace):
        raise ValueError(f"keyspace {keyspace!r}: letters, digits and _ of lower case, 48 at most")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    settings = CqlSettings(
        hosts,
        port,
        keyspace,
        unquote(user) or None,
        unquote(password),
        data_centre=options.pop("dc", "datacenter1"),
        replication=_number("replication", options.pop("replication", "3"), 1, 9),
        scylla=bool(_number("scylla", options.pop("scylla", "0"), 0, 1)),
    )
    if not DATA_CENTRE.fullmatch(settings.data_centre):
        raise ValueError(f"dc {settings.data_centre!r} is no name of a data centre")
    for name in options:
        raise ValueError(f"{name} is no option of a cql:// address")
    return settings


def keyspace_statement(settings: CqlSettings) -> str:
    """ScyllaDB's tablets are switched off: conditional writes need a keyspace without them."""
    tablets = " AND tablets = {'enabled': false}" if settings.scylla else ""
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = {{"
        f"'class': 'NetworkTopologyStrategy', '{settings.data_centre}': {settings.replication}}}"
        f" AND durable_writes = true{tablets}"
    )


def _places(text: str) -> tuple[tuple[str, ...], int]:
    hosts, ports = [], set()
    for place in text.split(","):
        host, _, port = place.partition(":")
        if not host:
            raise ValueError("a host is missing in the cql:// address")
        hosts.append(host)
        ports.add(_number("port", port or str(PORT), 1, 65535))
    if len(ports) != 1:
        raise ValueError("all hosts of a cql:// address have one port")
    return tuple(hosts), ports.pop()


def _number(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ValueError(f"{name} is a number from {low} to {high}, not {text!r}")
    return int(text)
