-- What several nodes have to agree about.

-- Who does the work that only one node at a time should do, and until when it is believed to be alive.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder BLOB NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
