"""The database servers that adapters are tested against, on loopback.

`python -m tests.servers start [NAME…] | stop [NAME…] | status`. Each module of this package knows
one kind of server and has

* `NAMES`: the servers it can start;
* `start(name)`: install and start one, unless it runs; its URL, once it can be used;
* `stop(name)`: end it and forget its data; no effect if it does not run;
* `url(name)`: its URL, or None if it does not answer.

Nothing is kept between two starts, and everything lies in one directory outside of the source tree,
so that every checkout finds the same servers on the same ports.
"""

from __future__ import annotations

import os
from pathlib import Path

HINT = "`make servers` starts it"
"""What a test that skips for want of a server tells."""


def directory() -> Path:
    """Where servers are installed and keep their data: `$COPPICE_SERVERS`, or in the cache."""
    chosen = os.environ.get("COPPICE_SERVERS")
    if chosen:
        return Path(chosen).resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "coppice" / "servers"
