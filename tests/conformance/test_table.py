"""Rows and tests fit together, and the document says so."""

from __future__ import annotations

import pytest

from tests.conformance.table import (
    DOCUMENT,
    Row,
    Source,
    markers_in,
    problems,
    read_markers,
    read_sources,
    render,
)


def one(*rows: Row) -> list[Source]:
    return [Source("made_up", "Made up", "For these tests.", rows)]


def test_every_row_has_a_test_or_a_reason_and_every_marker_a_row() -> None:
    assert problems(read_sources(), read_markers()) == []


@pytest.mark.parametrize(("source", "rows"), [("laws", 24), ("supervisor", 93)])
def test_no_case_is_left_out(source: str, rows: int) -> None:
    """As many as OTP has: a row that is in the way must not just go."""
    assert {each.name: len(each.rows) for each in read_sources()}[source] == rows


def test_the_document_is_what_the_rows_and_markers_give() -> None:
    written = DOCUMENT.read_text()
    assert written == render(read_sources(), read_markers()), "python -m tests.conformance.table"


@pytest.mark.parametrize(
    ("rows", "covering", "problem"),
    [
        ((Row("a", "x"),), {}, "a: neither a test nor a reason"),
        ((Row("a", "x", not_applicable="y"),), {"a": ["t"]}, "a: both a reason and t"),
        ((Row("a", ""),), {"a": ["t"]}, "a: it demands nothing"),
        ((), {"b": ["t"]}, "t: there is no row b"),
        ((Row("a", "x"), Row("a", "y")), {"a": ["t"]}, "a: 2 rows have this id"),
    ],
)
def test_what_does_not_fit_is_told(
    rows: tuple[Row, ...], covering: dict[str, list[str]], problem: str
) -> None:
    assert problems(one(*rows), covering) == [problem]


def test_what_fits_is_no_problem() -> None:
    rows = (Row("a", "x"), Row("b", "y", not_applicable="z"), Row("c", "x", differs="y"))
    assert problems(one(*rows), {"a": ["t"], "c": ["t", "u"]}) == []


def test_markers_are_found_without_running_anything() -> None:
    text = (
        '@pytest.mark.otp("a", "b")\n'
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.otp("c"))])\n'
        "async def test_one(x): raise SystemExit\n"
        '@pytest.mark.slow("d")\n'
        "def test_two(): ...\n"
    )
    assert list(markers_in(text)) == [("a", "test_one"), ("b", "test_one"), ("c", "test_one")]


def test_a_row_is_named_by_a_plain_string() -> None:
    with pytest.raises(TypeError, match="line 1"):
        list(markers_in("@pytest.mark.otp(1)\ndef test_one(): ...\n"))


def test_the_table_shows_tests_reasons_and_differences() -> None:
    rows = (Row("a", "x | y", differs="z"), Row("b", "w", not_applicable="v"))
    text = render(one(*rows), {"a": ["t", "u"]})
    assert "| `a` | x \\| y *Differs:* z | `t`<br>`u` |" in text
    assert "| `b` | w | *not applicable:* v |" in text
    assert "| Together | 2 | 1 | 1 | 1 |" in text
