"""What the chat actors are handed: stores, spawners, the wall clock, limits.

The composition root makes one `Services` and passes it to every actor; nothing is looked up
globally. Wall time is for `ts` fields only: deadlines and timers use the loop's clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.chat.answers import Code, Refused
from actors.runtime import Spawner
from persistence.errors import Corrupt, StoreError, StoreUnavailable
from persistence.protocols import (
    AccountStore,
    ContactStore,
    MessageLog,
    SessionStore,
    ThreadStore,
)

logger = logging.getLogger("chat")

JOURNAL = "journal"
ACCOUNTS = "accounts"
CONTACTS = "contacts"
PRESENCE = "presence"


AWAY = Refused(Code.UNAVAILABLE, "the store is not available", retry_ms=1000)
"""Nothing was done."""


def store_refusal(error: BaseException) -> Refused:
    """What it means to the client that a store failed, or did not answer in time; anything else is
    our bug, and raised again. Damage is logged: only the operator can mend it, and no client would
    tell them."""
    match error:
        case StoreUnavailable():
            return AWAY
        case Corrupt():
            logger.error("the store is damaged: %s", error)
            return Refused(Code.INTERNAL, "what is stored cannot be read", retry_ms=1000)
        case StoreError() | TimeoutError():
            return Refused(Code.TIMEOUT, "the outcome is unknown", retry_ms=1000)
        case _:
            raise error


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """The limits of PROTOCOL.md §5 that actors hold; the gateway holds the others."""

    group_members: int = 256
    history_events: int = 100
    sync_threads: int = 500
    sync_events: int = 2000
    sessions: int = 10
    login_failures_per_min: int = 5


@dataclass(frozen=True, slots=True)
class ChatTimes:
    """How long things wait, in seconds."""

    channel_idle_s: float = 120.0
    """A channel without traffic for this long passivates; the next post starts it again."""
    session_idle_s: float = 20.0
    """A session without devices lingers this long, so that a reconnect finds it warm."""
    cursor_flush_s: float = 1.0
    """Read cursors nobody awaits are written at most this much later."""
    receipt_delay_s: float = 0.05
    """Cursor events of a thread are gathered this long before they are shown."""
    post_deadline_s: float = 8.0
    """A post not answered by then is answered `timeout`: its outcome is unknown."""
    token_ttl_s: float = 30 * 86400.0
    """A token not used for this long expires."""
    gateway_silence_s: float = 60.0
    """A gateway whose lease is this old takes its users offline."""


@dataclass(frozen=True, slots=True)
class Services:
    accounts: AccountStore
    sessions: SessionStore
    contacts: ContactStore
    threads: ThreadStore
    log: MessageLog
    channels: Spawner
    session_actors: Spawner
    wall_ms: Callable[[], int]
    limits: ChatLimits = field(default_factory=ChatLimits)
    times: ChatTimes = field(default_factory=ChatTimes)
