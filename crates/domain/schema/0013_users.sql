-- Users of an app with accounts of its own, who are created and changed by its server.

-- The version of the app that was last taken: an older one changes nothing.
ALTER TABLE users ADD COLUMN app_version INTEGER;
-- 0 hides the user from look-ups.
ALTER TABLE users ADD COLUMN findable INTEGER NOT NULL DEFAULT 1;
-- When anything last changed that the app is shown of the user.
ALTER TABLE users ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
UPDATE users SET updated_at = created_at;
-- All users by their last change. In two indexes, so that few of one kind are found among many of the other; with
-- conditions that no other statement has, or PostgreSQL may read a whole one of them for it.
CREATE INDEX users_active ON users (updated_at, id) WHERE coalesce(disabled_at, 0) = 0;
CREATE INDEX users_inactive ON users (updated_at, id) WHERE coalesce(disabled_at, 0) <> 0 AND erased_at IS NULL;

-- The external id of an erased user, as a hash under the server's key: an update that comes too late must not bring the
-- user back.
CREATE TABLE erased_external_ids (
    id_hash BLOB NOT NULL PRIMARY KEY,
    erased_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- 1 where what the user sent is withdrawn from every mailbox as well.
ALTER TABLE erasures ADD COLUMN withdraws INTEGER NOT NULL DEFAULT 0;
-- Who has written to a user: a look-up among contacts goes both ways.
CREATE INDEX contacts_peer ON contacts (peer_id, owner_id);

-- The external ids that users had when it happened, as `7 abc` on a line for each: a user may be erased before the event
-- is delivered.
ALTER TABLE webhook_events ADD COLUMN external_ids TEXT;
