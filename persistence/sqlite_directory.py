"""Accounts, sessions and contacts on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial

import msgspec

from persistence.errors import NameTaken, TooMany
from persistence.records import (
    Account,
    AccountChange,
    Audience,
    Contact,
    LoginSession,
    Relation,
    SessionId,
    UserId,
    id_number,
    prefix_end,
    search_words,
)
from persistence.sqlite_files import as_json, fetch_json
from persistence.sqlite_readers import Readers
from persistence.sqlite_writer import Writer

AccountRow = tuple[int, str, str, str, int, str, str, Audience, Audience, int | None]
SessionRow = tuple[int, UserId, str, bytes, int, int, int]

_ACCOUNT = (
    "json_array(a.id, a.user, a.name, a.password_hash, a.created_ms, a.about, a.avatar,"
    " a.last_seen, a.receipts, a.seen_ms)"
)
_SESSION = "id, uid, device, token_hash, created_ms, seen_ms, expires_ms"

_accounts = msgspec.json.Decoder(list[AccountRow])
_book = msgspec.json.Decoder(tuple[int, list[tuple[UserId, str | None, int, int]]])
_relations = msgspec.json.Decoder(list[tuple[UserId, int, int]])
_uids = msgspec.json.Decoder(frozenset[UserId])


# ---------------------------------------------------------------------------- accounts


class SqliteAccounts:
    """`AccountStore`. A uid is `u` and the row's number, which is never used again."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, account: Account) -> Account:
        return await self._writer.submit(partial(_create, account))

    async def by_name(self, user: str) -> Account | None:
        found = await self._accounts("a.user = ?", user)
        return found[0] if found else None

    async def by_ids(self, uids: Collection[UserId]) -> Mapping[UserId, Account]:
        numbers = {number for uid in uids if (number := id_number(uid, "u")) is not None}
        asked = "a.id IN (SELECT value FROM json_each(?))"
        found = await self._accounts(asked, as_json(sorted(numbers))) if numbers else ()
        return {account.uid: account for account in found}

    async def search(self, prefix: str, limit: int) -> Sequence[Account]:
        folded = prefix.casefold()
        words = "SELECT account FROM account_words WHERE word >= ? AND word < ?"
        return await self._accounts(f"a.id IN ({words})", folded, prefix_end(folded), limit=limit)

    async def update(self, uid: UserId, change: AccountChange) -> None:
        number = id_number(uid, "u")
        if number is None:
            return
        work = partial(_update, number, change)
        await self._writer.submit(work, fast=work if change.name is None else None)

    async def _accounts(
        self, condition: str, *parameters: object, limit: int = -1
    ) -> Sequence[Account]:
        statement = (
            f"SELECT json_group_array({_ACCOUNT}) FROM (SELECT * FROM accounts a"
            f" WHERE {condition} ORDER BY a.user LIMIT ?) a"
        )
        rows = await self._readers.read(
            lambda connection: fetch_json(connection, _accounts, statement, (*parameters, limit))
        )
        return [Account(UserId(f"u{row[0]}"), *row[1:]) for row in rows]


def _create(account: Account, connection: sqlite3.Connection) -> Account:
    found = connection.execute("SELECT 1 FROM accounts WHERE user = ?", (account.user,)).fetchall()
    if found:
        raise NameTaken(account.user)
    number = connection.execute(
        "INSERT INTO accounts (user, name, password_hash, created_ms, about, avatar, last_seen,"
        " receipts, seen_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account.user, account.name, account.password_hash, account.created_ms, account.about,
            account.avatar, account.last_seen.value, account.receipts.value, account.seen_ms,
        ),
    ).lastrowid  # fmt: skip
    assert number is not None
    _index_words(connection, number, account.user, account.name)
    return replace(account, uid=UserId(f"u{number}"))


