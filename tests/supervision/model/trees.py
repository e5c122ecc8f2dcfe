"""Trees that the reference and the real supervisors both understand, and what is done to them.

Every node's id is its name too, and one of its kind in the whole tree. All times are in seconds
and drawn so that no two things of different cause happen in the same instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
OnError = Literal["", "resume", "restart", "stop", "escalate"]
"""What follows when a leaf raises, whatever it is. The empty one is none."""


class Start(Enum):
    """What one attempt to start a leaf comes to."""

    READY = "ready"
    FAIL = "fail"
    IGNORE = "ignore"
    HANG = "hang"
    UNMAKEABLE = "unmakeable"
    """Its constructor raises."""


class Manner(Enum):
    """How a leaf takes being told to end."""

    PLAIN = "plain"
    """At once; it has no task, and starts at once."""
    ASYNC = "async"
    """At once; it may take time to start, and it may hang."""
    POLITE = "polite"
    """It may take time to start, and takes time to stop."""
    DEAF = "deaf"
    """It may take time to start, and does not listen."""


BRUTAL = 0.0
"""As a node's shutdown limit; None is no limit."""


@dataclass(frozen=True, slots=True)
class Node:
    """What is common to all children. `backoff_s` is the first delay and the longest."""

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    shutdown_s: float | None = 5.0
    backoff_s: tuple[float, float] = (0.01, 0.01)


@dataclass(frozen=True, slots=True)
class Leaf(Node):
    """A worker. `starts` are the outcomes of its first attempts, over all its lives; later ones are
    READY."""

    on_error: OnError = ""
    manner: Manner = Manner.PLAIN
    start_s: float = 0.0
    stop_s: float = 0.0
    start_limit_s: float = 30.0
    starts: tuple[Start, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch(Node):
    """A fixed supervisor."""

    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period_s: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    children: tuple[AnyNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Crowd(Node):
    """A dynamic supervisor; `kinds` are the leaves it may be asked for, by id."""

    intensity: int = 3
    period_s: float = 5.0
    retire_s: float = 5.0
    max_children: float = float("inf")
    kinds: tuple[Leaf, ...] = ()


AnyNode = Leaf | Branch | Crowd

# ---------------------------------------------------------------------- what is done to them


class Harm(Enum):
    KILL = "kill"
    CRASH = "crash"
    HANG = "hang"
    EXIT = "exit"


Why = Literal["normal", "shutdown", "done"]
"""The reasons with which a leaf may end itself; the last is an abnormal one."""


@dataclass(frozen=True, slots=True)
class Hurt:
    at_s: float
    name: str
    harm: Harm
    why: Why = "shutdown"


@dataclass(frozen=True, slots=True)
class Request:
    """An administrator asks the supervisor `name` about `child`; `leaf` is the new one's spec."""

    at_s: float
    name: str
    what: Literal["start", "terminate", "restart", "delete", "ensure"]
    child: str
    leaf: Leaf | None = None


Step = Hurt | Request


@dataclass(frozen=True, slots=True)
class Case:
    """A tree and what is done to it; at `end_s` the root is told to shut down."""

    root: Branch
    steps: tuple[Step, ...]
    end_s: float


# ---------------------------------------------------------------------- what is seen of them


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened. `group` is whose affair it is: a supervisor's name."""

    at_s: float
    group: str
    what: str


@dataclass(frozen=True, slots=True)
class Look:
    """The tree in a quiet instant: each child of each living supervisor with its state and number
    of restarts, in start order; and everybody who lives, with his incarnation."""

    at_s: float
    children: tuple[str, ...]
    living: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is compared: what happened, how it looked before each step and at the end, and the
    answers to requests."""

    lines: tuple[Line, ...]
    looks: tuple[Look, ...]
    answers: tuple[tuple[int, float, str], ...] = ()
    """Number of the step, when, and what."""
    faults: int = 0
    """How many steps met somebody. Counted on the stage, and not compared."""
