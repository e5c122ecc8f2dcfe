"""Names: one living actor for each, free again before anybody hears of its end.

Lookups are a dict access in the loop's thread. Whoever needs an actor that is not there watches its
name, and is told once when an incarnation under it is ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.runtime.ref import Ref


@dataclass(frozen=True, slots=True)
class NameUp:
    """An incarnation under a watched name is ready. Sent once for each watch."""

    name: str
    ref: Ref


class Registry:
    """Names of one system. `names` holds the living; `ready` those past their `on_start`."""

    def __init__(self) -> None:
        self.names: dict[str, Ref] = {}
        self._ready: set[str] = set()
        self._incarnations: dict[str, int] = {}
        self._watchers: dict[str, dict[Ref, None]] = {}

    def next_incarnation(self, name: str) -> int:
        """The number of the next life under a name."""
        return self._incarnations.get(name, 0) + 1

    def bind(self, name: str, ref: Ref) -> None:
        assert name not in self.names, "a name is bound to one living actor"
        self.names[name] = ref
        self._incarnations[name] = ref.incarnation

    def release(self, name: str, ref: Ref, *, forget: bool) -> None:
        """Free a name. With `forget`, its next life counts from 1 again."""
        if self.names.get(name) is ref:
            del self.names[name]
            self._ready.discard(name)
            if forget:
                self._incarnations.pop(name, None)

    def ready(self, name: str) -> None:
        """The incarnation under this name has started: tell those who watch."""
        self._ready.add(name)
        ref = self.names[name]
        for watcher in self._watchers.pop(name, ()):
            if watcher.is_alive():
                watcher.deliver_control(NameUp(name, ref))

    def watch(self, name: str, watcher: Ref) -> None:
        """Tell `watcher` when the name is ready; at once if it is. Watching twice counts once."""
        if name in self._ready:
            watcher.deliver_control(NameUp(name, self.names[name]))
        else:
            self._watchers.setdefault(name, {})[watcher] = None

    def unwatch(self, name: str, watcher: Ref) -> None:
        watchers = self._watchers.get(name)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[name]

    def is_ready(self, name: str) -> bool:
        return name in self._ready
