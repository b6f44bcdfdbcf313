-- Apps with users of their own: their server calls with a key, names users by its own ids, and acts for them.

-- The app's own id of a user, compared byte for byte; none for those who registered themselves.
ALTER TABLE users ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;
-- 0 person, 1 system: a sender without a login.
ALTER TABLE users ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;

-- Server keys, as hashes. Scopes are bits. After a rotation the key before works for a while. A revoked key stays, as the
-- audit log names it.
CREATE TABLE server_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    scopes INTEGER NOT NULL,
    key_hash BLOB NOT NULL UNIQUE,
    previous_hash BLOB,
    previous_until INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE INDEX server_keys_previous ON server_keys (previous_hash) WHERE previous_hash IS NOT NULL;

-- What keys have changed, and whose letters were read by one. It holds ids and times, and no text but the operator's name
-- for the key. The key of the configuration has the id 0.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    happened_at INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    key_name TEXT NOT NULL,
    call TEXT NOT NULL,
    user_id INTEGER,
    request_id TEXT NOT NULL
) STRICT;

-- The name of the key by which the app's server sent the message for its sender.
ALTER TABLE messages ADD COLUMN via TEXT;
