"""What the contract is about, and values to state it with."""

from __future__ import annotations

from typing import Any, Protocol

from persistence.memory_log import MemoryLog
from persistence.postgres import PostgresStores
from persistence.protocols import (
    AccountStore,
    ContactStore,
    MessageLog,
    SessionStore,
    ThreadStore,
)
from persistence.records import (
    Account,
    Append,
    ClientId,
    Cursor,
    Event,
    EventKind,
    LoginSession,
    Rewrite,
    SessionId,
    ThreadId,
    UserId,
)

ANN, BOB, CID, DAN = UserId("u1"), UserId("u2"), UserId("u3"), UserId("u4")
DM, GROUP, OTHER = ThreadId("d:u1:u2"), ThreadId("g1"), ThreadId("g2")


class Stores(Protocol):
    @property
    def accounts(self) -> AccountStore: ...
    @property
    def sessions(self) -> SessionStore: ...
    @property
    def contacts(self) -> ContactStore: ...
    @property
    def threads(self) -> ThreadStore: ...
    @property
    def log(self) -> MessageLog: ...


class Directories:
    """Stores whose log is somewhere else."""

    def __init__(self, stores: PostgresStores) -> None:
        self.accounts: AccountStore = stores.accounts
        self.sessions: SessionStore = stores.sessions
        self.contacts: ContactStore = stores.contacts
        self.threads: ThreadStore = stores.threads
        self.log: MessageLog = MemoryLog()


def account(user: str, name: str = "", **fields: Any) -> Account:
    return Account(UserId(""), user, name, "hash", 1_000, **fields)


def session(uid: UserId, token: bytes, created_ms: int = 0, expires_ms: int = 100) -> LoginSession:
    return LoginSession(SessionId(""), uid, "phone", token, created_ms, created_ms, expires_ms)


def event(
    seq: int,
    n: int | None = None,
    kind: EventKind = EventKind.MSG,
    *,
    sender: UserId = ANN,
    cid: str | None = None,
    target: int | None = None,
    text: str = "hi",
) -> Event:
    """An event whose fields all differ, so that none can be taken for another."""
    return Event(
        seq=seq,
        n=seq if n is None else n,
        kind=kind,
        sender=sender,
        ts_ms=1_767_225_600_000 + seq,
        body=f'{{"seq":{seq},"text":"{text}"}}'.encode(),
        cid=None if cid is None else ClientId(cid),
        digest=b"" if cid is None else bytes([seq % 256, 0, 255]),
        target=target,
    )


def append(
    thread: ThreadId,
    epoch: int,
    expected_seq: int,
    *events: Event,
    rewrites: tuple[Rewrite, ...] = (),
    cursors: dict[UserId, Cursor] | None = None,
    meta_seq: int | None = None,
) -> Append:
    return Append(thread, epoch, expected_seq, events, rewrites, cursors or {}, meta_seq)


async def filled(log: MessageLog, thread: ThreadId, *events: Event) -> int:
    """Claim a fresh thread and write `events` into it; the epoch."""
    epoch = (await log.claim(thread, 0)).head.epoch
    await log.append([append(thread, epoch, 0, *events)])
    return epoch
