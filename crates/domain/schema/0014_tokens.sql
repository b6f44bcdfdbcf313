-- What ends browser tokens and JWTs, of which nothing is stored.

-- A browser token carries the generation of its user, which rises when all of them end.
ALTER TABLE users ADD COLUMN token_generation INTEGER NOT NULL DEFAULT 0;

-- JWTs that were issued by then have ended.
ALTER TABLE users ADD COLUMN tokens_revoked_at INTEGER;

-- Sessions of the app whose browser tokens and JWTs have ended, by a hash of the session's name. No token lives
-- longer than a day, and then its row goes.
CREATE TABLE revoked_sessions (
    user_id INTEGER NOT NULL,
    session_hash BLOB NOT NULL,
    revoked_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, session_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_sessions_age ON revoked_sessions (revoked_at);
