"""Accounts and sessions on PostgreSQL.

An account's rows have four keys: uid, login name, the initials of its words, and the hash of each
of its tokens. The account is created at its uid first, where nothing leads to it; then it claims
its name, which decides between two of one name; then its words are written. The outbox carries this
on if whoever began it cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import Any, Final

from persistence.errors import NameTaken, OutcomeUnknown, StoreError, TooMany
from persistence.postgres_connection import Row, TrioConnection
from persistence.postgres_outbox import Entry, Outbox
from persistence.postgres_shards import SqlShards, together
from persistence.postgres_statements import (
    ACCOUNT_NAMES,
    ACCOUNTS,
    ADD_ACCOUNT,
    ADD_SESSION,
    ADD_TOKEN,
    ADD_WORDS,
    CLAIM_HANDLE,
    COUNT_SESSIONS,
    DELETE_ACCOUNT,
    DELETE_SESSIONS,
    DELETE_TOKENS,
    DELETE_WORDS,
    EXPIRE_SESSIONS,
    FIND_WORDS,
    FIRST_HANDLES,
    HANDLE,
    LOCK_ACCOUNT,
    MOVE_WORD_SET,
    NEXT_ACCOUNT,
    NEXT_SESSION,
    SESSION,
    SESSIONS,
    TOKEN,
    TOUCH_SESSION,
    UPDATE_ACCOUNT,
)
from persistence.records import (
    Account,
    AccountChange,
    Audience,
    LoginSession,
    SessionId,
    UserId,
    id_number,
    prefix_end,
    search_words,
)

CREATED: Final = "account"
"""Outbox topic: an account claims its name and writes its words."""
RENAMED: Final = "words"
"""Outbox topic: an account writes its words under the initials that are the targets."""


class PostgresAccounts:
    """`AccountStore`."""

    def __init__(self, shards: SqlShards, outbox: Outbox) -> None:
        self._shards = shards
        self._outbox = outbox

    async def create(self, account: Account) -> Account:
        login = account.user
        if await self._owner(login) is not None:
            raise NameTaken(login)
        ((number,),) = await self._shards.first.read(NEXT_ACCOUNT, {})
        stored = replace(account, uid=UserId(f"u{number}"))
        entry = await self._shards.of(stored.uid).transact(partial(self._add, stored))
        try:
            await self._outbox.deliver(entry)
            owner = await self._owner(login)
        except StoreError as error:  # the relay will go on with it
            raise OutcomeUnknown(f"{login}: {error}") from error
        if owner != stored.uid:
            raise NameTaken(login)
        return stored

    async def _add(self, account: Account, connection: TrioConnection) -> Entry:
        values: dict[str, Any] = {
            each.name: getattr(account, each.name) for each in fields(account)
        }
        values |= {"login": account.user, "last_seen": account.last_seen.value}
        await connection.fetch(ADD_ACCOUNT, values | {"receipts": account.receipts.value})
        initials = sorted(by_initial(search_words(account.user, account.name)))
        return await self._outbox.add(connection, account.uid, CREATED, initials)

    async def _owner(self, login: str) -> UserId | None:
        rows = await self._shards.of(login).read(HANDLE, {"login": login})
        return UserId(rows[0][0]) if rows else None

    async def by_name(self, user: str) -> Account | None:
        uid = await self._owner(user)
        return None if uid is None else (await self.by_ids((uid,))).get(uid)

    async def by_ids(self, uids: Collection[UserId]) -> Mapping[UserId, Account]:
        found = map(_account, await self._shards.read_each(ACCOUNTS, uids, {}))
        return {account.uid: account for account in found}

    async def search(self, prefix: str, limit: int) -> Sequence[Account]:
        low = prefix.casefold()
        limit = max(limit, 0)
        if low:
            initial = low[0]
            bounds = {"initial": initial, "low": low, "high": prefix_end(low), "limit": limit}
            rows = await self._shards.of(initial).read(FIND_WORDS, bounds)
        else:
            answers = await together(
                partial(database.read, FIRST_HANDLES, {"limit": limit})
                for database in self._shards.databases
            )
            rows = sorted(row for rows in answers for row in rows)[:limit]
        found = await self.by_ids([uid for _, uid in rows])
        return [found[uid] for _, uid in rows if uid in found]

    async def update(self, uid: UserId, change: AccountChange) -> None:
        values = {each.name: getattr(change, each.name) for each in fields(change)}
        values |= {"uid": uid, "renamed": int(change.name is not None)}
        database = self._shards.of(uid)
        if change.name is None:
            await database.write(UPDATE_ACCOUNT, values)
            return
        entry = await database.transact(partial(self._rename, uid, change.name, values))
        if entry is not None:
            await self._outbox.deliver_or_leave(entry)

    async def _rename(
        self, uid: UserId, name: str, values: dict[str, Any], connection: TrioConnection
    ) -> Entry | None:
        rows = await connection.fetch(LOCK_ACCOUNT, {"uid": uid})
        if not rows:
            return None
        ((login, old_name, _),) = rows
        await connection.fetch(UPDATE_ACCOUNT, values)
        words = search_words(login, old_name) | search_words(login, name)
        return await self._outbox.add(connection, uid, RENAMED, sorted(by_initial(words)))


class AccountProjection:
    """Tells other keys of an account: the outbox's `CREATED` and `RENAMED`."""

    def __init__(self, shards: SqlShards) -> None:
        self._shards = shards

    async def created(self, source: str, initials: Sequence[str]) -> None:
        """Claim the name. An account that comes too late is deleted: nobody ever knew its uid."""
        rows = await self._shards.of(source).read(ACCOUNT_NAMES, {"uid": source})
        if not rows:
            return
        ((login, _, _),) = rows
        await self._shards.of(login).write(CLAIM_HANDLE, {"login": login, "uid": source})
        ((owner,),) = await self._shards.of(login).read(HANDLE, {"login": login})
        if owner == source:
            await self.renamed(source, initials)
        else:
            await self._shards.of(source).write(DELETE_ACCOUNT, {"uid": source})

    async def renamed(self, source: str, initials: Sequence[str]) -> None:
        """Write the words of the name as it is now, unless those of a later one are there."""
        rows = await self._shards.of(source).read(ACCOUNT_NAMES, {"uid": source})
        for login, name, version in rows:
            words = by_initial(search_words(login, name))
            account = {"uid": source, "login": login, "version": version}
            for initial in initials:
                share = account | {"initial": initial, "words": sorted(words.get(initial, ()))}
                await self._shards.of(initial).transact(partial(replace_words, share))


