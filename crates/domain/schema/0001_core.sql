-- The core: accounts, sessions, messages and the mailboxes that hold them.
--
-- Every table of a user's data begins its key with the owner, and no key crosses owners, so that
-- it can be spread over machines by owner. Times are microseconds since 1970.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

-- Only a hash of a session's token is here: who reads this table cannot log in with it.
CREATE TABLE sessions (
    user_id INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, token_hash)
) STRICT, WITHOUT ROWID;

-- Failed logins of an account or an address, under a hash of its name.
CREATE TABLE throttles (
    subject BLOB NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    window_started_at INTEGER NOT NULL,
    over_at INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX throttles_over ON throttles (over_at);

-- The counter is the mailbox's lock, and its value the order of everything that happens in it.
CREATE TABLE mailboxes (
    owner_id INTEGER NOT NULL PRIMARY KEY,
    counter INTEGER NOT NULL,
    closed_at INTEGER
) STRICT;

-- A text is stored once; it goes when nobody's mailbox holds it any more. Its id is never used again.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender_id INTEGER NOT NULL,
    receiver_id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    holders INTEGER NOT NULL
) STRICT;

-- A message in a mailbox. What is unread stands together in the key, and so do what was received
-- and read, and what was only sent, each in the order in which it came: a list is a range of the
-- key or two, and a send touches one place of a mailbox, for there is no index to keep up beside it.
-- A message to oneself is one entry, received and sent.
CREATE TABLE entries (
    owner_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    received INTEGER NOT NULL,
    unread INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    read_at INTEGER,
    created_seq INTEGER NOT NULL,
    changed_seq INTEGER NOT NULL,
    PRIMARY KEY (owner_id, received, unread, message_id)
) STRICT, WITHOUT ROWID;

-- What changed after it came. What came is in the order of the key itself, and costs no index.
CREATE INDEX entries_changed ON entries (owner_id, changed_seq) WHERE changed_seq > created_seq;

-- What a mailbox held once, for those who were away when it went.
CREATE TABLE tombstones (
    owner_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    created_seq INTEGER NOT NULL,
    destroyed_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, seq, message_id)
) STRICT, WITHOUT ROWID;
