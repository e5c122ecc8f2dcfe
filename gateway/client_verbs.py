"""The operations of the protocol as methods: what an application calls on a client.

Each is one request, named after what it does; fields left at None are not sent. What an answer
carries is described by the protocol reference. Everything here stands on `request`, which knows
about connections, retries and cids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import trio

from gateway.client_link import Disconnected, Reply
from gateway.client_state import Event
from gateway.wire.limits import PAGE_MAX

PRESENCE_POLL_MS: Final = 10_000
"""Between two polls when the server does not say."""


def given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


class Verbs(ABC):
    """Mixin: typed helpers over `request` and `tell`."""

    _polled: frozenset[str] = frozenset()
    _poll_v: int | None = None
    _poll_due_s: float = 0.0
    _poll_states: dict[str, dict[str, Any]]

    @abstractmethod
    async def request(
        self, op: str, *, timeout_s: float | None = None, retry: bool | None = None, **fields: Any
    ) -> Reply: ...

    @abstractmethod
    async def tell(self, op: str, **fields: Any) -> None: ...

    # -------------------------------------------------------------------------------- messages

    async def send(
        self,
        text: str,
        *,
        to: str | None = None,
        thread: str | None = None,
        reply_to: int | None = None,
        mentions: Sequence[str] | None = None,
        cid: str | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send a message `to` a uid or `@name`, or into a `thread`; returns when it is durable.

        Goes on through lost connections and temporary errors with the same cid, so it is posted
        exactly once. With `timeout_s` it may end in TimedOut: then the outcome is unknown, and
        calling again with the same `cid` settles it. One caller's messages keep their order when
        each is awaited before the next.
        """
        target = given(to=to, thread=thread, cid=cid)
        extras = given(reply_to=reply_to, mentions=list(mentions) if mentions else None)
        return await self.request("send", text=text, timeout_s=timeout_s, **target, **extras)

    async def edit(self, thread: str, seq: int, text: str, cid: str | None = None) -> Reply:
        return await self.request("edit", thread=thread, seq=seq, text=text, **given(cid=cid))

    async def delete(
        self, thread: str, seqs: Iterable[int], for_: Literal["all", "me"] = "all"
    ) -> Reply:
        fields: dict[str, Any] = {"thread": thread, "seqs": list(seqs), "for": for_}
        return await self.request("delete", **fields)

    async def react(self, thread: str, seq: int, emoji: str, on: bool = True) -> Reply:
        return await self.request("react", thread=thread, seq=seq, emoji=emoji, on=on)

    async def history(
        self,
        thread: str,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        limit: int | None = None,
    ) -> Reply:
        """A page: events[] ascending, head, more. Does not touch what `events()` delivers."""
        bounds = given(before=before, after=after, around=around, limit=limit)
        return await self.request("history", thread=thread, **bounds)

    async def full_history(self, thread: str, *, after: int = 0) -> list[Event]:
        """Every readable event after a seq, page by page."""
        events: list[Event] = []
        while True:
            page = await self.history(thread, after=after)
            events += page["events"]
            if not page["more"] or not page["events"]:
                return events
            after = page["events"][-1]["seq"]

    async def mark_read(self, thread: str, seq: int) -> None:
        """Tell the others that everything up to `seq` was read."""
        await self.request("read", thread=thread, seq=seq)

    async def mark_received(self, thread: str, seq: int) -> None:
        await self.request("recv", thread=thread, seq=seq)

    async def typing(self, thread: str, on: bool = True) -> None:
        """Best effort: said when connected, forgotten otherwise."""
        try:
            await self.tell("typing", thread=thread, on=on)
        except Disconnected:
            return

    # --------------------------------------------------------------------------------- threads

    async def list_threads(self) -> list[dict[str, Any]]:
        """Every thread of the user, newest activity first."""
        threads: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = await self.request("thread.list", limit=PAGE_MAX, **given(after=after))
            threads += page["threads"]
            after = page.get("next")
            if after is None:
                return threads

    async def set_thread(
        self,
        thread: str,
        *,
        muted_until: int | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Fields at None stay as they are; `muted_until=0` ends the muting."""
        settings = given(muted_until=muted_until, pinned=pinned, archived=archived)
        await self.request("thread.set", thread=thread, **settings)

    async def create_group(
        self, name: str, members: Iterable[str] = (), cid: str | None = None
    ) -> Reply:
        """`members` are uids or `@name`s. Idempotent by cid, so retried until acknowledged."""
        return await self.request(
            "group.create", name=name, members=list(members), **given(cid=cid)
        )

    async def update_group(
        self,
        thread: str,
        *,
        name: str | None = None,
        about: str | None = None,
        avatar: str | None = None,
    ) -> Reply:
        changes = given(name=name, about=about, avatar=avatar)
        return await self.request("group.update", thread=thread, **changes)

    async def add_members(self, thread: str, users: Iterable[str]) -> Reply:
        return await self.request("group.add", thread=thread, users=list(users))

    async def remove_member(self, thread: str, user: str) -> Reply:
        return await self.request("group.remove", thread=thread, user=user)

    async def set_role(
        self, thread: str, user: str, role: Literal["owner", "admin", "member"]
    ) -> Reply:
        return await self.request("group.role", thread=thread, user=user, role=role)

    async def leave_group(self, thread: str) -> Reply:
        return await self.request("group.leave", thread=thread)

    async def delete_group(self, thread: str) -> Reply:
        return await self.request("group.delete", thread=thread)

    async def group_info(
        self, thread: str, *, after: str | None = None, limit: int | None = None
    ) -> Reply:
        return await self.request("group.info", thread=thread, **given(after=after, limit=limit))

    async def group_members(self, thread: str) -> list[dict[str, Any]]:
        """Every member, page by page."""
        members: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = await self.group_info(thread, after=after, limit=PAGE_MAX)
            members += page["members"]
            after = page.get("next")
            if after is None:
                return members

    # ---------------------------------------------------------------------------- people, self

    async def contacts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.request("contact.list"))["contacts"]
        return found

    async def add_contact(
        self, *, user: str | None = None, uid: str | None = None, alias: str | None = None
    ) -> Reply:
        return await self.request("contact.add", **given(user=user, uid=uid, alias=alias))

    async def alias_contact(self, uid: str, alias: str) -> None:
        await self.request("contact.alias", uid=uid, alias=alias)

    async def remove_contact(self, uid: str) -> None:
        await self.request("contact.remove", uid=uid)

    async def block(self, uid: str) -> None:
        await self.request("block", uid=uid)

    async def unblock(self, uid: str) -> None:
        await self.request("unblock", uid=uid)

    async def users(self, uids: Iterable[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.request("user.get", uids=list(uids)))["users"]
        return found

    async def search_users(self, q: str, limit: int | None = None) -> list[dict[str, Any]]:
        reply = await self.request("user.search", q=q, **given(limit=limit))
        found: list[dict[str, Any]] = reply["users"]
        return found

    async def set_profile(
        self, *, name: str | None = None, about: str | None = None, avatar: str | None = None
    ) -> None:
        await self.request("profile.set", **given(name=name, about=about, avatar=avatar))

    async def set_privacy(
        self, *, last_seen: str | None = None, receipts: str | None = None
    ) -> None:
        await self.request("privacy.set", **given(last_seen=last_seen, receipts=receipts))

    async def sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.request("session.list"))["sessions"]
        return found

    async def revoke_session(self, sid: str) -> int:
        """Log out one session, or all `others`; returns how many."""
        return int((await self.request("session.revoke", sid=sid))["count"])

    async def change_password(self, old: str, new: str, keep_others: bool = False) -> None:
        await self.request("passwd", old=old, new=new, keep_others=keep_others)

    # -------------------------------------------------------------------------------- presence

    async def presence(self, uids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Who of these is online: {uid: {on, last?}}.

        One poll, as often as the server wishes: called again sooner for the same people, it
        returns what is known. The server then sends only what changed; the answer is whole.
        """
        wanted = frozenset(uids)
        known = wanted == self._polled and self._poll_v is not None
        if known and trio.current_time() < self._poll_due_s:
            return dict(self._poll_states)
        v = given(v=self._poll_v) if known else {}
        reply = await self.request("presence", uids=sorted(wanted), **v)
        self._poll_states = {**(self._poll_states if known else {}), **reply["st"]}
        self._polled, self._poll_v = wanted, reply["v"]
        pause_ms = int(reply.get("next_ms") or PRESENCE_POLL_MS)
        self._poll_due_s = trio.current_time() + pause_ms / 1000
        return dict(self._poll_states)
