-- Accounts, sessions, contacts, threads and the message log of the embedded store.
--
-- Times are milliseconds since the epoch. Tables that rows are appended to are rowid tables with an
-- integer key, so that a wide row lies in one place and new ones go to the end of the B-tree; narrow
-- tables that are looked up by their whole key have no rowid.

-- ------------------------------------------------------------------ accounts, sessions

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the uid is 'u' and this; never used again
    user TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    about TEXT NOT NULL,
    avatar TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    receipts TEXT NOT NULL,
    seen_ms INTEGER
) STRICT;

-- What a search may begin with: login name, display name and each of its words, case-folded.
CREATE TABLE account_words (
    word TEXT NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (word, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_words_of ON account_words (account);

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the sid is 's' and this
    uid TEXT NOT NULL,
    device TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of ON sessions (uid);

-- ------------------------------------------------------------------ contacts

CREATE TABLE books (
    uid TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    uid TEXT NOT NULL,
    peer TEXT NOT NULL,
    alias TEXT,
    listed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    PRIMARY KEY (uid, peer),
    CHECK (listed OR blocked)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------ threads

CREATE TABLE reservations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the thread is 'g' and this
    creator TEXT NOT NULL,
    cid TEXT,
    digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (creator, cid)
) STRICT;

CREATE TABLE threads (
    key INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    about TEXT NOT NULL,
    avatar TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    applied_seq INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    key INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL REFERENCES threads (key),
    uid TEXT NOT NULL,
    role TEXT NOT NULL,
    join_seq INTEGER NOT NULL,
    left_seq INTEGER,
    muted_until_ms INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0,
    UNIQUE (thread, uid)
) STRICT;
CREATE INDEX members_of_user ON members (uid, thread);

CREATE TABLE hidden (
    member INTEGER NOT NULL REFERENCES members (key),
    seq INTEGER NOT NULL,
    PRIMARY KEY (member, seq)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------ message log

-- The fence: an append is valid only if it moves a head on from where its writer saw it.
CREATE TABLE heads (
    key INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    n INTEGER NOT NULL DEFAULT 0,
    meta_seq INTEGER NOT NULL DEFAULT 0,
    ts_ms INTEGER NOT NULL DEFAULT 0,
    msg_seq INTEGER NOT NULL DEFAULT 0      -- the newest event of kind 'msg'
) STRICT;

-- Checksums are CRC-32: `fields_crc` of what never changes, `body_crc` of the body, which an edit or
-- a deletion replaces. Both also cover thread and seq, so that a row in the wrong place is noticed.
CREATE TABLE events (
    key INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sender TEXT NOT NULL,
    ts_ms INTEGER NOT NULL,
    cid TEXT,
    digest BLOB NOT NULL,
    target INTEGER,
    fields_crc INTEGER NOT NULL,
    body_crc INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events (thread, seq);
CREATE UNIQUE INDEX events_by_cid ON events (thread, sender, cid) WHERE cid IS NOT NULL;
CREATE INDEX events_by_target ON events (thread, target) WHERE target IS NOT NULL;

CREATE TABLE cursors (
    thread INTEGER NOT NULL,
    uid TEXT NOT NULL,
    recv INTEGER NOT NULL,
    read INTEGER NOT NULL,
    read_n INTEGER NOT NULL,
    PRIMARY KEY (thread, uid)
) STRICT, WITHOUT ROWID;
