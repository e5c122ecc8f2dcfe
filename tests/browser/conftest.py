"""One browser and one server for all tests; people of each test's own.

Every test here is marked `browser`. At its end every page must be free of console errors and of
violations of the content security policy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.harness import CHROMIUM_ARGS, Person, Server, Wire, find_chromium, registered

NewPerson = Callable[..., Person]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium found; set COPPICE_CHROMIUM to its path")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that leave the server alone."""
    server = Server(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """For tests that kill it."""
    server = Server(tmp_path / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def wire(shared_server: Server) -> Iterator[Wire]:
    """A way to the shared server that can be cut."""
    made = Wire(shared_server.port)
    yield made
    made.close()


@pytest.fixture
def person(browser: Browser, shared_server: Server) -> Iterator[NewPerson]:
    """`person("Ann Alder")` is a user nobody had before, whom the browser remembers, unless told
    otherwise."""
    made: list[Person] = []

    def new(name: str, *, url: str | None = None, register: bool = True, **context: Any) -> Person:
        letters = re.sub(r"[^a-z]", "", name.lower())
        user = f"{letters[:8]}{next(_numbers)}"
        where = url or shared_server.url
        if register:
            context["storage_state"] = registered(where, user, name)
        one = Person(browser, where, name, user, **context)
        made.append(one)
        return one.come_back() if register else one

    yield new
    complaints = [text for one in made for text in one.serious_complaints()]
    for one in made:
        one.close()
    assert not complaints, "\n".join(complaints)
