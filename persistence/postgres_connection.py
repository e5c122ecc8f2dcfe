"""psycopg 3 on trio: its generators are pure protocol, so driving them is all there is to do.

**Problem.** psycopg's asynchronous connection is written for asyncio, but only where it waits:
every operation is a generator that yields what it wants of the socket. Threads would work too, at
half the throughput and twice the CPU, and could not be cancelled.

**Rule.** `TrioConnection` replaces the few methods that wait. A cancelled operation is cancelled at
the server too and its generator drained, within `CANCEL_S` and shielded, because trio's
cancellation stays in force during clean-up; the connection is then as usable as before. If that
fails the connection is closed at once, so one that is open is never in the middle of something.

The private names used are listed in `PRIVATE_NAMES`; the version is pinned to the minor release.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import psycopg
import trio
from psycopg import waiting
from psycopg._conninfo_utils import split_attempts
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

CONNECT_S: Final = 3.0
"""For one address, authentication included."""
CANCEL_S: Final = 1.0
"""How long a cancelled caller waits for the connection to be usable again, at most."""

PRIVATE_NAMES: Final = (
    "psycopg.waiting._ready",
    "psycopg._conninfo_utils.split_attempts",
    "psycopg.AsyncConnection._connect_gen",
    "psycopg.AsyncConnection._cancel_gen",
    "psycopg.AsyncConnection._should_cancel",
    "psycopg.AsyncConnection._closed",
    "psycopg.AsyncConnection._autocommit",
)

Row = tuple[Any, ...]
Parameters = dict[str, Any]


class TrioConnection(psycopg.AsyncConnection[Row]):
    """A connection in autocommit mode: transactions are begun and ended by statements.

    One task at a time. Raises `psycopg.Error`. Pipelines, COPY and LISTEN are not used here.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.lock = trio.Lock()  # type: ignore[assignment]  # has the methods that are used

    @classmethod
    async def open(cls, conninfo: str) -> TrioConnection:
        """Connect to the first address that answers. Raises `psycopg.OperationalError`."""
        problems: list[str] = []
        for attempt in split_attempts(conninfo_to_dict(conninfo)):
            try:
                addresses = await _addresses(attempt)
            except OSError as error:
                problems.append(f"{attempt.get('host')}: {error.strerror or error}")
                continue
            for address in addresses:
                try:
                    return await cls._open_one(make_conninfo("", **address))
                except psycopg.OperationalError as error:
                    problems.append(str(error))
        raise psycopg.OperationalError("; ".join(problems))

    @classmethod
    async def _open_one(cls, conninfo: str) -> TrioConnection:
        try:
            with trio.fail_after(CONNECT_S):
                connection: TrioConnection = await _drive_moving(cls._connect_gen(conninfo))
        except trio.TooSlowError:
            raise psycopg.OperationalError(f"no answer within {CONNECT_S} s") from None
        connection._autocommit = True
        return connection

    async def fetch(self, statement: str, parameters: Parameters | None = None) -> Sequence[Row]:
        """Execute one statement; its rows, or none if it answers no rows."""
        cursor = await self.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description is not None else ()

    async def wait(
        self,
        gen: PQGen[Any],
        interval: float = 0.0,  # noqa: ARG002  (of psycopg's own loop)
        timeout: float | None = None,
    ) -> Any:
        """Drive one operation to its end. Only LISTEN would have a timeout."""
        assert timeout is None
        descriptor = self.pgconn.socket
        try:
            return await _drive(gen, descriptor)
        except (trio.Cancelled, KeyboardInterrupt):
            if self.pgconn.status == ConnStatus.OK and self._is_active():
                await self._settle(gen, descriptor)
            raise

    async def _settle(self, gen: PQGen[Any], descriptor: int) -> None:
        """Have the server give up what it is doing, and read its answer to the end."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_S):
            try:
                if self._should_cancel():
                    await _drive_moving(self._cancel_gen())
                await _drive(gen, descriptor)
            except psycopg.Error:
                pass  # QueryCanceled, hopefully; whether it did end is looked at below
        if self._is_active():
            self.abandon()

    def _is_active(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.ACTIVE

    def abandon(self) -> None:
        """Close without a word to the server, whatever state this is in."""
        if not self.closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self.pgconn.finish()

    async def close(self) -> None:
        """As `abandon`: the farewell that libpq sends does not wait."""
        self.abandon()

    def is_quiet(self) -> bool:
        """Whether nothing came over the wire that nobody asked for. A server that closed the
        connection is heard of this way."""
        return not waiting._ready(self.pgconn.socket, Wait.R)


async def _addresses(attempt: dict[str, Any]) -> list[dict[str, Any]]:
    """`attempt` for each address of its host, because libpq's look-up would block."""
    host = attempt.get("host")
    if not host or host.startswith("/") or attempt.get("hostaddr"):
        return [attempt]
    port = attempt.get("port") or 5432
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return [{**attempt, "hostaddr": address[0]} for *_, address in found]


# ---------------------------------------------------------------------------- driving


async def _drive(gen: PQGen[Any], descriptor: int) -> Any:
    """Run a generator that waits for one socket; what it returns."""
    try:
        wanted = next(gen)
        while True:
            wanted = gen.send(await _ready(descriptor, wanted))
    except StopIteration as stop:
        return stop.value
    except (OSError, trio.ClosedResourceError) as error:
        raise psycopg.OperationalError("the connection's socket is closed") from error


async def _drive_moving(gen: PQGenConn[Any]) -> Any:
    """As `_drive`, for a generator that names the socket each time: a connection being made tries
    several."""
    try:
        descriptor, wanted = next(gen)
        while True:
            descriptor, wanted = gen.send(await _ready(descriptor, wanted))
    except StopIteration as stop:
        return stop.value
    except (OSError, trio.ClosedResourceError) as error:
        raise psycopg.OperationalError("the connection's socket is closed") from error


async def _ready(descriptor: int, wanted: Wait) -> Ready:
    """Wait until the socket can do what is wanted of it; which of it it can."""
    if wanted == Wait.R:
        await trio.lowlevel.wait_readable(descriptor)
        return Ready.R
    ready = waiting._ready(descriptor, wanted)  # a socket can nearly always be written to
    if ready:
        await trio.lowlevel.checkpoint_if_cancelled()
        return Ready(ready)
    if wanted == Wait.W:
        await trio.lowlevel.wait_writable(descriptor)
        return Ready.W
    async with trio.open_nursery() as nursery:  # rare: a statement larger than the socket's buffer

        async def wait(event: Callable[[int], Awaitable[None]]) -> None:
            await event(descriptor)
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, trio.lowlevel.wait_readable)
        nursery.start_soon(wait, trio.lowlevel.wait_writable)
    return Ready(waiting._ready(descriptor, Wait.RW))
