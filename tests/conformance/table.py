"""The conformance table: what the sources demand, and which tests of ours demand the same.

One TOML file per source holds its rows. A test names the rows it covers by its `otp` marker; the
markers are read from the sources of the tests, which are not imported. `python -m
tests.conformance.table` writes docs/conformance.md; `test_table` keeps the two in step.

A file has a `title`, an `about`, and a list of `[[row]]`:

    id              "supervisor_SUITE.sup_start_normal": unique over all files
    demands         what it demands, in one sentence of ours
    differs         optional: what we do instead, on purpose; the tests show that
    not_applicable  optional: why no test can cover it
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
ROWS = Path(__file__).parent
TESTS = ROOT / "tests"
DOCUMENT = ROOT / "docs" / "conformance.md"

INTRODUCTION = """\
# Conformance

The actor runtime and its supervisors keep the rules of Erlang/OTP. This table says for each rule
which tests hold us to it. Its rows are the test cases of OTP's own suites and the laws behind them,
in our words; *differs* says where we do something else on purpose, and the tests then show what.
A test names the rows it covers by its marker: `@pytest.mark.otp("law.L1")`.

Written by `python -m tests.conformance.table`; edit the rows in `tests/conformance/*.toml`.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of a source."""

    id: str
    demands: str
    differs: str | None = None
    not_applicable: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where rules come from: a suite, a manual, a study."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]


Covering = Mapping[str, Sequence[str]]
"""By row, the tests that name it."""


def read_sources(folder: Path = ROWS) -> list[Source]:
    """All sources, by name."""
    return [read_source(path) for path in sorted(folder.glob("*.toml"))]


def read_source(path: Path) -> Source:
    """Raises `TypeError` for a key that is unknown or missing."""
    given = tomllib.loads(path.read_text())
    rows = tuple(Row(**row) for row in given.pop("row", []))
    return Source(name=path.stem, rows=rows, **given)


def read_markers(folder: Path = TESTS) -> dict[str, list[str]]:
    """By row, the tests that name it: `tests/…/test_x.py::test_name`, in the order of the files."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text()
        if "mark.otp" in text:
            where = path.relative_to(folder.parent).as_posix()
            for row, test in markers_in(text):
                found[row].append(f"{where}::{test}")
    return dict(found)


def markers_in(text: str) -> Iterator[tuple[str, str]]:
    """Rows and tests of one module, in order. A row must be a plain string: nothing is run."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        rows: dict[str, None] = {}
        for decorator in node.decorator_list:
            for call in ast.walk(decorator):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.otp":
                    rows |= dict.fromkeys(_text_of(argument) for argument in call.args)
        yield from ((row, node.name) for row in rows)


def _text_of(argument: ast.expr) -> str:
    value: Any = ast.literal_eval(argument)
    if not isinstance(value, str):
        raise TypeError(f"line {argument.lineno}: a row is named by a string, not {value!r}")
    return value


def problems(sources: Sequence[Source], covering: Covering) -> list[str]:
    """Everything that keeps rows and tests from fitting together."""
    rows = [row for source in sources for row in source.rows]
    known = Counter(row.id for row in rows)
    found = [f"{id_}: {times} rows have this id" for id_, times in known.items() if times > 1]
    for row in rows:
        if not row.demands:
            found.append(f"{row.id}: it demands nothing")
        if row.not_applicable is None and row.id not in covering:
            found.append(f"{row.id}: neither a test nor a reason")
        if row.not_applicable is not None and row.id in covering:
            found.append(f"{row.id}: both a reason and {covering[row.id][0]}")
    unknown = sorted(covering.keys() - known.keys())
    found += [f"{covering[id_][0]}: there is no row {id_}" for id_ in unknown]
    return found


# ---------------------------------------------------------------------- rendering


def render(sources: Sequence[Source], covering: Covering) -> str:
    """The whole document."""
    parts = [INTRODUCTION, _summary(sources)]
    parts += [_section(source, covering) for source in sources]
    return "\n".join(parts)


def _summary(sources: Sequence[Source]) -> str:
    lines = [
        "| Source | Rows | Covered | of these differ | Not applicable |",
        "|---|--:|--:|--:|--:|",
    ]
    rows_of = [(source.title, source.rows) for source in sources]
    everything = tuple(row for _, rows in rows_of for row in rows)
    for title, rows in [*rows_of, ("Together", everything)]:
        without = sum(row.not_applicable is not None for row in rows)
        differing = sum(row.differs is not None for row in rows)
        lines.append(f"| {title} | {len(rows)} | {len(rows) - without} | {differing} | {without} |")
    return "\n".join(lines) + "\n"


def _section(source: Source, covering: Covering) -> str:
    lines = [f"## {source.title}", "", source.about.strip(), ""]
    lines += ["| Row | Demands | Covered by |", "|---|---|---|"]
    for row in source.rows:
        demands = row.demands if row.differs is None else f"{row.demands} *Differs:* {row.differs}"
        cells = (f"`{row.id}`", demands, _covered_by(row, covering))
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _covered_by(row: Row, covering: Covering) -> str:
    if row.not_applicable is not None:
        return f"*not applicable:* {row.not_applicable}"
    return "<br>".join(f"`{test}`" for test in covering.get(row.id, ()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(render(read_sources(), read_markers()))
