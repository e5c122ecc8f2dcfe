"""The contacts actor: address books and blocks.

A block takes hold before it is answered: the direct channel (if live) and the presence registry
hear of it first, so whatever the client sends after its `ok` meets the block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from outcome import Error, Outcome, Value

from actors.chat.accounts import NAME_CHARS_MAX, REQUEST_DEADLINE_S, check_text
from actors.chat.answers import Code, Done, Refused, Result
from actors.chat.messages import (
    BlockChanged,
    ContactRequest,
    RelationChanged,
    Show,
    channel_name,
    dm_thread,
    session_name,
)
from actors.chat.services import PRESENCE, Services, store_refusal
from actors.runtime import Actor
from persistence.errors import StoreError
from persistence.records import Account, Contact, UserId

Verb = Callable[["Contacts", ContactRequest], Awaitable[Result]]


class Contacts(Actor):
    """Named `contacts`. Keeps nothing in memory."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ContactRequest):
            device, request = message.device, message.caller.request

            def done(result: Outcome[Result]) -> None:
                match result:
                    case Value(answer):
                        device.answer(request, answer)
                    case Error(StoreError() | TimeoutError() as error):
                        device.answer(request, store_refusal(error))
                    case Error(error):
                        device.answer(request, Refused(Code.INTERNAL, "internal error", 1000))
                        raise error

            verb = VERBS[message.verb]
            self.run_task(verb, self, message, on_done=done, timeout_s=REQUEST_DEADLINE_S)

    async def _list(self, message: ContactRequest) -> Result:
        uid = message.caller.uid
        v, book, accounts = await self._book(uid)
        if message.fields.get("v") == v:
            return Done({"same": True, "v": v})
        contacts = [entry(accounts[c.peer], c) for c in book if c.peer in accounts]
        return Done({"contacts": contacts, "v": v})

    async def _book(self, uid: UserId) -> tuple[int, Sequence[Contact], Mapping[UserId, Account]]:
        """A user's book, who stands in it, and the `v` of both."""
        version, book = await self._services.contacts.book(uid)
        accounts = await self._services.accounts.by_ids([contact.peer for contact in book])
        return version_of(version, accounts), book, accounts

    async def _add(self, message: ContactRequest) -> Result:
        fields = message.fields
        alias = fields.get("alias")
        refused = check_text("alias", alias, NAME_CHARS_MAX)
        if refused is not None:
            return refused
        account = await self._account(fields)
        if isinstance(account, Refused):
            return account
        uid = message.caller.uid
        if account.uid == uid:
            return Refused(Code.BAD_REQUEST, "uid: one is no contact of oneself")
        added = await self._services.contacts.put(uid, account.uid, alias or None)
        contact = await self._changed(message, account.uid, "add")
        answer: dict[str, Any] = {"contact": entry(account, contact)}
        if not added:
            answer["dup"] = True
        return Done(answer)

    async def _alias(self, message: ContactRequest) -> Result:
        alias, peer = message.fields["alias"], UserId(message.fields["uid"])
        refused = check_text("alias", alias, NAME_CHARS_MAX)
        if refused is not None:
            return refused
        _, book = await self._services.contacts.book(message.caller.uid)
        if not any(contact.peer == peer and contact.listed for contact in book):
            return Refused(Code.NOT_FOUND, "uid: not a contact")
        await self._services.contacts.put(message.caller.uid, peer, alias)
        await self._changed(message, peer, "alias")
        return Done()

    async def _remove(self, message: ContactRequest) -> Result:
        peer = UserId(message.fields["uid"])
        if not await self._services.contacts.remove(message.caller.uid, peer):
            return Refused(Code.NOT_FOUND, "uid: not a contact")
        await self._changed(message, peer, "remove")
        return Done()

    async def _block(self, message: ContactRequest) -> Result:
        return await self._set_block(message, blocked=True)

    async def _unblock(self, message: ContactRequest) -> Result:
        return await self._set_block(message, blocked=False)

    async def _set_block(self, message: ContactRequest, *, blocked: bool) -> Result:
        uid = message.caller.uid
        account = await self._account(message.fields)
        if isinstance(account, Refused):
            return account
        if account.uid == uid:
            return Refused(Code.BAD_REQUEST, "uid: one cannot block oneself")
        if await self._services.contacts.set_block(uid, account.uid, blocked=blocked):
            await self._changed(message, account.uid, "block" if blocked else "unblock")
        return Done()

    async def _account(self, fields: Mapping[str, Any]) -> Account | Refused:
        """The account meant by `uid` or `user`."""
        uid, user = fields.get("uid"), fields.get("user")
        if (uid is None) == (user is None):
            return Refused(Code.BAD_REQUEST, "uid: give either uid or user")
        if uid is not None:
            account = (await self._services.accounts.by_ids((uid,))).get(uid)
        else:
            account = await self._services.accounts.by_name(str(user).removeprefix("@").casefold())
        name = "user" if uid is None else "uid"
        return account or Refused(Code.NOT_FOUND, f"{name}: no such user")

    async def _changed(self, message: ContactRequest, peer: UserId, act: str) -> Contact:
        """Tell everyone a change concerns: the direct channel, presence, the user's devices."""
        uid = message.caller.uid
        self._tell(channel_name(dm_thread(uid, peer)), BlockChanged())
        self._tell(PRESENCE, RelationChanged(uid, peer))
        v, book, _ = await self._book(uid)
        contact = next((c for c in book if c.peer == peer), Contact(peer, listed=False))
        fields: dict[str, Any] = {"e": "contact", "uid": peer, "act": act, "v": v}
        fields["blocked"] = contact.blocked
        if contact.alias is not None:
            fields["alias"] = contact.alias
        show = Show(("contact", peer), msgspec.json.encode(fields), but=message.caller.device)
        self._tell(session_name(uid), show)
        return contact

    def _tell(self, name: str, message: object) -> None:
        ref = self.system.names.get(name)
        if ref is not None:
            ref.cast(message)


VERBS: Mapping[str, Verb] = {
    "contact.list": Contacts._list,
    "contact.add": Contacts._add,
    "contact.alias": Contacts._alias,
    "contact.remove": Contacts._remove,
    "block": Contacts._block,
    "unblock": Contacts._unblock,
}


def version_of(version: int, accounts: Mapping[UserId, Account]) -> int:
    """The `v` of a book in its `version` with these people in it: another one when somebody takes
    another name, for names are listed. It fits into a double."""
    names = sorted((uid, account.name) for uid, account in accounts.items())
    content = msgspec.json.encode((version, names))
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")


def entry(account: Account, contact: Contact) -> dict[str, Any]:
    """A contact as the wire shows it. A listed alias is left out when there is none."""
    fields: dict[str, Any] = {
        "uid": account.uid,
        "user": account.user,
        "name": account.name,
        "blocked": contact.blocked,
    }
    if contact.alias:
        fields["alias"] = contact.alias
    return fields
