-- One row at most: above which number the ids and modseqs of this history of the database are (0 where it never was
-- restored), and a fingerprint of the secret key that it is used with.
CREATE TABLE history (
    id INTEGER NOT NULL PRIMARY KEY,
    origin INTEGER NOT NULL,
    key_fingerprint BLOB
) STRICT;
