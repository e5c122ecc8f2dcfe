"""STOP-GAP of the lead until the real module arrives: overwrite freely."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gateway.wire.limits import Limits


class SettingsError(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 8080
    data: Path = Path("./data")
    ops: tuple[str, int] | None = ("127.0.0.1", 8081)
    lab: bool = False
    hb_ms: int = 4000
    offline_ms: int = 60000
    auth_ms: int = 10000
    node: str = "n1"
    argon2_cost: str = "default"
    allowed_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


def load_settings(argv: Any) -> Settings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default=os.environ.get("COPPICE_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("COPPICE_PORT", "8080")))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("COPPICE_DATA", "./data")))
    parser.add_argument("--ops", default=os.environ.get("COPPICE_OPS", "127.0.0.1:8081"))
    parser.add_argument("--lab", action="store_true", default=os.environ.get("COPPICE_LAB") == "1")
    o = parser.parse_args(argv)
    host, _, port = o.ops.rpartition(":")
    limits = {
        f.name: int(os.environ["COPPICE_LIMIT_" + f.name.upper()])
        for f in fields(Limits)
        if "COPPICE_LIMIT_" + f.name.upper() in os.environ
    }
    env = {
        n: int(os.environ["COPPICE_" + n.upper()])
        for n in ("hb_ms", "offline_ms", "auth_ms")
        if "COPPICE_" + n.upper() in os.environ
    }
    return Settings(
        host=o.host,
        port=o.port,
        data=o.data,
        ops=(host, int(port)),
        lab=o.lab,
        limits=replace(Limits(), **limits),
        argon2_cost=os.environ.get("COPPICE_ARGON2_COST", "default"),
        **env,
    )
