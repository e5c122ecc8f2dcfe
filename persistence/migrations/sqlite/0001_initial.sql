-- Users, sessions, contacts, threads and the message log of the embedded store.
-- Times are milliseconds since the epoch. Rowid tables with integer keys: appends go to the end of
-- the B-tree, and a fat body is never copied into a clustered one.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    about TEXT NOT NULL,
    avatar TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    receipts TEXT NOT NULL,
    seen_ms INTEGER
) STRICT;

CREATE TABLE user_words (
    word TEXT NOT NULL,
    user INTEGER NOT NULL REFERENCES users (id),
    PRIMARY KEY (word, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL,
    device TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (uid, id);

CREATE TABLE contacts (
    uid TEXT NOT NULL,
    peer TEXT NOT NULL,
    alias TEXT,
    listed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    PRIMARY KEY (uid, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX contacts_by_peer ON contacts (peer, uid);

CREATE TABLE contact_versions (
    uid TEXT PRIMARY KEY,
    v INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    creator TEXT NOT NULL,
    cid TEXT,
    digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (creator, cid)
) STRICT;

CREATE TABLE threads (
    thread TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    about TEXT NOT NULL,
    avatar TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    applied_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    thread TEXT NOT NULL,
    uid TEXT NOT NULL,
    role TEXT NOT NULL,
    join_seq INTEGER NOT NULL,
    left_seq INTEGER,
    muted_until_ms INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (thread, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_user ON members (uid, thread);

CREATE TABLE hidden (
    uid TEXT NOT NULL,
    thread TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (uid, thread, seq)
) STRICT, WITHOUT ROWID;

-- The log. `heads` is the fence: an append commits only by moving it on.

CREATE TABLE heads (
    id INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    meta_seq INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    head INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sender TEXT NOT NULL,
    ts_ms INTEGER NOT NULL,
    cid TEXT,
    digest TEXT NOT NULL,
    target INTEGER,
    body TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events (head, seq);
CREATE UNIQUE INDEX events_by_cid ON events (head, sender, cid) WHERE cid IS NOT NULL;
CREATE INDEX events_by_target ON events (head, target) WHERE target IS NOT NULL;

CREATE TABLE cursors (
    head INTEGER NOT NULL,
    uid TEXT NOT NULL,
    recv INTEGER NOT NULL,
    read INTEGER NOT NULL,
    read_n INTEGER NOT NULL,
    PRIMARY KEY (head, uid)
) STRICT, WITHOUT ROWID;
