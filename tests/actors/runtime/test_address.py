"""How an actor's address reads: a name tells its lives apart, no name its id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.runtime.address import ActorId, Address

IDS = st.integers(1, 10**9).map(ActorId)


@given(IDS, IDS, st.text(min_size=1, max_size=8), st.integers(1, 9), st.integers(1, 9))
def test_lives_under_one_name_read_differently(
    one: ActorId, other: ActorId, name: str, first: int, second: int
) -> None:
    same_text = str(Address(one, name, first)) == str(Address(other, name, second))
    assert same_text == (first == second)


@given(IDS, IDS)
def test_actors_without_a_name_read_differently(one: ActorId, other: ActorId) -> None:
    assert (str(Address(one, None, 1)) == str(Address(other, None, 1))) == (one == other)
