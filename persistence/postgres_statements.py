"""Every statement that the PostgreSQL stores execute, in one place.

Each names its distribution key with `=` or `= ANY`, so that it runs where that key's rows are: on
one of several databases, or as a single-shard query of Citus. Two do not: `OLD_ENTRIES`, which asks
one database for what was left in its outbox, and `FIRST_HANDLES`, a search for everybody.
`tests/persistence/test_postgres_plans.py` holds both: the key of each statement, and the index that
PostgreSQL uses for it.
"""

from __future__ import annotations

# ---------------------------------------------------------------------------- ids

NEXT_ACCOUNT = "SELECT nextval('account_numbers')"
NEXT_SESSION = "SELECT nextval('session_numbers')"
NEXT_GROUP = "SELECT nextval('group_numbers')"

# ---------------------------------------------------------------------------- accounts

_ACCOUNT = (
    "uid, login, name, password_hash, created_ms, about, avatar, last_seen, receipts, seen_ms"
)

HANDLE = "SELECT uid FROM handles WHERE login = %(login)s"
CLAIM_HANDLE = "INSERT INTO handles (login, uid) VALUES (%(login)s, %(uid)s) ON CONFLICT DO NOTHING"
FIRST_HANDLES = "SELECT login, uid FROM handles ORDER BY login LIMIT %(limit)s"

ACCOUNTS = f"SELECT {_ACCOUNT} FROM accounts WHERE uid = ANY(%(keys)s)"
ACCOUNT_NAMES = "SELECT login, name, version FROM accounts WHERE uid = %(uid)s"
LOCK_ACCOUNT = f"{ACCOUNT_NAMES} FOR NO KEY UPDATE"
ADD_ACCOUNT = (
    f"INSERT INTO accounts ({_ACCOUNT}, version) VALUES (%(uid)s, %(login)s, %(name)s,"
    " %(password_hash)s, %(created_ms)s, %(about)s, %(avatar)s, %(last_seen)s, %(receipts)s,"
    " %(seen_ms)s, 1)"
)
UPDATE_ACCOUNT = (
    "UPDATE accounts SET about = coalesce(%(about)s, about), avatar = coalesce(%(avatar)s, avatar),"
    " password_hash = coalesce(%(password_hash)s, password_hash),"
    " last_seen = coalesce(%(last_seen)s, last_seen),"
    " receipts = coalesce(%(receipts)s, receipts),"
    " seen_ms = greatest(seen_ms, %(seen_ms)s), name = coalesce(%(name)s, name),"
    " version = version + %(renamed)s WHERE uid = %(uid)s"
)
DELETE_ACCOUNT = "DELETE FROM accounts WHERE uid = %(uid)s"

MOVE_WORD_SET = (
    "INSERT INTO word_sets (initial, uid, version) VALUES (%(initial)s, %(uid)s, %(version)s)"
    " ON CONFLICT (initial, uid) DO UPDATE SET version = excluded.version"
    " WHERE word_sets.version < excluded.version RETURNING version"
)
DELETE_WORDS = "DELETE FROM words WHERE initial = %(initial)s AND uid = %(uid)s"
ADD_WORDS = (
    "INSERT INTO words (initial, uid, word, login)"
    " SELECT %(initial)s, %(uid)s, word, %(login)s FROM unnest(%(words)s::text[]) word"
)
FIND_WORDS = (
    "SELECT DISTINCT login, uid FROM words WHERE initial = %(initial)s"
    " AND word >= %(low)s AND word < %(high)s ORDER BY login LIMIT %(limit)s"
)

# ---------------------------------------------------------------------------- sessions

_SESSION = "number, uid, device, token_hash, created_ms, seen_ms, expires_ms"

ADD_TOKEN = "INSERT INTO tokens (token_hash, uid) VALUES (%(token_hash)s, %(uid)s)"  # noqa: S105
TOKEN = "SELECT uid FROM tokens WHERE token_hash = %(token_hash)s"  # noqa: S105
DELETE_TOKENS = "DELETE FROM tokens WHERE token_hash = ANY(%(keys)s)"

SESSION = f"SELECT {_SESSION} FROM sessions WHERE uid = %(uid)s AND token_hash = %(token_hash)s"
SESSIONS = f"SELECT {_SESSION} FROM sessions WHERE uid = %(uid)s ORDER BY number"
COUNT_SESSIONS = "SELECT count(*) FROM sessions WHERE uid = %(uid)s"
ADD_SESSION = (
    f"INSERT INTO sessions ({_SESSION}) VALUES (%(number)s, %(uid)s, %(device)s, %(token_hash)s,"
    " %(created_ms)s, %(seen_ms)s, %(expires_ms)s)"
)
TOUCH_SESSION = (
    "UPDATE sessions SET seen_ms = greatest(seen_ms, %(seen_ms)s),"
    " expires_ms = greatest(expires_ms, %(expires_ms)s)"
    " WHERE uid = %(uid)s AND number = %(number)s"
)
EXPIRE_SESSIONS = (
    "DELETE FROM sessions WHERE uid = %(uid)s AND expires_ms <= %(now_ms)s RETURNING token_hash"
)
DELETE_SESSIONS = (
    "DELETE FROM sessions WHERE uid = %(uid)s AND number = ANY(%(numbers)s::bigint[])"
    " RETURNING number, token_hash"
)

# ---------------------------------------------------------------------------- contacts

