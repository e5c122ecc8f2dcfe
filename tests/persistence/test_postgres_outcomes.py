"""What PostgreSQL's errors are taken for."""

from __future__ import annotations

import pytest

from persistence.errors import Corrupt, OutcomeUnknown, StoreError, StoreUnavailable
from persistence.postgres_outcomes import meaning


@pytest.mark.parametrize("sqlstate", [None, "57P01", "57P02", "08006"])
def test_connection_that_ends_leaves_a_commit_open_and_undoes_all_before(
    sqlstate: str | None,
) -> None:
    assert meaning(sqlstate, is_committing=True) is OutcomeUnknown
    assert meaning(sqlstate, is_committing=False) is StoreUnavailable


@pytest.mark.parametrize(
    "sqlstate",
    ["57014", "40001", "40P01", "53100", "53300", "55P03", "25006", "42501", "42P01", "28P01"],
)
@pytest.mark.parametrize("is_committing", [False, True])
def test_error_that_the_server_reports_has_undone_the_statement(
    sqlstate: str, is_committing: bool
) -> None:
    assert meaning(sqlstate, is_committing=is_committing) is StoreUnavailable


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [("XX001", Corrupt), ("XX000", StoreUnavailable), ("58030", StoreUnavailable)],
)
def test_damage_is_told_from_trouble(sqlstate: str, kind: type[StoreError]) -> None:
    assert meaning(sqlstate, is_committing=False) is kind


@pytest.mark.parametrize("sqlstate", ["23505", "42601", "22P02"])
def test_mistakes_of_the_program_are_no_store_errors(sqlstate: str) -> None:
    assert meaning(sqlstate, is_committing=True) is None
