"""What accounts are found by, as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistence.records import search_words

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
