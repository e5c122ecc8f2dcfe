"""The client library: a connection that stays, messages that arrive once, events in order.

    async with connect("ws://127.0.0.1:8080/ws") as client:
        await client.login("alice", "correct horse")
        await client.send("hi", to="@bob")
        async for event in client.events():
            print(event)

`connect` keeps one link open, heartbeats included, and opens the next one when it breaks: back
off with full jitter, `auth`, `sync` until nothing is left, live. Close codes are obeyed; one that
says "do not come back" ends the client with `Closed`.

`events()` yields what `client_state.Timeline` makes deliverable: every durable event of every
thread exactly once and in seq order, one's own included (the `ok` is their delivery here), and
state and presence events as they come. Notices of the library's own: `reset` (a thread's log is
shorter than our cursor; `seq` is where it goes on after), `removed` (no longer a member; found
out by `sync`) and `connection` (`state` is `live` or `lost`, then with code, reason, retry_s).

An event counts as taken when the next one is asked for, or when the client is left without an
error. With `state_path` a later client of the same user goes on from there.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import trio

from gateway.client_feed import Feed, Start
from gateway.client_link import (
    REPLY_S,
    Address,
    ClientError,
    Closed,
    ConnectFailed,
    Disconnected,
    Link,
    LinkEnd,
    OnReply,
    OpenStream,
    OutcomeUnknown,
    Reply,
    RequestError,
    TimedOut,
    open_link,
    open_tcp,
)
from gateway.client_state import (
    Event,
    SavedState,
    backoff_s,
    load_state,
    reconnect_after_s,
    save_state,
)
from gateway.client_verbs import Verbs, given
from gateway.wire.codes import CloseCode
from gateway.wire.protocol import ENTRY_OPS

__all__ = [
    "Client",
    "ClientError",
    "Closed",
    "ConnectFailed",
    "Disconnected",
    "Event",
    "OutcomeUnknown",
    "RequestError",
    "TimedOut",
    "connect",
]

REQUEST_S: Final = 30.0
"""How long a request waits for a connection and repeats itself, unless it goes on for ever."""
QUEUE_EVENTS: Final = 10_000
"""Events waiting for the application. Beyond that they stay on the server until there is room."""

CID_OPS: Final = frozenset({"send", "edit", "group.create"})
"""Idempotent by cid: repeated until answered."""
ACTING_OPS: Final = CID_OPS | {
    "delete",
    "react",
    "group.update",
    "group.add",
    "group.remove",
    "group.role",
    "group.leave",
    "group.delete",
}
"""Write events whose delivery on this connection is their `ok`."""
REPEATABLE_OPS: Final = CID_OPS | {
    *("session.list", "user.get", "user.search", "profile.set", "privacy.set"),
    *("contact.list", "contact.add", "contact.alias", "contact.remove", "block", "unblock"),
    *("thread.list", "thread.set", "group.info", "history", "sync", "recv", "read", "presence"),
}
"""Doing them twice is doing them once."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a client behaves; see `connect`."""

    state_path: str | None = None
    start: Start = "join"
    patient: bool = False
    reconnect: bool = True
    receipts: bool = True
    reply_s: float = REPLY_S
    queue_events: int = QUEUE_EVENTS
    open_stream: OpenStream = open_tcp
    rng: random.Random = field(default_factory=random.Random)


def connect(url: str, **options: Any) -> Client:
    """A client to be entered with `async with`; entering opens the first connection.

    * `state_path`: a file for token and cursors, so that a restarted client logs in by itself and
      goes on where it was.
    * `start`: where a client without cursors begins: `"join"` hears everything since joining,
      `"now"` only what comes.
    * `patient`: keep trying when the first connection fails, instead of raising ConnectFailed.
    * `reconnect`: come back after a connection ends (as far as the close code allows).
    * `receipts`: acknowledge delivery (`recv`) of messages handed to the application.
    * `reply_s`, `queue_events`, `open_stream`, `rng`: deadline of one answer, bound of the event
      queue, the way to the server (to choose certificates, or for tests), chance.
    """
    return Client(url, Options(**options))


