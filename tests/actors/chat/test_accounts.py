"""The lock after failed attempts, when many come at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from actors.chat.accounts import Accounts
from actors.chat.answers import Refused, Result
from actors.chat.messages import AccountRequest, Caller, Login
from actors.chat.passwords import Passwords
from actors.chat.services import Services
from actors.runtime import open_system
from persistence.memory import MemoryStores
from persistence.records import Account, SessionId, UserId

RIGHT = "correct horse"


class Counting(Passwords):
    """As good as the real one, at once."""

    def __init__(self) -> None:
        super().__init__(cheap=True)
        self.tried = 0

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.tried += 1
        await wait_all_tasks_blocked()  # all that were asked at once wait here together
        return password == password_hash

    async def hash(self, password: str) -> str:
        return password


@dataclass
class Screen:
    number: int = 1
    sid: SessionId = SessionId("s1")  # noqa: RUF009  (an id is a text)
    answers: dict[int, Result] = field(default_factory=dict)

    def answer(self, request: int, result: Result) -> bool:
        self.answers[request] = result
        return True

    def codes(self) -> list[str]:
        """In the order of the requests; `ok` for success."""
        found = (self.answers[number] for number in sorted(self.answers))
        return [each.code.value if isinstance(each, Refused) else "ok" for each in found]


@pytest.mark.parametrize("verb", ["login", "passwd"])
async def test_guesses_made_at_once_are_counted_like_any_others(verb: str) -> None:
    """Five a minute, also when a hundred are under way before the first is found wrong."""
    stores, screen = MemoryStores(), Screen()
    account = await stores.accounts.create(Account(UserId(""), "ann", "ann", RIGHT, 0))
    nobody: Any = None
    services = Services(
        stores.accounts, stores.sessions, stores.contacts, stores.threads, stores.log,
        nobody, nobody, wall_ms=lambda: 1000,
    )  # fmt: skip
    device: Any = screen
    async with open_system(random.Random(7)) as system:
        ref = await system.start(Accounts, services, Counting(), name="accounts")
        assert ref is not None
        for number in range(1, 22):
            if number == 21:  # the right one, once all others are answered
                while len(screen.answers) < 20:
                    await wait_all_tasks_blocked()
            guess = RIGHT if number == 21 else f"guess {number}"
            if verb == "login":
                ref.cast(Login(device, number, "ann", guess, "", "127.0.0.1"))
            else:
                fields = {"old": guess, "new": "battery staple"}
                ref.cast(AccountRequest(Caller(account.uid, 1, number), device, verb, fields))
        while len(screen.answers) < 21:
            await wait_all_tasks_blocked()
    codes = screen.codes()
    assert codes.count("bad_credentials") == 5
    assert codes.count("rate_limited") == 16
    assert codes[-1] == "rate_limited"
