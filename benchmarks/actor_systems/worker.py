"""The Python side of a measured process: one measurement a line, one line of JSON for each.

`NAME COUNT` comes on stdin. The answer is `{"value": …}`, with None for what the system does not
do.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def serve(measures: Mapping[str, Callable[[int], float]]) -> None:
    """Measure what is asked for, until stdin ends. Crashes are part of it, so nothing is logged:
    Erlang's logger is off too."""
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        name, count = line.split()
        measure = measures.get(name)
        gc.collect()
        value = None if measure is None else measure(int(count))
        print(json.dumps({"value": value}), flush=True)


def resident_bytes() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
