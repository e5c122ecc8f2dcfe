"""Virtual time for every async story of a folder, for its conftest."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.testkit import run_virtual


def on_virtual_time(items: Sequence[pytest.Item], folder: Path) -> None:
    """Have the stories in this folder run by `run_virtual`, before pytest-trio's own mark."""
    for item in items:
        function = getattr(item, "obj", None)
        if folder in item.path.parents and inspect.iscoroutinefunction(function):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)
