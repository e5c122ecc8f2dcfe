"""A registry: actors put themselves under keys, with a value, and others find them there.

Elixir's `Registry`. With UNIQUE keys one actor has a key, and a `Via` of it can be sent to like a
`Ref`; with DUPLICATE keys any number of actors have entries, also several of their own.

**A stronger guarantee than Elixir's.** There an entry may outlive its owner for a moment. Here all
of this happens in one loop, and entries go with the owner's name: before its monitors and links are
told, before anybody can hear of its end. Who is found is alive. Listeners hear of it afterwards, as
messages.

Keys are compared exactly, as in Elixir: `1`, `1.0` and `True` are three keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import trio

from actors.runtime.actor import Actor
from actors.runtime.errors import ActorDied, ActorError, DeadlineExceeded
from actors.runtime.exits import NOPROC
from actors.runtime.ref import CALL_DEADLINE_S, Ref

if TYPE_CHECKING:
    from actors.runtime.system import ActorSystem


class Keys(Enum):
    UNIQUE = auto()
    DUPLICATE = auto()


class AlreadyRegistered(ActorError):
    """The key is taken by a living actor."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(f"registered by {ref}")
        self.ref = ref


class NotRegistered(ActorError):
    """The actor has no such entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registration: who, and the value it gave."""

    ref: Ref
    value: Any


@dataclass(frozen=True, slots=True)
class Registered:
    """For listeners: an entry was made."""

    registry: str
    key: Hashable
    ref: Ref
    value: Any


@dataclass(frozen=True, slots=True)
class Unregistered:
    """For listeners: the entries of an actor under a key were removed, or ended with it."""

    registry: str
    key: Hashable
    ref: Ref