def _index_words(connection: sqlite3.Connection, number: int, user: str, name: str) -> None:
    connection.execute("DELETE FROM account_words WHERE account = ?", (number,))
    connection.execute(
        "INSERT INTO account_words SELECT value, ? FROM json_each(?)",
        (number, as_json(sorted(search_words(user, name)))),
    )


def _update(number: int, change: AccountChange, connection: sqlite3.Connection) -> None:
    """One statement, and two more when the name is another."""
    given = {each.name: getattr(change, each.name) for each in fields(change)}
    connection.execute(
        "UPDATE accounts SET name = coalesce(:name, name), about = coalesce(:about, about),"
        " avatar = coalesce(:avatar, avatar),"
        " password_hash = coalesce(:password_hash, password_hash),"
        " last_seen = coalesce(:last_seen, last_seen), receipts = coalesce(:receipts, receipts),"
        " seen_ms = coalesce(max(seen_ms, :seen_ms), seen_ms, :seen_ms) WHERE id = :number",
        {**given, "number": number},
    )
    if change.name is not None:
        for (user,) in connection.execute("SELECT user FROM accounts WHERE id = ?", (number,)):
            _index_words(connection, number, user, change.name)


# ---------------------------------------------------------------------------- sessions


class SqliteSessions:
    """`SessionStore`. A sid is `s` and the row's number, which is never used again."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, session: LoginSession, sessions_max: int) -> LoginSession:
        return await self._writer.submit(partial(_add_session, session, sessions_max))

    async def by_token(self, token_hash: bytes) -> LoginSession | None:
        found = await self._sessions("token_hash = ?", token_hash)
        return found[0] if found else None

    async def of_user(self, uid: UserId) -> Sequence[LoginSession]:
        return await self._sessions("uid = ?", uid)

    async def revoke(self, uid: UserId, sids: Collection[SessionId]) -> Sequence[SessionId]:
        numbers = sorted({n for sid in sids if (n := id_number(sid, "s")) is not None})

        def work(connection: sqlite3.Connection) -> Sequence[SessionId]:
            rows = connection.execute(
                "DELETE FROM sessions WHERE uid = ?"
                " AND id IN (SELECT value FROM json_each(?)) RETURNING id",
                (uid, as_json(numbers)),
            ).fetchall()
            return [SessionId(f"s{number}") for (number,) in sorted(rows)]

        return await self._writer.submit(work, fast=work) if numbers else []

    async def touch(self, uid: UserId, sid: SessionId, seen_ms: int, expires_ms: int) -> None:
        number = id_number(sid, "s")

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE sessions SET seen_ms = max(seen_ms, ?), expires_ms = max(expires_ms, ?)"
                " WHERE uid = ? AND id = ?",
                (seen_ms, expires_ms, uid, number),
            )

        await self._writer.submit(work, fast=work)

    async def _sessions(self, condition: str, parameter: object) -> Sequence[LoginSession]:
        statement = f"SELECT {_SESSION} FROM sessions WHERE {condition} ORDER BY id"
        rows: Sequence[SessionRow] = await self._readers.read(
            lambda connection: connection.execute(statement, (parameter,)).fetchall()
        )
        return [LoginSession(SessionId(f"s{row[0]}"), *row[1:]) for row in rows]


def _add_session(
    session: LoginSession, sessions_max: int, connection: sqlite3.Connection
) -> LoginSession:
    uid = session.uid
    expired = "uid = ? AND expires_ms <= ?"
    connection.execute(f"DELETE FROM sessions WHERE {expired}", (uid, session.created_ms))
    ((count,),) = connection.execute(
        "SELECT count(*) FROM sessions WHERE uid = ?", (uid,)
    ).fetchall()
    if count >= sessions_max:
        raise TooMany(f"{uid} has {count} sessions")
    number = connection.execute(
        "INSERT INTO sessions (uid, device, token_hash, created_ms, seen_ms, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            uid, session.device, session.token_hash, session.created_ms, session.seen_ms,
            session.expires_ms,
        ),
    ).lastrowid  # fmt: skip
    return replace(session, sid=SessionId(f"s{number}"))


# ---------------------------------------------------------------------------- contacts


class SqliteContacts:
    """`ContactStore`. A row that is neither listed nor blocked does not exist."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def book(self, uid: UserId) -> tuple[int, Sequence[Contact]]:
        version, rows = await self._readers.read(
            lambda connection: fetch_json(
                connection,
                _book,
                "SELECT json_array(coalesce((SELECT version FROM books WHERE uid = ?1), 0), json(("
                "SELECT json_group_array(json_array(peer, alias, blocked, listed)) FROM"
                " (SELECT * FROM contacts WHERE uid = ?1 ORDER BY peer))))",
                (uid,),
            )
        )
        return version, [
            Contact(peer, alias, bool(blocked), bool(listed))
            for peer, alias, blocked, listed in rows
        ]

    async def put(self, uid: UserId, peer: UserId, alias: str | None) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, listed=True, alias=old.alias if alias is None else alias or None)

        old = await self._writer.submit(partial(_change_contact, uid, peer, change))
        return not old.listed

    async def remove(self, uid: UserId, peer: UserId) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, listed=False, alias=None)

        old = await self._writer.submit(partial(_change_contact, uid, peer, change))
        return old.listed

    async def set_block(self, uid: UserId, peer: UserId, *, blocked: bool) -> bool:
        def change(old: Contact) -> Contact:
            return replace(old, blocked=blocked)

        old = await self._writer.submit(partial(_change_contact, uid, peer, change))
        return old.blocked != blocked

    async def relations(self, uid: UserId, peers: Collection[UserId]) -> Mapping[UserId, Relation]:
        rows = await self._readers.read(
            lambda connection: fetch_json(
                connection,
                _relations,
                "SELECT json_group_array(json_array(asked.value,"
                " coalesce(own.blocked, 0) OR coalesce(theirs.blocked, 0),"
                " coalesce(theirs.listed, 0))) FROM json_each(?2) asked"
                " LEFT JOIN contacts own ON own.uid = ?1 AND own.peer = asked.value"
                " LEFT JOIN contacts theirs ON theirs.uid = asked.value AND theirs.peer = ?1",
                (uid, as_json(sorted(set(peers)))),
            )
        )
        return {peer: Relation(bool(blocked), bool(listed)) for peer, blocked, listed in rows}

    async def blocked_by(self, uid: UserId, peers: Collection[UserId]) -> frozenset[UserId]:
        return await self._readers.read(
            lambda connection: fetch_json(
                connection,
                _uids,
                "SELECT json_group_array(c.uid) FROM json_each(?2) asked"
                " CROSS JOIN contacts c ON c.uid = asked.value AND c.peer = ?1 AND c.blocked",
                (uid, as_json(sorted(set(peers)))),
            )
        )


def _change_contact(
    uid: UserId,
    peer: UserId,
    change: Callable[[Contact], Contact],
    connection: sqlite3.Connection,
) -> Contact:
    """Replace a row of a book by what `change` makes of it; the row as it was."""
    row = connection.execute(
        "SELECT alias, blocked, listed FROM contacts WHERE uid = ? AND peer = ?", (uid, peer)
    ).fetchone()
    alias, blocked, listed = row or (None, 0, 0)
    old = Contact(peer, alias, bool(blocked), bool(listed))
    new = change(old)
    if new == old:
        return old
    if new.listed or new.blocked:
        connection.execute(
            "INSERT OR REPLACE INTO contacts VALUES (?, ?, ?, ?, ?)",
            (uid, peer, new.alias, new.listed, new.blocked),
        )
    else:
        connection.execute("DELETE FROM contacts WHERE uid = ? AND peer = ?", (uid, peer))
    connection.execute(
        "INSERT INTO books VALUES (?, 1) ON CONFLICT (uid) DO UPDATE SET version = version + 1",
        (uid,),
    )
    return old
