"""The numbers of STYLE as tests: sizes, docstrings, purity, what ships."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("actors", "gateway", "persistence", "supervision")
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


SOURCES = modules(*PACKAGES)
ALL = [*SOURCES, *modules("tests", "benchmarks", "examples"), ROOT / "run.py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_module_is_longer_than_a_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text())
    too_long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(tree)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert not too_long


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_module_says_why_it_exists(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_nothing_unfinished_is_left_behind(path: Path) -> None:
    words = ("todo", "fixme", "xxx", "hack")
    markers = re.compile(rf"\b({'|'.join(word.upper() for word in words)})\b")
    assert not markers.search(path.read_text())


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_every_pure_module_exists() -> None:
    """A renamed module must not drop out of the import contract unnoticed."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    pure = next(contract for contract in contracts if contract["id"] == "pure")
    for module in pure["source_modules"]:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or path.is_dir(), module


def test_clocks_are_read_in_one_place() -> None:
    """Loop time comes from trio, wall time from the composition root: nobody else asks a clock."""
    allowed = {"gateway/app.py"}
    readers = {
        name(path)
        for path in SOURCES
        if re.search(r"\btime\.(time|time_ns|monotonic|perf_counter)\(", path.read_text())
        and "bench" not in path.parts[-1]
    }
    assert readers <= allowed
