-- Accounts, sessions, contacts and threads: on one server, on several databases, or on Citus.
--
-- Every table has a distribution key, first in its primary key and in its unique indexes, and every
-- statement of the program names it. Rows of one key are in one database; nothing refers across keys.
-- Times are milliseconds since the epoch. Texts compare by code point (COLLATE "C"), on every server.

-- Which buckets this database has (see postgres_buckets.py); on Citus a local table.
CREATE TABLE placement (
    low integer NOT NULL PRIMARY KEY,
    high integer NOT NULL,
    CHECK (0 <= low AND low < high AND high <= 4096)
);

-- The numbers in ids. Used in the database that has bucket 0; never used again.
CREATE SEQUENCE account_numbers;
CREATE SEQUENCE session_numbers;
CREATE SEQUENCE group_numbers;

-- ------------------------------------------------------------------ by login name, initial, token

-- Whose a login name is, or ever was.
CREATE TABLE handles (
    login text COLLATE "C" NOT NULL PRIMARY KEY,
    uid text COLLATE "C" NOT NULL
);

-- What a search may begin with, by its first character. `word_sets` holds which version of an
-- account its words with this initial are of, so that an older version never replaces a newer one.
CREATE TABLE word_sets (
    initial text COLLATE "C" NOT NULL,
    uid text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (initial, uid)
);
CREATE TABLE words (
    initial text COLLATE "C" NOT NULL,
    uid text COLLATE "C" NOT NULL,
    word text COLLATE "C" NOT NULL,
    login text COLLATE "C" NOT NULL,
    PRIMARY KEY (initial, uid, word)
);
CREATE INDEX words_by_word ON words (initial, word, login, uid);

-- Whose session a token opens. A row without a session means nothing.
CREATE TABLE tokens (
    token_hash bytea NOT NULL PRIMARY KEY,
    uid text COLLATE "C" NOT NULL
);

-- ------------------------------------------------------------------ by user

CREATE TABLE accounts (
    uid text COLLATE "C" NOT NULL PRIMARY KEY,
    login text COLLATE "C" NOT NULL,
    name text NOT NULL,
    password_hash text NOT NULL,
    created_ms bigint NOT NULL,
    about text NOT NULL,
    avatar text NOT NULL,
    last_seen text NOT NULL,
    receipts text NOT NULL,
    seen_ms bigint,
    version bigint NOT NULL     -- grows when the name changes
) WITH (fillfactor = 80);

CREATE TABLE sessions (
    uid text COLLATE "C" NOT NULL,
    number bigint NOT NULL,     -- the sid is 's' and this
    device text NOT NULL,
    token_hash bytea NOT NULL,
    created_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    PRIMARY KEY (uid, number)
) WITH (fillfactor = 80);

CREATE TABLE books (
    uid text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE contacts (
    uid text COLLATE "C" NOT NULL,
    peer text COLLATE "C" NOT NULL,
    alias text,
    listed boolean NOT NULL,
    blocked boolean NOT NULL,
    PRIMARY KEY (uid, peer),
    CHECK (listed OR blocked)
);

CREATE TABLE reservations (
    uid text COLLATE "C" NOT NULL,      -- the creator
    number bigint NOT NULL,             -- the thread is 'g' and this
    cid text COLLATE "C",
    digest bytea NOT NULL,
    created_ms bigint NOT NULL,
    PRIMARY KEY (uid, number),
    UNIQUE (uid, cid)
);

-- The threads a user is or was a member of, with the user's own settings. The membership itself is
-- in `members`; from there it comes through the outbox.
CREATE TABLE user_threads (
    uid text COLLATE "C" NOT NULL,
    thread text COLLATE "C" NOT NULL,
    muted_until_ms bigint,
    pinned boolean NOT NULL DEFAULT false,
    archived boolean NOT NULL DEFAULT false,
    PRIMARY KEY (uid, thread)
) WITH (fillfactor = 80);

CREATE TABLE hidden (
    uid text COLLATE "C" NOT NULL,
    thread text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (uid, thread, seq)
);

-- ------------------------------------------------------------------ by thread

CREATE TABLE threads (
    thread text COLLATE "C" NOT NULL PRIMARY KEY,
    kind text NOT NULL,
    name text NOT NULL,
    about text NOT NULL,
    avatar text NOT NULL,
    created_ms bigint NOT NULL,
    deleted boolean NOT NULL,
    applied_seq bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE members (
    thread text COLLATE "C" NOT NULL,
    uid text COLLATE "C" NOT NULL,
    role text NOT NULL,
    join_seq bigint NOT NULL,
    left_seq bigint,
    PRIMARY KEY (thread, uid)
);

-- ------------------------------------------------------------------ by the key of its source

-- What other keys still have to hear of a change. Written in the change's transaction, deleted when
-- every target has it; nearly always empty.
CREATE TABLE outbox (
    source text COLLATE "C" NOT NULL,   -- a uid or a thread
    number bigint GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    targets text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, number)
);
CREATE INDEX outbox_by_age ON outbox (created_at, source, number);
