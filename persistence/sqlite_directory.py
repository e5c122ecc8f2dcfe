"""Accounts, sessions and contacts on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

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
)
from persistence.sqlite_files import SqliteFile

_ACCOUNT = (
    "u.id, u.user, u.name, u.password_hash, u.created_ms, u.about, u.avatar, u.last_seen,"
    " u.receipts, u.seen_ms"
)
_SESSION = "id, uid, device, token_hash, created_ms, seen_ms, expires_ms"


class SqliteAccounts:
    """`AccountStore`. A uid is `u` and the row's number, which is never used again."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def create(self, account: Account) -> Account:
        return await self._file.write(lambda connection: _create(connection, account))

    async def by_name(self, user: str) -> Account | None:
        def work(connection: sqlite3.Connection) -> Account | None:
            row = connection.execute(
                f"SELECT {_ACCOUNT} FROM users u WHERE u.user = ?",  # noqa: S608
                (user,),
            ).fetchone()
            return None if row is None else _account(row)

        return await self._file.read(work)

    async def by_ids(self, uids: Collection[UserId]) -> Mapping[UserId, Account]:
        numbers = {number for uid in uids if (number := _number(uid, "u")) is not None}
        if not numbers:
            return {}

        def work(connection: sqlite3.Connection) -> dict[UserId, Account]:
            marks = ", ".join("?" * len(numbers))
            rows = connection.execute(
                f"SELECT {_ACCOUNT} FROM users u WHERE u.id IN ({marks})",  # noqa: S608
                list(numbers),
            )
            return {account.uid: account for account in map(_account, rows)}

        return await self._file.read(work)

    async def search(self, prefix: str, limit: int) -> Sequence[Account]:
        low, high = prefix, prefix + "\U0010ffff"

        def work(connection: sqlite3.Connection) -> list[Account]:
            rows = connection.execute(
                f"SELECT {_ACCOUNT} FROM users u WHERE u.id IN"  # noqa: S608
                " (SELECT user FROM user_words WHERE word >= ? AND word < ?)"
                " ORDER BY u.user LIMIT ?",
                (low, high, limit),
            )
            return [_account(row) for row in rows]

        return await self._file.read(work)

    async def update(self, uid: UserId, change: AccountChange) -> None:
        await self._file.write(lambda connection: _update(connection, uid, change))


def _create(connection: sqlite3.Connection, account: Account) -> Account:
    taken = connection.execute("SELECT 1 FROM users WHERE user = ?", (account.user,)).fetchone()
    if taken is not None:
        raise NameTaken(account.user)
    cursor = connection.execute(
        "INSERT INTO users (user, name, name_folded, password_hash, created_ms, about, avatar,"
        " last_seen, receipts, seen_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account.user, account.name, account.name.casefold(), account.password_hash,
            account.created_ms, account.about, account.avatar, account.last_seen.value,
            account.receipts.value, account.seen_ms,
        ),
    )  # fmt: skip
    number = cursor.lastrowid
    assert number is not None
    _index_words(connection, number, account.user, account.name)
    return replace(account, uid=UserId(f"u{number}"))


def _index_words(connection: sqlite3.Connection, number: int, user: str, name: str) -> None:
    """What a search can start with: the login name, the display name and each of its words."""
    folded = name.casefold()
    words = {user, folded, *folded.split()}
    connection.execute("DELETE FROM user_words WHERE user = ?", (number,))
    connection.executemany(
        "INSERT OR IGNORE INTO user_words VALUES (?, ?)", [(word, number) for word in words if word]
    )


def _update(connection: sqlite3.Connection, uid: UserId, change: AccountChange) -> None:
    number = _number(uid, "u")
    given = {
        each.name: value
        for each in fields(change)
        if (value := getattr(change, each.name)) is not None
    }
    if number is None or not given:
        return
    if "seen_ms" in given:
        connection.execute(
            "UPDATE users SET seen_ms = max(coalesce(seen_ms, 0), ?) WHERE id = ?",
            (given.pop("seen_ms"), number),
        )
    for column, value in given.items():
        text = value.value if isinstance(value, Audience) else value
        # The column is one of this program's own field names.
        connection.execute(f"UPDATE users SET {column} = ? WHERE id = ?", (text, number))  # noqa: S608
    if "name" in given:
        row = connection.execute("SELECT user FROM users WHERE id = ?", (number,)).fetchone()
        if row is not None:
            _index_words(connection, number, row[0], given["name"])


