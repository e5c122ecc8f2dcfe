"""What an isolated actor and its process say to each other: pickled frames, each behind its length.

Pickle runs code of whoever wrote it. Both ends are processes of ours and of one user, the child was
started by the parent to run code that the parent chose, and nobody else can get at a socket pair
without a name: neither end can do by a pickle what it could not do anyway. It takes what a message
within a process may be, which is any value; what names a place in one process (a `Ref`) is refused.

What users send is pickled on its own, inside its frame: one that cannot be read at the other end is
that message's failure, not the connection's.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actors.runtime.errors import RemoteError
from actors.runtime.exits import Custom, ExitReason, describe
from actors.runtime.ref import Ref

BODY_BYTES_MAX = 64 * 2**20
"""A message is copied some times on its way; what is larger belongs into a file."""

WINDOW = 64
"""Messages sent and not yet known to be handled: enough that the process does not wait for the next
one, few enough that what waits does so in the mailbox, which has a bound and a policy."""

ROOM = WINDOW // 2
"""As many are told to be handled at once."""

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Begin:
    """The first frame: what to be. `preparation` is multiprocessing's, `actor` a pickled class with
    its arguments and its `on_error`."""

    preparation: dict[str, Any]
    log_level: int
    actor: bytes
    name: str | None
    node: str


@dataclass(frozen=True, slots=True)
class Message:
    """For the actor; with an `id` if an answer is awaited. When a marked one was handled the
    process says `Room`."""

    body: bytes
    id: int | None
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Look:
    """A verb of `inspection` with its arguments, for the runtime round the actor."""

    body: bytes
    id: int


@dataclass(frozen=True, slots=True)
class Answer:
    id: int
    body: bytes
    is_error: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """`on_start` has succeeded."""


@dataclass(frozen=True, slots=True)
class Room:
    """`ROOM` messages more have been handled."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A log record."""

    body: bytes


@dataclass(frozen=True, slots=True)
class CrashTold:
    """The report of the actor's crash, or of a failure after which it goes on."""

    body: bytes
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The last frame: why. `is_ignored`: it was not needed."""

    body: bytes
    is_ignored: bool = False


def pack(frame: object) -> bytes:
    """A frame as bytes."""
    body = pickle.dumps(frame)
    return len(body).to_bytes(_LENGTH_BYTES) + body


class Unpacker:
    """Bytes as they come to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> Iterator[Any]:
        """The frames that are complete now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES])
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield load(body)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Ref):
            raise pickle.PicklingError(f"{value} means nothing in another process")
        return NotImplemented


def dump(value: object) -> bytes:
    """A value for the other process. Raises what pickling it raises, `ValueError` if it is too
    large."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    if buffer.tell() > BODY_BYTES_MAX:
        raise ValueError(f"{buffer.tell()} bytes pickled; {BODY_BYTES_MAX} are allowed")
    return buffer.getvalue()


def load(body: bytes) -> Any:
    return pickle.loads(body)  # noqa: S301  (see the module)


def answer(id_: int, value: object, error: BaseException | None) -> Answer:
    """An answer that can be read: an exception that does not survive becomes a `RemoteError`."""
    if error is None:
        try:
            return Answer(id_, dump(value), is_error=False)
        except Exception as failed:  # noqa: BLE001  (pickling runs foreign code)
            error = failed
    try:
        body = dump(error)
        load(body)
    except Exception:  # noqa: BLE001  (the same)
        body = dump(RemoteError(f"{type(error).__qualname__}: {error}"))
    return Answer(id_, body, is_error=True)


def ended(reason: ExitReason, *, is_ignored: bool = False) -> Ended:
    """The last frame. Of a reason that cannot be sent the words are."""
    try:
        return Ended(dump(reason), is_ignored)
    except Exception:  # noqa: BLE001  (the same)
        return Ended(dump(Custom(describe(reason))), is_ignored)
