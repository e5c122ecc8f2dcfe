"""The two-lane bounded mailbox.

**Problem.** An actor flooded with messages must still hear that it should stop, and must not grow
without bound. Tens of thousands of idle actors must cost almost nothing.

**Rule.** Control (exits, downs, timers' and tasks' results) goes before traffic; each lane is first
in, first out. This weakens OTP's order between a signal and a message of the same sender on purpose
(`ractor` and Akka do the same). Traffic is bounded, with a policy chosen by the actor's class. The
lanes exist only while something is in them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.runtime.futures import Answer


class Overflow(Enum):
    """What a full mailbox does."""

    REFUSE = auto()
    """The sender gets `MailboxFull` (`cast` answers False)."""
    DROP_NEWEST = auto()
    DROP_OLDEST = auto()
    STOP_RECEIVER = auto()
    """The receiver ends with `Custom("mailbox_overflow")`."""


class Ask:
    """A message whose sender awaits an answer."""

    __slots__ = ("answer", "message")

    def __init__(self, message: Any, answer: Answer) -> None:
        self.message = message
        self.answer = answer


class Mailbox:
    """Both lanes of one actor. Also pykka's inbox: `put` and `empty`."""

    __slots__ = ("control", "limit", "traffic")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.control: deque[Any] | None = None
        self.traffic: deque[Any] | None = None

    def __len__(self) -> int:
        return len(self.control or ()) + len(self.traffic or ())

    def empty(self) -> bool:
        return not self.control and not self.traffic

    def put(self, message: Any) -> bool:
        """Add to the traffic lane; False if it is full."""
        traffic = self.traffic
        if traffic is None:
            self.traffic = deque((message,))
            return True
        if len(traffic) >= self.limit:
            return False
        traffic.append(message)
        return True

    def put_control(self, item: Any) -> None:
        """Add to the control lane, which is bounded by what the runtime itself sends."""
        if self.control is None:
            self.control = deque((item,))
        else:
            self.control.append(item)

    def put_next(self, item: Any) -> None:
        """Add to the front of the control lane: nothing is handled before it."""
        if self.control is None:
            self.control = deque((item,))
        else:
            self.control.appendleft(item)

    def put_back(self, messages: list[Any]) -> None:
        """Back to the front of the traffic lane, in this order. They were counted before."""
        if self.traffic is None:
            self.traffic = deque(messages) or None
        else:
            self.traffic.extendleft(reversed(messages))

    def next_control(self) -> Any:
        """The next control item, or None."""
        control = self.control
        if control is None:
            return None
        item = control.popleft()
        if not control:
            self.control = None
        return item

    def take_control(self, is_wanted: Callable[[Any], bool]) -> Any:
        """The first control item of a kind, out of its order; None if there is none."""
        control = self.control or deque()
        for index, item in enumerate(control):
            if is_wanted(item):
                del control[index]
                self.control = control or None
                return item
        return None

    def drop_control(self, is_dropped: Callable[[Any], bool]) -> None:
        """Take some items out of the control lane."""
        if self.control is not None:
            left = deque(item for item in self.control if not is_dropped(item))
            self.control = left or None

    def drain(self) -> list[Any]:
        """Everything still in the traffic lane; the mailbox is empty afterwards."""
        rest = list(self.traffic or ())
        self.traffic = self.control = None
        return rest
