"""Every statement names its distribution key and uses the index that is meant for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from persistence import postgres_statements
from tests.servers.postgres import PostgresServer

STATEMENTS: dict[str, str] = {
    name: text for name, text in vars(postgres_statements).items() if re.match("[A-Z]", name)
}
WITHOUT_TABLE = {"NEXT_ACCOUNT", "NEXT_SESSION", "NEXT_GROUP", "READY"}
WITHOUT_KEY = {"FIRST_HANDLES", "OLD_ENTRIES"}
KEYS = {
    "handles": "login", "word_sets": "initial", "words": "initial", "tokens": "token_hash",
    "accounts": "uid", "sessions": "uid", "books": "uid", "contacts": "uid", "reservations": "uid",
    "user_threads": "uid", "hidden": "uid", "threads": "thread", "members": "thread",
    "outbox": "source",
}  # fmt: skip

FILL = """
    INSERT INTO handles SELECT 'user' || n, 'u' || n FROM generate_series(1, 5000) n;
    INSERT INTO word_sets SELECT chr(97 + n % 26), 'u' || n, 1 FROM generate_series(1, 5000) n;
    INSERT INTO words SELECT chr(97 + n % 26), 'u' || n, chr(97 + n % 26) || n, 'user' || n
        FROM generate_series(1, 5000) n;
    INSERT INTO tokens SELECT sha256(n::text::bytea), 'u' || n FROM generate_series(1, 5000) n;
    INSERT INTO accounts SELECT 'u' || n, 'user' || n, 'n', 'h', 1, '', '', 'everyone', 'everyone',
        1, 1 FROM generate_series(1, 5000) n;
    INSERT INTO sessions SELECT 'u' || n / 3, n, 'd', sha256(n::text::bytea), 1, 1, 9
        FROM generate_series(1, 5000) n;
    INSERT INTO books SELECT 'u' || n, 1 FROM generate_series(1, 5000) n;
    INSERT INTO contacts SELECT 'u' || n / 20, 'u' || n, NULL, true, false
        FROM generate_series(1, 5000) n;
    INSERT INTO reservations SELECT 'u' || n / 3, n, 'c' || n, '', 1
        FROM generate_series(1, 5000) n;
    INSERT INTO user_threads SELECT 'u' || n / 20, 'g' || n FROM generate_series(1, 5000) n;
    INSERT INTO hidden SELECT 'u' || n / 20, 'g' || n / 5, n FROM generate_series(1, 5000) n;
    INSERT INTO threads SELECT 'g' || n, 'group', 'n', '', '', 1, false, 1
        FROM generate_series(1, 5000) n;
    INSERT INTO members SELECT 'g' || n / 20, 'u' || n, 'member', 1, NULL
        FROM generate_series(1, 5000) n;
    INSERT INTO outbox (source, topic, targets, created_at)
        SELECT 'g' || n, 'members', '{u1}', now() - make_interval(secs => n)
        FROM generate_series(1, 5000) n;