class Client(Verbs):
    """See the module. All methods belong to the trio loop that entered the client."""

    def __init__(self, url: str, options: Options) -> None:
        self.hello: Reply = {}
        self.sid: str | None = None
        self.token: str | None = None
        self._address = Address.parse(url)
        self._options = options
        self._rng = options.rng
        self._feed = Feed(
            start=options.start, queue_max=options.queue_events, rng=options.rng, save=self._save
        )
        self._link: Link | None = None
        self._end: ClientError | None = None
        self._refused: LinkEnd | None = None
        self._stopping = False
        self._live = False
        self._saved: SavedState | None = None
        self._wanted = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self._poll_states = {}

    def __repr__(self) -> str:
        state = "live" if self._live else "linked" if self._link else "offline"
        return f"<Client {self.uid or 'nobody'} {state}>"

    @property
    def uid(self) -> str:
        """The user's id; empty before the first login."""
        return self._feed.timeline.uid

    @property
    def live(self) -> bool:
        """Connected, authenticated, and caught up once on this connection."""
        return self._live

    @property
    def threads(self) -> dict[str, dict[str, Any]]:
        """The `Thread` objects heard of while catching up, newest per thread."""
        return self._feed.threads

    def statistics(self) -> dict[str, int]:
        """Counts for people and tests."""
        return self._feed.statistics()

    def events(self) -> AsyncIterator[Event]:
        """Every event, see the module. One reader at a time; ends when the client is closed, and
        raises Closed when the server closed it for good."""
        return self._feed

    # ------------------------------------------------------------------------- life of a client

    async def __aenter__(self) -> Self:
        self._load()
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._run)
        try:
            while not self.hello and self._end is None:
                await self._changed.park()
            if self._end is not None:
                raise self._end
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._end = self._end or Closed(CloseCode.NORMAL, "closed by us")
        try:
            if error is None:
                self._feed.take()
            if self._link is not None and not isinstance(error, trio.Cancelled):
                await self._link.hang_up()
        finally:
            unsaved = self._finish(self._end)
            await self._leave(error)
        if unsaved is not None and error is None:
            raise unsaved

    async def _leave(self, error: BaseException | None) -> None:
        """Close our nursery. Only what the loop itself must see passes through it, so that an
        application's exception does not come out wrapped in a group."""
        self._nursery.cancel_scope.cancel()
        if error is None or isinstance(error, Exception | KeyboardInterrupt | SystemExit):
            await self._manager.__aexit__(None, None, None)
        else:
            await self._manager.__aexit__(type(error), error, error.__traceback__)

    def _finish(self, end: ClientError) -> ClientError | None:
        """Nothing comes after this: waiting requests fail, `events()` ends. Returns what kept the
        state from being saved, which must not keep anything from being closed."""
        self._end = self._end or end
        unsaved: ClientError | None = None
        try:
            self._save()
        except ClientError as error:
            unsaved = error
        self._feed.end(None if self._stopping else self._end)
        self._changed.unpark_all()
        return unsaved

    async def _run(self) -> None:
        """Open link after link, as the way each one ended advises."""
        attempt = -1
        while True:
            end = await self._one_link()
            came_live, self._live = self._live, False
            if self._stopping:
                return
            attempt = 0 if came_live else attempt + 1
            wait_s = reconnect_after_s(end.code, end.retry_ms, attempt, self._rng)
            first = not self.hello
            if first and not self._options.patient:
                self._finish(ConnectFailed(end.reason, end.code))
                return
            if wait_s is None or not self._options.reconnect:
                self._give_up(end)
                return
            if came_live:
                self._feed.notify("lost", code=end.code, reason=end.reason, retry_s=wait_s)
            await trio.sleep(wait_s)
            if self.token is None and not first:
                # Nobody is logged in: a connection is of no use before somebody asks for one.
                self._wanted = trio.Event()
                if not self._changed:
                    await self._wanted.wait()

    def _give_up(self, end: LinkEnd) -> None:
        if end.code in (CloseCode.TOKEN_INVALID, CloseCode.REVOKED, CloseCode.BANNED):
            self.token = None
        self._finish(Closed(end.code, end.reason))

    async def _one_link(self) -> LinkEnd:
        end = LinkEnd(None, "the connection broke")
        self._refused = None
        try:
            async with open_link(self._address, self._rng, self._options.open_stream) as link:
                self._link, self.hello = link, link.hello
                link.nursery.start_soon(self._guarded, link, self._enter)
                self._changed.unpark_all()
                end = await link.read(self._feed.on_event)
        except ConnectFailed as error:
            end = LinkEnd(error.code, str(error))
        finally:
            self._link = None
        return self._refused or end

    async def _guarded(self, link: Link, work: Callable[[Link], Awaitable[None]]) -> None:
        """Run one of the link's tasks; when it cannot go on, neither can the link."""
        try:
            await work(link)
        except Disconnected:
            return
        except ClientError:
            link.drop()

    # --------------------------------------------------------------------------- authentication

    async def register(
        self, user: str, password: str, *, name: str | None = None, device: str | None = None
    ) -> Reply:
        """A new account, logged in. Not repeated: after OutcomeUnknown try `login`."""
        fields = {"user": user, "pass": password, **given(name=name, device=device)}
        return await self._entry("register", fields)

    async def login(self, user: str, password: str, *, device: str | None = None) -> Reply:
        """A new session; its token is kept for reconnecting."""
        return await self._entry("login", {"user": user, "pass": password, **given(device=device)})

    async def auth(self, token: str | None = None) -> str:
        """Resume the session of a token, or of the one in the state file; returns the uid."""
        if token is not None:
            await self._entry("auth", {"token": token})
            self.token = token
            self._save()
        elif self.token is None:
            raise ClientError("there is no token to resume")
        await self._authenticated_link()
        return self.uid

    async def logout(self) -> None:
        """Revoke this session; the client is closed afterwards."""
        self._stopping = True
        try:
            await self.request("logout")
        except ClientError:
            self._stopping = False
            raise
        self.token = None
        self._finish(Closed(CloseCode.REVOKED, "logged out"))

    async def _entry(self, op: str, fields: dict[str, Any]) -> Reply:
        link = await self._any_link()
        reply = await link.request(op, fields, self._options.reply_s, self._entered(link))
        self._save()
        return reply

    def _entered(self, link: Link) -> OnReply:
        def on_reply(reply: Reply | None) -> None:
            if reply is None:
                return
            self._feed.belongs_to(reply["uid"])
            self.sid, self.token = reply["sid"], reply.get("token", self.token)
            link.authenticated.set()
            self._changed.unpark_all()

        return on_reply

    async def _enter(self, link: Link) -> None:
        """First task on a link: authenticate if we can, catch up, then keep up."""
        if self.token is not None:
            try:
                fields = {"token": self.token}
                await link.request("auth", fields, self._options.reply_s, self._entered(link))
            except RequestError as error:
                if not error.temporary:
                    self._refused = LinkEnd(CloseCode.TOKEN_INVALID, error.msg)
                raise
        await link.authenticated.wait()
        await self._feed.catch_up(link)
        self._live = True
        self._changed.unpark_all()
        self._feed.notify("live")
        if self._options.receipts:
            link.nursery.start_soon(self._guarded, link, self._feed.acknowledge)
        await self._feed.keep_up(link)

    # --------------------------------------------------------------------------------- requests

    async def request(
        self, op: str, *, timeout_s: float | None = None, retry: bool | None = None, **fields: Any
    ) -> Reply:
        """One operation by name; returns its `ok`.

        Waits for a connection. What may be done twice is repeated over lost connections, missing
        answers and temporary errors; `send`, `edit` and `group.create` get a cid and go on until
        answered, the rest for 30 s, or `timeout_s` in all. Raises RequestError when refused,
        OutcomeUnknown when no answer came, Closed when the client is done for.
        """
        if op in ENTRY_OPS:
            return await self._entry(op, fields)
        if op in CID_OPS and fields.get("cid") is None:
            fields["cid"] = f"{self._rng.getrandbits(96):024x}"
        again = op in REPEATABLE_OPS if retry is None else retry
        within_s = timeout_s or (math.inf if op in CID_OPS else REQUEST_S)
        with trio.move_on_after(within_s):
            return await self._insist(op, fields, again)
        raise TimedOut(f"{op}: not done within {within_s:g} s")

    async def _insist(self, op: str, fields: dict[str, Any], again: bool) -> Reply:
        attempt = 0
        while True:
            link = await self._authenticated_link(op)
            pause_s = backoff_s(attempt, self._rng)
            try:
                on_reply = self._feed.writes(op, fields) if op in ACTING_OPS else None
                return await link.request(op, fields, self._options.reply_s, on_reply)
            except RequestError as error:
                if not (again and error.temporary):
                    raise
                pause_s = max(pause_s, error.retry_ms / 1000)
            except OutcomeUnknown as error:
                if not again:
                    raise
                if isinstance(error, Disconnected):
                    pause_s = 0.0
            await trio.sleep(pause_s)
            attempt += 1

    async def tell(self, op: str, **fields: Any) -> None:
        """Say something without wanting an answer. Raises Disconnected when there is no link."""
        if self._link is None or not self._link.authenticated.is_set():
            raise Disconnected(op)
        await self._link.tell(op, fields)

    async def _any_link(self) -> Link:
        while True:
            if self._end is not None:
                raise self._end
            if self._link is not None and not self._link.ended:
                return self._link
            self._wanted.set()
            await self._changed.park()

    async def _authenticated_link(self, op: str = "auth") -> Link:
        while True:
            link = await self._any_link()
            if link.authenticated.is_set() or (self.token is None and op not in ENTRY_OPS):
                return link  # without a token, let the server say `unauthorized`
            await self._changed.park()

    # ------------------------------------------------------------------------------ saved state

    def _load(self) -> None:
        """Raises ClientError for a file that is not ours, or cannot be read."""
        if self._options.state_path is None:
            return
        try:
            state = load_state(self._options.state_path)
        except (msgspec.MsgspecError, OSError) as error:
            raise ClientError(f"{self._options.state_path}: {error}") from error
        self.token = state.token
        self._feed.restore(state)

    def _save(self) -> None:
        """Raises ClientError when the file cannot be written."""
        path = self._options.state_path
        if path is not None:
            state = self._feed.state(self.token)
            if state != self._saved:
                try:
                    save_state(path, state)
                except OSError as error:
                    raise ClientError(f"{path}: {error.strerror}") from error
                self._saved = state
