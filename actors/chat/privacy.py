"""Who may see what of whom: read receipts and last seen (PROTOCOL.md §2, `privacy.set`).

A setting is `everyone`, `contacts` (those the owner lists) or `nobody`, and it is reciprocal: who
hides theirs from somebody does not see that person's either.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from actors.chat.services import Services
from persistence.records import Account, Audience, UserId

Fact = Literal["receipts", "last_seen"]


def admits(audience: Audience, *, listed: bool) -> bool:
    """Whether a setting admits a viewer whom the owner lists (or not) as a contact."""
    return audience is Audience.EVERYONE or (audience is Audience.CONTACTS and listed)


async def mutual(
    services: Services, fact: Fact, uid: UserId, peers: Collection[UserId]
) -> frozenset[UserId]:
    """Those of `peers` with whom `uid` shares a fact both ways."""
    accounts = await services.accounts.by_ids({uid, *peers})
    own = accounts.get(uid)
    if own is None:
        return frozenset()
    known = [peer for peer in peers if peer in accounts]
    policies = [_policy(accounts[peer], fact) for peer in (uid, *known)]
    if all(policy is Audience.EVERYONE for policy in policies):
        return frozenset(known)
    _, book = await services.contacts.book(uid)
    listed = {contact.peer for contact in book if contact.listed}
    relations = await services.contacts.relations(uid, known)
    return frozenset(
        peer
        for peer in known
        if admits(_policy(own, fact), listed=peer in listed)
        and admits(_policy(accounts[peer], fact), listed=relations[peer].lists_me)
    )


async def receipts_shown(services: Services, a: UserId, b: UserId) -> bool:
    """Whether the two users of a direct thread see each other's receipts."""
    return b in await mutual(services, "receipts", a, (b,))


def _policy(account: Account, fact: Fact) -> Audience:
    return account.receipts if fact == "receipts" else account.last_seen
