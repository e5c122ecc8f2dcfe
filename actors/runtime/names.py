"""Names: one living actor for each, free again before anybody hears of its end.

Lookups are a dict access in the loop's thread. Whoever needs an actor that is not there watches its
name, and is told once when an incarnation under it is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.runtime.ref import Ref

INCARNATIONS_MAX = 100_000
"""Names of the dead whose lives are still counted: some 10 MB. Names are made of user and thread
ids, so without a bound they would be as many as those; the longest dead are forgotten first, and
count from 1 again."""


@dataclass(frozen=True, slots=True)
class NameUp:
    """An incarnation under a watched name is ready. Sent once for each watch."""

    name: str
    ref: Ref


Watcher = Ref | Callable[[Ref], None]


class Names:
    """Names of one system. `names` holds the living."""

    def __init__(self) -> None:
        self.names: dict[str, Ref] = {}
        self._ready: set[str] = set()
        self._ended: dict[str, int] = {}
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._watching: dict[Ref, set[str]] = {}

    def next_incarnation(self, name: str) -> int:
        """The number of the next life under a name."""
        return self._ended.get(name, 0) + 1

    def bind(self, name: str, ref: Ref) -> None:
        assert name not in self.names, "a name is bound to one living actor"
        self.names[name] = ref
        self._ended.pop(name, None)

    def release(self, ref: Ref) -> None:
        """An actor has ended: its name is free and its watches are forgotten."""
        for watched in self._watching.pop(ref, ()):
            self._drop(watched, ref)
        name = ref.name
        if name is not None and self.names.get(name) is ref:
            del self.names[name]
            self._ready.discard(name)
            self._ended[name] = ref.incarnation
            if len(self._ended) > INCARNATIONS_MAX:
                del self._ended[next(iter(self._ended))]

    def ready(self, name: str) -> list[Watcher]:
        """The incarnation under this name has started: whoever is to be told, once."""
        self._ready.add(name)
        told = list(self._watchers.pop(name, ()))
        for watcher in told:
            if isinstance(watcher, Ref):
                self._forget(name, watcher)
        return told

    def watch(self, name: str, watcher: Watcher) -> Ref | None:
        """Tell `watcher` when the name is ready. The ref, and nothing is watched, if it is.
        Watching twice counts once."""
        if name in self._ready:
            return self.names[name]
        self._watchers.setdefault(name, {})[watcher] = None
        if isinstance(watcher, Ref):
            self._watching.setdefault(watcher, set()).add(name)
        return None

    def unwatch(self, name: str, watcher: Watcher) -> None:
        self._drop(name, watcher)
        if isinstance(watcher, Ref):
            self._forget(name, watcher)

    def _drop(self, name: str, watcher: Watcher) -> None:
        watchers = self._watchers.get(name)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[name]

    def _forget(self, name: str, watcher: Ref) -> None:
        names = self._watching.get(watcher)
        if names is not None:
            names.discard(name)
            if not names:
                del self._watching[watcher]

    def is_ready(self, name: str) -> bool:
        return name in self._ready

    def __len__(self) -> int:
        """Names that are watched."""
        return len(self._watchers)
