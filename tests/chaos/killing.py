"""Which part dies next, and when: seeded, counted in acknowledged messages and not in seconds."""

from __future__ import annotations

import http.client
import json
import random
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Collection
from typing import Any

import trio

from tests.chaos.town import Town

FIXED = (
    "journal", "journal", "journal", "presence", "presence", "accounts", "contacts",
    "storage", "directory", "channels", "sessions", "hub", "listener", "front",
)  # fmt: skip
"""The fixed part dies in this proportion, in seeded order, each once before any again."""
ON_DEMAND = ("session", "channel")
FIXED_SHARE = 0.2
CLOSING = {"hub", "listener", "front"}
"""Only these hold sockets: one_for_all, so that with one of them the others go too."""
FIXED_KILLS, FIXED_PERIOD_S = 16, 10.0
"""The fixed part is killed at most this often: beyond 20 in 10 s its supervisors give up, as they
should, and the process with them."""
PAUSE_MAX = 50
"""Between two kills, up to this many messages are acknowledged."""


class Killer:
    """Kills parts of a running server through its lab port, while a town chats."""

    def __init__(
        self, rng: random.Random, ops: str, town: Town, only: Collection[str] | None = None
    ) -> None:
        """`ops`: the address of the ops port. `only`: the kinds of parts to kill, any if None."""
        self._rng, self._ops, self._town = rng, ops, town
        self._kinds = [kind for kind in ON_DEMAND if only is None or kind in only]
        self._parts = [kind for kind in FIXED if only is None or kind in only]
        self._bag: list[str] = []
        self.killed: Counter[str] = Counter()
        self.missed = 0
        self._fixed: deque[float] = deque(maxlen=FIXED_KILLS)

    @property
    def closing(self) -> int:
        """Kills so far that had to close sockets."""
        return sum(self.killed[kind] for kind in CLOSING)

    async def rampage(self, kills: int) -> None:
        """Kill this many actors that were there, each some acknowledgements after the last."""
        while self.killed.total() < kills:
            await self._town.acknowledged.more(self._rng.randrange(PAUSE_MAX))
            name = self.pick()
            if await trio.to_thread.run_sync(self._kill, name):
                self.killed[name.partition(":")[0]] += 1
            else:
                self.missed += 1  # between two incarnations

    async def last_strike(self) -> None:
        """Every channel dies while the last posts are on their way: what it wrote and did not
        deliver, nobody's next message will make anyone miss."""
        for thread in self._town.threads:
            if await trio.to_thread.run_sync(self._kill, f"channel:{thread}"):
                self.killed["channel"] += 1

    def pick(self) -> str:
        """The name of the next victim."""
        if self._parts and self._rng.random() < FIXED_SHARE and self._may_kill_fixed():
            self._bag = self._bag or self._rng.sample(self._parts, len(self._parts))
            return self._bag.pop()
        kind = self._rng.choice(self._kinds)
        if kind == "session":
            return f"session:{self._rng.choice(self._town.people).uid}"
        return f"channel:{self._rng.choice(self._town.threads)}"

    def _may_kill_fixed(self) -> bool:
        now = trio.current_time()
        if len(self._fixed) == FIXED_KILLS and now - self._fixed[0] < FIXED_PERIOD_S:
            return False
        self._fixed.append(now)
        return True

    def _kill(self, name: str) -> bool:
        body = json.dumps({"actor": name, "reason": "kill"}).encode()
        request = urllib.request.Request(f"http://{self._ops}/lab/kill", body)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        except (ConnectionError, http.client.HTTPException):
            return name in CLOSING  # the ops listener is a part of the front

    def tree(self) -> dict[str, Any]:
        """The supervision tree as the ops port shows it."""
        with urllib.request.urlopen(f"http://{self._ops}/tree", timeout=10) as response:
            tree: dict[str, Any] = json.load(response)
            return tree
