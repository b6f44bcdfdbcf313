-- Erasure is whole: names of erased accounts are reserved, and nothing that is kept names anybody.

-- The username of an erased account, as a hash under the server's key. It is not given again for a while.
CREATE TABLE reserved_names (
    name_hash BLOB NOT NULL PRIMARY KEY,
    erased_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reserved_names_erased ON reserved_names (erased_at);

-- Whether a password was given for the token, rather than another credential.
ALTER TABLE tokens ADD COLUMN by_password INTEGER NOT NULL DEFAULT 0;

-- Whether a mailbox has had a message: who deletes it again is told that it is gone.
CREATE INDEX tombstones_message ON tombstones (owner_id, message_id);

-- Responses that were stored before hold names and texts, and are not replayed any more. Their rows stay for their day,
-- so that a request from before is refused rather than done twice; a nonce is as good as any bytes.
DELETE FROM stored_responses WHERE owner_id = 0;
UPDATE stored_responses SET response = nonce;
