"""The server's own tree, as it is put together."""

from __future__ import annotations

import random
from pathlib import Path

from actors.runtime import open_system
from gateway.app import ACCEPTED, make_server, make_services, tree
from gateway.config import load_settings
from gateway.metrics import Metrics
from gateway.stores import open_stores
from supervision import lint


async def test_the_tree_has_no_mistakes_but_those_it_gives_reasons_for(tmp_path: Path) -> None:
    settings, metrics = load_settings(["--data", str(tmp_path)], {}), Metrics()
    async with open_stores(settings, random.Random(1)) as stores, open_system() as system:
        services = make_services(settings, stores, system, lambda: 0)
        servers = [make_server(settings, system, metrics)]
        spec = tree(settings, services, metrics, servers, random.Random(1))
        assert lint(spec, accepted=ACCEPTED) == []