BOOK_VERSION = "SELECT version FROM books WHERE uid = %(uid)s"
BOOK = "SELECT peer, alias, blocked, listed FROM contacts WHERE uid = %(uid)s ORDER BY peer"
LOCK_BOOK = (
    "INSERT INTO books (uid, version) VALUES (%(uid)s, 0)"
    " ON CONFLICT (uid) DO UPDATE SET version = books.version"
)
TURN_BOOK = "UPDATE books SET version = version + 1 WHERE uid = %(uid)s"
CONTACT = "SELECT alias, blocked, listed FROM contacts WHERE uid = %(uid)s AND peer = %(peer)s"
PUT_CONTACT = (
    "INSERT INTO contacts (uid, peer, alias, listed, blocked)"
    " VALUES (%(uid)s, %(peer)s, %(alias)s, %(listed)s, %(blocked)s) ON CONFLICT (uid, peer)"
    " DO UPDATE SET alias = excluded.alias, listed = excluded.listed, blocked = excluded.blocked"
)
DELETE_CONTACT = "DELETE FROM contacts WHERE uid = %(uid)s AND peer = %(peer)s"
OWN_BLOCKS = "SELECT peer FROM contacts WHERE uid = %(uid)s AND peer = ANY(%(peers)s) AND blocked"
THEIR_CONTACTS = (
    "SELECT uid, blocked, listed FROM contacts WHERE uid = ANY(%(keys)s) AND peer = %(peer)s"
)

# ---------------------------------------------------------------------------- threads

_META = "t.thread, t.kind, t.name, t.about, t.avatar, t.created_ms, t.deleted, t.applied_seq"
_MEMBER = "m.uid, m.role, m.join_seq, m.left_seq"

RESERVATION = "SELECT number, digest FROM reservations WHERE uid = %(uid)s AND cid = %(cid)s"
RESERVE = (
    "INSERT INTO reservations (uid, number, cid, digest, created_ms)"
    " VALUES (%(uid)s, %(number)s, %(cid)s, %(digest)s, %(created_ms)s)"
    " ON CONFLICT (uid, cid) DO NOTHING RETURNING number"
)
LOAD = (
    f"SELECT {_META}, {_MEMBER} FROM threads t LEFT JOIN members m ON m.thread = t.thread"
    " WHERE t.thread = %(thread)s ORDER BY m.join_seq, m.uid"
)
PROJECT_THREAD = (
    "INSERT INTO threads AS t (thread, kind, name, about, avatar, created_ms, deleted, applied_seq)"
    " VALUES (%(thread)s, %(kind)s, %(name)s, %(about)s, %(avatar)s, %(created_ms)s, %(deleted)s,"
    " %(applied_seq)s) ON CONFLICT (thread) DO UPDATE SET kind = excluded.kind,"
    " name = excluded.name, about = excluded.about, avatar = excluded.avatar,"
    " created_ms = excluded.created_ms, deleted = excluded.deleted,"
    " applied_seq = excluded.applied_seq WHERE t.applied_seq < excluded.applied_seq"
    " RETURNING applied_seq"
)
_MEMBERS = (
    "INSERT INTO members (thread, uid, role, join_seq, left_seq)"
    " SELECT %(thread)s, * FROM unnest(%(uids)s::text[], %(roles)s::text[],"
    " %(join_seqs)s::bigint[], %(left_seqs)s::bigint[])"
)
PROJECT_MEMBERS = (
    f"{_MEMBERS} ON CONFLICT (thread, uid) DO UPDATE SET role = excluded.role,"
    " join_seq = excluded.join_seq, left_seq = excluded.left_seq RETURNING uid"
)
PROMISE_MEMBERS = (
    f"{_MEMBERS} WHERE EXISTS (SELECT FROM threads WHERE thread = %(thread)s)"
    " ON CONFLICT (thread, uid) DO NOTHING RETURNING uid"
)
ADD_USER_THREADS = (
    "INSERT INTO user_threads (uid, thread)"
    " SELECT uid, %(thread)s FROM unnest(%(keys)s::text[]) uid ON CONFLICT DO NOTHING"
)
MEMBERSHIPS = (
    f"SELECT {_META}, {_MEMBER} FROM members m JOIN threads t ON t.thread = m.thread"
    " WHERE m.thread = ANY(%(keys)s) AND m.uid = %(uid)s"
)
VIEWS = (
    "SELECT v.thread, v.muted_until_ms, v.pinned, v.archived, (SELECT array_agg(h.seq)"
    " FROM hidden h WHERE h.uid = v.uid AND h.thread = v.thread) FROM user_threads v"
    " WHERE v.uid = %(uid)s"
)
SOME_VIEWS = f"{VIEWS} AND v.thread = ANY(%(threads)s)"
SET_VIEW = (
    "UPDATE user_threads SET muted_until_ms = %(muted_until_ms)s, pinned = %(pinned)s,"
    " archived = %(archived)s WHERE uid = %(uid)s AND thread = %(thread)s"
)
HIDE = (
    "INSERT INTO hidden (uid, thread, seq) SELECT v.uid, v.thread, seq FROM user_threads v,"
    " unnest(%(seqs)s::bigint[]) seq WHERE v.uid = %(uid)s AND v.thread = %(thread)s"
    " ON CONFLICT DO NOTHING"
)

# ---------------------------------------------------------------------------- outbox

ADD_ENTRY = (
    "INSERT INTO outbox (source, topic, targets)"
    " VALUES (%(source)s, %(topic)s, %(targets)s::text[]) RETURNING number"
)
DELETE_ENTRY = "DELETE FROM outbox WHERE source = %(source)s AND number = %(number)s"
OLD_ENTRIES = (
    "SELECT source, number, topic, targets, created_at FROM outbox"
    " WHERE created_at <= now() - make_interval(secs => %(age_s)s)"
    " AND (created_at, source, number) > (%(after)s::timestamptz, %(source)s, %(number)s)"
    " ORDER BY created_at, source, number LIMIT %(limit)s"
)

# ---------------------------------------------------------------------------- health

READY = (
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), max(number)"
    " FROM migrations"
)