async def replace_words(values: dict[str, Any], connection: TrioConnection) -> None:
    """Make `words` all that an account has under an initial, unless later ones are there."""
    if await connection.fetch(MOVE_WORD_SET, values):
        await connection.fetch(DELETE_WORDS, values)
        await connection.fetch(ADD_WORDS, values)


def by_initial(words: Collection[str]) -> dict[str, set[str]]:
    """Words by their first character. The empty word, of an account without a name, is no use."""
    found: dict[str, set[str]] = {}
    for word in words:
        if word:
            found.setdefault(word[0], set()).add(word)
    return found


def _account(row: Row) -> Account:
    return Account(*row[:7], *map(Audience, row[7:9]), *row[9:])


# ---------------------------------------------------------------------------- sessions


class PostgresSessions:
    """`SessionStore`. A session is at its user; its token leads there from the token's own key.

    A token is written before its session and deleted after it. One that is left over when the
    program ends in between opens nothing.
    """

    def __init__(self, shards: SqlShards) -> None:
        self._shards = shards

    async def add(self, session: LoginSession, sessions_max: int) -> LoginSession:
        uid = session.uid
        database = self._shards.of(uid)
        expired = await database.write(EXPIRE_SESSIONS, {"uid": uid, "now_ms": session.created_ms})
        await self._forget_tokens(expired)
        ((count,),) = await database.read(COUNT_SESSIONS, {"uid": uid})
        if count >= sessions_max:
            raise TooMany(f"{uid} has {count} sessions")
        ((number,),) = await self._shards.first.read(NEXT_SESSION, {})
        values = {each.name: getattr(session, each.name) for each in fields(session)}
        await self._shards.of(session.token_hash).write(ADD_TOKEN, values)

        async def insert(connection: TrioConnection) -> None:
            await connection.fetch(LOCK_ACCOUNT, {"uid": uid})  # or two could each be the last
            ((count,),) = await connection.fetch(COUNT_SESSIONS, {"uid": uid})
            if count >= sessions_max:
                raise TooMany(f"{uid} has {count} sessions")
            await connection.fetch(ADD_SESSION, values | {"number": number})

        try:
            await database.transact(insert)
        except TooMany:
            await self._forget_tokens([(session.token_hash,)])
            raise
        return replace(session, sid=SessionId(f"s{number}"))

    async def by_token(self, token_hash: bytes) -> LoginSession | None:
        owners = await self._shards.of(token_hash).read(TOKEN, {"token_hash": token_hash})
        for (uid,) in owners:
            values = {"uid": uid, "token_hash": token_hash}
            for row in await self._shards.of(uid).read(SESSION, values):
                return _session(row)
        return None

    async def of_user(self, uid: UserId) -> Sequence[LoginSession]:
        return [_session(row) for row in await self._shards.of(uid).read(SESSIONS, {"uid": uid})]

    async def revoke(self, uid: UserId, sids: Collection[SessionId]) -> Sequence[SessionId]:
        numbers = sorted({n for sid in sids if (n := id_number(sid, "s")) is not None})
        if not numbers:
            return []
        rows = await self._shards.of(uid).write(DELETE_SESSIONS, {"uid": uid, "numbers": numbers})
        await self._forget_tokens([(token_hash,) for _, token_hash in rows])
        return [SessionId(f"s{number}") for number in sorted(number for number, _ in rows)]

    async def touch(self, uid: UserId, sid: SessionId, seen_ms: int, expires_ms: int) -> None:
        number = id_number(sid, "s")
        if number is not None:
            values = {"uid": uid, "number": number, "seen_ms": seen_ms, "expires_ms": expires_ms}
            await self._shards.of(uid).write(TOUCH_SESSION, values)

    async def _forget_tokens(self, rows: Sequence[Row]) -> None:
        """What comes of it does not matter: without its session a token opens nothing."""
        with suppress(StoreError):
            await self._shards.write_each(DELETE_TOKENS, [row[0] for row in rows], {})


def _session(row: Row) -> LoginSession:
    return LoginSession(SessionId(f"s{row[0]}"), *row[1:])