def _account(row: tuple[Any, ...]) -> Account:
    number, user, name, password_hash, created_ms, about, avatar, last_seen, receipts, seen = row
    return Account(
        UserId(f"u{number}"), user, name, password_hash, created_ms, about, avatar,
        Audience(last_seen), Audience(receipts), seen,
    )  # fmt: skip


def _number(id_: str, prefix: str) -> int | None:
    """The row of an id of ours; None for what cannot be one."""
    digits = id_[len(prefix) :]
    if not id_.startswith(prefix) or not digits.isascii() or not digits.isdigit():
        return None
    if len(digits) > 18 or digits[0] == "0":
        return None
    return int(digits)


class SqliteSessions:
    """`SessionStore`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def add(self, session: LoginSession, sessions_max: int) -> LoginSession:
        def work(connection: sqlite3.Connection) -> LoginSession:
            connection.execute(
                "DELETE FROM sessions WHERE uid = ? AND expires_ms <= ?",
                (session.uid, session.created_ms),
            )
            (count,) = connection.execute(
                "SELECT count(*) FROM sessions WHERE uid = ?", (session.uid,)
            ).fetchone()
            if count >= sessions_max:
                raise TooMany(f"{session.uid} has {count} sessions")
            cursor = connection.execute(
                "INSERT INTO sessions (uid, device, token_hash, created_ms, seen_ms, expires_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session.uid, session.device, session.token_hash, session.created_ms,
                    session.seen_ms, session.expires_ms,
                ),
            )  # fmt: skip
            return replace(session, sid=SessionId(f"s{cursor.lastrowid}"))

        return await self._file.write(work)

    async def by_token(self, token_hash: bytes) -> LoginSession | None:
        def work(connection: sqlite3.Connection) -> LoginSession | None:
            row = connection.execute(
                f"SELECT {_SESSION} FROM sessions WHERE token_hash = ?",  # noqa: S608
                (token_hash,),
            ).fetchone()
            return None if row is None else _session(row)

        return await self._file.read(work)

    async def of_user(self, uid: UserId) -> Sequence[LoginSession]:
        def work(connection: sqlite3.Connection) -> list[LoginSession]:
            rows = connection.execute(
                f"SELECT {_SESSION} FROM sessions WHERE uid = ? ORDER BY id",  # noqa: S608
                (uid,),
            )
            return [_session(row) for row in rows]

        return await self._file.read(work)

    async def revoke(self, uid: UserId, sids: Collection[SessionId]) -> Sequence[SessionId]:
        def work(connection: sqlite3.Connection) -> list[SessionId]:
            revoked = []
            for sid in sorted(sids):
                cursor = connection.execute(
                    "DELETE FROM sessions WHERE id = ? AND uid = ?", (_number(sid, "s"), uid)
                )
                if cursor.rowcount:
                    revoked.append(sid)
            return revoked

        return await self._file.write(work)

    async def touch(self, sid: SessionId, seen_ms: int, expires_ms: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE sessions SET seen_ms = max(seen_ms, ?), expires_ms = max(expires_ms, ?)"
                " WHERE id = ?",
                (seen_ms, expires_ms, _number(sid, "s")),
            )

        await self._file.write(work)


def _session(row: tuple[Any, ...]) -> LoginSession:
    number, uid, device, token_hash, created_ms, seen_ms, expires_ms = row
    return LoginSession(
        SessionId(f"s{number}"), UserId(uid), device, token_hash, created_ms, seen_ms, expires_ms
    )


class SqliteContacts:
    """`ContactStore`. A row that is neither listed nor blocked does not exist."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def book(self, uid: UserId) -> tuple[int, Sequence[Contact]]:
        def work(connection: sqlite3.Connection) -> tuple[int, list[Contact]]:
            connection.execute("BEGIN")
            try:
                version = _version(connection, uid)
                rows = connection.execute(
                    "SELECT peer, alias, blocked, listed FROM contacts WHERE uid = ? ORDER BY peer",
                    (uid,),
                ).fetchall()
            finally:
                connection.execute("ROLLBACK")
            return version, [Contact(UserId(p), a, bool(b), bool(x)) for p, a, b, x in rows]

        return await self._file.read(work)

    async def put(self, uid: UserId, peer: UserId, alias: str | None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT listed, alias FROM contacts WHERE uid = ? AND peer = ?", (uid, peer)
            ).fetchone()
            was_listed = row is not None and bool(row[0])
            kept = row[1] if was_listed else None
            wanted = kept if alias is None else (alias or None)
            if was_listed and wanted == kept:
                return False
            connection.execute(
                "INSERT INTO contacts VALUES (?, ?, ?, 1, 0) ON CONFLICT (uid, peer)"
                " DO UPDATE SET alias = excluded.alias, listed = 1",
                (uid, peer, wanted),
            )
            _bump(connection, uid)
            return not was_listed

        return await self._file.write(work)

    async def remove(self, uid: UserId, peer: UserId) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                "UPDATE contacts SET listed = 0, alias = NULL"
                " WHERE uid = ? AND peer = ? AND listed",
                (uid, peer),
            ).rowcount
            if changed:
                _bump(connection, uid)
                _tidy(connection, uid, peer)
            return bool(changed)

        return await self._file.write(work)

    async def set_block(self, uid: UserId, peer: UserId, *, blocked: bool) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT blocked FROM contacts WHERE uid = ? AND peer = ?", (uid, peer)
            ).fetchone()
            if (row is not None and bool(row[0])) == blocked:
                return False
            connection.execute(
                "INSERT INTO contacts VALUES (?, ?, NULL, 0, ?) ON CONFLICT (uid, peer)"
                " DO UPDATE SET blocked = excluded.blocked",
                (uid, peer, int(blocked)),
            )
            _bump(connection, uid)
            _tidy(connection, uid, peer)
            return True

        return await self._file.write(work)

    async def relations(self, uid: UserId, peers: Collection[UserId]) -> Mapping[UserId, Relation]:
        wanted = list(dict.fromkeys(peers))

        def work(connection: sqlite3.Connection) -> dict[UserId, Relation]:
            marks = ", ".join("?" * len(wanted))
            mine = connection.execute(
                f"SELECT peer FROM contacts WHERE uid = ? AND blocked AND peer IN ({marks})",  # noqa: S608
                (uid, *wanted),
            )
            blocked = {UserId(peer) for (peer,) in mine}
            lists: set[UserId] = set()
            theirs = connection.execute(
                f"SELECT uid, listed, blocked FROM contacts WHERE peer = ? AND uid IN ({marks})",  # noqa: S608
                (uid, *wanted),
            )
            for peer, is_listed, is_blocked in theirs:
                if is_blocked:
                    blocked.add(UserId(peer))
                if is_listed:
                    lists.add(UserId(peer))
            return {peer: Relation(peer in blocked, peer in lists) for peer in wanted}

        return await self._file.read(work) if wanted else {}

    async def blocked_by(self, uid: UserId, peers: Collection[UserId]) -> frozenset[UserId]:
        wanted = list(peers)

        def work(connection: sqlite3.Connection) -> frozenset[UserId]:
            marks = ", ".join("?" * len(wanted))
            rows = connection.execute(
                f"SELECT uid FROM contacts WHERE peer = ? AND blocked AND uid IN ({marks})",  # noqa: S608
                (uid, *wanted),
            )
            return frozenset(UserId(peer) for (peer,) in rows)

        return await self._file.read(work) if wanted else frozenset()


def _version(connection: sqlite3.Connection, uid: UserId) -> int:
    row = connection.execute("SELECT v FROM contact_versions WHERE uid = ?", (uid,)).fetchone()
    return 0 if row is None else int(row[0])


def _bump(connection: sqlite3.Connection, uid: UserId) -> None:
    connection.execute(
        "INSERT INTO contact_versions VALUES (?, 1) ON CONFLICT (uid) DO UPDATE SET v = v + 1",
        (uid,),
    )


def _tidy(connection: sqlite3.Connection, uid: UserId, peer: UserId) -> None:
    connection.execute(
        "DELETE FROM contacts WHERE uid = ? AND peer = ? AND NOT listed AND NOT blocked",
        (uid, peer),
    )