"""

VALUES: dict[str, Any] = {
    "login": "user7", "uid": "u7", "keys": ["u7", "u8"], "peers": ["u141", "u142"], "peer": "u141",
    "name": "n", "password_hash": "h", "created_ms": 1, "about": "", "avatar": "", "renamed": 0,
    "last_seen": "everyone", "receipts": "everyone", "seen_ms": 1, "initial": "h", "version": 2,
    "words": ["hx", "hy"], "low": "h77", "high": "h78", "limit": 10, "token_hash": b"x" * 32,
    "device": "d", "expires_ms": 9, "number": 21, "numbers": [21, 22], "now_ms": 1, "alias": None,
    "listed": True, "blocked": False, "cid": "c21", "digest": b"", "thread": "g7", "kind": "group",
    "deleted": False, "applied_seq": 2, "uids": ["u7"], "roles": ["member"], "join_seqs": [1],
    "left_seqs": [None], "threads": ["g141", "g142"], "muted_until_ms": None, "pinned": True,
    "archived": False, "seqs": [1, 2], "source": "g7", "topic": "members", "targets": ["u1"],
    "age_s": 5000.0, "after": "-infinity",
}  # fmt: skip

INDEXES = {
    "HANDLE": {"handles_pkey"},
    "CLAIM_HANDLE": set(),  # any conflict
    "FIRST_HANDLES": {"handles_pkey"},
    "ACCOUNTS": {"accounts_pkey"},
    "ACCOUNT_NAMES": {"accounts_pkey"},
    "LOCK_ACCOUNT": {"accounts_pkey"},
    "ADD_ACCOUNT": set(),
    "UPDATE_ACCOUNT": {"accounts_pkey"},
    "DELETE_ACCOUNT": {"accounts_pkey"},
    "MOVE_WORD_SET": {"word_sets_pkey"},
    "DELETE_WORDS": {"words_pkey"},
    "ADD_WORDS": set(),
    "FIND_WORDS": {"words_by_word"},
    "ADD_TOKEN": set(),
    "TOKEN": {"tokens_pkey"},
    "DELETE_TOKENS": {"tokens_pkey"},
    "SESSION": {"sessions_pkey"},
    "SESSIONS": {"sessions_pkey"},
    "COUNT_SESSIONS": {"sessions_pkey"},
    "ADD_SESSION": set(),
    "TOUCH_SESSION": {"sessions_pkey"},
    "EXPIRE_SESSIONS": {"sessions_pkey"},
    "DELETE_SESSIONS": {"sessions_pkey"},
    "BOOK_VERSION": {"books_pkey"},
    "BOOK": {"contacts_pkey"},
    "LOCK_BOOK": {"books_pkey"},
    "TURN_BOOK": {"books_pkey"},
    "CONTACT": {"contacts_pkey"},
    "PUT_CONTACT": {"contacts_pkey"},
    "DELETE_CONTACT": {"contacts_pkey"},
    "OWN_BLOCKS": {"contacts_pkey"},
    "THEIR_CONTACTS": {"contacts_pkey"},
    "RESERVATION": {"reservations_uid_cid_key"},
    "RESERVE": {"reservations_uid_cid_key"},
    "LOAD": {"threads_pkey", "members_pkey"},
    "PROJECT_THREAD": {"threads_pkey"},
    "PROMISE_MEMBERS": {"members_pkey", "threads_pkey"},
    "PROJECT_MEMBERS": {"members_pkey"},
    "ADD_USER_THREADS": set(),
    "MEMBERSHIPS": {"members_pkey", "threads_pkey"},
    "VIEWS": {"user_threads_pkey", "hidden_pkey"},
    "SOME_VIEWS": {"user_threads_pkey", "hidden_pkey"},
    "SET_VIEW": {"user_threads_pkey"},
    "HIDE": {"user_threads_pkey"},
    "ADD_ENTRY": set(),
    "DELETE_ENTRY": {"outbox_pkey"},
    "OLD_ENTRIES": {"outbox_by_age"},
}


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    (url,) = postgres.create()
    database = urlsplit(url).path[1:]
    postgres.execute(FILL, database)
    postgres.execute("ANALYZE", database)
    with psycopg.connect(url) as connection:
        yield connection
        connection.rollback()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WITHOUT_TABLE))
def test_statement_uses_its_index(filled: psycopg.Connection, name: str) -> None:
    explain = f"EXPLAIN (FORMAT JSON) {STATEMENTS[name]}".encode()
    row = filled.execute(explain, VALUES).fetchone()
    assert row is not None
    plan = list(nodes(row[0][0]["Plan"]))
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    used |= {index for node in plan for index in node.get("Conflict Arbiter Indexes", ())}
    assert [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"] == []
    assert used == INDEXES[name]


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WITHOUT_TABLE - WITHOUT_KEY))
def test_statement_names_its_distribution_key(name: str) -> None:
    text = STATEMENTS[name]
    tables = set(re.findall(r"(?:FROM|INTO|UPDATE|JOIN) (\w+)\b(?!\()", text)) - {"SET"}
    assert tables
    for table in tables:
        key = KEYS[table]
        columns = re.search(rf"INSERT INTO {table}(?: AS t)? \(([^)]*)\)", text)
        if columns is not None:
            assert key in columns[1].split(", ")
        else:
            given = rf"%\({key}\)s|ANY\(%\(keys\)s\)|[a-z]\.{key}"
            assert re.search(rf"\b{key} = ({given})", text)


def test_stores_have_no_other_statements() -> None:
    folder = Path(postgres_statements.__file__).parent
    for name in ("directory", "contacts", "threads", "outbox"):
        found = re.search(
            r'"(SELECT|INSERT|UPDATE|DELETE)\b', (folder / f"postgres_{name}.py").read_text()
        )
        assert found is None, name
