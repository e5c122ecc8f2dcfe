"""The cluster as somebody would set it who wants service while a node is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.test_cassandra import NAME
from tests.servers import cassandra


@pytest.fixture(scope="session", autouse=True)
def quick_cluster() -> Iterator[None]:
    if cassandra.url(NAME) is None:  # the tests say that they are skipped
        yield
        return
    with cassandra.quick(NAME):
        yield
