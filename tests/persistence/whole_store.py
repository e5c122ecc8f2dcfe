"""A store with some of everything in it, and everything that its ports answer about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistence.records import (
    AccountChange,
    ClientId,
    Cursor,
    EventKind,
    Member,
    Projection,
    Rewrite,
    Role,
    Span,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    ThreadView,
    UserId,
)
from tests.contracts.stores import (
    ANN,
    BOB,
    CID,
    DAN,
    DM,
    GROUP,
    OTHER,
    Stores,
    account,
    append,
    event,
    session,
)

BUCKET_EVENTS = 8
NAMES = ("ann", "bob", "cid", "dan")
USERS = (ANN, BOB, CID, DAN)
TOKENS = [bytes([number]) * 32 for number in range(7)]
LONG, CLAIMED = ThreadId("g7"), ThreadId("g9")
THREADS = (DM, GROUP, OTHER, LONG, CLAIMED)
KINDS = (EventKind.MSG, EventKind.EDIT, EventKind.REACT, EventKind.MEMBER)


async def fill(stores: Stores) -> None:
    await _users(stores)
    await _threads(stores)
    await _logs(stores)


async def _users(stores: Stores) -> None:
    for name in NAMES:
        await stores.accounts.create(account(name, f"{name.title()} of Ørsta", about="\u2028 'x'"))
    await stores.accounts.update(BOB, AccountChange(name="Robert Bobby bob", seen_ms=77))
    await stores.accounts.update(DAN, AccountChange(name=""))
    for number, token in enumerate(TOKENS):
        await stores.sessions.add(session(USERS[number % 3], token, expires_ms=10_000), 10)
    await stores.sessions.revoke(ANN, [(await stores.sessions.of_user(ANN))[-1].sid])
    await stores.contacts.put(ANN, BOB, "Bobby\\N")
    await stores.contacts.put(ANN, DAN, None)
    await stores.contacts.remove(ANN, DAN)
    await stores.contacts.set_block(BOB, CID, blocked=True)


async def _threads(stores: Stores) -> None:
    for cid in (ClientId("one"), None, None):
        await stores.threads.reserve(ANN, cid, b"\0digest", 5)
    await stores.threads.reserve(BOB, ClientId("one"), b"", 6)
    dm = ThreadMeta(DM, ThreadKind.DM, applied_seq=2)
    pair = (Member(ANN, Role.MEMBER, 1), Member(BOB, Role.MEMBER, 1))
    await stores.threads.project(Projection(dm, pair))
    group = ThreadMeta(GROUP, ThreadKind.GROUP, "Gruppe", "about", "a.png", 9, applied_seq=3)
    roles = zip(USERS, (Role.OWNER, Role.ADMIN, Role.MEMBER), strict=False)
    members = [Member(uid, role, 1, 3 if uid == CID else None) for uid, role in roles]
    await stores.threads.project(Projection(group, tuple(members)))
    gone = ThreadMeta(OTHER, ThreadKind.GROUP, deleted=True, applied_seq=1)
    await stores.threads.project(Projection(gone, ()))
    await stores.threads.set_view(BOB, GROUP, ThreadView(123, pinned=True))
    await stores.threads.set_view(CID, GROUP, ThreadView(archived=True))
    await stores.threads.hide(BOB, GROUP, [2, 1])


async def _logs(stores: Stores) -> None:
    """Logs that end within a bucket, at the end of one, in a later one, and before the first."""
    for thread, length in zip(THREADS, (3, BUCKET_EVENTS, 1, 3 * BUCKET_EVENTS + 2), strict=False):
        epoch = 0
        for _ in range(length % 3 + 1):
            epoch = (await stores.log.claim(thread, 0)).head.epoch
        for seq in range(1, length + 1):
            target = None if seq % 4 == 1 else seq - 1
            await stores.log.append(
                [
                    append(
                        thread, epoch, seq - 1,
                        event(
                            seq, (seq + 3) // 4, KINDS[(seq - 1) % 4], sender=USERS[seq % 2],
                            cid=None if seq % 3 == 0 else f"c{seq}", target=target,
                        ),
                        rewrites=(Rewrite(seq // 2, b'{"gone":1}'),) if seq % 5 == 4 else (),
                        cursors={USERS[seq % 3]: Cursor(seq, seq // 2, seq // 4)},
                        meta_seq=seq if seq % 4 == 0 else None,
                    )
                ]
            )  # fmt: skip
    await stores.log.claim(CLAIMED, 0)


async def directory_answers(stores: Stores) -> dict[str, Any]:
    """What the ports of users and threads answer."""
    found: dict[str, Any] = {"accounts": dict(await stores.accounts.by_ids(USERS))}
    for prefix in ("", "a", "b", "bob", "ØR", "robert"):
        found[f"search {prefix}"] = list(await stores.accounts.search(prefix, 10))
    for name in (*NAMES, "nobody"):
        found[f"name {name}"] = await stores.accounts.by_name(name)
    for number, token in enumerate(TOKENS):
        found[f"token {number}"] = await stores.sessions.by_token(token)
    for uid in USERS:
        found[f"sessions {uid}"] = list(await stores.sessions.of_user(uid))
        version, rows = await stores.contacts.book(uid)
        found[f"book {uid}"] = (version, list(rows))
        found[f"relations {uid}"] = dict(await stores.contacts.relations(uid, USERS))
        found[f"memberships {uid}"] = list(await stores.threads.memberships(uid))
    for thread in THREADS:
        loaded = await stores.threads.load(thread)
        found[f"thread {thread}"] = loaded and (loaded[0], list(loaded[1]))
    reserved = await stores.threads.reserve(ANN, ClientId("one"), b"", 0)
    found["reservation"] = (reserved.thread, reserved.digest, reserved.fresh)
    return found


async def log_answers(stores: Stores) -> dict[str, Any]:
    """What the port of the log answers, and at last a claim of each thread."""
    found: dict[str, Any] = {}
    spans = {thread: Span() for thread in THREADS}
    readers: dict[ThreadId, Sequence[UserId]] = dict.fromkeys(THREADS, USERS)
    for span in (Span(), Span(2, 5)):
        spans = dict.fromkeys(THREADS, span)
        found[f"summaries {span}"] = dict(await stores.log.summaries(spans, readers))
    for thread in THREADS:
        events = list(await stores.log.read(thread, Span(), 1000))
        found[f"events {thread}"] = events
        found[f"page {thread}"] = list(await stores.log.read(thread, Span(), 3, before=9))
        seqs = [event.seq for event in events]
        found[f"related {thread}"] = [list(await stores.log.related(thread, [s])) for s in seqs]
        found[f"cids {thread}"] = [
            await stores.log.find(thread, each.sender, each.cid) for each in events if each.cid
        ]
    for thread in THREADS:
        claim = await stores.log.claim(thread, 5)
        found[f"claim {thread}"] = (claim.head, claim.recent, dict(claim.cursors))
    return found


async def new_ids(stores: Stores) -> list[str]:
    """Ids that are given out next."""
    made = await stores.accounts.create(account("newcomer"))
    opened = await stores.sessions.add(session(made.uid, b"new"), 5)
    return [made.uid, opened.sid, (await stores.threads.reserve(made.uid, None, b"", 0)).thread]
