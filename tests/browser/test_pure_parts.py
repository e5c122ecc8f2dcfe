"""The web client's pure modules, tested in node: `node --test tests/browser/*.test.mjs`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

HERE = Path(__file__).resolve().parent
STATIC = HERE.parents[1] / "gateway" / "static"
LINES_MAX = 300


def test_the_pure_modules_in_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node found")
    files = sorted(str(file) for file in HERE.glob("*.test.mjs"))
    assert files
    command = [node, "--test", *files]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout


def test_the_client_stays_plain() -> None:
    """Small modules that say what they own, text that is never markup, no style attributes."""
    modules = sorted(STATIC.rglob("*.js"))
    assert modules
    for module in modules:
        text = module.read_text()
        assert text.startswith("// "), f"{module} does not open with what it owns"
        assert text.count("\n") <= LINES_MAX, f"{module} is too long"
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "'style'"):
            assert word not in text, f"{module} uses {word}"


def test_every_module_is_loaded_with_the_page() -> None:
    """The list of preloads is whole, so that no import waits for the one before it."""
    index = (STATIC / "index.html").read_text()
    for module in STATIC.rglob("*.js"):
        if module.name != "ticker-worker.js":
            assert f'"{module.relative_to(STATIC).as_posix()}"' in index