class Registry:
    """One table of keys. Belongs to a system's loop.

    What changes entries takes the actor itself, which only its own code has: an actor registers
    and unregisters nobody but itself. `listeners` are told of every change.
    """

    def __init__(
        self,
        name: str,
        keys: Keys = Keys.UNIQUE,
        listeners: Iterable[Ref] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.keys_are = keys
        self.metadata = dict(metadata or {})
        """Whatever belongs to the table as a whole."""
        self._listeners = tuple(listeners)
        self._entries: dict[Hashable, list[Entry]] = {}
        self._keys: dict[Ref, dict[Hashable, Hashable]] = {}
        self._locks: dict[Hashable, trio.Lock] = {}

    # ------------------------------------------------------------------ for the owner

    def register(self, owner: Actor, key: Hashable, value: Any = None) -> None:
        """Add an entry. With unique keys raises `AlreadyRegistered` if anybody has the key, also
        this actor. Of the dead nothing is added."""
        self._add(owner.ref, key, value)

    def unregister(self, owner: Actor, key: Hashable) -> None:
        """Remove all entries of this actor under a key, if there are any."""
        self.unregister_match(owner, key, lambda _value: True)

    def unregister_match(
        self, owner: Actor, key: Hashable, is_meant: Callable[[Any], bool]
    ) -> None:
        """Remove this actor's entries under a key whose value is meant."""
        ref, exact = owner.ref, _exact(key)
        entries = self._entries.get(exact, [])
        left = [e for e in entries if e.ref is not ref or not is_meant(e.value)]
        if len(left) < len(entries):
            self._set(exact, left)
            if all(entry.ref is not ref for entry in left):
                self._forget(ref, exact)
                self._tell(Unregistered(self.name, key, ref))

    def update_value(
        self, owner: Actor, key: Hashable, change: Callable[[Any], Any]
    ) -> tuple[Any, Any]:
        """Change the value of this actor's entry; the new one and the old. Unique keys only.
        Raises `NotRegistered`, or what `change` does, and then nothing has changed."""
        assert self.keys_are is Keys.UNIQUE, "an entry is found by its key only if that is unique"
        exact = _exact(key)
        entry = next(iter(self._entries.get(exact, ())), None)
        if entry is None or entry.ref is not owner.ref:
            raise NotRegistered(f"{owner.ref} has no {key!r} in {self.name}")
        value = change(entry.value)
        self._set(exact, [Entry(entry.ref, value)])
        return value, entry.value

    def spawn(
        self, system: ActorSystem, key: Hashable, actor: type[Actor], *args: Any, **options: Any
    ) -> Ref:
        """Spawn an actor under a unique key (OTP's `{via, …}`): it has it before its first turn.
        Raises `AlreadyRegistered` and then spawns nobody."""
        assert self.keys_are is Keys.UNIQUE, "an actor is started under a key of its own"
        taken = self.whereis(key)
        if taken is not None:
            raise AlreadyRegistered(taken)
        ref = system.spawn(actor, *args, **options)
        self._add(ref, key, None)
        return ref

    # ------------------------------------------------------------------ for everybody

    def lookup(self, key: Hashable) -> list[Entry]:
        """The entries under a key, in the order they were made. All their owners are alive."""
        return list(self._entries.get(_exact(key), ()))

    def whereis(self, key: Hashable) -> Ref | None:
        """Who has a unique key."""
        assert self.keys_are is Keys.UNIQUE, "several actors may have this key"
        entries = self._entries.get(_exact(key))
        return entries[0].ref if entries else None

    def keys(self, ref: Ref) -> list[Hashable]:
        """The keys of an actor, one for each of its entries."""
        keys = self._keys.get(ref, {})
        return [keys[k] for k in keys for e in self._entries[k] if e.ref is ref]

    def values(self, key: Hashable, ref: Ref) -> list[Any]:
        """The values an actor gave under a key."""
        return [entry.value for entry in self.lookup(key) if entry.ref is ref]

    def match(self, key: Hashable, is_meant: Callable[[Any], bool]) -> list[Entry]:
        """The entries under a key whose value is meant."""
        return [entry for entry in self.lookup(key) if is_meant(entry.value)]

    def select(
        self, is_meant: Callable[[Hashable, Entry], bool] = lambda _key, _entry: True
    ) -> list[tuple[Hashable, Entry]]:
        """All entries that are meant, with their keys."""
        named = [(self._keys[e.ref][k], e) for k, es in self._entries.items() for e in es]
        return [(key, entry) for key, entry in named if is_meant(key, entry)]

    def count(self) -> int:
        """All entries."""
        return sum(map(len, self._entries.values()))

    def dispatch(self, key: Hashable, function: Callable[[list[Entry]], None]) -> None:
        """Call a function with the entries under a key, here and now, in the caller; not if there
        are none. What it raises is the caller's."""
        entries = self.lookup(key)
        if entries:
            function(entries)

    def via(self, key: Hashable) -> Via:
        """Whoever has this key at the time of sending."""
        assert self.keys_are is Keys.UNIQUE, "a message goes to one actor"
        return Via(self, key)

    @asynccontextmanager
    async def lock(self, key: Hashable, timeout_s: float) -> AsyncIterator[None]:
        """Hold a key's lock, which has nothing to do with its entries. Free when the holder is done
        or ends in any way; a waiter that ends waits no more. Raises `DeadlineExceeded`."""
        exact = _exact(key)
        lock = self._locks.setdefault(exact, trio.Lock())
        try:
            with trio.move_on_after(timeout_s) as waiting:
                await lock.acquire()
            if waiting.cancelled_caught:
                raise DeadlineExceeded(f"{key!r} in {self.name} stayed locked for {timeout_s} s")
            try:
                yield
            finally:
                lock.release()
        finally:
            statistics = lock.statistics()
            if not statistics.locked and not statistics.tasks_waiting:
                self._locks.pop(exact, None)

    # ------------------------------------------------------------------ the table

    def ended(self, ref: Ref) -> None:
        """An actor has ended. For the runtime."""
        for exact, key in self._keys.pop(ref, {}).items():
            self._set(exact, [e for e in self._entries[exact] if e.ref is not ref])
            self._tell(Unregistered(self.name, key, ref))

    def _add(self, ref: Ref, key: Hashable, value: Any) -> None:
        if not ref.is_alive():
            return
        exact = _exact(key)
        entries = self._entries.setdefault(exact, [])
        if entries and self.keys_are is Keys.UNIQUE:
            raise AlreadyRegistered(entries[0].ref)
        entries.append(Entry(ref, value))
        self._keys.setdefault(ref, {})[exact] = key
        ref._cell.hold(self)
        self._tell(Registered(self.name, key, ref, value))

    def _set(self, exact: Hashable, entries: list[Entry]) -> None:
        if entries:
            self._entries[exact] = entries
        else:
            del self._entries[exact]

    def _forget(self, ref: Ref, exact: Hashable) -> None:
        keys = self._keys[ref]
        del keys[exact]
        if not keys:
            del self._keys[ref]
            ref._cell.let_go(self)

    def _tell(self, change: Registered | Unregistered) -> None:
        for listener in self._listeners:
            listener.deliver_control(change)

    def __repr__(self) -> str:
        return f"<Registry {self.name}: {self.count()} entries of {len(self._keys)} actors>"


@dataclass(frozen=True, slots=True)
class Via:
    """A key as an address. It is looked up at each use; with nobody there sending and asking fail
    as with the dead."""

    registry: Registry
    key: Hashable

    def whereis(self) -> Ref | None:
        return self.registry.whereis(self.key)

    def cast(self, message: Any) -> bool:
        ref = self.whereis()
        return ref is not None and ref.cast(message)

    def tell(self, message: Any) -> None:
        self._present().tell(message)

    async def call(self, message: Any, *, timeout_s: float = CALL_DEADLINE_S) -> Any:
        return await self._present().call(message, timeout_s=timeout_s)

    def _present(self) -> Ref:
        ref = self.whereis()
        if ref is None:
            raise ActorDied(NOPROC)
        return ref


def _exact(key: Hashable) -> Hashable:
    """A key that equals another only if both are the same in kind, too."""
    if isinstance(key, tuple):
        return (tuple, *map(_exact, key))
    return (type(key), key)
