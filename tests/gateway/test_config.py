"""Settings: sources and their order, every kind of value, and errors people can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Settings, SettingsError, load_one, load_settings
from gateway.wire.limits import LIMIT_NAMES


def failure(argv: list[str], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(argv, environ or {})
    text = str(error.value)
    assert "\n" not in text
    return text


def test_without_anything_given_the_defaults_are_the_documented_ones() -> None:
    settings = load_settings([], {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8080, Path("data"))
    assert settings.ops == ("127.0.0.1", 8081)
    assert not settings.lab
    assert (settings.hb_ms, settings.offline_ms, settings.auth_ms) == (4000, 60_000, 10_000)
    assert (settings.stall_ms, settings.limits.send_per_s) == (500, 10)


def test_an_unknown_flag_does_not_hide_other_problems() -> None:
    text = failure(["--prot", "1", "--hb-ms", "x", "--bogus=3"])
    assert "--prot: no such setting; did you mean --port?" in text
    assert "--bogus: no such setting" in text
    assert "--hb-ms: 'x' is not a whole number" in text
    assert failure(["stray"]) == "'stray': a flag is expected"


def test_one_setting_can_be_had_alone(tmp_path: Path) -> None:
    file = tmp_path / "coppice.toml"
    file.write_text('ops = "h1:1"\nport = "not looked at"\n')
    environ = {"COPPICE_CONFIG": str(file)}
    assert load_one("ops", None, None, {}) == ("127.0.0.1", 8081)
    assert load_one("ops", None, None, environ) == ("h1", 1)
    assert load_one("ops", None, str(file), {}) == ("h1", 1)
    environ["COPPICE_OPS"] = "h2:2"
    assert load_one("ops", None, None, environ) == ("h2", 2)
    assert load_one("ops", "h3:3", None, environ) == ("h3", 3)
    with pytest.raises(SettingsError, match="--ops: 'x' is not"):
        load_one("ops", "x", None, environ)
    with pytest.raises(SettingsError, match=r"none\.toml: No such file"):
        load_one("data", None, "none.toml", {})


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "coppice.toml"
    file.write_text('port = 1\nnode = "file"\nhost = "h1"\n[limit]\nsend_per_s = 3\nsockets = 7\n')
    environ = {
        "COPPICE_CONFIG": str(file),
        "COPPICE_PORT": "2",
        "COPPICE_NODE": "environment",
        "COPPICE_LIMIT_SEND_PER_S": "4",
        "COPPICE_SQL": "",
        "UNRELATED": "x",
    }
    settings = load_settings(["--port", "3"], environ)
    assert (settings.port, settings.node, settings.host) == (3, "environment", "h1")
    assert (settings.limits.send_per_s, settings.limits.sockets) == (4, 7)
    assert settings.limits.send_burst == 60


def test_the_config_flag_wins_over_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("lab = true\nhb_ms = 500\norigins = ['https://a.example']")
    settings = load_settings(["--config", str(file)], {"COPPICE_CONFIG": "/does/not/exist"})
    assert settings.lab
    assert settings.hb_ms == 500
    assert settings.origins == ("https://a.example",)


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_every_limit_is_a_setting(name: str, tmp_path: Path) -> None:
    settings = load_settings([], {f"COPPICE_LIMIT_{name.upper()}": "17"})
    assert getattr(settings.limits, name) == 17
    file = tmp_path / "x.toml"
    file.write_text(f"[limit]\n{name} = 18")
    assert getattr(load_settings(["--config", str(file)], {}).limits, name) == 18


@pytest.mark.parametrize(
    ("name", "ceiling"), [("group_members", 1024), ("history_events", 100), ("presence_uids", 500)]
)
def test_a_limit_above_its_ceiling_is_refused(name: str, ceiling: int) -> None:
    variable = f"COPPICE_LIMIT_{name.upper()}"
    assert getattr(load_settings([], {variable: str(ceiling)}).limits, name) == ceiling
    text = failure([], {variable: str(ceiling + 1)})
    assert text == f"{variable}: {ceiling + 1} is above the ceiling {ceiling}"


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("0", False), ("yes", None), ("true", None)]
)
def test_switches_are_one_or_zero(value: str, expected: bool | None) -> None:
    if expected is None:
        assert failure([], {"COPPICE_LAB": value}) == f"COPPICE_LAB: {value!r} is neither 1 nor 0"
    else:
        assert load_settings([], {"COPPICE_LAB": value}).lab is expected
        assert load_settings(["--lab", value], {}).lab is expected


def test_the_lab_flag_alone_switches_it_on() -> None:
    assert load_settings(["--lab", "--port", "0"], {"COPPICE_LAB": "0"}).lab


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:81", ("::1", 81)),
        ("off", None),
    ],
)
def test_ops_addresses(value: str, expected: tuple[str, int] | None) -> None:
    settings = load_settings(["--ops", value], {})
    assert settings.ops == expected
    assert not settings.ops_may_move


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["--port", "http"], {}, "--port: 'http' is not a whole number"),
        (["--port", "70000"], {}, "--port: 70000 is not between 0 and 65535"),
        ([], {"COPPICE_PORT": "1.5"}, "COPPICE_PORT: '1.5' is not a whole number"),
        ([], {"COPPICE_PORT": "-1"}, "COPPICE_PORT: -1 is not between 0 and 65535"),
        (["--ops", "8081"], {}, "--ops: '8081' is not HOST:PORT, nor 'off'"),
        (["--ops", "h:99999"], {}, "--ops: 'h:99999' is not HOST:PORT, nor 'off'"),
        (["--host", ""], {}, "--host: '' is not a host"),
        (["--node", "a b"], {}, "--node: 'a b' is not a short name"),
        (["--proxies", "1.2.3.4", "x"], {}, "--proxies: 'x' is neither an address nor a network"),
        (["--origins", "app"], {}, "--origins: 'app' is not an origin such as"),
        (["--hb-ms", "5"], {}, "--hb-ms: 5 is not between 10 and"),
        ([], {"COPPICE_LIMIT_SENDS": "1"}, "COPPICE_LIMIT_SENDS: no such setting"),
        ([], {"COPPICE_LIMIT_SOCKETS": "0"}, "COPPICE_LIMIT_SOCKETS: 0 is below 1"),
        (["--prot", "1"], {}, "--prot: no such setting; did you mean --port?"),
        (["--port"], {}, "argument --port: expected one argument"),
        (["--config", "/none.toml"], {}, "/none.toml: No such file or directory"),
        (
            ["--hb-ms", "900"],
            {"COPPICE_OFFLINE_MS": "900"},
            "--hb-ms: 900 is not below COPPICE_OFFLINE_MS, 900",
        ),
    ],
)
def test_an_error_names_the_setting_and_its_source(
    argv: list[str], environ: dict[str, str], expected: str
) -> None:
    assert failure(argv, environ).startswith(expected)


def test_all_problems_are_reported_at_once() -> None:
    text = failure(["--port", "x"], {"COPPICE_LAB": "?", "COPPICE_LIMIT_SESSIONS": "many"})
    named = {part.split(":")[0] for part in text.split("; ")}
    assert named == {"--port", "COPPICE_LAB", "COPPICE_LIMIT_SESSIONS"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("prt = 1", "prt: no such setting; did you mean port?"),
        ("[limit]\nsend_pers = 1", "limit.send_pers: no such setting; did you mean"),
        ("limit = 3", "limit: a table is expected"),
        ('port = "8080x"', "port: '8080x' is not a whole number"),
        ("port = true", "port: True is not a whole number"),
        ("port = 8080.0", "port: 8080.0 is not a whole number"),
        ("host = 1", "host: 1 is not a host"),
        ("origins = 1", "origins: 1 is not a list of texts"),
        ("data = 1", "data: 1 is not a directory"),
        ("[limit]\nsessions = 0", "limit.sessions: 0 is below 1"),
        ("port = ", "Invalid value"),
        ("\udcff", "can't decode"),
    ],
)
def test_errors_of_the_file_name_it(content: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    text = failure(["--config", str(file)])
    assert text.startswith(f"{file}: ")
    assert expected in text


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["--sql", "mysql://u:secret@h/db"],
            "--sql: scheme 'mysql' is not supported; this build supports: sqlite:, postgresql:,",
        ),
        (
            ["--log", "scylla://h"],
            "--log: scheme 'scylla' is not supported; this build supports: sqlite:, cql:",
        ),
        (["--log", "cql://u:secret@h/Nonsense"], "--log: keyspace 'Nonsense': letters, digits"),
        (
            ["--fabric", "redis://h"],
            "--fabric: scheme 'redis' is not supported; this build supports: local:",
        ),
        (["--sql", "host/db"], "--sql: a URL without a scheme is not supported; this build"),
        (["--sql", "sqlite:///x.db"], "--sql: sqlite: takes no place; the data lives in --data"),
        (
            ["--sql", "sqlite:", "postgresql://u:secret@h/db"],
            "--sql: sqlite: is one engine, and stands alone",
        ),
        (
            ["--sql", "postgresql://u:secret@h/db", "postgresql://u:secret@h/db"],
            "--sql: names a database twice",
        ),
    ],
)
def test_engines_this_build_does_not_have_are_refused(argv: list[str], expected: str) -> None:
    text = failure(argv)
    assert text.startswith(expected)
    assert "secret" not in text


def test_the_embedded_engines_may_be_named() -> None:
    settings = load_settings(["--sql", "sqlite:", "--log", "sqlite:", "--fabric", "local:"], {})
    assert (settings.sql, settings.log, settings.fabric) == (("sqlite:",), "sqlite:", "local:")


@pytest.mark.parametrize(
    "argv",
    [
        ["--sql", "postgresql://h/a,postgresql://h/b"],
        ["--sql", "postgresql://h/a", "postgresql://h/b"],
        ["--sql", "postgresql://h/a", "--sql", "postgresql://h/b"],
    ],
)
def test_databases_may_be_several(argv: list[str]) -> None:
    expected = ("postgresql://h/a", "postgresql://h/b")
    assert load_settings(argv, {}).sql == expected
    assert load_settings([], {"COPPICE_SQL": ", ".join(expected)}).sql == expected


def test_a_cluster_of_the_log_has_commas_between_its_hosts() -> None:
    url = "cql://a,b:9042,c/coppice?replication=3"
    assert load_settings(["--log", url], {}).log == load_settings([], {"COPPICE_LOG": url}).log
    assert load_settings(["--log", url], {}).log == url


def test_heartbeats_follow_a_short_silence_and_the_other_way_round() -> None:
    assert load_settings([], {"COPPICE_OFFLINE_MS": "900"}).hb_ms == 300
    assert load_settings([], {"COPPICE_OFFLINE_MS": "90000"}).hb_ms == 4000
    assert load_settings([], {"COPPICE_HB_MS": "50000"}).offline_ms == 150_000


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        load_settings(["--help"], {})
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--host", "--port", "--data", "--config", "--sql", "--log", "--fabric", "--ops"):
        assert flag in text
