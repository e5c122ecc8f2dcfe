"""The settings of a server: read once, validated whole, frozen.

Flags win over the environment (`COPPICE_…`), that over a TOML file, that over defaults. `_TABLE` is
the one place that says which settings exist; names, sources and error lines follow from it. Every
problem is collected, so that a deployment is repaired in one go, and the report is one line, so
that it survives logs and supervisors: each part names the setting as it was written.
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

from gateway.proxies import network
from gateway.wire.limits import AUTH_MS, HB_MS, LIMIT_NAMES, OFFLINE_MS, Limits, problems
from persistence import cql_settings

ENVIRONMENT_PREFIX: Final = "COPPICE_"
OPS_PORT: Final = 8081
EMBEDDED: Final = "sqlite:"
CQL: Final = "cql:"
OFF: Final = "off"
"""The ops address of a server without one."""
DAY_MS: Final = 24 * 60 * 60 * 1000
HEARTBEATS_PER_SILENCE: Final = 3
"""A client counts as gone after missing this many heartbeats, unless both numbers are given."""


class SettingsError(Exception):
    """Settings that cannot be used. Its text is one line, naming each setting at fault."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server runs with. Times in milliseconds; `ops` is None without an ops listener."""

    host: str = "127.0.0.1"
    port: int = 8080
    data: Path = Path("data")
    sql: tuple[str, ...] = ()
    log: str = ""
    fabric: str = ""
    ops: tuple[str, int] | None = ("127.0.0.1", OPS_PORT)
    ops_may_move: bool = True
    """Nobody asked for that ops address: another free port does when it is taken."""
    lab: bool = False
    node: str = "n1"
    origins: tuple[str, ...] = ()
    """Pages of other sites that may open a WebSocket; `*` for all."""
    proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` is believed."""
    hb_ms: int = HB_MS
    offline_ms: int = OFFLINE_MS
    auth_ms: int = AUTH_MS
    stall_ms: int = 500
    """The loop is reported when it has not turned for so long; 0 for never."""
    argon2_cost: str = "default"
    """`test` hashes passwords cheaply and unsafely, for tests and benchmarks only."""
    limits: Limits = field(default_factory=Limits)


def load_settings(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings for these arguments and this environment (the process's, unless given).

    Raises SettingsError. `--help` prints and exits."""
    flags, unknown = _flags(argv)
    return _gather(flags, environ, unknown).settings()


def load_one(
    name: str,
    flag: str | Sequence[str] | None,
    config: str | None,
    environ: Mapping[str, str] | None = None,
) -> Any:
    """One setting, for a command that needs no other: from its flag, if that was given, or else
    from where the server has it. What is wrong with others' values does not matter here.

    Raises SettingsError."""
    flags = {"config": config, name: flag}
    given = _gather({key: value for key, value in flags.items() if value is not None}, environ, ())
    return given.one(name)


def http_url(address: tuple[str, int]) -> str:
    """The URL of a listener at `address`."""
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# ------------------------------------------------------------------------------ kinds of values


class _Bad(Exception):
    """What is wrong with a value, without its name."""


Reader = Callable[[Any], Any]


def _whole_number(floor: int, ceiling: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Bad(f"{value!r} is not a whole number")
        if not floor <= value <= ceiling:
            raise _Bad(f"{value} is not between {floor} and {ceiling}")
        return value

    return read


def _switch(value: Any) -> bool:
    if value in ("1", "0", 1, 0):  # TOML's true and false are among them
        return bool(int(value))
    raise _Bad(f"{value!r} is neither 1 nor 0")


def _text(pattern: str, what: str) -> Reader:
    def read(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise _Bad(f"{value!r} is not {what}")

    return read


def _directory(value: Any) -> Path:
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise _Bad(f"{value!r} is not a directory")


def _words(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with commas or blanks between them; both at once, too."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list | tuple) and all(isinstance(part, str) for part in texts):
        return tuple(part for text in texts for part in re.split(r"[\s,]+", text) if part)
    raise _Bad(f"{value!r} is not a list of texts")


def _engines(embedded: str, *servers: str) -> Reader:
    """URLs of one engine. `embedded` needs none and takes no place in it; `servers` are schemes.

    What is wrong is said without the URL, which may hold a password."""

    def read(value: Any) -> tuple[str, ...]:
        urls = _words(value)
        for url in urls:
            scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
            named = f"{scheme[1]}:" if scheme else ""
            if named not in (embedded, *servers):
                what = f"scheme {named[:-1]!r}" if named else "a URL without a scheme"
                supported = ", ".join((embedded, *servers))
                raise _Bad(f"{what} is not supported; this build supports: {supported}")
            if named == embedded and url.rstrip("/") != embedded:
                raise _Bad(f"{embedded} takes no place; the data lives in --data")
            if named == embedded and len(urls) > 1:
                raise _Bad(f"{embedded} is one engine, and stands alone")
        if len(set(urls)) < len(urls):
            raise _Bad("names a database twice")
        return urls

    return read


def _only(reader: Reader) -> Reader:
    def read(value: Any) -> str:
        urls = reader(value)
        if len(urls) > 1:
            raise _Bad("takes one URL")
        return urls[0] if urls else ""

    return read


def _ops(value: Any) -> tuple[str, int] | None:
    if value == OFF:
        return None
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\s/]+)):([0-9]{1,5})", str(value))
    if match is None or int(match[3]) > 65_535:
        raise _Bad(f"{value!r} is not HOST:PORT, nor {OFF!r}")
    return match[1] or match[2], int(match[3])


def _origins(value: Any) -> tuple[str, ...]:
    origins = _words(value)
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#]+/?", origin):
            raise _Bad(f"{origin!r} is not an origin such as https://chat.example")
    return origins


def _proxies(value: Any) -> tuple[str, ...]:
    proxies = _words(value)
    for proxy in proxies:
        try:
            network(proxy)
        except ValueError:
            raise _Bad(f"{proxy!r} is neither an address nor a network") from None
    return proxies


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting: how its value is read, and how --help shows it (limits have no flag)."""

    read: Reader
    metavar: str = ""
    help: str = ""

    @property
    def has_flag(self) -> bool:
        return bool(self.help)


def _log(value: Any) -> str:
    """One URL; the hosts of a CQL cluster have commas between them."""
    if not isinstance(value, str) or not value.startswith(CQL):
        found: str = _only(_engines(EMBEDDED, CQL))(value)
        return found
    try:
        cql_settings.parse(value)
    except ValueError as error:
        raise _Bad(str(error).removeprefix("log: ")) from error
    return value


_SQL: Final = _engines(EMBEDDED, "postgresql:", "postgres:")
_PERIOD: Final = _whole_number(10, DAY_MS)

_TABLE: Final[Mapping[str, _Setting]] = {
    "host": _Setting(_text(r"\S+", "a host"), "HOST", "where to listen (127.0.0.1)"),
    "port": _Setting(_whole_number(0, 65_535), "PORT", "0 picks a free one (8080)"),
    "data": _Setting(_directory, "DIR", "where the embedded stores live (./data)"),
    "sql": _Setting(
        _SQL, "URL", "users and threads: postgresql://…, several for shards (embedded)"
    ),
    "log": _Setting(_log, "URL", "the message log: cql://HOST,…/KEYSPACE (embedded)"),
    "fabric": _Setting(_only(_engines("local:")), "URL", "between nodes (one node)"),
    "ops": _Setting(_ops, "HOST:PORT", f"for operators; {OFF!r} for none (127.0.0.1:{OPS_PORT})"),
    "lab": _Setting(_switch, "1|0", "let the ops port kill parts of the server (0)"),
    "node": _Setting(_text(r"[A-Za-z0-9_.-]{1,64}", "a short name"), "NAME", "this node (n1)"),
    "origins": _Setting(_origins, "ORIGINS", "other sites whose pages may connect (none)"),
    "proxies": _Setting(_proxies, "ADDRESS", "proxies that say whom they speak for (none)"),
    "hb_ms": _Setting(_PERIOD, "MS", f"how often clients send a heartbeat ({HB_MS})"),
    "offline_ms": _Setting(_PERIOD, "MS", f"silence that counts as offline ({OFFLINE_MS})"),
    "auth_ms": _Setting(_PERIOD, "MS", f"time to authenticate ({AUTH_MS})"),
    "stall_ms": _Setting(_whole_number(0, DAY_MS), "MS", "a loop stuck so long is reported (500)"),
    "argon2_cost": _Setting(_text("default|test", "default or test")),
    **{f"limit_{name}": _Setting(_whole_number(-(10**18), 10**18)) for name in LIMIT_NAMES},
}
_LIMIT: Final = "limit_"


# ------------------------------------------------------------------------------------- sources


def _gather(
    flags: dict[str, Any], environ: Mapping[str, str] | None, unknown: Sequence[str]
) -> _Given:
    """All sources, the weakest first. `unknown` arguments are a problem of their own."""
    environ = os.environ if environ is None else environ
    given = _Given()
    given.add_unknown_flags(unknown)
    config = flags.pop("config", None) or environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    if config:
        given.add_file(Path(config))
    given.add_environment(environ)
    given.add_flags(flags)
    return given


class _Given:
    """Values by setting, each with the name it was given under; later sources replace earlier."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, Any]] = {}
        self._problems: list[str] = []

    def add_file(self, path: Path) -> None:
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            self._problems.append(f"{path}: {error.strerror or error}")
            return
        except ValueError as error:  # not TOML, or not UTF-8
            self._problems.append(f"{path}: {error}")
            return
        limits = found.pop("limit", {})
        if not isinstance(limits, dict):
            self._problems.append(f"{path}: limit: a table is expected")
            limits = {}
        keys = {name: name for name in _TABLE if not name.startswith(_LIMIT)}
        keys |= {f"limit.{name}": f"{_LIMIT}{name}" for name in LIMIT_NAMES}
        for key, value in {**found, **{f"limit.{k}": v for k, v in limits.items()}}.items():
            self._add(keys, key, f"{path}: {key}", value)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        keys = {f"{ENVIRONMENT_PREFIX}{name.upper()}": name for name in _TABLE}
        unknown_matters = f"{ENVIRONMENT_PREFIX}{_LIMIT.upper()}"
        for key, value in environ.items():
            if value and (key in keys or key.startswith(unknown_matters)):
                self._add(keys, key, key, value)

    def add_unknown_flags(self, arguments: Sequence[str]) -> None:
        """Arguments that no flag took. A word may be the value of an unknown flag before it."""
        keys = {f"--{name.replace('_', '-')}": name for name, s in _TABLE.items() if s.has_flag}
        for flag in [word.partition("=")[0] for word in arguments if word.startswith("-")]:
            self._add(keys, flag, flag, None)
        if arguments and not arguments[0].startswith("-"):
            self._problems.append(f"{arguments[0]!r}: a flag is expected")

    def add_flags(self, flags: Mapping[str, Any]) -> None:
        for name, value in flags.items():
            self._values[name] = (f"--{name.replace('_', '-')}", value)

    def _add(self, keys: Mapping[str, str], key: str, source: str, value: Any) -> None:
        if key in keys:
            self._values[keys[key]] = (source, value)
            return
        near = get_close_matches(key, keys, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        self._problems.append(f"{source}: no such setting{hint}")

    def one(self, name: str) -> Any:
        """One value alone. Raises SettingsError if it, or a file as a whole, cannot be used."""
        if self._problems:
            raise SettingsError(" ".join("; ".join(self._problems).split()))
        if name not in self._values:
            return getattr(Settings(), name)
        source, raw = self._values[name]
        try:
            return _TABLE[name].read(raw)
        except _Bad as bad:
            raise SettingsError(f"{source}: {bad}") from bad

    def settings(self) -> Settings:
        """Everything read and checked together. Raises SettingsError."""
        values: dict[str, Any] = {}
        limits: dict[str, int] = {}
        for name, (source, raw) in self._values.items():
            try:
                value = _TABLE[name].read(raw)
            except _Bad as bad:
                self._problems.append(f"{source}: {bad}")
                continue
            if name.startswith(_LIMIT):
                limit = name.removeprefix(_LIMIT)
                limits[limit] = value
                wrong = problems({limit: value})
                self._problems += [f"{source}: {text.partition(': ')[2]}" for text in wrong]
            else:
                values[name] = value
        self._relate_periods(values)
        if self._problems:
            raise SettingsError(" ".join("; ".join(self._problems).split()))
        return Settings(**values, ops_may_move="ops" not in values, limits=Limits(**limits))

    def _relate_periods(self, values: dict[str, Any]) -> None:
        """Heartbeats must fit into the silence that is allowed; the one not given follows."""
        heartbeat, offline = values.get("hb_ms"), values.get("offline_ms")
        if heartbeat is None and offline is not None:
            values["hb_ms"] = min(HB_MS, max(1, offline // HEARTBEATS_PER_SILENCE))
        elif offline is None and heartbeat is not None:
            values["offline_ms"] = max(OFFLINE_MS, heartbeat * HEARTBEATS_PER_SILENCE)
        elif heartbeat is not None and offline is not None and heartbeat >= offline:
            source, by = self._values["hb_ms"][0], self._values["offline_ms"][0]
            self._problems.append(f"{source}: {heartbeat} is not below {by}, {offline}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(" ".join(message.split()))


def _flags(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that were given, still as text, and the arguments that no flag took."""
    parser = _Parser(
        prog="run.py serve",
        description="Run the server. Every setting is also an environment variable (COPPICE_PORT) "
        "and a key of the TOML file (port); limits are COPPICE_LIMIT_… and [limit].",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings (none)")
    for name, setting in _TABLE.items():
        if not setting.has_flag:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "lab":
            parser.add_argument(
                flag, metavar=setting.metavar, help=setting.help, nargs="?", const="1"
            )
        elif name in ("sql", "origins", "proxies"):
            parser.add_argument(
                flag, metavar=setting.metavar, help=setting.help, nargs="+", action="extend"
            )
        else:
            parser.add_argument(flag, metavar=setting.metavar, help=setting.help)
    flags, unknown = parser.parse_known_args(list(argv))
    return vars(flags), unknown
