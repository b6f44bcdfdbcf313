-- What is kept for whom. The holder is a user, or a negative number for a server key or a name; 0 where the response is not
-- counted: it was stored before this step.
ALTER TABLE stored_responses ADD COLUMN holder_id INTEGER NOT NULL DEFAULT 0;

-- How many responses are stored for each holder, of how many bytes, and since when there has been one.
CREATE TABLE stored_counts (
    owner_id INTEGER NOT NULL PRIMARY KEY,
    responses INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    began_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
