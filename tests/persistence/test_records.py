"""What accounts are found by, as a value; ids and the numbers in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.records import id_number, prefix_end, search_words

USERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.", min_size=3, max_size=32)


@given(USERS, st.text(max_size=64))
def test_an_account_is_found_by_its_login_name_its_name_and_each_word_of_it(
    user: str, name: str
) -> None:
    words = search_words(user, name)
    assert {user, name.casefold(), *name.casefold().split()} == words


@given(USERS, st.text(max_size=64))
def test_how_a_name_is_written_makes_no_difference(user: str, name: str) -> None:
    assert search_words(user, name.casefold()) == search_words(user, name)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), st.text())
def test_what_starts_with_a_prefix_lies_below_its_end(prefix: str, other: str) -> None:
    assert prefix <= prefix + "\U0010ffff\U0010ffff" < prefix_end(prefix)
    if not other.startswith(prefix):
        assert not prefix <= other < prefix_end(prefix)


@pytest.mark.parametrize(
    ("text", "number"),
    [("u1", 1), ("u907", 907), ("u0", None), ("u", None), ("s1", None), ("xu1", None)],
)
def test_number_in_an_id(text: str, number: int | None) -> None:
    assert id_number(text, "u") == number
