"""What can be done to a tree, and when: a schedule is a sequence of these values.

`at_s` is virtual time, from the beginning of the run. `name` is a registered name, for which the
schedule means whatever incarnation has it then.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.runtime.exits import SHUTDOWN, ExitReason


@dataclass(frozen=True, slots=True)
class Kill:
    """The actor is killed, also while it starts or stops."""

    at_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Crash:
    """A handler of the actor raises `InjectedCrash`. Only in one that is ready."""

    at_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Hang:
    """A handler of the actor does not return. Only in one that is ready and has an async
    `on_receive`: a plain one would take the whole loop with it."""

    at_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The actor stops itself, for this reason. Only one that is ready. On the root this stops the
    tree, from right to left."""

    at_s: float
    name: str
    reason: ExitReason = SHUTDOWN


@dataclass(frozen=True, slots=True)
class Ask:
    """A supervisor gets a request of `supervision.admin`; its answer is an event."""

    at_s: float
    name: str
    request: object


@dataclass(frozen=True, slots=True)
class Ensure:
    """A dynamic supervisor, there or not, is asked for a child as `SpawnerHandle.ensure` does."""

    at_s: float
    name: str
    child: str


Fault = Kill | Crash | Hang | Exit | Ask | Ensure
